"""Writes a text with the phrases that it repeats given once at its top; reading it back gives the same bytes.

    §~(~n stands for the text after ~n= below)
    ~1=the rate limit of this method is described in the manual

    ... see ~1 ... and again ~1 ...

Phrases are whole words between blanks, so that what stands around a `~1` reads on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from thrift_core.notation.documents import MARK

# Stands before a phrase's number: the first of these that the text does not have.
_SIGNS = "~¤¦"
_WORD = re.compile(r"\s*\S+")
_FEWEST_WORDS = 5
_MOST_WORDS = 400
_MOST_CHARACTERS = 400_000
_MOST_PHRASES = 300
_CHARACTERS_PER_TOKEN = 4.5
_REFERENCE_TOKENS = 3.0
# Looking at a repeat costs its words times how often it comes; what costs more than this for each word is cut short.
_WORK_PER_WORD = 24


class PhrasesError(ValueError):
    """The text was not written with phrases."""


@dataclass(frozen=True, slots=True)
class _Repeat:
    start: int
    words: int
    places: tuple[int, ...]

    @property
    def covered(self) -> int:
        return self.words * (len(self.places) - 1)


def abbreviated(text: str) -> str | None:
    """Return a text with its repeated phrases given once, or None where none is worth it."""
    sign = next((sign for sign in _SIGNS if sign not in text), None)
    if sign is None or len(text) > _MOST_CHARACTERS:
        return None
    words = _WORD.findall(text)
    phrases: list[str] = []
    chosen: dict[int, tuple[int, int]] = {}
    used = bytearray(len(words))
    for repeat in sorted(_repeats(words), key=lambda repeat: (-repeat.covered, repeat.start)):
        places = _free(repeat, used)
        phrase = "".join(words[repeat.start : repeat.start + repeat.words]).lstrip()
        if _gain(phrase, len(places)) <= 0 or len(phrases) >= _MOST_PHRASES:
            continue
        phrases.append(phrase)
        for place in places:
            used[place : place + repeat.words] = b"\x01" * repeat.words
            chosen[place] = (repeat.words, len(phrases))
    if not phrases:
        return None
    tail = text[sum(map(len, words)) :]
    written = "\n".join([_head(sign), *(f"{sign}{n}={phrase}" for n, phrase in enumerate(phrases, 1)), ""])
    shown = f"{written}\n{_with_references(words, chosen, sign)}{tail}"
    return shown if expanded(shown) == text else None


def expanded(text: str) -> str:
    """Return a text with its phrases written out.

    Raises:
        PhrasesError: it was not written with phrases.

    Example:
        >>> text = "the end of the very long road to Rome, " * 9
        >>> expanded(abbreviated(text)) == text
        True
    """
    sign = text[1:2]
    head, _, body = text.partition("\n\n")
    lines = head.split("\n")
    if not sign or sign not in _SIGNS or lines[0] != _head(sign):
        raise PhrasesError("the first line does not say that there are phrases")
    phrases: dict[str, str] = {}
    for line in lines[1:]:
        name, _, phrase = line.partition("=")
        phrases[name] = phrase

    def phrase_of(hit: re.Match[str]) -> str:
        if hit[0] not in phrases:
            raise PhrasesError(f"no phrase is called {hit[0]!r}")
        return phrases[hit[0]]

    return re.sub(rf"{sign}\d+", phrase_of, body)


def _head(sign: str) -> str:
    return f"{MARK}{sign}({sign}n stands for the text after {sign}n= below)"


def _repeats(words: Sequence[str]) -> list[_Repeat]:
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at in range(len(words) - _FEWEST_WORDS + 1):
        places[tuple(words[at : at + _FEWEST_WORDS])].append(at)
    found: list[_Repeat] = []
    work = _WORK_PER_WORD * len(words)
    for starts in places.values():
        if len(starts) < 2 or (starts[0] > 0 and len({words[at - 1] for at in starts}) == 1):
            continue
        length = _FEWEST_WORDS
        while work > 0 and length < _MOST_WORDS and starts[-1] + length < len(words):
            work -= len(starts)
            if len({words[at + length] for at in starts}) > 1:
                break
            length += 1
        if not any("\n" in word for word in words[starts[0] : starts[0] + length]):
            found.append(_Repeat(starts[0], length, tuple(starts)))
    return found


def _free(repeat: _Repeat, used: bytearray) -> list[int]:
    free: list[int] = []
    end = 0
    for place in repeat.places:
        if place >= end and not any(used[place : place + repeat.words]):
            free.append(place)
            end = place + repeat.words
    return free


def _gain(phrase: str, times: int) -> float:
    """Return about how many tokens a phrase saves: it is written once, and each use is a reference."""
    tokens = len(phrase) / _CHARACTERS_PER_TOKEN
    return (times - 1) * tokens - _REFERENCE_TOKENS * (times + 1)


def _with_references(words: Sequence[str], chosen: dict[int, tuple[int, int]], sign: str) -> str:
    written: list[str] = []
    at = 0
    while at < len(words):
        if at in chosen:
            length, number = chosen[at]
            word = words[at]
            written.append(f"{word[: len(word) - len(word.lstrip())]}{sign}{number}")
            at += length
        else:
            written.append(words[at])
            at += 1
    return "".join(written)
