"""The fact ledger: what later steps may still need of a text that is cut, in a few words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from thrift_core.notation.shapes import Json
from thrift_core.notation.writing import word
from thrift_core.trajectory.results import parse
from thrift_core.trajectory.words import is_naming, naming_words

Fact = tuple[str, str]
_LONGEST_NAME = 40
_SHORTEST = 3
# Numbers and flags further down are rows of listings, which recall gives back whole.
_DEEPEST_NUMBER = 1
_TEXTS_KNOWN = 64
_LINE_NUMBER = re.compile(r"^[ \t]*(\d{1,7})[:|\t]", re.MULTILINE)
_NUMBERED_LINES = 3


def ledger(text: str, is_visible: Callable[[str], bool], *, max_characters: int) -> list[str]:
    """Return the facts of a result that cannot be seen elsewhere, the likeliest to be needed first.

    Args:
        text: the result.
        is_visible: whether a value can still be read elsewhere in the request.
        max_characters: the most that the facts may take, blanks included.

    Returns:
        facts such as `HAT069`, `price=152` or `insurance=yes`: what names itself stands alone, a number or a flag with
        its key. Ids and dates come first, then names, then numbers and flags.
    """
    kept: list[str] = []
    known: set[str] = set()
    room = max_characters
    for value, fact in _facts(text):
        if fact in known or len(fact) + 1 > room or is_visible(value):
            continue
        known.add(fact)
        kept.append(fact)
        room -= len(fact) + 1
    return kept


@lru_cache(maxsize=_TEXTS_KNOWN)
def _facts(text: str) -> Sequence[Fact]:
    value = parse(text)
    if value is None:
        # Small bare numbers in running text say nothing without their sentence.
        words = naming_words(_without_line_numbers(text))
        return [(name, name) for name in words if not (name.isdigit() and len(name) <= _SHORTEST)]
    ids: list[Fact] = []
    names: list[Fact] = []
    numbers: list[Fact] = []
    for key, scalar, depth in _scalars(value):
        if isinstance(scalar, str):
            if is_naming(scalar):
                ids.append((scalar, scalar))
            elif _SHORTEST <= len(scalar) <= _LONGEST_NAME:
                names.append((scalar, word(scalar)))
            else:
                ids.extend((name, name) for name in naming_words(scalar))
        elif scalar is not None and depth <= _DEEPEST_NUMBER:
            written = json.dumps(scalar)
            numbers.append((written, f"{key}={written}"))
    return [*ids, *names, *numbers]


def _without_line_numbers(text: str) -> str:
    """Return a text without the numbers of its lines, if it has such: they name nothing, and there is one in each."""
    numbers = [int(match[1]) for match in _LINE_NUMBER.finditer(text)]
    following = sum(after == before + 1 for before, after in pairwise(numbers))
    return _LINE_NUMBER.sub("", text) if following >= _NUMBERED_LINES else text


def _scalars(value: Json, key: str = "", depth: int = 0) -> Iterator[tuple[str, bool | int | float | str | None, int]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _scalars(item, name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item, key, depth + 1)
    else:
        yield key, value, depth
