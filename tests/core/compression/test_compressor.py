"""The compressor's promises, whatever the text: exact in its budget, never longer, the same each time."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor
from thrift_core.errors import ConfigurationError
from thrift_core.notation.documents import read
from thrift_core.recall.store import MemoryRecallStore

from tests.core.compression import samples

COMPRESSOR = Compressor()
ANY_TEXT = st.one_of(
    st.text(max_size=400),
    st.sampled_from([samples.PROSE, samples.rows(12), samples.log(60)]),
    st.lists(
        st.sampled_from([*samples.PROSE.split(), "\n", "{", '"', "§(", "```", "<p>", "-12", "é", "数据"]), max_size=120
    ).map(" ".join),
)


def test_json_is_written_compactly_and_reads_back_the_same():
    done = COMPRESSOR.compress(samples.rows())
    assert (done.kind, done.round_trip) == ("json", "value")
    assert read(done.text) == json.loads(samples.rows())
    assert done.saved_pct > 50


def test_json_lines_are_one_list():
    lines = "\n".join(json.dumps({"user": f"u{n}", "action": "login", "ok": True}) for n in range(20))
    done = COMPRESSOR.compress(lines)
    assert (done.kind, done.is_lossless) == ("ndjson", True)
    assert done.saved_pct > 40


def test_json_over_the_budget_keeps_first_last_and_odd_rows_and_counts_the_rest():
    values = [{"id": n, "state": "fine"} for n in range(400)]
    values[200]["state"] = "error: disk full"
    done = COMPRESSOR.compress(json.dumps(values), max_tokens=200)
    assert done.tokens <= 200
    assert "of 400 rows" in done.text
    shown = read(done.text.replace(done.text[: done.text.index(")")], "§(JSON; [#columns| row; row]; ^ as above"))
    assert shown[0] == values[0]
    assert shown[-1] == values[-1]
    assert values[200] in shown


def test_a_row_that_the_question_names_stays():
    values = [{"id": n, "name": f"item-{n}", "colour": "grey"} for n in range(300)]
    values[123]["colour"] = "turquoise"
    done = COMPRESSOR.compress(json.dumps(values), "Which item is turquoise?", max_tokens=150)
    assert "turquoise" in done.text


def test_prose_without_a_budget_is_left_as_it_is():
    assert COMPRESSOR.compress(samples.PROSE).text == samples.PROSE


def test_prose_that_repeats_itself_says_it_once():
    done = COMPRESSOR.compress(f"{samples.PROSE}\n\n{samples.PROSE}")
    assert done.text.strip() == samples.PROSE
    assert done.dropped[0].what == "repeat"


def test_a_question_keeps_the_sentence_that_answers_it():
    done = COMPRESSOR.compress(samples.PROSE, "How many paintings are by Nikolai Astrup?", ratio=0.3)
    assert "312 paintings, of which 40 are by Nikolai Astrup" in done.text
    assert all(samples.PROSE[start:end] in done.text for start, end in done.spans)


def test_without_a_question_numbers_names_quotes_and_negations_outlive_common_words():
    done = COMPRESSOR.compress(samples.PROSE, ratio=0.65)
    facts = ["14 May 1987", "2003", "Anna Lindqvist", "did not accept", "4,250,000", "312", "Nikolai Astrup", "10:00"]
    assert [fact for fact in facts if fact not in done.text] == []
    assert '"We will never sell a single one,"' in done.text


def test_what_is_kept_is_verbatim_and_in_order():
    done = COMPRESSOR.compress(samples.PROSE, ratio=0.5)
    assert "".join("".join(samples.PROSE[slice(*span)] for span in done.spans).split()) == "".join(done.text.split())
    assert list(done.spans) == sorted(done.spans)


def test_a_users_own_pattern_is_never_cut_inside():
    text = "The part with the code of the batch ZX and of the lot is here. " * 3 + samples.PROSE
    done = Compressor(protect=[r"code of the batch \w+ and of the lot"]).compress(text, ratio=0.6)
    assert "code of the batch ZX and of the lot" in done.text


def test_what_is_cut_can_be_recalled():
    store = MemoryRecallStore()
    done = Compressor(store=store).compress(samples.PROSE, ratio=0.6)
    assert store.get(done.handle) == samples.PROSE
    assert done.text.startswith(f"§cut, recall {done.handle}\n")


def test_the_async_twin_answers_the_same():
    assert asyncio.run(COMPRESSOR.acompress(samples.log())) == COMPRESSOR.compress(samples.log())


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"max_tokens": -1}, "max_tokens=-1"),
        ({"max_tokens": True}, "max_tokens=True"),
        ({"ratio": 0}, "ratio=0"),
        ({"ratio": 1.5}, "ratio=1.5"),
        ({"lossless": True, "ratio": 0.5}, "lossless"),
        ({"kind": "poem"}, "poem"),
    ],
)
def test_a_budget_that_cannot_work_says_so(settings_, said):
    with pytest.raises(ConfigurationError, match=said):
        COMPRESSOR.compress("text", **settings_)


def test_a_text_that_is_none_says_so():
    with pytest.raises(TypeError, match="bytes"):
        COMPRESSOR.compress(b"text")


def test_a_pattern_that_cannot_be_compiled_says_so():
    with pytest.raises(ConfigurationError, match="protect"):
        Compressor(protect=["("])


def test_a_pattern_that_never_ends_leaves_the_text_as_it_is():
    text = "a" * 3000 + "! And a sentence that follows it."
    done = Compressor(protect=[r"(a|a)+$|(a+)+b"]).compress(text, max_tokens=20)
    assert done.tokens <= 20


@settings(deadline=None, max_examples=120)
@given(text=ANY_TEXT, max_tokens=st.integers(0, 200), question=st.none() | st.just("What did it cost?"))
def test_no_budget_is_ever_passed(text, max_tokens, question):
    done = COMPRESSOR.compress(text, question, max_tokens=max_tokens)
    assert COMPRESSOR.counter.count(done.text) == done.tokens <= max(max_tokens, 0)
    assert len(done.text) <= len(text)


@settings(deadline=None, max_examples=200)
@given(text=ANY_TEXT, lossless=st.booleans())
def test_compressing_again_changes_nothing_and_the_same_text_gives_the_same_bytes(text, lossless):
    done = COMPRESSOR.compress(text, lossless=lossless)
    assert done.tokens <= done.tokens_before
    assert COMPRESSOR.compress(done.text, lossless=lossless).text == done.text
    assert Compressor().compress(text, lossless=lossless) == done
    assert done.is_lossless or not lossless


@settings(deadline=None, max_examples=100)
@given(text=ANY_TEXT, max_tokens=st.integers(0, 300))
def test_compressing_again_to_the_same_budget_changes_nothing(text, max_tokens):
    done = COMPRESSOR.compress(text, max_tokens=max_tokens)
    assert COMPRESSOR.compress(done.text, max_tokens=max_tokens).text == done.text
