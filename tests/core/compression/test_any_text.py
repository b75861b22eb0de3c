"""Whatever the text: no exception, no growth, the budget kept, nothing protected cut inside, time in proportion."""

import json
import random
import time

import pytest
from thrift_core.compression import Compressor
from thrift_core.compression.kinds import kind_of
from thrift_core.compression.protected import Protector

from tests.core.compression import samples

COMPRESSOR = Compressor()
SEEDS = [
    samples.PROSE,
    samples.rows(8),
    samples.log(40),
    "import os\n\ndef main(path):\n    '''Go.'''\n    # look\n    return [n for n in os.listdir(path) if n]\n" * 3,
    "a,b,c\n" + "1,x,2\n" * 12,
    "<html><body><p>One <a href='/x'>link</a></p><script>x()</script></body></html>",
    "# T\n\n```json\n" + json.dumps([{"a": n} for n in range(9)]) + "\n```\nend",
    "--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n" + " same line of context here\n" * 9 + "-old\n+new\n",
    'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n  File "b", line 2, in g\nKeyError: 1\n',
    "Привет, мир! Это не тест 42. " * 4,
    "今日は2026年3月1日です。天気は良くない。" * 4,
]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "\\",
    "§",
    "§(",
    "\x00",
    "\ud800",
    "\n",
    "\r\n",
    "\t",
    "```",
    "<!--",
    "<a <a",
    "é",
    "🙂",
    "~1",
    "-1",
    "1e9",
]


def mutated(chance):
    text = chance.choice(SEEDS)
    for _ in range(chance.randrange(6)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(4):
            case 0:
                text = text[:at] + chance.choice(PIECES) * chance.randrange(1, 4) + text[at:]
            case 1:
                text = text[:at] + text[at + chance.randrange(20) :]
            case 2:
                text = text[at:] + chance.choice(SEEDS)[: chance.randrange(200)]
            case _:
                text = text + text[: chance.randrange(100)]
    return text


def check(text, chance):
    wanted = chance.choice(
        [{}, {"lossless": True}, {"max_tokens": chance.randrange(120)}, {"ratio": chance.choice([0.2, 0.6])}]
    )
    question = chance.choice([None, "What is the price of order 42?"]) if "lossless" not in wanted else None
    done = COMPRESSOR.compress(text, question, **wanted)
    assert len(done.text) <= len(text)
    assert COMPRESSOR.counter.count(done.text) == done.tokens <= done.tokens_before
    if "max_tokens" in wanted:
        assert done.tokens <= wanted["max_tokens"]
    if "ratio" in wanted and done.text != text:
        assert done.tokens <= wanted["ratio"] * done.tokens_before
    if done.kind in ("prose", "markdown") and not done.is_lossless and done.spans:
        protected = Protector().spans(text)
        edges = [edge for span in done.spans for edge in span]
        cut = [span for span in protected if any(span[0] < edge < span[1] for edge in edges)]
        assert not cut


def run(count, seed):
    for number in range(count):
        chance = random.Random(f"{seed}-{number}")
        check(mutated(chance), chance)


def test_mutated_texts_of_every_kind():
    run(600, "suite")


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_million_mutated_texts(seed):
    run(100_000, seed)


ADVERSARIAL = {
    "deep lists": lambda size: "[" * size + "]" * size,
    "deep objects": lambda size: '{"a":' * (size // 6) + "1" + "}" * (size // 6),
    "one word": lambda size: "a" * size,
    "blanks": lambda size: " " * size,
    "line ends": lambda size: "\n" * size,
    "quotes": lambda size: '"' * size,
    "capitals": lambda size: "A " * (size // 2),
    "digits": lambda size: "1" * size,
    "dotted": lambda size: "1." * (size // 2),
    "negations": lambda size: "not " * (size // 4),
    "links": lambda size: "http://" * (size // 7),
    "mail": lambda size: "a@" * (size // 2),
    "underscores": lambda size: "a_" * (size // 2),
    "open tags": lambda size: "<a " * (size // 3),
    "comments": lambda size: "/*" * (size // 2),
    "open comments": lambda size: "<!--" * (size // 4),
    "fences": lambda size: "```\n" * (size // 4),
    "time stamps": lambda size: "10:00:00 INFO a\n" * (size // 16),
    "templates": lambda size: "\n".join(f"10:00:0{n % 9} INFO {'x' * (n % 50)} y{n}" for n in range(size // 40)),
    "hexadecimal": lambda size: "abcdef" * (size // 6),
    "marks": lambda size: "§1-2\n" * (size // 5),
    "braces": lambda size: "function f() {\n" * (size // 15),
    "commas": lambda size: "a,b\n" * (size // 4),
    "sentences": lambda size: "It is. " * (size // 7),
}


@pytest.mark.soak
@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("wanted", [{}, {"ratio": 0.5}, {"lossless": True}], ids=str)
def test_time_grows_in_proportion_to_the_text(name, wanted):
    def seconds(size):
        text = ADVERSARIAL[name](size)
        began = time.process_time()
        COMPRESSOR.compress(text, **wanted)
        return time.process_time() - began

    small = max(0.02, seconds(10_000))
    # Ten times the text may take thirty times as long on a noisy machine; what is quadratic takes a hundred times.
    assert seconds(100_000) < 40 * small


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_texts_are_taken_whatever_is_asked(name):
    for wanted in ({}, {"ratio": 0.5}, {"lossless": True}):
        done = COMPRESSOR.compress(ADVERSARIAL[name](4_000), **wanted)
        assert done.tokens <= done.tokens_before


def test_a_depth_of_ten_thousand_is_left_as_it_is():
    text = "[" * 10_000 + "]" * 10_000
    assert COMPRESSOR.compress(text).text == text
    assert kind_of(text).kind != "json"
