"""The vectors of questions: embedded in time or not at all, and once for a lookup and the storing after it."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from thrift_core.caching.semantic.embedder import Embedding
from thrift_core.caching.semantic.faults import Faults
from thrift_core.guard import Guard

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_REMEMBERED = 512


class QuestionVectors:
    """Embeds questions for one cache.

    Args:
        embedding: the embedder.
        is_ours: it is the one that comes with thrift, which needs no watching.
        faults: where failures are counted.
        timeout_seconds: how long an embedder may take.
    """

    def __init__(self, embedding: Embedding, *, is_ours: bool, faults: Faults, timeout_seconds: float) -> None:
        self.embedding = embedding
        self._is_ours = is_ours
        self._faults = faults
        self._timeout_seconds = timeout_seconds
        self._guard = Guard(faults, timeout_seconds=timeout_seconds)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, NDArray[Any]] = OrderedDict()

    def vector(self, question: str) -> NDArray[Any] | None:
        """Return the vector of a question; None if there is nothing to compare or the embedder failed."""
        known = self._recall(question)
        if known is not None:
            return known
        if self._is_ours:
            return self._keep(question, self.embedding.embed([question])[0])
        # The thread of an embedder that is too slow ends later; then the next lookup finds its vector here.
        return self._guard.run("cache embedder", lambda: self._keep(question, self.embedding.embed([question])[0]))

    async def avector(self, question: str) -> NDArray[Any] | None:
        """Do what `vector` does, awaiting an embedder that can be awaited, in a thread otherwise."""
        known = self._recall(question)
        if known is not None or self._is_ours:
            return known if known is not None else self.vector(question)
        if not self.embedding.is_async:
            return await asyncio.to_thread(self.vector, question)
        try:
            vectors = await asyncio.wait_for(self.embedding.aembed([question]), self._timeout_seconds)
        except Exception as error:  # whatever an embedder throws, the app's call goes on
            self._faults.note("embedder", error)
            return None
        return self._keep(question, vectors[0])

    def learn(self, questions: Sequence[str]) -> None:
        """Embed many questions at once, for what will be stored next.

        Raises:
            Exception: whatever the embedder raises.
        """
        for question, vector in zip(questions, self.embedding.embed(questions), strict=True):
            self._keep(question, vector)

    def _recall(self, question: str) -> NDArray[Any] | None:
        with self._lock:
            return self._known.get(question)

    def _keep(self, question: str, vector: NDArray[Any]) -> NDArray[Any] | None:
        if not vector.any():
            return None
        with self._lock:
            self._known[question] = vector
            while len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return vector
