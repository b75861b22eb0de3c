"""Whether two answers say the same, as shadow checks and the quarantine need to know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from thrift_core.caching.semantic.embedder import Embedding

SameAnswer = Callable[[str, str], bool]
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_NEGATION = re.compile(r"\b(?:no|not|never|none|cannot|without|neither|nor|unable|\w+n't)\b", re.IGNORECASE)
_YES_OR_NO = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)


class AnswerComparison:
    """Takes two answers to agree when they lie near each other and their numbers and their yes or no are the same.

    Two texts of a model seldom agree word for word, so this errs: it may call two ways to say one thing different, and
    estimates made with it then are too high. Where it matters, give a function of your own, such as one that asks a
    model.

    Args:
        embedding: compares the texts.
        min_similarity: the least cosine.
    """

    def __init__(self, embedding: Embedding, min_similarity: float = 0.7) -> None:
        self._embedding = embedding
        self._min_similarity = min_similarity

    def __call__(self, one: str, other: str) -> bool:
        """Return whether they agree."""
        if one.split() == other.split():
            return True
        if _facts(one) != _facts(other):
            return False
        first, second = self._embedding.embed([one, other])
        return float(first @ second) >= self._min_similarity


def _facts(text: str) -> tuple[object, ...]:
    opening = _YES_OR_NO.match(text)
    numbers = Counter(_NUMBER.findall(text))
    return (opening.group(1).lower() if opening else None, set(numbers), bool(_NEGATION.search(text)))
