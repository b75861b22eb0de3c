"""The guard against near misses: explains every difference between two questions, and vetoes where one is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from thrift_core.caching.matching import lexicon
from thrift_core.caching.matching.alignment import Alignment, Likeness, align, is_opposite
from thrift_core.caching.matching.reading import Reading, Token, read

DifferenceKind = Literal[
    "id", "amount", "date", "unit", "negation", "antonym", "freshness", "quantifier", "principal", "entity", "language",
    "format", "tier", "action", "question", "order", "direction", "content",
]  # fmt: skip
DIFFERENCE_KINDS: tuple[DifferenceKind, ...] = get_args(DifferenceKind)
_VETOING = frozenset({"id", "amount", "date"})
# These give what follows its part.
_DIRECTED = frozenset({"from", "to", "into", "than", "by", "before", "after", "under", "over", "against", "without"})
_EVEN = frozenset({"and", "or", "vs", "versus", "between"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two questions do not share.

    Attributes:
        kind: what sort of difference it is.
        asked: the words of the question asked; empty where it has none.
        known: the words of the other.
        is_veto: it is enough to reject, whatever a model says.
    """

    kind: DifferenceKind
    asked: str
    known: str
    is_veto: bool = False

    def __str__(self) -> str:
        if not self.asked or not self.known:
            return f"{self.kind}: {self.asked or self.known!r} in one only"
        return f"{self.kind}: {self.asked!r} and {self.known!r}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the guard found.

    Attributes:
        differences: all of them, vetoes first.
        alignment: what corresponds to what.
        asked: the question asked, as tokens.
        known: the other.
        can_tell: both are in a script that is read here; otherwise the matcher must abstain.
    """

    differences: tuple[Difference, ...]
    alignment: Alignment
    asked: Reading
    known: Reading
    can_tell: bool

    @property
    def veto(self) -> Difference | None:
        """The first difference that is enough to reject."""
        return next((found for found in self.differences if found.is_veto), None)

    @property
    def reason(self) -> str:
        """All differences, in words."""
        return "; ".join(map(str, self.differences[:3])) or "every word is explained"


def compare(asked: str, known: str, likeness: Likeness | None = None) -> Comparison:
    """Return how two questions differ.

    Example:
        >>> print(compare("Where is order A-17?", "Where is order A-71?").veto)
        id: 'A-17' and 'A-71'
        >>> compare("What's the KYC requirement?", "what is the know your customer requirement").differences
        ()
        >>> print(compare("Is there a meeting today?", "Is there no meeting today?").reason)
        negation: 'no' in one only

    Args:
        asked: the question asked.
        known: the question that has an answer.
        likeness: how near two words' meanings are, 0 to 1.
    """
    one, other = read(asked), read(known)
    alignment = align(one, other, likeness)
    found = list(_differences(one, other, alignment)) + list(_units(one, other, alignment))
    if turned := _direction(one, other, alignment):
        found.append(turned)
    if one.asks != other.asks:
        found.append(Difference("question", " ".join(sorted(one.asks)), " ".join(sorted(other.asks))))
    found.sort(key=lambda one: (not one.is_veto, DIFFERENCE_KINDS.index(one.kind)))
    return Comparison(tuple(found), alignment, one, other, one.is_readable and other.is_readable)


def _differences(one: Reading, other: Reading, alignment: Alignment) -> list[Difference]:
    left: dict[DifferenceKind, list[Token]] = {}
    right: dict[DifferenceKind, list[Token]] = {}
    found: list[Difference] = []
    open_left = [one.tokens[at] for at in alignment.left]
    open_right = [other.tokens[at] for at in alignment.right]
    for a in list(open_left):
        opposite = next((b for b in open_right if is_opposite(a.key, b.key)), None)
        if opposite is not None:
            found.append(Difference("antonym", a.text, opposite.text))
            open_left.remove(a)
            open_right.remove(opposite)
    for tokens, sorted_out in ((open_left, left), (open_right, right)):
        for token in tokens:
            if (kind := _kind(token)) is not None:
                sorted_out.setdefault(kind, []).append(token)
    if one.is_negated == other.is_negated:
        # Two negations, or as many in other words, cancel out.
        left.pop("negation", None)
        right.pop("negation", None)
    for kind in DIFFERENCE_KINDS:
        mine, theirs = left.get(kind, []), right.get(kind, [])
        if mine or theirs:
            found.append(Difference(kind, _joined(mine), _joined(theirs), _is_veto(kind, mine, theirs, (one, other))))
    return found


def _is_veto(
    kind: DifferenceKind, mine: Sequence[Token], theirs: Sequence[Token], readings: tuple[Reading, Reading]
) -> bool:
    """Differing ids, amounts and dates are never one question; one that is named in one text only may be implied."""
    if kind not in _VETOING:
        return False
    if mine and theirs:
        # "One account" is "an account"; what stands in another kind on the other side may be the same thing.
        return not any([token.key for token in side] == ["1"] for side in (mine, theirs))
    repeated = {_digits(token) for reading in readings for token in reading.tokens if token not in (*mine, *theirs)}
    named = [_digits(token) for token in (*mine, *theirs)]
    return kind == "id" and any(len(digits) >= 3 and digits not in repeated for digits in named)


def _digits(token: Token) -> str:
    return "".join(sign for sign in token.key if sign.isdigit())


def _kind(token: Token) -> DifferenceKind | None:
    if token.kind == "number":
        return "amount"
    if token.kind in {"date", "id"}:
        return "date" if token.kind == "date" else "id"
    word = token.key
    for kind, words in _WORDS:
        if word in words:
            return kind
    if word in lexicon.EMPTY or word in lexicon.ASKING:
        return None
    if token.is_name:
        return "entity"
    return "content"


_WORDS: tuple[tuple[DifferenceKind, frozenset[str]], ...] = (
    ("negation", lexicon.NEGATIONS),
    ("freshness", lexicon.FRESHNESS),
    ("quantifier", lexicon.QUANTIFIERS),
    ("principal", frozenset(lexicon.PRINCIPALS) - {"i", "me", "we", "us", "my", "our"} | {"my", "our"}),
    ("language", lexicon.LANGUAGES),
    ("unit", frozenset(lexicon.UNITS)),
    ("format", lexicon.FORMATS),
    ("tier", lexicon.TIERS),
    ("action", lexicon.ACTIONS),
    ("order", frozenset({"if", "than"})),
)


def _joined(tokens: Sequence[Token]) -> str:
    return " ".join(token.text for token in tokens)


def _units(one: Reading, other: Reading, alignment: Alignment) -> list[Difference]:
    return [
        Difference("unit", one.tokens[a].text, other.tokens[b].text)
        for a, b, _ in alignment.pairs
        if one.tokens[a].unit != other.tokens[b].unit and one.tokens[a].unit and other.tokens[b].unit
    ]


def _direction(one: Reading, other: Reading, alignment: Alignment) -> Difference | None:
    """Return two matched things that changed parts: what was `from` is `to`, what one number counted the other does.

    That they changed places is not enough: "if A, then B" and "B if A" ask the same.
    """
    places = [(a, b) for a, b, _ in alignment.pairs if not _is_small(one.tokens[a].key)]
    for first, (a, b) in enumerate(places):
        for c, d in places[first + 1 :]:
            if _parts(one, a, c) == _parts(other, d, b) != _parts(other, b, d):
                return Difference(
                    "direction",
                    f"{one.tokens[a].text} … {one.tokens[c].text}",
                    f"{other.tokens[d].text} … {other.tokens[b].text}",
                )
    return None


def _parts(reading: Reading, *places: int) -> tuple[str, ...] | None:
    """Return the parts that two things play; None where nothing says so."""
    start, stop = min(places), max(places)
    if any(token.key in _EVEN for token in reading.tokens[max(start - 1, 0) : stop]):
        return None
    if all(reading.tokens[place].kind == "number" for place in places):
        return tuple(_word(reading, place + 1) for place in places)
    parts = tuple(_before(reading, place) for place in places)
    return parts if any(parts) else None


def _before(reading: Reading, place: int) -> str:
    """Return the word that gives a thing its direction: right before it, or before the small word before it."""
    near = [_word(reading, place - 1), _word(reading, place - 2)]
    return next((word for word in near if word in _DIRECTED), "")


def _word(reading: Reading, place: int) -> str:
    return reading.tokens[place].key if 0 <= place < len(reading.tokens) else ""


def _is_small(word: str) -> bool:
    return word in lexicon.EMPTY or word in lexicon.ASKING or word in _DIRECTED
