"""Lines that are alike are written once, with a row for what each has of its own, and come back as they were."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.notation.folding import fold, unfold

from tests.core.trajectory.histories import prices, reads_back, requests, sent, step, summarizer, task

WORD = st.sampled_from(["", "a", "/usr/lib/python3", "INFO", "rows", "*", "12", "[3x]", "é", "\t"])
LINES = st.lists(st.lists(WORD, max_size=6).map(" ".join), max_size=30)


@given(LINES)
def test_what_was_folded_comes_back_or_cannot_be_read(lines: list[str]) -> None:
    folded = fold(lines)
    if not any(line.startswith("[") for line in lines):
        assert unfold(folded) == lines


@given(st.lists(st.sampled_from(["/srv/app/api/v1", "ok", "failed"]), min_size=3, max_size=20), st.integers(0, 99))
def test_lines_of_one_kind_take_less(values: list[str], number: int) -> None:
    lines = [
        f"2026-11-20 10:00:{number + at} worker-7 GET /srv/app/items {value} 200" for at, value in enumerate(values)
    ]
    folded = fold(lines)
    assert unfold(folded) == lines
    assert len("".join(folded)) < len("".join(lines))


def test_lines_of_different_length_share_their_beginning_and_end() -> None:
    lines = [f"src/very/long/path/module.py:{n}: {'word ' * n}found here at last" for n in (1, 40, 2)]
    assert fold(lines)[0] == "[3x] src/very/long/path/module.py:* word found here at last"
    assert unfold(fold(lines)) == lines


def test_no_word_is_cut_in_two() -> None:
    lines = [f"loading and reading configuration_{name} of the whole service" for name in ("alpha", "alpine", "alps")]
    assert fold(lines)[1:] == ["configuration_alpha", "configuration_alpine", "configuration_alps"]


@pytest.mark.parametrize("lines", [["[2x] a * b", "c"], ["[9x] a * b", "c"], ["[2x] * b *", "x y", "z"]])
def test_rows_that_do_not_fit_are_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="row"):
        unfold(lines)


def test_a_log_is_folded_at_first_sight_and_explained_once() -> None:
    def log(start: int) -> str:
        return "\n".join(
            f"2026-11-20 INFO worker served /items/{n} in {n % 7} ms for tenant acme" for n in range(start, start + 40)
        )

    messages = [*task(), *step(1, log(0), "read_log"), *step(2, log(500), "read_log")]
    summary = summarizer()
    for history in requests(messages):
        assert reads_back(history, summary.plan(history, prices()))
    first, second = (message.text for message in sent(summarizer(), messages) if message.role == "tool")
    assert first.startswith("§([3x] a*b: 3 rows follow")
    assert second.startswith("§rows\n")
    assert len(first) + len(second) < 0.5 * len(log(0) + log(500))


def test_a_text_with_repeated_lines_and_like_lines_is_written_with_both() -> None:
    listing = "\n".join(f"-rw-r--r-- 1 root root {n * 37} Nov 20 12:31 file_{n}.txt" for n in range(30))
    banner = "\n".join(f"{'line of the banner that stays':>{40 + n}}" for n in range(8))
    messages = [*task(), *step(1, banner, "bash"), *step(2, f"{banner}\n{listing}", "bash")]
    summary = summarizer()
    edits = summary.plan(messages, prices())
    assert reads_back(messages, edits)
    text = sent(summary, messages)[-1].text
    assert "bash#1:1-8" in text
    assert "[30x] -rw-r--r-- 1 root root * Nov 20 12:31 *" in text
    assert json.dumps(text)
