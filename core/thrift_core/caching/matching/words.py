"""What the shipped embedder knows of single words: how near their meanings are, and how rare they are."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from thrift_core.caching.matching.lexicon import EXPANSIONS
from thrift_core.embedding.static_embedder import shipped_embedder

_VOCABULARY = 30_000
# A word of several pieces is rarer than any of them.
_PER_PIECE = 0.08


_ACRONYM = re.compile(r"\b(?:" + "|".join(map(re.escape, EXPANSIONS)) + r")\b", re.IGNORECASE)


@lru_cache(maxsize=4096)
def spelled_out(text: str) -> str:
    """Return a text with the acronyms that the guard knows written in words, as an encoder has read them.

    Example:
        >>> spelled_out("the KYC rules tell us")
        'the know your customer rules tell us'
    """
    return _ACRONYM.sub(_expansion, text)


def _expansion(match: re.Match[str]) -> str:
    short = match.group()
    # Short ones in small letters are words: "us", "la", "pin".
    is_acronym = short.isupper() or len(short) > 3 or short in {"kyc", "vat", "2fa", "mfa", "otp", "vpn"}
    return " ".join(EXPANSIONS[short.lower()]) if is_acronym else short


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
