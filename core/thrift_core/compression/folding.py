"""Leaves lines out of a text and says which: `§35-58` stands for lines 35 to 58, so every line keeps its number.

What is folded is unfolded again, with the text at hand, before it is used: every line that is shown must be the text's
own, in its place. With that, whoever has the whole text can put any fold back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from thrift_core.compression.compressed import Dropped, Span
from thrift_core.compression.work import Draft
from thrift_core.notation.documents import MARK
from thrift_core.relevance.segmentation import words

_MARKER = re.compile(rf"[^\S\n]*\S{{0,4}}[^\S\n]*\S{{0,2}} ?{MARK}(\d+)-(\d+)\Z")
_HEAD = re.compile(rf"\S{{0,2}} ?{MARK}fold ")
# A fold must be worth the line that stands for it.
FEWEST_CHARACTERS = 64
_MARKER_CHARACTERS = 20
_ROUNDS = 24


class FoldError(ValueError):
    """A folded text does not go with the text given."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Lines that may be left out.

    Attributes:
        first: the first of them, from 1.
        last: the last of them.
        what: what they are, in words.
        rank: folds of a lower rank go first.
        lead: what the line that stands for them begins with, such as blanks and a comment sign.
    """

    first: int
    last: int
    what: str
    rank: float
    lead: str = ""


def head(comment: str = "") -> str:
    """Return the first line of a folded text."""
    return f"{comment}{MARK}fold a-b: lines a to b are left out"


def folded(lines: Sequence[str], folds: Iterable[Fold], comment: str = "") -> str:
    """Return the lines with folds, which may not overlap, as one line each."""
    shown = [head(comment)]
    at = 0
    for fold in sorted(folds, key=lambda fold: fold.first):
        shown += lines[at : fold.first - 1]
        shown.append(f"{fold.lead}{MARK}{fold.first}-{fold.last}")
        at = fold.last
    return "\n".join([*shown, *lines[at:]])


def unfolded(text: str, whole: str) -> str:
    r"""Return a folded text with every fold put back from the whole.

    Raises:
        FoldError: a line that is shown is not the whole's in that place, or a fold names lines that cannot be there.

    Example:
        >>> unfolded("§fold a-b: lines a to b are left out\none\n§2-3\nfour", "one\ntwo\nthree\nfour")
        'one\ntwo\nthree\nfour'
    """
    first, _, rest = text.partition("\n")
    if not _HEAD.match(first):
        raise FoldError(f"a folded text begins with {head()!r}; this begins with {first[:40]!r}")
    lines = whole.split("\n")
    found: list[str] = []
    for line in rest.split("\n"):
        hit = _MARKER.match(line)
        if hit is None:
            if len(found) >= len(lines) or lines[len(found)] != line:
                raise FoldError(f"line {len(found) + 1} is another one in the whole text")
            found.append(line)
            continue
        start, stop = int(hit[1]), int(hit[2])
        if start != len(found) + 1 or not start <= stop <= len(lines):
            raise FoldError(f"lines {start} to {stop} cannot stand after line {len(found)}")
        found += lines[start - 1 : stop]
    return "\n".join(found)


def fold_to(
    text: str, folds: Sequence[Fold], max_tokens: int, count: Callable[[str], int], comment: str = ""
) -> Draft | None:
    """Return the text with as few folds as bring it under a number of tokens, or all where that is not enough.

    Args:
        text: the text.
        folds: what may be folded, by rank and then as given; what overlaps an earlier one is passed over.
        max_tokens: how many tokens to come down to.
        count: counts tokens.
        comment: what a line begins with that is a comment in the text's language.
    """
    lines = text.split("\n")
    # A line that reads as one of our marks would be taken for a fold.
    if any(MARK in line and _MARKER.match(line) for line in lines):
        return None
    usable = list(_usable(sorted(folds, key=lambda fold: fold.rank), lines))
    if not usable:
        return None
    total = count(text)
    per_character = total / max(1, len(text))
    number = _first_guess([_length(lines, fold) for fold in usable], total - max_tokens, per_character)
    for _ in range(_ROUNDS):
        chosen = _outermost(usable[:number])
        shown = folded(lines, chosen, comment)
        if number >= len(usable) or count(shown) <= max_tokens:
            break
        number = min(len(usable), number + max(1, len(usable) // _ROUNDS))
    else:
        chosen = _outermost(usable)
        shown = folded(lines, chosen, comment)
    if unfolded(shown, text) != text:
        return None
    return Draft(shown, f"{len(chosen)} stretches of lines folded", spans=_spans(lines, chosen), dropped=_told(chosen))


def _first_guess(lengths: Sequence[int], tokens_to_save: int, per_character: float) -> int:
    """Return how many folds save so many tokens, about; at least one."""
    saved = 0.0
    for number, length in enumerate(lengths, 1):
        saved += (length - _MARKER_CHARACTERS) * per_character
        if saved >= tokens_to_save:
            return number
    return len(lengths)


def _usable(folds: Iterable[Fold], lines: Sequence[str]) -> Iterator[Fold]:
    """Yield the folds that are worth it and do not overlap an earlier one, except that they may hold all of it."""
    owner = [-1] * (len(lines) + 2)
    found: list[Fold] = []
    for fold in folds:
        if _length(lines, fold) < FEWEST_CHARACTERS:
            continue
        inside = {number for number in owner[fold.first : fold.last + 1] if number >= 0}
        if all(fold.first <= found[number].first and found[number].last <= fold.last for number in inside):
            owner[fold.first : fold.last + 1] = [len(found)] * (fold.last + 1 - fold.first)
            found.append(fold)
            yield fold


def _outermost(folds: Sequence[Fold]) -> list[Fold]:
    """Return the folds that are not inside another."""
    kept: list[Fold] = []
    for fold in sorted(folds, key=lambda fold: (fold.first, -fold.last)):
        if not kept or fold.first > kept[-1].last:
            kept.append(fold)
    return kept


def _length(lines: Sequence[str], fold: Fold) -> int:
    return sum(map(len, lines[fold.first - 1 : fold.last])) + fold.last - fold.first


def _spans(lines: Sequence[str], folds: Sequence[Fold]) -> tuple[Span, ...]:
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found: list[Span] = []
    at = 0
    for fold in sorted(folds, key=lambda fold: fold.first):
        if fold.first - 1 > at:
            found.append((starts[at], starts[fold.first - 1] - 1))
        at = fold.last
    if at < len(lines):
        found.append((starts[at], starts[-1] - 1))
    return tuple(found)


def _told(folds: Iterable[Fold]) -> tuple[Dropped, ...]:
    counts: dict[str, int] = {}
    for fold in folds:
        counts[fold.what] = counts.get(fold.what, 0) + fold.last + 1 - fold.first
    return tuple(Dropped(f"line of {what}", number) for what, number in counts.items())


def asked_shares(question: str | None, texts: Sequence[str]) -> list[float]:
    """Return how much of a question each text names, 0 to 1; a word that few of the texts have counts for more."""
    asked = frozenset(words(question)) if question else frozenset[str]()
    if not asked:
        return [0.0] * len(texts)
    said = [asked & set(words(text)) for text in texts]
    weights = {word: 1.0 / found for word in asked if (found := sum(word in item for item in said))}
    whole = sum(weights.values()) or 1.0
    return [sum(weights[word] for word in item) / whole for item in said]
