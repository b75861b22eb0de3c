"""What every adapter does around a call with a cache: ask it, serve a hit, keep an answer, tell the ledger."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.ledger import Ledger, priced
from thrift_core.accounting.lookup import Lookup, LookupOutcome
from thrift_core.accounting.usage import Usage
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.turn import Turn
from thrift_core.messages import Request

logger = logging.getLogger("thrift")
T = TypeVar("T")
_LEVER = "cache"
# A word with the blanks before it; what has no blanks, as in Chinese, comes a few characters at a time.
_PIECE = re.compile(r"\s*\S{1,24}|\s+$")


class Serving:
    """Asks a cache before a call, and tells it and the ledger what came of it. Nothing here raises.

    An adapter brings two functions: one that reads a stored answer into the framework's own object, and one that
    writes such an object as an answer.

    Example:
        >>> from thrift_core.messages import Message
        >>> serving = Serving(SemanticCache(), Ledger())
        >>> def ask(text):
        ...     turn = serving.begin(Request(messages=(Message("user", text),)))
        ...     served = serving.served(turn, lambda answer: answer.payload)
        ...     if served is None:
        ...         serving.finish(turn, lambda: CachedAnswer(payload="They give light."))
        ...     return served
        >>> ask("What are lamps?"), ask("What are lamps?")
        (None, 'They give light.')

    Args:
        cache: the cache.
        ledger: where savings and faults are booked.
    """

    def __init__(self, cache: SemanticCache, ledger: Ledger) -> None:
        self.cache = cache
        self.ledger = ledger
        self._warned: set[str] = set()

    def lookup(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> Hit | None:
        """Look a request up without sharing a call, for adapters that do not see how the call ends."""
        hit = self.cache.lookup(request, scope=scope, corpus=corpus)
        self._book_lookup(hit, scope)
        return hit

    async def alookup(
        self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None
    ) -> Hit | None:
        """Do what `lookup` does, off the event loop."""
        hit = await self.cache.alookup(request, scope=scope, corpus=corpus)
        self._book_lookup(hit, scope)
        return hit

    def check(self, hit: Hit, answer: CachedAnswer) -> None:
        """Compare a hit that was looked up with what the model answered; see `SemanticCache.check`."""
        self._book_check(hit, self.cache.check(hit, answer))

    def begin(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> Turn:
        """Look a request up; see `SemanticCache.begin`."""
        turn = self.cache.begin(request, scope=scope, corpus=corpus)
        self._book_lookup(turn.hit, scope)
        return turn

    async def abegin(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> Turn:
        """Do what `begin` does, off the event loop."""
        turn = await self.cache.abegin(request, scope=scope, corpus=corpus)
        self._book_lookup(turn.hit, scope)
        return turn

    def served(self, turn: Turn, read: Callable[[CachedAnswer], T], *, call_id: str | None = None) -> T | None:
        """Return what the app gets from a hit and book the saving; None where the model is to be asked.

        The model is asked on a miss, in shadow mode, for the sample of hits that is checked, and where the stored
        answer cannot be read, which then goes.

        Args:
            turn: what `begin` returned.
            read: makes the framework's object of a stored answer; raises where it cannot.
            call_id: the call in the ledger that the hit stands for.
        """
        hit = turn.hit
        if hit is None or not hit.is_served or hit.is_checked:
            return None
        try:
            answer = read(hit.answer)
        except Exception as error:  # a stored answer that cannot be read is a miss
            self.note("entry", error)
            self.cache.forget(hit)
            return None
        turn.abandon()
        self.book(hit, call_id=call_id)
        return answer

    def finish(self, turn: Turn, write: Callable[[], CachedAnswer | None], *, call_id: str | None = None) -> None:
        """Keep what the model answered, and hand it to those who wait for it.

        Args:
            turn: what `begin` returned, and `served` did not serve.
            write: makes the stored answer; returns None, or raises, where the answer cannot be stored.
            call_id: the call in the ledger.
        """
        answer = self._written(turn, write, call_id)
        if answer is None:
            turn.abandon()
            return
        try:
            turn.finish(answer)
        except Exception as error:  # the app has its answer, whatever becomes of ours
            self.note("finish", error)
        self._book_check(turn.hit, turn.agrees)

    async def afinish(
        self, turn: Turn, write: Callable[[], CachedAnswer | None], *, call_id: str | None = None
    ) -> None:
        """Do what `finish` does, off the event loop."""
        answer = self._written(turn, write, call_id)
        if answer is None:
            turn.abandon()
            return
        try:
            await turn.afinish(answer)
        except Exception as error:  # as above
            self.note("finish", error)
        self._book_check(turn.hit, turn.agrees)

    def book(self, hit: Hit, *, call_id: str | None = None) -> None:
        """Book what a hit saves, or in shadow mode would save."""
        try:
            self.ledger.book(replace(hit.saving(), call_id=call_id))
        except Exception as error:  # a saving that is not booked is still a saving
            self.note("ledger", error)

    def record(self, hit: Hit, request: Request, *, call_id: str, latency_seconds: float | None = None) -> None:
        """Record a hit as a call that cost nothing, where no callback of the framework tells the ledger of it."""
        call = Call(
            id=call_id,
            model=hit.answer.model or request.model or "unknown",
            provider=request.provider,
            cost_usd=Decimal(0),
            outcome="cache_hit",
            attribution=hit.scope,
            latency_seconds=latency_seconds,
        )
        try:
            self.ledger.record(call)
        except Exception as error:  # as above
            self.note("ledger", error)

    def cost_of(
        self, usage: Usage, *, model: str | None, provider: str | None = None, service_tier: str | None = None
    ) -> Decimal | None:
        """Return what an answer cost, which is what a hit on it saves; None where no price is known."""
        if model is None or usage == Usage():
            return None
        try:
            call = Call(model=model, provider=provider, usage=usage, service_tier=service_tier)
            return priced(call, self.ledger.prices).cost_usd
        except Exception as error:  # an answer without a price is still an answer
            self.note("price", error)
            return None

    def note(self, what: str, error: BaseException) -> None:
        """Count a failure, and warn of the first of its kind."""
        reason = f"{what}: {type(error).__name__}"
        self.ledger.count_fault(_LEVER, reason)
        if reason not in self._warned:
            self._warned.add(reason)
            logger.warning("thrift's cache was passed over, the app's call goes on: %s: %s", reason, error)

    def _book_lookup(self, hit: Hit | None, scope: Attribution | None) -> None:
        whom = scope or current_attribution()
        if hit is None:
            self._tell(Lookup(outcome="miss", attribution=whom))
        else:
            self._tell(Lookup(outcome="hit", tier=hit.tier, is_shadow=not hit.is_served, attribution=whom))

    def _book_check(self, hit: Hit | None, agrees: bool | None) -> None:
        if hit is not None and agrees is not None:
            outcome: LookupOutcome = "agreed" if agrees else "differed"
            self._tell(Lookup(outcome=outcome, tier=hit.tier, is_shadow=not hit.is_served, attribution=hit.scope))

    def _tell(self, lookup: Lookup) -> None:
        try:
            self.ledger.book_lookup(lookup)
        except Exception as error:  # a count is not worth a call
            self.note("ledger", error)

    def _written(
        self, turn: Turn, write: Callable[[], CachedAnswer | None], call_id: str | None
    ) -> CachedAnswer | None:
        if turn.hit is not None and not turn.hit.is_served:
            self.book(turn.hit, call_id=call_id)
        try:
            return write()
        except Exception as error:  # what we cannot write down is not kept
            self.note("answer", error)
            return None


def provenance(hit: Hit) -> dict[str, Any]:
    """Return where a hit comes from, as plain JSON values for the metadata of the app's answer."""
    return {
        "cache": {
            "tier": hit.tier,
            "question": hit.question,
            "similarity": round(hit.similarity, 6),
            "score": None if hit.score is None else round(hit.score, 6),
            "reason": hit.reason,
            "certificate": hit.certificate,
            "age_seconds": round(hit.age_seconds, 3),
            "saved_tokens": hit.saved_tokens,
            "saved_usd": None if hit.saved_usd is None else str(hit.saved_usd),
        }
    }


def pieces(text: str) -> Iterator[str]:
    """Yield a text a word or so at a time, as a model streams it; joined they are the text.

    Example:
        >>> list(pieces("They give light."))
        ['They', ' give', ' light.']
    """
    return (match[0] for match in _PIECE.finditer(text))


@dataclass(slots=True)
class FreshIds:
    """Gives each id of a stored answer a new one, the same for the same: two turns must never share a call's id.

    Example:
        >>> ids = FreshIds()
        >>> ids.of("toolu_01AB").startswith("toolu_"), ids.of("toolu_01AB") == ids.of("toolu_01AB")
        (True, True)
    """

    _given: dict[str, str] = field(default_factory=dict[str, str])

    def of(self, stored: str) -> str:
        """Return the new id, which begins as the provider's own do."""
        if stored not in self._given:
            kind, mark, _ = stored.partition("_")
            prefix = f"{kind}_" if mark and kind.isalpha() else "call_"
            self._given[stored] = prefix + secrets.token_hex(12)
        return self._given[stored]
