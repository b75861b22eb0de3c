"""Pairs the tokens of two questions that mean the same, and leaves those that nothing in the other explains."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thrift_core.caching.matching import lexicon
from thrift_core.caching.matching.reading import Reading, Token

Likeness = Callable[[str, str], float]
# Word pairs at least so near count as each other's explanation, with this weight; below, nothing is explained.
_LEAST_ALIKE = 0.45
_SUFFIXES = ("ies", "ing", "ed", "es", "s", "er", "ly", "ment", "tion", "al")
_SHORTEST_STEM = 4
_UN = ("un", "dis", "in", "im", "de", "non")


@dataclass(frozen=True, slots=True)
class Alignment:
    """What of two questions corresponds.

    Attributes:
        pairs: places in the one and in the other that mean the same, in order of the first, with how alike they are.
        left: places of the first that nothing explains.
        right: places of the second.
    """

    pairs: tuple[tuple[int, int, float], ...]
    left: tuple[int, ...]
    right: tuple[int, ...]


def align(one: Reading, other: Reading, likeness: Likeness | None = None) -> Alignment:
    """Pair what means the same: equal words first, then inflections, synonyms, acronyms, and words of like meaning.

    Args:
        one: a question.
        other: another.
        likeness: how near two words' meanings are, 0 to 1; None leaves out the last step.
    """
    free = _Free(one.tokens, other.tokens)
    free.match(lambda a, b: a.kind == b.kind and a.key == b.key and a.unit == b.unit, 1.0)
    free.match(_is_same_number, 0.95)
    free.match(lambda a, b: a.kind == b.kind == "word" and _stem(a.key) == _stem(b.key), 0.95)
    _match_expansions(free)
    _match_expansions(free.turned())
    free.match(lambda a, b: b.key in lexicon.SAME.get(a.key, ()), 0.9)
    free.match(_is_typo, 0.85)
    if likeness is not None:
        _match_meanings(free, likeness)
    return Alignment(tuple(sorted(free.pairs)), tuple(sorted(free.left)), tuple(sorted(free.right)))


class _Free:
    """The tokens that are not explained yet."""

    def __init__(self, one: Sequence[Token], other: Sequence[Token]) -> None:
        self.one, self.other = one, other
        self.left, self.right = dict.fromkeys(range(len(one))), dict.fromkeys(range(len(other)))
        self.pairs: list[tuple[int, int, float]] = []
        self._is_turned = False

    def turned(self) -> _Free:
        """Return a view with the two exchanged."""
        view = _Free.__new__(_Free)
        view.one, view.other, view.left, view.right = self.other, self.one, self.right, self.left
        view.pairs, view._is_turned = self.pairs, not self._is_turned
        return view

    def take(self, a: int, b: int, weight: float) -> None:
        """Pair two places."""
        self.left.pop(a, None)
        self.right.pop(b, None)
        self.pairs.append((b, a, weight) if self._is_turned else (a, b, weight))

    def match(self, is_same: Callable[[Token, Token], bool], weight: float) -> None:
        """Pair each place left with the nearest of those right that are the same."""
        for a in list(self.left):
            fits = [b for b in self.right if is_same(self.one[a], self.other[b])]
            if fits:
                where = a / max(len(self.one), 1)
                self.take(a, min(fits, key=lambda b: abs(b / max(len(self.other), 1) - where)), weight)


def _is_same_number(a: Token, b: Token) -> bool:
    """Whether two numbers are equal where one leaves its unit out, or two ids where one leaves its letters out."""
    if a.kind == "word" or b.kind == "word":
        return False
    if a.kind == b.kind == "number":
        return a.plain == b.plain and not (a.unit and b.unit)
    one, other = _digits(a), _digits(b)
    if one != other or not one or a.kind == b.kind == "date":
        return False
    letters = [re.sub(r"[\W\d_]", "", token.key) for token in (a, b)]
    return letters[0] == letters[1] or not all(letters)


def _digits(token: Token) -> str:
    return re.sub(r"\D", "", token.plain or token.key)


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM - (suffix == "s"):
            core = word[: -len(suffix)] + ("y" if suffix == "ies" else "")
            if len(core) > 3 and core[-1] == core[-2] and suffix in {"ing", "ed", "er"}:
                core = core[:-1]
            return core.rstrip("e")
    return word.rstrip("e") if len(word) > _SHORTEST_STEM else word


def _match_expansions(free: _Free) -> None:
    keys = [token.key for token in free.other]
    for a in list(free.left):
        short = free.one[a].key
        for words in _expansions(short):
            at = _find(keys, words, free.right)
            if at is not None:
                for b in range(at, at + len(words)):
                    free.take(a, b, 0.95)
                break
        else:
            at = _initials(short, keys, free.right)
            if at is not None:
                for b in range(at, at + len(short)):
                    free.take(a, b, 0.9)


def _expansions(short: str) -> list[tuple[str, ...]]:
    return [lexicon.EXPANSIONS[short]] if short in lexicon.EXPANSIONS else []


def _find(keys: Sequence[str], words: Sequence[str], right: dict[int, None]) -> int | None:
    for at in range(len(keys) - len(words) + 1):
        if all(keys[at + step] == word and at + step in right for step, word in enumerate(words)):
            return at
    return None


def _initials(short: str, keys: Sequence[str], right: dict[int, None]) -> int | None:
    """Return where words begin whose first letters spell an acronym of three letters or more."""
    if not (3 <= len(short) <= 6 and short.isalpha()):
        return None
    for at in range(len(keys) - len(short) + 1):
        if all(at + step in right and keys[at + step][:1] == letter for step, letter in enumerate(short)):
            return at
    return None


def _is_typo(a: Token, b: Token) -> bool:
    """Whether two long words are one letter, or one exchange of neighbours, apart, and not each other's opposite."""
    one, other = sorted((a.key, b.key), key=len)
    if a.kind != "word" or b.kind != "word" or len(one) < 5 or len(other) - len(one) > 1 or one[0] != other[0]:
        return False
    if is_opposite(one, other):
        return False
    start = next((at for at, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    rest = start + 2
    return sorted(one[start:rest]) == sorted(other[start:rest]) and one[rest:] == other[rest:]


def is_opposite(a: str, b: str) -> bool:
    """Return whether one word is the opposite of the other, by the list or by a prefix such as `un`."""
    if b in lexicon.OPPOSITES.get(a, ()):
        return True
    short, long = sorted((a, b), key=len)
    return any(long == prefix + short for prefix in _UN) and len(short) > 2


def _match_meanings(free: _Free, likeness: Likeness) -> None:
    words_left = [a for a in free.left if _has_meaning(free.one[a])]
    words_right = [b for b in free.right if _has_meaning(free.other[b])]
    scored = sorted(
        (
            (likeness(free.one[a].key, free.other[b].key), a, b)
            for a in words_left
            for b in words_right
            if not is_opposite(free.one[a].key, free.other[b].key)
        ),
        reverse=True,
    )
    for score, a, b in scored:
        if score >= _LEAST_ALIKE and a in free.left and b in free.right:
            free.take(a, b, min(score, 0.8))


def _has_meaning(token: Token) -> bool:
    return token.kind == "word" and token.key not in lexicon.EMPTY and not is_marked(token) and not token.is_name


def is_marked(token: Token) -> bool:
    """Return whether a word is of a kind that must be equal, however near the meanings lie."""
    word = token.key
    return (
        word in lexicon.NEGATIONS
        or word in lexicon.FRESHNESS
        or word in lexicon.QUANTIFIERS
        or word in lexicon.PRINCIPALS
        or word in lexicon.LANGUAGES
        or word in lexicon.UNITS
    )
