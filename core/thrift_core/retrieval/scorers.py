"""The seams for a user's own model: anything that scores passages for a question, or turns texts into vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol


class PassageScorer(Protocol):
    """Says how well passages answer a question; a cross-encoder is one."""

    def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Return one number for each text, higher is better, on any scale."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text, all of one length."""
        ...


class EmbeddingScorer:
    """Scores passages by the cosine of their vectors with the question's.

    Args:
        embedder: turns texts into vectors; called once for each question.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the cosine of each text with the question, 0 where a vector is all zeros."""
        asked, *others = self._embedder.embed([question, *texts])
        return [_cosine(asked, other) for other in others]


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    norm = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / norm if norm > 0 else 0.0
