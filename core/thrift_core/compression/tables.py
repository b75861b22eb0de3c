"""Comma-separated tables: written without loss where that is shorter; under a budget the rows that matter stay."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import cast

from thrift_core.compression.folding import Fold, fold_to
from thrift_core.compression.work import Draft, Job
from thrift_core.notation.documents import JSON_LEGEND, MARK, written
from thrift_core.notation.shapes import Json
from thrift_core.relevance.segmentation import words

LEGEND = "table, all cells text"
_TOTALS = ("total", "sum", "average", "mean", "gesamt", "summe", "subtotal", "grand")
_MOST_CHARACTERS = 5_000_000


def table(text: str, job: Job) -> Draft | None:
    """Return a table in the compact notation, or with rows folded where the budget needs it."""
    draft = _compact(text) if len(text) <= _MOST_CHARACTERS else None
    if draft is not None and (job.max_tokens is None or job.count(draft.text) <= job.max_tokens):
        return draft
    if job.max_tokens is None or not job.may_cut:
        return None
    return fold_to(text, list(_folds(text.split("\n"), job.question)), job.max_tokens, job.count)


def _compact(text: str) -> Draft | None:
    """Return the table as a list of rows by column, where every cell reads back the same."""
    for delimiter in (",", "\t", ";", "|"):
        found = _rows(text, delimiter)
        if found is None:
            continue
        head, rows = found
        values = [dict(zip(head, row, strict=True)) for row in rows]
        shown = written(cast("Json", values))
        if shown is None:
            return None
        shown = shown.replace(JSON_LEGEND, f"{LEGEND}; {JSON_LEGEND}", 1)
        return Draft(shown, "a table written compactly", "value") if shown.startswith(MARK) else None
    return None


def _rows(text: str, delimiter: str) -> tuple[list[str], list[list[str]]] | None:
    if delimiter not in text.partition("\n")[0]:
        return None
    try:
        found = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    rows = [row for row in found if row]
    if len(rows) < 3 or len(rows) < len(found) - 1 or any(len(row) != len(rows[0]) for row in rows):
        return None
    return (rows[0], rows[1:]) if len(set(rows[0])) == len(rows[0]) > 1 else None


def _folds(lines: Sequence[str], question: str | None) -> Iterator[Fold]:
    """Yield rows in runs, those that name nothing of the question first; the head, the last row and totals stay."""
    asked = frozenset(words(question)) if question else frozenset[str]()
    last = max((number for number, line in enumerate(lines) if line.strip()), default=0)
    stays = {0, 1, last}
    stays.update(number for number, line in enumerate(lines) if line.lower().lstrip(" \"'|").startswith(_TOTALS))
    hits = [len(asked & set(words(line))) for line in lines] if asked else [0] * len(lines)
    for level in sorted({hits[number] for number in range(len(lines)) if number not in stays}):
        # Runs of rows that name no more than this; what was folded at a lower level is part of a longer run here.
        start: int | None = None
        for number in range(len(lines) + 1):
            may_go = number < len(lines) and number not in stays and hits[number] == level
            if may_go and start is None:
                start = number
            elif not may_go and start is not None:
                yield from _halves(start + 1, number, float(level))
                start = None


def _halves(first: int, last: int, rank: float) -> Iterator[Fold]:
    """Yield a run in pieces from the end on, so that no more rows go than must."""
    size = max(4, (last - first + 1) // 8)
    stop = last
    while stop >= first:
        start = max(first, stop - size + 1)
        yield Fold(start, stop, "rows", rank)
        stop = start - 1
