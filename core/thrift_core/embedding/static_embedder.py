"""The embedder that thrift ships: one row of numbers a word piece, summed; no torch, no download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.embedding.wordpiece import WordPiece

# A cache's questions are short; what lies beyond can no longer turn the sum.
_MOST_CHARACTERS = 20_000


class StaticEmbedder:
    """Embeds a text as the normalised sum of its word pieces' rows.

    Made by `core/training/distill_embedder.py` from all-MiniLM-L6-v2 (Apache-2.0). It does not see word order: it
    finds candidates, and a matcher decides. A text without a known piece has the vector of zeros, near nothing.

    Example:
        >>> embedder = shipped_embedder()
        >>> a, b, c = embedder.embed(["reset my password", "I forgot my password", "opening hours"])
        >>> bool(a @ b > 0.6 > a @ c)
        True

    Args:
        pieces: the vocabulary; row by row.
        rows: 8-bit numbers, one row a piece.
        scales: what each row is multiplied by.
        name: says which rows these are; a cache's file made with others is refused.
    """

    def __init__(self, pieces: Sequence[str], rows: NDArray[Any], scales: NDArray[Any], *, name: str) -> None:
        self.name = name
        self.dimensions = int(rows.shape[1])
        self._tokenizer = WordPiece({piece: place for place, piece in enumerate(pieces)})
        self._rows = rows
        self._scales = np.asarray(scales, np.float32)

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return one row of length 1 for each text, as 32-bit floats."""
        out = np.zeros((len(texts), self.dimensions), np.float32)
        for place, text in enumerate(texts):
            ids = self._tokenizer.ids(text[:_MOST_CHARACTERS])
            if ids:
                summed = self._scales[ids] @ self._rows[ids].astype(np.float32)
                length = float(np.sqrt(summed @ summed))
                out[place] = summed / length if length else 0.0
        return out

    def pieces(self, text: str) -> list[int]:
        """Return the numbers of a text's word pieces, in order; the frequent ones have small numbers."""
        return self._tokenizer.ids(text[:_MOST_CHARACTERS])


@lru_cache(maxsize=1)
def shipped_embedder() -> StaticEmbedder:
    """Return the embedder whose arrays come with thrift; loaded once for each process."""
    file = resources.files("thrift_core.embedding") / "data" / "static_embedder.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        rows, scales, pieces = arrays["rows"], arrays["scales"], arrays["pieces"].tobytes()
    made_of = blake2b(digest_size=4)
    for part in (rows, scales, pieces):
        made_of.update(part)
    name = f"thrift-static-{rows.shape[1]}-{made_of.hexdigest()}"
    return StaticEmbedder(pieces.decode().split("\n"), rows, scales, name=name)
