"""Writes runs of lines that are alike as what they share, once, and a short row for what each has of its own.

Where the lines have as many words each, every word that differs is a `*`, and a row gives the words in its place:

    [3x] Requirement already satisfied: * in /usr/lib/python3/site-packages *
    pytest (8.1.1)
    pytz (2024.1)
    simplejson (3.19.2)

Else there is one `*`, for whatever stands between the beginning and the end that the lines share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HOLE = "*"
_HEAD = re.compile(r"\[(\d+)x\] (.*)\Z", re.DOTALL)
_FEWEST_LINES = 3
# What a head costs besides the text that it holds, and what a run must save to be worth the reader's effort.
_HEAD_CHARACTERS = 12
_FEWEST_SAVED = 60
# Less in common than this, and no longer run is looked for.
_FEWEST_SHARED = 8
_LONGEST_LINE = 2000
_WORD_END = re.compile(r"\W\w*\Z")
_WORD_START = re.compile(r"\w*\W")


@dataclass(frozen=True, slots=True)
class _Run:
    template: str
    rows: list[str]
    saved: int


def fold(lines: Sequence[str]) -> list[str]:
    """Return the lines with runs of like ones folded; `unfold` gives them back, unless a line looks like a head.

    Example:
        >>> fold([f"-rw-r--r-- 1 root root {n} Nov 20 12:31 file_{n}.txt" for n in (5, 66, 7)])[:2]
        ['[3x] -rw-r--r-- 1 root root * Nov 20 12:31 *', '5 file_5.txt']
    """
    written: list[str] = []
    at = 0
    while at < len(lines):
        run = _longest(lines, at)
        if run is None:
            written.append(lines[at])
            at += 1
            continue
        written.append(f"[{len(run.rows)}x] {run.template}")
        written.extend(run.rows)
        at += len(run.rows)
    return written


def unfold(lines: Sequence[str]) -> list[str]:
    """Return the lines that were folded.

    Raises:
        ValueError: a row does not fit its head, or rows are missing.
    """
    out: list[str] = []
    at = 0
    while at < len(lines):
        match = _HEAD.match(lines[at])
        at += 1
        if match is None or HOLE not in match[2]:
            out.append(lines[at - 1])
            continue
        count = int(match[1])
        if at + count > len(lines):
            raise ValueError(f"{count} rows are announced, {len(lines) - at} lines are left")
        out.extend(_filled(match[2], row) for row in lines[at : at + count])
        at += count
    return out


def _filled(template: str, row: str) -> str:
    if template.count(HOLE) == 1:
        return template.replace(HOLE, row)
    words, values = template.split(" "), iter(row.split(" "))
    filled = [next(values, None) if word == HOLE else word for word in words]
    if None in filled or next(values, None) is not None:
        raise ValueError(f"the row {row!r} does not fit {template!r}")
    return " ".join(word for word in filled if word is not None)


def _longest(lines: Sequence[str], at: int) -> _Run | None:
    if at + _FEWEST_LINES > len(lines) or not all(map(_is_foldable, lines[at : at + _FEWEST_LINES])):
        return None
    by_words, by_ends = _by_words(lines, at), _by_ends(lines, at)
    found = [run for run in (by_words, by_ends) if run is not None]
    return max(found, key=lambda run: run.saved, default=None)


def _is_foldable(line: str) -> bool:
    return HOLE not in line and _FEWEST_SHARED <= len(line) <= _LONGEST_LINE


def _by_words(lines: Sequence[str], at: int) -> _Run | None:
    """Return the run of lines from `at` on that differ in some words, at least two, and only in those."""
    first = lines[at].split(" ")
    is_shared = [True] * len(first)
    best: tuple[int, list[bool], int] | None = None
    rows = [first]
    for line in lines[at + 1 :]:
        words = line.split(" ")
        if len(words) != len(first) or not _is_foldable(line):
            break
        is_shared = [is_same and word == other for is_same, word, other in zip(is_shared, first, words, strict=True)]
        shared = sum(len(word) + 1 for word, is_same in zip(first, is_shared, strict=True) if is_same)
        if shared < _FEWEST_SHARED:
            break
        rows.append(words)
        saved = shared * (len(rows) - 1) - _HEAD_CHARACTERS
        if len(rows) >= _FEWEST_LINES and is_shared.count(False) > 1 and (best is None or saved > best[2]):
            best = len(rows), is_shared, saved
    if best is None or best[2] < _FEWEST_SAVED:
        return None
    count, is_shared, saved = best
    template = " ".join(word if is_same else HOLE for word, is_same in zip(first, is_shared, strict=True))
    own = [
        " ".join(word for word, is_same in zip(words, is_shared, strict=True) if not is_same) for words in rows[:count]
    ]
    return _Run(template, own, saved)


def _by_ends(lines: Sequence[str], at: int) -> _Run | None:
    """Return the run of lines from `at` on that share their beginning or their end."""
    start = end = lines[at]
    best: tuple[int, str, str, int] | None = None
    for count, line in enumerate(lines[at + 1 :], start=2):
        if not _is_foldable(line):
            break
        start = _shared_start(start, line)
        end = _shared_end(end, line)
        if len(start) + len(end) < _FEWEST_SHARED:
            break
        if count < _FEWEST_LINES:
            continue
        shortest = min(len(item) for item in lines[at : at + count])
        head, tail = _whole_words(start, end, shortest)
        saved = (len(head) + len(tail)) * (count - 1) - _HEAD_CHARACTERS
        if best is None or saved > best[3]:
            best = count, head, tail, saved
    if best is None or best[3] < _FEWEST_SAVED:
        return None
    count, head, tail, saved = best
    own = [line[len(head) : len(line) - len(tail)] for line in lines[at : at + count]]
    return _Run(f"{head}{HOLE}{tail}", own, saved)


def _shared_start(one: str, other: str) -> str:
    count = next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), None)
    return min(one, other, key=len) if count is None else one[:count]


def _shared_end(one: str, other: str) -> str:
    return _shared_start(one[::-1], other[::-1])[::-1]


def _whole_words(start: str, end: str, shortest: int) -> tuple[str, str]:
    """Return a shared beginning and end that cut no word and do not overlap in the shortest line."""
    cut = _WORD_END.search(start)
    head = start[: cut.start() + 1] if cut else ""
    cut = _WORD_START.match(end)
    tail = end[cut.end() - 1 :] if cut else ""
    return head, tail[max(0, len(head) + len(tail) - shortest) :]
