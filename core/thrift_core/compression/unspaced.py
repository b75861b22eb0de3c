"""Cuts sentences of scripts without blanks between words into clauses, where words cannot be told without a dictionary.

No language is asked for: what counts is the property of characters to allow a line break between any two of them, or
to need a dictionary for it (UAX #14, classes ID, CJ and SA).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from thrift_core.compression.compressed import Span
from thrift_core.compression.protected import cuts_inside

# A sentence is written without blanks if at least one in so many of its characters is.
_SHARE = 3
# A shorter clause says little by itself, and stays with the one before it.
_SHORTEST = 4


def units(text: str, start: int, end: int, protected: Sequence[Span]) -> Iterator[Span]:
    """Yield the parts of a sentence that can be left out by themselves; all of it where words have blanks between them.

    Args:
        text: the text.
        start: where the sentence starts.
        end: where it ends.
        protected: stretches, in reading order, that no cut may be inside of.
    """
    if text[start:end].isascii() or _SHARE * len(_unspaced().findall(text, start, end)) < end - start:
        yield start, end
        return
    for mark in _clause_end().finditer(text, start, end):
        at = mark.end()
        if at - start >= _SHORTEST and end - at >= _SHORTEST and not cuts_inside(protected, at):
            yield start, at
            start = at
    yield start, end


@cache
def _unspaced() -> Any:
    return _compiled(r"[\p{LB=ID}\p{LB=CJ}\p{LB=SA}]")


@cache
def _clause_end() -> Any:
    # A comma or full stop between digits is part of a number.
    return _compiled(
        r"[\p{SB=SContinue}\p{Terminal_Punctuation}\p{SB=Close}]*[\p{SB=SContinue}\p{Terminal_Punctuation}]"
        r"(?<!\p{Nd}[.,:](?=\p{Nd}))\s*|\s+"
    )


def _compiled(pattern: str) -> Any:
    module = importlib.import_module("regex")
    return module.compile(pattern, module.V1)
