"""What the shipped embedder knows of single words: how near their meanings are, and how rare they are."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from thrift_core.embedding.static_embedder import shipped_embedder

_VOCABULARY = 30_000
# A word of several pieces is rarer than any of them.
_PER_PIECE = 0.08


@lru_cache(maxsize=20_000)
def rarity(word: str) -> float:
    """Return how rare a word is, 0 to 1, by the ranks of its pieces (Zipf's law)."""
    pieces = shipped_embedder().pieces(word)
    if not pieces:
        return 1.0
    rank = max(pieces)
    return min(1.0, math.log1p(rank) / math.log(_VOCABULARY) + _PER_PIECE * (len(pieces) - 1))


def likeness(one: str, other: str) -> float:
    """Return how near two words' meanings are, about 0 to 1."""
    return float(_vector(one) @ _vector(other))


@lru_cache(maxsize=20_000)
def _vector(word: str) -> NDArray[Any]:
    row: NDArray[Any] = shipped_embedder().embed([word])[0]
    return row
