"""Finds which words of the passages are words of the question, in another inflection or compound too.

No stemmer, for those are made for one language each: two words are alike as far as they share trigrams of letters.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Words of fewer letters are too easily alike.
_SHORTEST = 4
# What share of the longer word's letters must be common to both, and what an inflected match counts.
_LEAST_ALIKE = 0.6
_INFLECTED = 0.8
# How near the meanings of two words must be, and what a word of the same meaning counts.
_LEAST_NEAR = 0.4
_SYNONYM = 0.8
# Numbers are the same or they are not.
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Matches:
    """Which question word each word of the vocabulary stands for.

    Attributes:
        terms: the distinct words of the question, in order.
        sequence: the question as indices into `terms`.
        term: for each word of the vocabulary, the index of the question word, -1 for none.
        weight: how alike the two are, 1 for equal.
    """

    terms: tuple[str, ...]
    sequence: tuple[int, ...]
    term: Ints
    weight: Floats


class Meanings(Protocol):
    """Says how near the meanings of words are."""

    def likeness(self, words: Sequence[str], terms: Sequence[str]) -> Floats:
        """Return the cosine of each word with each term: one row a word, 0 where either is unknown."""
        ...


def match(question: Sequence[str], vocabulary: Mapping[str, int], meanings: Meanings | None = None) -> Matches:
    """Match the question's words against a vocabulary of normalised words, numbered from 0.

    Args:
        question: the question's words.
        vocabulary: the passages' words.
        meanings: also matches words of like meaning; None: spelling alone.
    """
    numbers: dict[str, int] = {}
    sequence = tuple(numbers.setdefault(word, len(numbers)) for word in question)
    terms = tuple(numbers)
    term = np.full(len(vocabulary), -1, dtype=np.int64)
    weight = np.zeros(len(vocabulary))
    _match_alike(terms, vocabulary, term, weight)
    if meanings is not None and terms and vocabulary:
        _match_meanings(terms, vocabulary, meanings, term, weight)
    for index, word in enumerate(terms):
        place = vocabulary.get(word)
        if place is not None:
            term[place], weight[place] = index, 1.0
    return Matches(terms, sequence, term, weight)


def _match_alike(terms: Sequence[str], vocabulary: Mapping[str, int], term: Ints, weight: Floats) -> None:
    long_terms = [(n, word) for n, word in enumerate(terms) if len(word) >= _SHORTEST and not _DIGIT.search(word)]
    if not long_terms or not vocabulary:
        return
    # One string to search: a hit's place says which word it is in.
    joined = "\n".join(vocabulary)
    lengths = np.fromiter(map(len, vocabulary), dtype=np.int64, count=len(vocabulary))
    starts = np.cumsum(lengths + 1) - lengths - 1
    has_digit = np.zeros(len(lengths), dtype=np.bool_)
    digits = [mark.start() for mark in _DIGIT.finditer(joined)]
    has_digit[np.searchsorted(starts, np.array(digits, dtype=np.int64), side="right") - 1] = True
    for index, word in long_terms:
        shared = np.zeros(len(lengths), dtype=np.int64)
        for trigram in {word[at : at + 3] for at in range(len(word) - 2)}:
            hits = _places(joined, trigram)
            if hits:
                shared[np.unique(np.searchsorted(starts, np.array(hits), side="right") - 1)] += 1
        alike = np.where(shared > 0, (shared + 2) / np.maximum(lengths, len(word)), 0.0)
        alike[(alike < _LEAST_ALIKE) | (lengths < _SHORTEST) | has_digit] = 0.0
        value = np.minimum(alike, 1.0) * _INFLECTED
        better = value > weight
        term[better], weight[better] = index, value[better]


def _match_meanings(
    terms: Sequence[str], vocabulary: Mapping[str, int], meanings: Meanings, term: Ints, weight: Floats
) -> None:
    cosines = meanings.likeness(list(vocabulary), terms)
    nearest = cosines.argmax(axis=1)
    nearness = cosines[np.arange(len(cosines)), nearest]
    value = np.where(nearness >= _LEAST_NEAR, nearness * _SYNONYM, 0.0)
    better = value > weight
    term[better], weight[better] = nearest[better], value[better]


def _places(text: str, piece: str) -> list[int]:
    found: list[int] = []
    at = text.find(piece)
    while at >= 0:
        found.append(at)
        at = text.find(piece, at + 1)
    return found
