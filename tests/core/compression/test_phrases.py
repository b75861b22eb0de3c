"""Phrases that a text repeats are given once, and what is lossless can be read back by itself."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor
from thrift_core.compression.reading_back import NotLossless, read_back
from thrift_core.notation.phrases import abbreviated, expanded

from tests.core.compression import samples

MANUAL = json.dumps(
    [
        {
            "call": f"GET /v{n}/users",
            "text": f"Lists user group {n}. See the rate limits page of the manual for what is allowed each second.",
        }
        for n in range(12)
    ]
)


def test_a_phrase_that_comes_again_and_again_is_written_once():
    done = Compressor().compress(MANUAL)
    assert done.text.count("rate limits page") == 1
    assert read_back(done.text) == json.loads(MANUAL)


def test_what_is_lossless_is_read_back():
    lines = "\n".join(json.dumps({"user": f"u{n}", "action": "login", "ok": True}) for n in range(20))
    for text, said in [
        (samples.rows(), json.loads(samples.rows())),
        (samples.log(), samples.log()),
        (lines, [json.loads(line) for line in lines.split("\n")]),
    ]:
        done = Compressor().compress(text, lossless=True)
        assert done.text != text
        assert read_back(done.text) == said


@pytest.mark.parametrize("text", ["", "plain", "§", "§~(", "§(JSON", "§lines(x"])
def test_what_is_not_lossless_is_refused(text):
    with pytest.raises(NotLossless):
        read_back(text)


@settings(deadline=None, max_examples=300)
@given(
    words=st.lists(st.sampled_from(["one", "two", "~1", "~", "¤", "\n", "  ", "x=1", "long-word-here"]), max_size=150),
    block=st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta"]), min_size=6, max_size=14),
    times=st.integers(1, 6),
)
def test_any_text_comes_back(words, block, times):
    text = (" ".join(words) + " ") + (" ".join(block) + " and ") * times + " ".join(words)
    written = abbreviated(text)
    assert written is None or expanded(written) == text
