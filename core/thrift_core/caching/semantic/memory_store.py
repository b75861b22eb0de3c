"""Keeps the cache in this process's memory."""

from __future__ import annotations

import heapq
import secrets
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from thrift_core.accounting.fork import hold_across_forks
from thrift_core.caching.semantic.record import Broken, header_of
from thrift_core.caching.semantic.store import (
    Limits,
    Near,
    Selection,
    Stored,
    StoreSize,
    VectorSpace,
    rank,
    surplus,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from thrift_core.caching.semantic.vector_index import VectorIndex

_DEFAULT_MAX_ENTRIES = 1_000_000
_MOST_DENIED = 100_000


class MemoryStore:
    """Entries in a dictionary, vectors in one index a partition; gone when the process ends.

    A forked child goes on with a copy of its own.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._secret = secrets.token_bytes(32)
        self._space: VectorSpace | None = None
        self._slots: dict[bytes, _Slot] = {}
        self._partitions: dict[bytes, _Partition] = {}
        self._sources: dict[bytes, set[bytes]] = {}
        self._scopes: Counter[bytes] = Counter()
        self._bytes = 0
        self._denied: dict[bytes, int] = {}
        self._counts: Counter[str] = Counter()
        hold_across_forks(self)

    def secret(self) -> bytes:
        """Return a key made for this store."""
        return self._secret

    def space(self) -> VectorSpace | None:
        """Return which vectors it holds."""
        return self._space

    def claim(self, space: VectorSpace) -> VectorSpace:
        """Take the vectors of this space if there are none yet."""
        with self.lock:
            self._space = self._space or space
            return self._space

    def check(self, limits: Limits) -> None:
        """Hold any limits."""

    def get(self, entry_id: bytes, now_ms: int) -> bytes | None:
        """Return a record that has not expired."""
        with self.lock:
            slot = self._slots.get(entry_id)
            if slot is None:
                return None
            if _has_expired(slot.record, now_ms):
                self._drop(entry_id)
                return None
            return slot.record

    def nearest(self, partition: bytes, vector: NDArray[Any], k: int, min_similarity: float, now_ms: int) -> list[Near]:
        """Return the nearest entries of a partition."""
        with self.lock:
            index = held.index if (held := self._partitions.get(partition)) is not None else None
            while index is not None:
                found = index.search(vector, k, min_similarity)
                near = [Near(entry_id, similarity, self._slots[entry_id].record) for entry_id, similarity in found]
                expired = [one.id for one in near if _has_expired(one.record, now_ms)]
                if not expired:
                    return near
                for entry_id in expired:
                    self._drop(entry_id)
            return []

    def put(self, stored: Stored, limits: Limits, now_ms: int) -> None:
        """Keep an entry and evict others."""
        with self.lock:
            if stored.id in self._slots:
                self._drop(stored.id)
            partition = self._partitions.get(stored.partition)
            if partition is None:
                partition = self._partitions[stored.partition] = _Partition(stored)
            slot = _Slot(partition, stored.record, now_ms)
            if stored.vector is not None:
                slot.place = partition.add(stored.id, stored.vector)
            self._slots[stored.id] = slot
            partition.entries += 1
            self._scopes[partition.scope] += 1
            self._bytes += slot.size
            for source in stored.sources:
                self._sources.setdefault(source, set()).add(stored.id)
            self._make_room(stored, limits)

    def touch(self, entry_id: bytes, limits: Limits, now_ms: int) -> None:
        """Note a use."""
        slot = self._slots.get(entry_id)
        if slot is not None:
            slot.uses += 1
            slot.last_used_ms = now_ms

    def delete(self, ids: Collection[bytes]) -> int:
        """Remove entries."""
        with self.lock:
            return sum(self._drop(entry_id) for entry_id in ids)

    def purge(self, selection: Selection) -> int:
        """Remove a selection."""
        with self.lock:
            among: Iterable[bytes] = list(self._slots)
            if selection.source is not None:
                among = [entry_id for entry_id in self._sources.get(selection.source, ()) if entry_id in self._slots]
            return self.delete([entry_id for entry_id in among if self._is_selected(entry_id, selection)])

    def deny(self, pair: bytes, expires_ms: int) -> None:
        """Put a pair on the negative list; the oldest pairs go when there are 100,000."""
        with self.lock:
            self._denied[pair] = expires_ms
            if len(self._denied) > _MOST_DENIED:
                del self._denied[next(iter(self._denied))]

    def is_denied(self, pair: bytes, now_ms: int) -> bool:
        """Return whether a pair is on the negative list."""
        return self._denied.get(pair, 0) > now_ms

    def count(self, name: str, times: int = 1) -> None:
        """Add to a counter."""
        with self.lock:
            self._counts[name] += times

    def counts(self) -> Mapping[str, int]:
        """Return all counters."""
        with self.lock:
            return dict(self._counts)

    def size(self) -> StoreSize:
        """Return what it holds."""
        return StoreSize(len(self._slots), self._bytes)

    def close(self) -> None:
        """Forget everything."""
        with self.lock:
            self.purge(Selection())

    def before_fork(self) -> None:
        """Nothing is open; the lock alone keeps a child from half of a change."""

    def _drop(self, entry_id: bytes) -> bool:
        slot = self._slots.pop(entry_id, None)
        if slot is None:
            return False
        partition = slot.partition
        if slot.place >= 0 and partition.index is not None:
            moved = partition.index.remove(slot.place)
            if moved is not None:
                self._slots[moved].place = slot.place
        partition.entries -= 1
        if not partition.entries:
            del self._partitions[partition.id]
        self._scopes[partition.scope] -= 1
        if not self._scopes[partition.scope]:
            del self._scopes[partition.scope]
        self._bytes -= slot.size
        return True

    def _is_selected(self, entry_id: bytes, selection: Selection) -> bool:
        slot = self._slots[entry_id]
        partition = slot.partition
        if selection.corpus is not None and partition.corpus != selection.corpus:
            return False
        if any(asked and asked != own for asked, own in zip(selection.owners, partition.owners, strict=True)):
            return False
        before = selection.created_before_ms
        return before is None or header_of(slot.record).created_ms < before

    def _make_room(self, new: Stored, limits: Limits) -> None:
        own = surplus(self._scopes[new.scope], limits.max_entries_per_scope)
        if own:
            self._evict(
                own,
                0,
                limits,
                [entry_id for entry_id, slot in self._slots.items() if slot.partition.scope == new.scope],
                new,
            )
        total = surplus(len(self._slots), limits.max_entries or _DEFAULT_MAX_ENTRIES)
        too_large = surplus(self._bytes, limits.max_bytes)
        if total or too_large:
            self._evict(total, too_large, limits, self._slots, new)

    def _evict(self, entries: int, too_many_bytes: int, limits: Limits, among: Iterable[bytes], new: Stored) -> None:
        ids = [entry_id for entry_id in among if entry_id != new.id]
        at_most = len(ids) if too_many_bytes else entries
        gone = freed = 0
        for entry_id in heapq.nsmallest(at_most, ids, key=lambda entry_id: self._slots[entry_id].rank(limits)):
            if gone >= entries and freed >= too_many_bytes:
                break
            gone, freed = gone + 1, freed + self._slots[entry_id].size
            self._drop(entry_id)
        if new.size > (limits.max_bytes or new.size):
            self._drop(new.id)
        # What was evicted may still stand under its documents; seldom, and in one sweep.
        self._sources = {source: kept for source, ids in self._sources.items() if (kept := ids & self._slots.keys())}


def _has_expired(record: bytes, now_ms: int) -> bool:
    try:
        return header_of(record).expires_ms <= now_ms
    except Broken:
        return False  # for whoever opens it to find, count and remove


class _Partition:
    """What the entries of one partition share."""

    __slots__ = ("corpus", "entries", "id", "index", "owners", "scope")

    def __init__(self, stored: Stored) -> None:
        self.id = stored.partition
        self.scope = stored.scope
        self.owners = stored.owners
        self.corpus = stored.corpus
        self.entries = 0
        self.index: VectorIndex[bytes] | None = None

    def add(self, entry_id: bytes, vector: NDArray[Any]) -> int:
        if self.index is None:
            from thrift_core.caching.semantic.vector_index import VectorIndex  # noqa: PLC0415 - brings numpy

            self.index = VectorIndex(len(vector))
        return self.index.add(entry_id, vector)


class _Slot:
    """One entry; small, since there may be millions."""

    __slots__ = ("last_used_ms", "partition", "place", "record", "uses")

    def __init__(self, partition: _Partition, record: bytes, now_ms: int) -> None:
        self.partition = partition
        self.record = record
        self.place = -1
        self.uses = 1
        self.last_used_ms = now_ms

    @property
    def size(self) -> int:
        index = self.partition.index
        return len(self.record) + (2 * index.dimensions if self.place >= 0 and index is not None else 0)

    def rank(self, limits: Limits) -> tuple[float, int]:
        worth = header_of(self.record).worth_usd
        return rank(limits.eviction, last_used_ms=self.last_used_ms, uses=self.uses, worth_usd=worth, size=self.size)
