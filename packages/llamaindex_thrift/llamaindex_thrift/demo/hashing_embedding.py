"""An embedding model without weights: hashed words, the rare ones counting for more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr
from thrift_core.testing import hashed_vector, words_of


class HashingEmbedding(BaseEmbedding):
    """Embeds a text as its words, hashed and weighted by how few of the fitted texts have them.

    Made for demos and tests: it needs no download, no key and no network, and finds passages that share rare words
    with the question. It knows nothing of meaning.

    Args:
        texts: what the weights are fitted on; none for equal weights.
        dimensions: the length of the vectors.
    """

    _document_counts: Counter[str] = PrivateAttr(default_factory=Counter)
    _documents: int = PrivateAttr(default=0)
    _dimensions: int = PrivateAttr(default=1024)

    def __init__(self, texts: Iterable[str] = (), dimensions: int = 1024, **settings: Any) -> None:
        super().__init__(model_name="hashing", **settings)
        self._dimensions = dimensions
        for text in texts:
            self._documents += 1
            self._document_counts.update(set(_stems(text)))

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex knows the class by."""
        return "HashingEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        weights = {stem: (1 + math.log(count)) * self._rarity(stem) for stem, count in Counter(_stems(text)).items()}
        return hashed_vector(weights, self._dimensions)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    def _rarity(self, stem: str) -> float:
        """Return the inverse document frequency, 1 where nothing was fitted."""
        if not self._documents:
            return 1.0
        return math.log((1 + self._documents) / (1 + self._document_counts[stem]))


def _stems(text: str) -> list[str]:
    return [_stem(word) for word in words_of(text)]


def _stem(word: str) -> str:
    """Cut the commonest English endings off longer words."""
    for ending in ("ing", "ed", "es", "s"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word.removesuffix(ending)
    return word
