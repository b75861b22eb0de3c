"""The words of a text that name something: ids, paths, dates, amounts, addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from thrift_core.notation.shapes import Json

_NAMING = re.compile(r"[A-Za-z0-9_][\w@./:+-]*[A-Za-z0-9_]")
_MARK = re.compile(r"[\d_@/.]|[a-z][A-Z]")
_SHORTEST = 3
_LONGEST_WORD = 64
# Messages are read when they come in and again when they are collapsed, some dozens of messages later.
_TEXTS_KNOWN = 128


def is_naming(text: str) -> bool:
    """Say whether a text is one word that names something."""
    return len(text) >= _SHORTEST and _NAMING.fullmatch(text) is not None and _MARK.search(text) is not None


@lru_cache(maxsize=_TEXTS_KNOWN)
def naming_words(text: str) -> Sequence[str]:
    """Return the words of at least three characters that carry a digit or a joint, in order, repeats included."""
    return tuple(word for word in _NAMING.findall(text) if len(word) >= _SHORTEST and _MARK.search(word))


@lru_cache(maxsize=_TEXTS_KNOWN)
def argument_words(arguments: str) -> Sequence[str]:
    """Return what a call's arguments name: short values whole, and the naming words of longer ones."""
    try:
        parsed: Json = json.loads(arguments)
    except (ValueError, RecursionError):
        parsed = arguments
    words: list[str] = []
    for text in _scalars(parsed):
        is_word = len(text) <= _LONGEST_WORD and not any(map(str.isspace, text))
        words.extend((text,) if is_word else naming_words(text))
    return tuple(words)


def _scalars(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif isinstance(value, str) and value:
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


@dataclass(slots=True)
class Sightings:
    """Where in a conversation each naming word stands."""

    _places: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def add(self, index: int, words: Iterable[str]) -> None:
        """Note that message `index` holds the words."""
        for word in words:
            places = self._places.setdefault(word, [])
            if not places or places[-1] != index:
                places.append(index)

    def last(self, word: str) -> int | None:
        """Return the last message that holds a word."""
        places = self._places.get(word)
        return places[-1] if places else None

    def places(self, word: str) -> Sequence[int]:
        """Return the messages that hold a word, in order."""
        return self._places.get(word, ())
