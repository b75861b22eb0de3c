"""Finds in a text what a model's tool gave back of it: such tools answer with words or tokens, not with places."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from thrift_core.compression.compressed import Span

# A word is looked for so far on; one that the tool wrote otherwise than the text is left out, not found elsewhere.
_FARTHEST = 4_000


def places_of_words(text: str, words: Iterable[str]) -> list[Span | None]:
    """Return where words stand that were taken from a text in reading order; None for one that does not.

    Args:
        text: the text.
        words: all its words, each once, as far as the tool knows them.
    """
    found: list[Span | None] = []
    at = 0
    for word in words:
        start = text.find(word, at, at + _FARTHEST) if word else -1
        found.append((start, start + len(word)) if start >= 0 else None)
        at = start + len(word) if start >= 0 else at
    return found


def places_of_tokens(kept: Sequence[int], ids: Sequence[int], offsets: Sequence[Span]) -> list[Span]:
    """Return where tokens stand that were kept of a text, each at the first place after the one before.

    A token that is kept of two that are the same may be found in the other's place; the text that stays is the same.

    Args:
        kept: numbers of the tokens that were kept, in order.
        ids: those of the whole text.
        offsets: where each of these stands.
    """
    where: dict[int, list[int]] = {}
    for place, token in enumerate(ids):
        where.setdefault(token, []).append(place)
    found: list[Span] = []
    after = 0
    for token in kept:
        places = where.get(token, ())
        at = bisect_left(places, after)
        if at < len(places):
            found.append(offsets[places[at]])
            after = places[at] + 1
    return found


def whole_words(text: str, spans: Iterable[Span]) -> list[Span]:
    """Return the words of which at least half was kept: half a word says nothing, and costs as much.

    Args:
        text: the text.
        spans: what was kept, in reading order.
    """
    found: list[Span] = []
    kept = 0
    for start, end in spans:
        first, last = start, end
        while first < last and text[first].isspace():
            first += 1
        while last > first and text[last - 1].isspace():
            last -= 1
        if first == last:
            continue
        word = _around(text, first, last)
        is_new = not found or word != found[-1]
        if is_new:
            if found and 2 * kept < found[-1][1] - found[-1][0]:
                found.pop()
            found.append(word)
            kept = 0
        kept += last - first
    if found and 2 * kept < found[-1][1] - found[-1][0]:
        found.pop()
    return found


def _around(text: str, first: int, last: int) -> Span:
    """Return a stretch grown to the letters and digits it is part of."""
    if text[first].isalnum():
        while first > 0 and text[first - 1].isalnum():
            first -= 1
    if text[last - 1].isalnum():
        while last < len(text) and text[last].isalnum():
            last += 1
    return first, last
