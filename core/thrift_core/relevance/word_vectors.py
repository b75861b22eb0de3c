"""What words mean, as far as the arrays know them: so that a synonym in a passage counts for the question's word.

The arrays are those of the embedder that thrift ships, one row a word piece. Only words that are a piece by themselves
have a meaning here; of a word of a language that the arrays do not cover, nothing is guessed from its letters.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.relevance.matching import Floats, Ints

_PACKAGE, _FOLDER, _FILE = "thrift_core.embedding", "data", "static_embedder.npz"
# Shorter pieces are mostly parts of other words.
_SHORTEST = 3


class WordVectors:
    """Knows how near the meanings of words are.

    Args:
        words: the words, one a row.
        rows: 8-bit numbers; what they are scaled by does not matter here.
    """

    def __init__(self, words: Sequence[str], rows: NDArray[Any]) -> None:
        self._places = {word: place for place, word in enumerate(words) if len(word) >= _SHORTEST and word.isalpha()}
        self._rows = rows
        # Once for all, a thousand rows at a time, for as 32-bit numbers they take four times the room.
        self._lengths = np.concatenate(
            [
                np.linalg.norm(rows[at : at + 1000].astype(np.float32), axis=1)
                for at in range(0, max(len(rows), 1), 1000)
            ]
        )

    def likeness(self, words: Sequence[str], terms: Sequence[str]) -> Floats:
        """Return the cosine of each word with each term: one row a word, 0 where either is unknown."""
        word_at, word_rows = self._known(words)
        term_at, term_rows = self._known(terms)
        cosines = np.zeros((len(words), len(terms)))
        if len(word_at) and len(term_at):
            cosines[np.ix_(word_at, term_at)] = word_rows @ term_rows.T
        return cosines

    def _known(self, words: Sequence[str]) -> tuple[Ints, NDArray[np.float32]]:
        found = self._places.get
        places = np.array([found(word, -1) for word in words], dtype=np.int64)
        known = np.nonzero(places >= 0)[0]
        chosen = places[known]
        rows = self._rows[chosen].astype(np.float32)
        rows /= np.maximum(self._lengths[chosen], 1e-9)[:, None]
        return known, rows


@lru_cache(maxsize=1)
def shipped_vectors() -> WordVectors | None:
    """Return the vectors that come with thrift, read once; None if the file is not there."""
    file = resources.files(_PACKAGE) / _FOLDER / _FILE
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return WordVectors(arrays["pieces"].tobytes().decode().split("\n"), arrays["rows"])
