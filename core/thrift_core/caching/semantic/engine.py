"""What lookups and stores do to a store, in the order of the tiers; raises what the store raises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thrift_core.caching.semantic.agreement import SameAnswer
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.cache_key import CacheKey, tag
from thrift_core.caching.semantic.embedder import Embedding
from thrift_core.caching.semantic.faults import Faults
from thrift_core.caching.semantic.fingerprint import digest
from thrift_core.caching.semantic.judge import Findings, Judge
from thrift_core.caching.semantic.matcher import Candidate, ConservativeMatcher, Judgement
from thrift_core.caching.semantic.record import NEVER_MS, Broken, Entry, Header, opened, sealed
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.steady_clock import SteadyClock
from thrift_core.caching.semantic.store import AsyncCacheStore, CacheStore, Limits, Near, Stored, VectorSpace
from thrift_core.caching.semantic.vectors import QuestionVectors
from thrift_core.errors import ConfigurationError
from thrift_core.guard import Guard

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT_BYTES = 8


class Engine:
    """Finds and keeps entries.

    Args:
        store: where entries are kept.
        vectors: embeds questions.
        judge: tells hits from near misses.
        same_answer: tells whether two answers agree, for the quarantine.
        settings: how the cache behaves.
        limits: how much the store holds.
        faults: where failures are counted.
        clock: tells what has expired.
        secret: keys hashes and seals; None asks the store.
    """

    def __init__(
        self,
        store: CacheStore,
        vectors: QuestionVectors,
        judge: Judge,
        same_answer: SameAnswer,
        *,
        settings: CacheSettings,
        limits: Limits,
        faults: Faults,
        clock: SteadyClock,
        secret: bytes | None,
    ) -> None:
        self.store = store
        self.judge = judge
        self.clock = clock
        self.secret = secret or b""
        self.is_ready = False
        self._vectors = vectors
        self._same_answer = same_answer
        self._settings = settings
        self._limits = limits
        self._faults = faults
        self._guard = Guard(faults, timeout_seconds=settings.embed_timeout_seconds)
        self._is_our_matcher = isinstance(judge.matcher, ConservativeMatcher)
        self._is_claimed = False
        store.check(limits)

    def connect(self) -> bool:
        """Learn the store's secret and see that its vectors are ours.

        Raises:
            ConfigurationError: they are another embedder's.
        """
        secret = self.secret or self.store.secret()
        _check_space(self.store.space(), self._vectors.embedding)
        self.secret, self.is_ready = secret, True
        return True

    def find(self, key: CacheKey) -> Hit | None:
        """Return the hit of the first tier that has one."""
        now = self.clock.now_ms()
        record = self.store.get(key.id, now)
        if record is not None:
            found = self.judge.repeated(self.secret, key, record, now)
            self._remove(found)
            if found.hits:
                self.store.touch(key.id, self._limits, now)
                return found.hits[0]
        vector = self._vector(key)
        if vector is None:
            return None
        least = self.judge.matcher.min_similarity
        near = self.store.nearest(key.partition, vector, self._settings.candidates, least, now)
        found = self._alike(key, near, now)
        self._remove(found)
        for hit in found.hits:
            if not self.store.is_denied(self.pair(key.id, hit.id), now):
                self.store.touch(hit.id, self._limits, now)
                return hit
        return None

    async def afind(self, store: AsyncCacheStore, key: CacheKey) -> Hit | None:
        """Do what `find` does, awaiting the store."""
        now = self.clock.now_ms()
        record = await store.aget(key.id, now)
        if record is not None:
            found = self.judge.repeated(self.secret, key, record, now)
            await self._aremove(store, found)
            if found.hits:
                await store.atouch(key.id, self._limits, now)
                return found.hits[0]
        vector = await self._avector(key)
        if vector is None:
            return None
        least = self.judge.matcher.min_similarity
        near = await store.anearest(key.partition, vector, self._settings.candidates, least, now)
        if self._is_our_matcher:
            found = self._alike(key, near, now)
        else:
            found = await asyncio.to_thread(self._alike, key, near, now)
        await self._aremove(store, found)
        for hit in found.hits:
            if not await store.ais_denied(self.pair(key.id, hit.id), now):
                await store.atouch(hit.id, self._limits, now)
                return hit
        return None

    def keep(self, key: CacheKey, answer: CachedAnswer, ttl_seconds: float | None) -> bool:
        """Keep an answer; returns whether it would be served."""
        now = self.clock.now_ms()
        earlier = self.store.get(key.id, now) if self._settings.needs_confirmation else None
        entry = self._entry(key, answer, ttl_seconds, earlier, now)
        if entry is None:
            return True
        self.store.put(self._stored(key, entry, self._vector(key)), self._limits, now)
        return entry.header.is_confirmed

    async def akeep(
        self, store: AsyncCacheStore, key: CacheKey, answer: CachedAnswer, ttl_seconds: float | None
    ) -> bool:
        """Do what `keep` does, awaiting the store."""
        now = self.clock.now_ms()
        earlier = await store.aget(key.id, now) if self._settings.needs_confirmation else None
        if earlier is None:
            entry = self._entry(key, answer, ttl_seconds, None, now)
        else:
            entry = await asyncio.to_thread(self._entry, key, answer, ttl_seconds, earlier, now)
        if entry is None:
            return True
        await store.aput(self._stored(key, entry, await self._avector(key)), self._limits, now)
        return entry.header.is_confirmed

    def confirm(self, key: CacheKey) -> bool:
        """Release an entry from quarantine; returns whether there is one."""
        now = self.clock.now_ms()
        record = self.store.get(key.id, now)
        if record is None:
            return False
        entry = opened(record, entry_id=key.id, partition=key.partition, secret=self.secret).entry()
        confirmed = replace(entry, header=replace(entry.header, is_confirmed=True))
        self.store.put(self._stored(key, confirmed, self._vector(key)), self._limits, now)
        return True

    def pair(self, asked: bytes, entry_id: bytes) -> bytes:
        """Return the name of a question and an entry together on the negative list."""
        return digest(self.secret, "pair", asked, entry_id)

    def _vector(self, key: CacheKey) -> NDArray[Any] | None:
        """Return the vector to search by, None where nothing is to be searched."""
        if key.is_exact_only or not self.judge.is_semantic:
            return None
        vector = self._vectors.vector(key.question)
        return vector if vector is not None and self._claim(vector) else None

    async def _avector(self, key: CacheKey) -> NDArray[Any] | None:
        if key.is_exact_only or not self.judge.is_semantic:
            return None
        vector = await self._vectors.avector(key.question)
        if vector is None:
            return None
        return vector if self._is_claimed or await asyncio.to_thread(self._claim, vector) else None

    def _claim(self, vector: NDArray[Any]) -> bool:
        """Return whether the store holds vectors of our embedder, which is asked of it once."""
        if not self._is_claimed:
            ours = VectorSpace(self._vectors.embedding.name, len(vector))
            held = self.store.claim(ours)
            if held != ours:
                # Another process with another embedder was first since this one started.
                self._faults.note("embedder", ConfigurationError(_mismatch(held, ours)))
            self._is_claimed = held == ours
        return self._is_claimed

    def _alike(self, key: CacheKey, near: Sequence[Near], now: int) -> Findings:
        try:
            return self.judge.alike(self.secret, key, near, now, self._ask_matcher)
        except Exception as error:  # a matcher that answers nonsense; the store is not to blame
            self._faults.note("matcher", error)
            return Findings()

    def _ask_matcher(self, question: str, candidates: Sequence[Candidate]) -> Sequence[Judgement] | None:
        matcher = self.judge.matcher
        if self._is_our_matcher:
            return matcher.judge(question, candidates)
        return self._guard.run("cache matcher", lambda: matcher.judge(question, candidates))

    def _remove(self, found: Findings) -> None:
        if found.broken:
            self._faults.note("entry", Broken(found.reasons[0]))
            self.store.delete(found.broken)

    async def _aremove(self, store: AsyncCacheStore, found: Findings) -> None:
        if found.broken:
            self._faults.note("entry", Broken(found.reasons[0]))
            await store.adelete(found.broken)

    def _entry(
        self, key: CacheKey, answer: CachedAnswer, ttl_seconds: float | None, earlier: bytes | None, now: int
    ) -> Entry | None:
        """Return the entry to keep; None where a confirmed one is there already."""
        is_confirmed = not self._settings.needs_confirmation
        if earlier is not None:
            known = opened(earlier, entry_id=key.id, partition=key.partition, secret=self.secret).entry()
            if known.header.is_confirmed:
                return None
            is_other = known.principal != key.principal
            is_confirmed = is_other and self._same_answer(known.answer.plain, answer.plain)
        ttl = self._settings.ttl_for(key.feature) if ttl_seconds is None else ttl_seconds
        return Entry(
            header=Header(
                created_ms=now,
                expires_ms=NEVER_MS if ttl is None else min(NEVER_MS - 1, now + int(ttl * 1000)),
                worth_usd=float(answer.cost_usd or 0),
                is_confirmed=is_confirmed,
            ),
            exact=key.exact[:_EXACT_BYTES],
            principal=key.principal,
            question=key.question,
            answer=answer,
        )

    def _stored(self, key: CacheKey, entry: Entry, vector: NDArray[Any] | None) -> Stored:
        return Stored(
            id=key.id,
            partition=key.partition,
            scope=key.scope,
            owners=key.owners,
            corpus=key.corpus,
            sources=tuple(tag(self.secret, "source", source) for source in entry.answer.sources),
            created_ms=entry.header.created_ms,
            expires_ms=entry.header.expires_ms,
            worth_usd=entry.header.worth_usd,
            record=sealed(entry, entry_id=key.id, partition=key.partition, secret=self.secret),
            vector=vector,
        )


def _check_space(held: VectorSpace | None, embedding: Embedding) -> None:
    if held is None:
        return
    if held.embedder != embedding.name:
        raise ConfigurationError(_mismatch(held, VectorSpace(embedding.name, 0)))
    try:
        ours = VectorSpace(embedding.name, embedding.dimensions())
    except Exception as error:
        raise ConfigurationError(f"the embedder {embedding.name} cannot be used: {error}") from error
    if ours != held:
        raise ConfigurationError(_mismatch(held, ours))


def _mismatch(held: VectorSpace, ours: VectorSpace) -> str:
    size = f" with {ours.dimensions} dimensions" if ours.dimensions else ""
    return (
        f"the store holds vectors of {held.embedder} with {held.dimensions} dimensions, and the embedder is "
        f"{ours.embedder}{size}: give the embedder it was filled with, or another store"
    )
