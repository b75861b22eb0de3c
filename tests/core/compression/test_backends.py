"""A model says what stays of prose; the budget and what is protected hold whatever it says."""

import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor, codecs
from thrift_core.compression.protected import Protector

from tests.core.compression import samples

WORD = re.compile(r"\S+")


class LongWords:
    """Wants long words most, which is about what a small model learns."""

    def __init__(self):
        self.asked = []

    def keep(self, text, *, question, max_tokens):
        self.asked.append((question, max_tokens))
        return [(hit.span(), float(len(hit[0]))) for hit in WORD.finditer(text)]


class Says:
    def __init__(self, *wanted):
        self.wanted = wanted

    def keep(self, text, *, question, max_tokens):
        return self.wanted


def cut_protected(done, text):
    edges = [edge for span in done.spans for edge in span]
    return [span for span in Protector().spans(text) if any(span[0] < edge < span[1] for edge in edges)]


def test_the_model_is_asked_with_the_question_and_the_budget_and_what_it_wants_most_stays():
    backend = LongWords()
    done = Compressor(backend=backend).compress(samples.PROSE, "What did it cost?", max_tokens=60)
    assert backend.asked == [("What did it cost?", 60)]
    assert "collection" in done.text
    assert " of " not in done.text.replace("14 May 1987", "")
    assert done.note == "words a model chose"


def test_a_model_is_asked_about_prose_over_its_budget_alone():
    backend = LongWords()
    compressor = Compressor(backend=backend)
    assert compressor.compress(samples.PROSE).text == samples.PROSE
    assert compressor.compress(samples.rows(), max_tokens=3_000).kind == "json"
    assert backend.asked == []


def test_a_protected_stretch_that_is_touched_stays_whole():
    at = samples.PROSE.index("4,250,000") + 2
    done = Compressor(backend=Says(((at, at + 1), 1.0))).compress(samples.PROSE, max_tokens=60)
    assert done.text == "4,250,000"


@settings(deadline=None, max_examples=150)
@given(
    places=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 40), st.floats(-5, 5)), max_size=30),
    max_tokens=st.integers(1, 150),
)
def test_whatever_stretches_a_model_wants_the_budget_and_what_is_protected_hold(places, max_tokens):
    text = samples.PROSE
    wanted = []
    for start, length, worth in sorted(places):
        if (not wanted or start >= wanted[-1][0][1]) and start + length <= len(text):
            wanted.append(((start, start + length), worth))
    compressor = Compressor(backend=Says(*wanted))
    done = compressor.compress(text, max_tokens=max_tokens)
    assert compressor.counter.count(done.text) == done.tokens <= max_tokens
    assert cut_protected(done, text) == []
    assert all(text[start:end].strip() in done.text for start, end in done.spans)


def test_a_users_own_pattern_holds_against_a_model():
    at = samples.PROSE.index("after the fire")
    done = Compressor(backend=Says(((at, at + 5), 1.0)), protect=["rebuilt after the fire"]).compress(
        samples.PROSE, max_tokens=60
    )
    assert done.text == "rebuilt after the fire"


class Fails:
    def keep(self, text, *, question, max_tokens):
        raise RuntimeError("the model is not there")


@pytest.mark.parametrize("backend", [Fails(), Says(((0, 10_000), 1.0)), Says(((5, 2), 1.0))])
def test_a_model_that_fails_or_names_what_is_not_there_costs_a_warning_and_the_budget_holds(backend, caplog):
    with caplog.at_level(logging.WARNING, logger="thrift"):
        done = Compressor(backend=backend).compress(samples.PROSE, max_tokens=40)
    assert 0 < done.tokens <= 40
    assert samples.PROSE.startswith(done.text)
    assert len(caplog.records) == 1


def test_a_long_text_is_shown_to_the_model_part_by_part(monkeypatch):
    monkeypatch.setattr(codecs, "_PROSE_PART", 4_000)
    backend = LongWords()
    text = f"{samples.PROSE}\n\n" * 20
    done = Compressor(backend=backend).compress(text, ratio=0.5)
    assert len(backend.asked) == -(-len(text) // 4_000)
    assert done.tokens <= 0.5 * done.tokens_before
    assert cut_protected(done, text) == []
