"""What the cache asks of a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from thrift_core.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Eviction = Literal["lru", "lfu", "cost"]
EVICTIONS: tuple[Eviction, ...] = ("lru", "lfu", "cost")
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """Which vectors a store holds; those of another model mean nothing beside them.

    Attributes:
        embedder: the embedder's name.
        dimensions: the vectors' length.
    """

    embedder: str
    dimensions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a store holds.

    Attributes:
        max_entries: of all scopes together; None for the store's own default.
        max_bytes: of all records and vectors together; None for no limit.
        max_entries_per_scope: of one scope, so that none can push out the others; None for no limit.
        eviction: what goes first: `lru`, what was used longest ago; `lfu`, what was used least; `cost`, what saves the
            fewest dollars for each byte it takes.
    """

    max_entries: int | None = None
    max_bytes: int | None = None
    max_entries_per_scope: int | None = None
    eviction: Eviction = "lru"

    def __post_init__(self) -> None:
        for name in ("max_entries", "max_bytes", "max_entries_per_scope"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigurationError(f"{name} must be a whole number of 1 or more, or None; got {value!r}")
        if self.eviction not in EVICTIONS:
            raise ConfigurationError(f"eviction must be one of {', '.join(EVICTIONS)}; got {self.eviction!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One entry on its way into a store, which reads nothing of it but what is here.

    Attributes:
        id: where it is kept; what is there already is replaced.
        partition: where it is searched for; one partition has one scope, owners and corpus, since it is a hash of them.
        scope: whose quota it counts against.
        owners: tenant, user and feature, hashed, for purges.
        corpus: the corpus version, hashed.
        sources: the documents it rests on, hashed.
        created_ms: when it was made.
        expires_ms: when it ends.
        worth_usd: what one hit saves.
        record: the sealed entry.
        vector: the question's vector of length 1; None for what is never searched for.
    """

    id: bytes
    partition: bytes
    scope: bytes
    owners: tuple[bytes, ...]
    corpus: bytes
    sources: tuple[bytes, ...]
    created_ms: int
    expires_ms: int
    worth_usd: float
    record: bytes
    vector: NDArray[Any] | None

    @property
    def size(self) -> int:
        """Bytes that count against `max_bytes`: the record, and the vector as 16-bit floats."""
        return len(self.record) + (0 if self.vector is None else 2 * len(self.vector))


@dataclass(frozen=True, slots=True)
class Near:
    """An entry near a vector.

    Attributes:
        id: where it is kept.
        similarity: the cosine.
        record: the sealed entry.
    """

    id: bytes
    similarity: float
    record: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Entries that meet every condition given; with none given, all of them.

    Attributes:
        owners: tenant, user and feature, hashed; empty ones select nothing in particular.
        source: a document.
        corpus: a corpus version.
        created_before_ms: only what is older.
    """

    owners: tuple[bytes, ...] = (b"", b"", b"")
    source: bytes | None = None
    corpus: bytes | None = None
    created_before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StoreSize:
    """What a store holds.

    Attributes:
        entries: how many, expired ones that nobody met yet included.
        bytes: of their records and vectors.
    """

    entries: int
    bytes: int


@runtime_checkable
class CacheStore(Protocol):
    """Keeps sealed entries by id and finds them by vector inside one partition.

    A store never serves what has expired, never moves an expiry, and is safe across threads and forks. It may raise
    whatever its storage raises; the cache turns that into a miss.
    """

    def secret(self) -> bytes:
        """Return the key of all hashes and seals, made once and shared by all who use the store."""
        ...

    def space(self) -> VectorSpace | None:
        """Return which vectors it holds, None before the first."""
        ...

    def claim(self, space: VectorSpace) -> VectorSpace:
        """Say which vectors will come, and return which it holds: the same, unless somebody else was first."""
        ...

    def get(self, entry_id: bytes, now_ms: int) -> bytes | None:
        """Return the record under an id, None if there is none or it has expired."""
        ...

    def nearest(self, partition: bytes, vector: NDArray[Any], k: int, min_similarity: float, now_ms: int) -> list[Near]:
        """Return up to k entries of a partition, the nearest first."""
        ...

    def check(self, limits: Limits) -> None:
        """Raise `ConfigurationError` if it cannot hold such limits; asks nobody."""
        ...

    def put(self, stored: Stored, limits: Limits, now_ms: int) -> None:
        """Keep an entry, and evict others until the limits hold."""
        ...

    def touch(self, entry_id: bytes, limits: Limits, now_ms: int) -> None:
        """Note a use of an entry, which decides what is evicted; its expiry stays."""
        ...

    def delete(self, ids: Collection[bytes]) -> int:
        """Remove entries and return how many there were."""
        ...

    def purge(self, selection: Selection) -> int:
        """Remove all entries of a selection and return how many there were."""
        ...

    def deny(self, pair: bytes, expires_ms: int) -> None:
        """Put a pair of questions on the negative list."""
        ...

    def is_denied(self, pair: bytes, now_ms: int) -> bool:
        """Return whether a pair of questions is on the negative list."""
        ...

    def count(self, name: str, times: int = 1) -> None:
        """Add to a counter."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Return all counters."""
        ...

    def size(self) -> StoreSize:
        """Return what it holds."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@runtime_checkable
class AsyncCacheStore(CacheStore, Protocol):
    """A store whose every lookup waits for a network, and can be awaited."""

    async def aget(self, entry_id: bytes, now_ms: int) -> bytes | None:
        """Do what `get` does."""
        ...

    async def anearest(
        self, partition: bytes, vector: NDArray[Any], k: int, min_similarity: float, now_ms: int
    ) -> list[Near]:
        """Do what `nearest` does."""
        ...

    async def aput(self, stored: Stored, limits: Limits, now_ms: int) -> None:
        """Do what `put` does."""
        ...

    async def atouch(self, entry_id: bytes, limits: Limits, now_ms: int) -> None:
        """Do what `touch` does."""
        ...

    async def ais_denied(self, pair: bytes, now_ms: int) -> bool:
        """Do what `is_denied` does."""
        ...

    async def adelete(self, ids: Collection[bytes]) -> int:
        """Do what `delete` does."""
        ...

    async def aclose(self) -> None:
        """Let go of the connections of the running event loop, and of what `close` lets go of."""
        ...


def rank(eviction: Eviction, *, last_used_ms: int, uses: int, worth_usd: float, size: int) -> tuple[float, int]:
    """Return what orders entries for eviction, the first to go first."""
    if eviction == "lru":
        return (last_used_ms, 0)
    if eviction == "lfu":
        return (uses, last_used_ms)
    return (worth_usd * uses / max(size, 1), last_used_ms)


def surplus(count: int, limit: int | None) -> int:
    """Return how many of `count` must go; a large store makes room for some more at once, so that it seldom has to."""
    if limit is None or count <= limit:
        return 0
    return max(count - limit, limit // _AT_ONCE)
