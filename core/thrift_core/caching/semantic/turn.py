"""One request's passage through the cache: a hit, or a call whose answer others may be waiting for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from thrift_core.accounting.call import Attribution
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.flights import Flight, Flights, Landing
from thrift_core.messages import Request

if TYPE_CHECKING:
    from thrift_core.caching.semantic.cache import SemanticCache


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of a cache.

    Attributes:
        request: what is about to be sent.
        scope: whom it is for.
        corpus: the version of the documents that an answer rests on.
    """

    request: Request
    scope: Attribution
    corpus: str | None


class Turn:
    """What `SemanticCache.begin` returns.

    Example:
        >>> from thrift_core.caching.semantic.cache import SemanticCache
        >>> from thrift_core.messages import Message
        >>> cache, request = SemanticCache(), Request(messages=(Message("user", "What are lamps?"),))
        >>> with cache.begin(request) as turn:
        ...     if turn.hit is None:
        ...         turn.finish(CachedAnswer(payload="They give light."))
        >>> cache.begin(request).hit.answer.payload
        'They give light.'

    Attributes:
        hit: the answer, if there is one that may be served or is to be measured; look at its `is_served`.
        agrees: whether the model's answer, once finished, agreed with a hit that was checked; None where none was, or
            where that could not be told.
    """

    def __init__(
        self, cache: SemanticCache, asking: Asking, hit: Hit | None, *, flight: Flight | None, flights: Flights
    ) -> None:
        self.hit = hit
        self.agrees: bool | None = None
        self._cache = cache
        self._asking = asking
        self._flight = flight
        self._flights = flights
        self._purges = cache.purges
        self._is_open = True

    def finish(self, answer: CachedAnswer) -> None:
        """Keep the answer, check it against the hit if that was sampled, and hand it to those who wait."""
        if not self._close():
            return
        is_kept = False
        try:
            if self.hit is not None and self.hit.is_checked:
                self.agrees = self._cache.check(self.hit, answer)
            elif self._is_current():
                asking = self._asking
                is_kept = self._cache.store(asking.request, answer, scope=asking.scope, corpus=asking.corpus)
        finally:
            self._land(Landing(answer if is_kept else None))

    async def afinish(self, answer: CachedAnswer) -> None:
        """Do what `finish` does, off the event loop."""
        if not self._close():
            return
        is_kept = False
        try:
            if self.hit is not None and self.hit.is_checked:
                self.agrees = await asyncio.to_thread(self._cache.check, self.hit, answer)
            elif self._is_current():
                asking = self._asking
                is_kept = await self._cache.astore(asking.request, answer, scope=asking.scope, corpus=asking.corpus)
        finally:
            self._land(Landing(answer if is_kept else None))

    def abandon(self) -> None:
        """Give up: the call failed or was cancelled; one of those who wait calls in turn."""
        if self._close():
            self._land(Landing(is_failed=True))

    def _is_current(self) -> bool:
        # An answer made of what was purged while it was made must not come in after the purge.
        return self._purges == self._cache.purges

    def _close(self) -> bool:
        was_open, self._is_open = self._is_open, False
        return was_open

    def _land(self, landing: Landing) -> None:
        if self._flight is not None:
            self._flights.land(self._flight, landing)

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    async def __aenter__(self) -> Turn:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def __del__(self) -> None:
        # A stream that nobody reads to its end is dropped without a word; those who wait must not wait for it.
        self.abandon()
