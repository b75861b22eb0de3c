"""The semantic cache: looks requests up, keeps answers, and misses wherever there is doubt."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.budget_circuit import Circuit
from thrift_core.accounting.call import Attribution
from thrift_core.caching.semantic.admission import Admission
from thrift_core.caching.semantic.agreement import AnswerComparison, SameAnswer
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.cache_key import SCOPE_NAMES, CacheKey, owner_id, tag
from thrift_core.caching.semantic.embedder import Embedding, Shipped
from thrift_core.caching.semantic.engine import Engine
from thrift_core.caching.semantic.faults import Faults
from thrift_core.caching.semantic.fingerprint import Uncacheable
from thrift_core.caching.semantic.flights import Flight, Flights
from thrift_core.caching.semantic.judge import Judge
from thrift_core.caching.semantic.matcher import (
    CertifiedThreshold,
    ConservativeMatcher,
    Matcher,
)
from thrift_core.caching.semantic.memory_store import MemoryStore
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.stats import CHECKED_RIGHT, CHECKED_WRONG, CacheStats
from thrift_core.caching.semantic.steady_clock import SteadyClock
from thrift_core.caching.semantic.store import (
    AsyncCacheStore,
    CacheStore,
    Limits,
    Selection,
)
from thrift_core.caching.semantic.turn import Asking, Turn
from thrift_core.caching.semantic.vectors import QuestionVectors
from thrift_core.errors import ConfigurationError
from thrift_core.guard import FaultCounter
from thrift_core.messages import Request

logger = logging.getLogger("thrift")
T = TypeVar("T")
_DENIED_FOR_SECONDS = 30 * 86_400.0


class SemanticCache:
    """Answers a request that was answered before, or one whose question asks the same.

    Two requests are compared only inside one partition: the same tenant, user and feature, the same system message,
    earlier turns, media, model, parameters, tools and response format, and the same corpus version. Inside it, a hit is
    the same text; the same but for typing; or, among its nearest neighbours, one that the matcher accepts. A failure
    anywhere is a miss: `lookup` and `store` never raise.

    Example:
        >>> from thrift_core.messages import Message
        >>> cache = SemanticCache()
        >>> def ask(text):
        ...     return Request(messages=(Message("user", text),), model="gpt-4.1-mini")
        >>> cache.store(ask("How do I reset my password?"), CachedAnswer(payload="Under Settings."))
        True
        >>> hit = cache.lookup(ask("Hi, how can I reset my password?"))
        >>> hit.answer.payload, hit.tier, hit.question
        ('Under Settings.', 'semantic', 'How do I reset my password?')
        >>> cache.lookup(ask("How do I reset your password?")) is None
        True

    Args:
        store: where answers are kept; in this process's memory by default.
        embedder: an object with `embed(texts)`, a LangChain or LlamaIndex embedding, a sentence transformer; the small
            one that comes with thrift by default.
        embedder_name: says which model the embedder is, where it does not say so itself.
        matcher: decides whether one answer may serve two questions.
        threshold: the least score that is a hit: a certificate, or a number set by hand; None takes the matcher's word.
        settings: how the cache behaves.
        limits: how much the store holds, and what goes first.
        admission: which answers are kept.
        same_answer: tells whether two answers agree, for shadow checks and confirmation.
        secret: keys all hashes and seals, at least 16 bytes; by default one that is kept in the store. One of your own
            keeps whoever can read the store from testing for names, and whoever can write it from planting answers.
        ledger: where failures are counted.
        clock: seconds since 1970.
        seed: of the sampling of checks and of random waits, for tests.

    Raises:
        ConfigurationError: a setting cannot work, the store holds vectors of another embedder, or it cannot be used.
    """

    def __init__(
        self,
        store: CacheStore | None = None,
        embedder: object | None = None,
        *,
        embedder_name: str | None = None,
        matcher: Matcher | None = None,
        threshold: float | CertifiedThreshold | None = None,
        settings: CacheSettings | None = None,
        limits: Limits | None = None,
        admission: Admission | None = None,
        same_answer: SameAnswer | None = None,
        secret: bytes | None = None,
        ledger: FaultCounter | None = None,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        if secret is not None and not 16 <= len(secret) <= 64:
            raise ConfigurationError(f"secret must be 16 to 64 bytes; got {len(secret)}")
        self.settings = _settings(settings)
        self.limits = limits or Limits()
        self.admission = admission or Admission()
        self._faults = Faults(ledger)
        embedding = Embedding(Shipped() if embedder is None else embedder, embedder_name)
        self._vectors = QuestionVectors(
            embedding,
            is_ours=embedder is None,
            faults=self._faults,
            timeout_seconds=self.settings.embed_timeout_seconds,
        )
        self._same_answer = same_answer or AnswerComparison(embedding)
        self._engine = Engine(
            MemoryStore() if store is None else store,
            self._vectors,
            Judge(matcher or ConservativeMatcher(), threshold, frozenset(self.settings.tiers)),
            self._same_answer,
            settings=self.settings,
            limits=self.limits,
            faults=self._faults,
            clock=SteadyClock(clock),
            secret=secret,
        )
        if self._engine.judge.is_waiting:
            logger.warning(
                "the cache answers only questions in the same words: its matcher is not certified for others; make a "
                "certificate with calibrate_cache, or give a threshold by hand"
            )
        kept_in = self._engine.store
        self._async_store = kept_in if isinstance(kept_in, AsyncCacheStore) else None
        self._circuit = Circuit(self.settings.retry_seconds)
        self._flights = Flights(self.settings.flight_wait_seconds)
        self._random = random.Random(seed)  # noqa: S311 - samples checks, keeps no secret
        self._counts: Counter[tuple[str, str]] = Counter()
        self._count_lock = threading.Lock()
        self.purges = 0
        # A store that is away is asked again later; one that holds another embedder's vectors is refused.
        self._reach(self._engine.connect)

    @property
    def is_semantic(self) -> bool:
        """Whether anything but the same text can be a hit."""
        return self._engine.judge.is_semantic

    def lookup(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> Hit | None:
        """Return the answer to a request, or None; never raises.

        Args:
            request: what is about to be sent.
            scope: whom it is for; the enclosing `attribute` blocks by default.
            corpus: the version of the documents that an answer rests on.
        """
        whom = scope or current_attribution()
        key = self.key(request, scope=whom, corpus=corpus)
        hit = None if key is None else self._reach(lambda: self._engine.find(key))
        if hit is not None and (wait := self._wait()):
            time.sleep(wait)
        return self._told(key, hit, whom)

    async def alookup(
        self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None
    ) -> Hit | None:
        """Do what `lookup` does, off the event loop."""
        store = self._async_store
        if store is None:
            return await asyncio.to_thread(self.lookup, request, scope=scope, corpus=corpus)
        whom = scope or current_attribution()
        key = self.key(request, scope=whom, corpus=corpus)
        began = None if key is None else self._circuit.begin()
        hit: Hit | None = None
        if key is not None and began is not None:
            try:
                hit = await self._engine.afind(store, key)
                self._circuit.worked(began)
            except Exception as error:  # whatever a store throws, the app's call goes on
                self._circuit.failed(began)
                self._faults.note("lookup", error)
        if hit is not None and (wait := self._wait()):
            await asyncio.sleep(wait)
        return self._told(key, hit, whom)

    def store(
        self,
        request: Request,
        answer: CachedAnswer,
        *,
        scope: Attribution | None = None,
        corpus: str | None = None,
        ttl_seconds: float | None = None,
    ) -> bool:
        """Keep an answer if it may be kept; never raises.

        Args:
            request: what was sent.
            answer: what came back.
            scope: whom it was for; the enclosing `attribute` blocks by default.
            corpus: the version of the documents that it rests on.
            ttl_seconds: how long to keep it, in place of the settings.

        Returns:
            Whether it was kept, and would be served.
        """
        key = self.key(request, scope=scope or current_attribution(), corpus=corpus)
        if key is None or not self._is_admitted(request, key, answer):
            return False
        return self._noted(self._reach(lambda: self._engine.keep(key, answer, ttl_seconds)))

    async def astore(
        self,
        request: Request,
        answer: CachedAnswer,
        *,
        scope: Attribution | None = None,
        corpus: str | None = None,
        ttl_seconds: float | None = None,
    ) -> bool:
        """Do what `store` does, off the event loop."""
        store = self._async_store
        if store is None:
            return await asyncio.to_thread(
                self.store, request, answer, scope=scope, corpus=corpus, ttl_seconds=ttl_seconds
            )
        key = self.key(request, scope=scope or current_attribution(), corpus=corpus)
        if key is None or not self._is_admitted(request, key, answer):
            return False
        began = self._circuit.begin()
        if began is None:
            return False
        try:
            kept = await self._engine.akeep(store, key, answer, ttl_seconds)
            self._circuit.worked(began)
        except Exception as error:  # whatever a store throws, the app's call goes on
            self._circuit.failed(began)
            self._faults.note("store", error)
            return False
        return self._noted(kept)

    def store_many(
        self,
        answers: Sequence[tuple[Request, CachedAnswer]],
        *,
        scope: Attribution | None = None,
        corpus: str | None = None,
        ttl_seconds: float | None = None,
    ) -> int:
        """Keep many answers, embedding their questions together; returns how many were kept. Never raises."""
        kept = 0
        whom = scope or current_attribution()
        for at in range(0, len(answers), 256):
            chunk = answers[at : at + 256]
            keys = (self.key(request, scope=whom, corpus=corpus) for request, _ in chunk)
            questions = [key.question for key in keys if key is not None and not key.is_exact_only]
            try:
                if questions and self.is_semantic:
                    self._vectors.learn(questions)
            except Exception as error:  # then each is tried by itself
                self._faults.note("embedder", error)
            kept += sum(
                self.store(request, answer, scope=whom, corpus=corpus, ttl_seconds=ttl_seconds)
                for request, answer in chunk
            )
        return kept

    def begin(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> Turn:
        """Look a request up, and on a miss share one call with all who ask the same at the same time.

        A turn has a hit, or must be finished with the answer, or abandoned; as a context manager it abandons itself.
        Of those that ask the same, one gets a turn without a hit at once, and the others wait for its answer.
        """
        asking, since = Asking(request, scope or current_attribution(), corpus), time.monotonic()
        hit = self.lookup(request, scope=asking.scope, corpus=corpus)
        key = None if hit is not None else self._shareable(asking)
        return self._turn(asking, hit, key, None if key is None else self._flights.join(key.exact, since))

    async def abegin(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> Turn:
        """Do what `begin` does, off the event loop."""
        asking, since = Asking(request, scope or current_attribution(), corpus), time.monotonic()
        hit = await self.alookup(request, scope=asking.scope, corpus=corpus)
        key = None if hit is not None else self._shareable(asking)
        return self._turn(asking, hit, key, None if key is None else await self._flights.ajoin(key.exact, since))

    def key(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> CacheKey | None:
        """Return the key of a request, None if it cannot be cached; never raises."""
        try:
            if not self._engine.is_ready and not self._reach(self._engine.connect):
                return None
            key = CacheKey.of(
                request,
                scope,
                secret=self._engine.secret,
                corpus=corpus,
                isolate_by=self.settings.isolate_by,
                ignored_parameters=self.settings.ignored_parameters,
            )
            if self.admission.bars(key.question, is_exact_only=key.is_exact_only):
                self._count("uncacheable", "never cached")
                return None
        except Uncacheable as error:
            self._count("uncacheable", str(error))
            return None
        except Exception as error:  # a request that we cannot read is still a request
            self._faults.note("key", error)
            return None
        return key

    def check(self, hit: Hit, answer: CachedAnswer) -> bool | None:
        """Compare a hit with what the model answered to the same request; a pair that differs is never matched again.

        Returns:
            Whether they agree; None if that could not be told.
        """
        try:
            agrees = self._same_answer(hit.answer.plain, answer.plain)
        except Exception as error:  # no answer is worse for a failed comparison
            self._faults.note("check", error)
            return None
        self._reach(lambda: self._engine.store.count(CHECKED_RIGHT if agrees else CHECKED_WRONG))
        self._engine.judge.observe(hit, agrees=agrees)
        if not agrees:
            self.reject(hit)
        return agrees

    def reject(self, hit: Hit) -> None:
        """Never match this question with this entry again, for 30 days; never raises."""
        pair = self._engine.pair(hit.key, hit.id)
        expires = self._engine.clock.now_ms() + int(_DENIED_FOR_SECONDS * 1000)
        self._reach(lambda: self._engine.store.deny(pair, expires))

    def forget(self, hit: Hit) -> None:
        """Remove the entry of a hit, such as one whose payload an adapter cannot read; never raises."""
        self._reach(lambda: self._engine.store.delete([hit.id]))

    def confirm(self, request: Request, *, scope: Attribution | None = None, corpus: str | None = None) -> bool:
        """Release the answer to a request from quarantine; returns whether there is one. Never raises."""
        key = self.key(request, scope=scope or current_attribution(), corpus=corpus)
        return False if key is None else self._reach(lambda: self._engine.confirm(key)) or False

    def purge(
        self,
        *,
        scope: Attribution | None = None,
        source: str | None = None,
        corpus: str | None = None,
        older_than: timedelta | float | None = None,
    ) -> int:
        """Remove entries and return how many; what must meet all conditions given.

        Args:
            scope: whose: each of tenant, user and feature that is given must be equal.
            source: a document that answers rest on.
            corpus: a corpus version.
            older_than: an age, in seconds if it is a number.

        Raises:
            ValueError: no condition is given; to remove everything, use `clear`.
            Exception: whatever the store raises: what was to be removed may still be there.
        """
        owners = _owners(self._engine.secret, scope)
        if not any(owners) and source is None and corpus is None and older_than is None:
            raise ValueError("purge() needs a scope, a source, a corpus or an age; clear() removes everything")
        before = None
        if older_than is not None:
            age = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
            before = self._engine.clock.now_ms() - int(age * 1000)
        self.purges += 1
        self._flights.forget()
        return self._engine.store.purge(
            Selection(
                owners=owners,
                source=None if source is None else tag(self._engine.secret, "source", source),
                corpus=None if corpus is None else tag(self._engine.secret, "corpus", corpus),
                created_before_ms=before,
            )
        )

    def clear(self) -> int:
        """Remove everything and return how much that was; raises what the store raises."""
        self.purges += 1
        self._flights.forget()
        return self._engine.store.purge(Selection())

    def stats(self) -> CacheStats:
        """Return what the cache did; never raises."""
        shared = self._reach(lambda: dict(self._engine.store.counts())) or {}
        right, wrong = shared.get(CHECKED_RIGHT, 0), shared.get(CHECKED_WRONG, 0)
        with self._count_lock:
            counts = dict(self._counts)
        groups: dict[str, dict[str, int]] = {"hits": {}, "uncacheable": {}, "refused": {}}
        for (group, what), times in counts.items():
            groups.setdefault(group, {})[what] = times
        return CacheStats(
            lookups=counts.get(("lookups", ""), 0),
            hits=groups["hits"],
            uncacheable=groups["uncacheable"],
            stored=counts.get(("stored", ""), 0),
            refused=groups["refused"],
            checks=right + wrong,
            false_hits=wrong,
            faults={reason: times for (_, reason), times in self._faults.counted.items()},
        )

    def close(self) -> None:
        """Let go of the store's files and connections."""
        self._engine.store.close()

    async def aclose(self) -> None:
        """Let go of those of the running event loop, too."""
        if self._async_store is not None:
            await self._async_store.aclose()
        else:
            await asyncio.to_thread(self._engine.store.close)

    def _reach(self, work: Callable[[], T]) -> T | None:
        """Do something with the store; None if it fails or failed a moment ago."""
        began = self._circuit.begin()
        if began is None:
            return None
        try:
            done = work()
        except ConfigurationError:
            raise
        except Exception as error:  # whatever a store throws, the app's call goes on
            self._circuit.failed(began)
            self._faults.note("store", error)
            return None
        self._circuit.worked(began)
        return done

    def _noted(self, kept: bool | None) -> bool:
        if kept is not None:
            self._count(*(("stored",) if kept else ("refused", "not confirmed yet")))
        return bool(kept)

    def _is_admitted(self, request: Request, key: CacheKey, answer: CachedAnswer) -> bool:
        try:
            reason = self.admission.refusal(request, key.question, answer)
        except Exception as error:  # an admission rule of the user's that fails admits nothing
            self._faults.note("admission", error)
            return False
        if reason is not None:
            self._count("refused", reason)
        return reason is None

    def _shareable(self, asking: Asking) -> CacheKey | None:
        if self.settings.mode != "on" or not self.settings.flight_wait_seconds:
            return None
        return self.key(asking.request, scope=asking.scope, corpus=asking.corpus)

    def _turn(
        self, asking: Asking, hit: Hit | None, key: CacheKey | None, joined: Flight | CachedAnswer | None
    ) -> Turn:
        flight = joined if isinstance(joined, Flight) else None
        if isinstance(joined, CachedAnswer) and key is not None:
            hit = Hit(answer=joined, tier="shared", question=key.question, scope=asking.scope, key=key.id)
            self._count("hits", "shared")
        return Turn(self, asking, hit, flight=flight, flights=self._flights)

    def _told(self, key: CacheKey | None, hit: Hit | None, whom: Attribution) -> Hit | None:
        if key is None:
            return None
        self._count("lookups")
        if hit is None:
            return None
        self._count("hits", hit.tier)
        is_served = self.settings.mode == "on"
        is_sampled = hit.tier != "exact" and self._random.random() < self.settings.checked_share
        return replace(hit, scope=whom, is_served=is_served, is_checked=is_sampled or not is_served)

    def _wait(self) -> float:
        bounds = self.settings.hit_latency_seconds
        return 0.0 if bounds is None else self._random.uniform(*bounds)

    def _count(self, group: str, what: str = "") -> None:
        with self._count_lock:
            self._counts[group, what] += 1


def _settings(given: object) -> CacheSettings:
    if given is None:
        return CacheSettings()
    if isinstance(given, CacheSettings):
        return given
    raise ConfigurationError(f"the settings are a {type(given).__name__}: give CacheSettings(mode='shadow'), say")


def _owners(secret: bytes, scope: Attribution | None) -> tuple[bytes, ...]:
    if scope is None:
        return (b"", b"", b"")
    return tuple(owner_id(secret, name, getattr(scope, name)) for name in SCOPE_NAMES)
