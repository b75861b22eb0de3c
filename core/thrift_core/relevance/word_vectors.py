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

from thrift_core.relevance.matching import Floats

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

    def likeness(self, words: Sequence[str], terms: Sequence[str]) -> Floats:
        """Return the cosine of each word with each term: one row a word, 0 where either is unknown."""
        word_at, word_rows = self._known(words)
        term_at, term_rows = self._known(terms)
        cosines = np.zeros((len(words), len(terms)))
        if word_at and term_at:
            cosines[np.ix_(word_at, term_at)] = word_rows @ term_rows.T
        return cosines

    def _known(self, words: Sequence[str]) -> tuple[list[int], NDArray[np.float32]]:
        places = [self._places.get(word, -1) for word in words]
        known = [at for at, place in enumerate(places) if place >= 0]
        rows = self._rows[[places[at] for at in known]].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        return known, rows / np.maximum(lengths, 1e-9)[:, None]


@lru_cache(maxsize=1)
def shipped_vectors() -> WordVectors | None:
    """Return the vectors that come with thrift, read once; None if the file is not there."""
    file = resources.files(_PACKAGE) / _FOLDER / _FILE
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return WordVectors(arrays["pieces"].tobytes().decode().split("\n"), arrays["rows"])
