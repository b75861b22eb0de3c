"""Logs: nothing that happened only once is lost, and without loss they come back byte for byte."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression import Compressor
from thrift_core.compression.log_rows import RowsError, read, rows
from thrift_core.compression.log_templates import mine

from tests.core.compression import samples

COMPRESSOR = Compressor()
WORDS = st.sampled_from(
    [
        "10:00:01",
        "^",
        "'x",
        "=a",
        "*",
        "<1>",
        "\\",
        "A",
        "a",
        "ab",
        "·",
        "10.0.0.1",
        "12",
        "123456",
        "ERROR",
        "Jun  1",
        "\x00",
        "\r",
        " ",
        "",
    ]
)
LINES = st.lists(st.lists(WORDS, max_size=6).map(" ".join), min_size=1, max_size=40)


def test_every_kind_of_line_stays_and_every_rare_line():
    done = COMPRESSOR.compress(samples.log())
    assert done.kind == "log"
    assert done.saved_pct > 85
    for said in ("http.Server: GET", "session opened", "refused after", "/var is 91% full", "certificate expired"):
        assert said in done.text


def test_the_count_of_each_kind_is_told():
    done = COMPRESSOR.compress(samples.log())
    errors = samples.log().count("db.Pool")
    assert f" x{errors}" in done.text


def test_words_that_tell_kinds_apart_do_not_become_values():
    lines = [
        f"10:00:{n % 60:02d} sshd[{n}]: session {'opened' if n % 2 else 'closed'} for user u{n}" for n in range(100)
    ]
    shown = COMPRESSOR.compress("\n".join(lines)).text
    assert "session opened" in shown
    assert "session closed" in shown


def test_a_log_without_loss_comes_back_byte_for_byte():
    done = COMPRESSOR.compress(samples.log(), lossless=True)
    assert done.round_trip == "bytes"
    assert read(done.text) == samples.log()
    assert done.saved_pct > 50


def test_lines_that_the_question_names_come_first_into_the_room_that_is_left():
    text = samples.log(800)
    line = next(line for line in text.split("\n") if "user17" in line)
    assert line in COMPRESSOR.compress(text, "What did user17 do?").text


def test_a_small_budget_keeps_errors_first():
    done = COMPRESSOR.compress(samples.log(), max_tokens=150)
    assert done.tokens <= 150
    assert "certificate expired" in done.text


@settings(deadline=None, max_examples=200)
@given(lines=LINES)
def test_any_lines_come_back_from_rows_or_are_not_written_so(lines):
    written = rows(mine(lines))
    assert written is None or read(written) == "\n".join(lines)


@settings(deadline=None, max_examples=120)
@given(lines=LINES)
def test_the_kinds_and_values_of_any_lines_make_up_the_lines(lines):
    mined = mine(lines)
    for number, line in enumerate(lines):
        literals = mined.kinds[mined.kind_of[number]].literals
        values = mined.values[number]
        assert literals[0] + "".join(v + after for v, after in zip(values, literals[1:], strict=True)) == line


@settings(deadline=None, max_examples=120)
@given(text=st.text(alphabet="§lines()A! ^*<1>'x=\n a=0", max_size=60))
def test_what_was_never_written_by_us_is_refused_and_nothing_else_goes_wrong(text):
    head = rows(mine(["a 1", "a 2", "a 3"])).split("\n")[0]
    with contextlib.suppress(RowsError):
        read(f"{head}\n{text}")
    with pytest.raises(RowsError):
        read(text)
