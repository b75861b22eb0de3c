"""Keeps the cache in Redis with search, for many machines."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, cast

from thrift_core.caching.semantic.cache_key import SCOPE_TAG_BYTES
from thrift_core.caching.semantic.packing import packed, unpacked
from thrift_core.caching.semantic.record import NEVER_MS
from thrift_core.caching.semantic.redis_clients import RedisClients, redisvl
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
from thrift_core.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Algorithm = Literal["hnsw", "flat"]
_OWNERS = "tuf"
_PAGE = 500
_SAMPLED = 50


class RedisStore:
    """Entries in Redis as hashes, found by key or by the vector search of Redis 8 (Redis Stack before it).

    The index and the queries are redisvl's: the partition is a filter of the search itself, never a check after it.
    Redis lets entries expire by its own clock; only where ours is ahead does expiry become a filter, for it costs as
    much as the search. Entries are written by a script of ours, since redisvl can only set a time to live that counts
    from the write and cannot hold a quota in the same step. Expiry is absolute and not moved by a hit. Names of keys
    carry their scope's hash tag, so that in a cluster all that belongs to one scope lies on one node.

    Redis bounds its own memory: set `maxmemory`, and a policy such as `volatile-lru`. Quotas of scopes are held here;
    `max_entries` and `max_bytes` are not. A quota counts the entries that were stored while there was one. What an
    exhausted or restarted Redis has lost is a miss.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.Redis` without `decode_responses`.
        prefix: stores with different prefixes do not see one another.
        algorithm: `hnsw` finds nearly all neighbours fast, `flat` all of them.

    Raises:
        ConfigurationError: the URL or the prefix cannot be used.
        MissingExtra: `redis` or `redisvl` is not installed.
    """

    def __init__(self, url_or_client: Any, *, prefix: str = "thrift-cache", algorithm: Algorithm = "hnsw") -> None:
        if not prefix or set(prefix) & set("{}:*? "):
            raise ConfigurationError(f"prefix must be a word such as 'thrift-cache'; got {prefix!r}")
        if algorithm not in ("hnsw", "flat"):
            raise ConfigurationError(f"algorithm must be 'hnsw' or 'flat'; got {algorithm!r}")
        self._prefix = prefix
        self._algorithm = algorithm
        self._clients = RedisClients(url_or_client)
        self._put_script = resources.files("thrift_core.caching.semantic").joinpath("redis_put.lua").read_text()
        self._space: VectorSpace | None = None

    def secret(self) -> bytes:
        """Return the key that whoever was first has made."""
        return self._fact("secret", secrets.token_bytes(32))

    def space(self) -> VectorSpace | None:
        """Return which vectors it holds."""
        held = self._redis.get(self._name("space"))
        return None if held is None else _space(held)

    def claim(self, space: VectorSpace) -> VectorSpace:
        """Take the vectors of this space if there are none yet, and see to the index."""
        held = _space(self._fact("space", f"{space.dimensions} {space.embedder}".encode()))
        if held == space:
            self._make_index(space.dimensions)
            self._space = space
        return held

    def check(self, limits: Limits) -> None:
        """Refuse limits that only Redis itself can hold."""
        if limits.max_entries is not None or limits.max_bytes is not None:
            raise ConfigurationError(
                "a RedisStore holds no max_entries or max_bytes: set maxmemory and maxmemory-policy in Redis; "
                "max_entries_per_scope is held"
            )

    def get(self, entry_id: bytes, now_ms: int) -> bytes | None:
        """Return a record that has not expired."""
        return _current(self._redis.hmget(self._entry(entry_id), "record", "expires"), now_ms)

    async def aget(self, entry_id: bytes, now_ms: int) -> bytes | None:
        """Do what `get` does."""
        if not self._clients.is_async:
            return await asyncio.to_thread(self.get, entry_id, now_ms)
        return _current(await self._clients.in_loop.hmget(self._entry(entry_id), "record", "expires"), now_ms)

    def nearest(self, partition: bytes, vector: NDArray[Any], k: int, min_similarity: float, now_ms: int) -> list[Near]:
        """Return the nearest entries of a partition."""
        search = partial(self._redis.execute_command, "FT.SEARCH", self._index)
        try:
            found = _found(search(*_vector_query(partition, vector, k)), now_ms)
            if found is None:
                found = _found(search(*_vector_query(partition, vector, k, now_ms)), now_ms)
        except Exception as error:
            if not _is_missing_index(error):
                raise
            self._make_index(len(vector))  # a restarted Redis has forgotten it, with all that it found
            return []
        return _near(found, min_similarity)

    async def anearest(
        self, partition: bytes, vector: NDArray[Any], k: int, min_similarity: float, now_ms: int
    ) -> list[Near]:
        """Do what `nearest` does."""
        if not self._clients.is_async:
            return await asyncio.to_thread(self.nearest, partition, vector, k, min_similarity, now_ms)
        search = partial(self._clients.in_loop.execute_command, "FT.SEARCH", self._index)
        try:
            found = _found(await search(*_vector_query(partition, vector, k)), now_ms)
            if found is None:
                found = _found(await search(*_vector_query(partition, vector, k, now_ms)), now_ms)
        except Exception as error:
            if not _is_missing_index(error):
                raise
            await asyncio.to_thread(self._make_index, len(vector))
            return []
        return _near(found, min_similarity)

    def put(self, stored: Stored, limits: Limits, now_ms: int) -> None:
        """Keep an entry and hold its scope to its quota, in one step."""
        keys, values = self._putting(stored, limits, now_ms)
        self._redis.register_script(self._put_script)(keys=keys, args=values)

    async def aput(self, stored: Stored, limits: Limits, now_ms: int) -> None:
        """Do what `put` does."""
        if not self._clients.is_async:
            await asyncio.to_thread(self.put, stored, limits, now_ms)
            return
        keys, values = self._putting(stored, limits, now_ms)
        await self._clients.in_loop.register_script(self._put_script)(keys=keys, args=values)

    def touch(self, entry_id: bytes, limits: Limits, now_ms: int) -> None:
        """Note a use; where no quota is set, nothing is evicted here and nothing noted."""
        if limits.max_entries_per_scope is None:
            return
        worth = self._redis.hget(self._entry(entry_id), "unit") if limits.eviction == "cost" else None
        self._redis.zadd(self._ranks(entry_id), **_used(entry_id, limits, now_ms, worth))

    async def atouch(self, entry_id: bytes, limits: Limits, now_ms: int) -> None:
        """Do what `touch` does."""
        if not self._clients.is_async:
            await asyncio.to_thread(self.touch, entry_id, limits, now_ms)
            return
        if limits.max_entries_per_scope is None:
            return
        client = self._clients.in_loop
        worth = await client.hget(self._entry(entry_id), "unit") if limits.eviction == "cost" else None
        await client.zadd(self._ranks(entry_id), **_used(entry_id, limits, now_ms, worth))

    def delete(self, ids: Collection[bytes]) -> int:
        """Remove entries."""
        gone = 0
        for entry_id in ids:
            gone += int(self._redis.delete(self._entry(entry_id)))
            self._redis.zrem(self._ranks(entry_id), entry_id.hex())
            self._redis.zrem(self._expiries(entry_id), entry_id.hex())
        return gone

    async def adelete(self, ids: Collection[bytes]) -> int:
        """Do what `delete` does."""
        return await asyncio.to_thread(self.delete, ids)

    def purge(self, selection: Selection) -> int:
        """Remove a selection, page by page until nothing of it is found."""
        query = _selection_query(selection)
        gone = 0
        while True:
            try:
                reply = self._redis.execute_command(
                    "FT.SEARCH", self._index, query, "NOCONTENT", "LIMIT", 0, _PAGE, "DIALECT", 2
                )
            except Exception as error:
                if _is_missing_index(error):
                    # Nothing was ever searched for, but there may be entries that only match exactly.
                    return gone + (self._sweep() if selection == Selection() else 0)
                raise
            ids = [bytes.fromhex(key.decode().rsplit(":", 1)[1]) for key in _keys(reply)]
            if not ids:
                return gone
            gone += self.delete(ids)

    def deny(self, pair: bytes, expires_ms: int) -> None:
        """Put a pair on the negative list."""
        self._redis.set(self._name(f"d:{pair.hex()}"), b"1", pxat=expires_ms)

    def is_denied(self, pair: bytes, now_ms: int) -> bool:
        """Return whether a pair is on the negative list."""
        return bool(self._redis.exists(self._name(f"d:{pair.hex()}")))

    async def ais_denied(self, pair: bytes, now_ms: int) -> bool:
        """Do what `is_denied` does."""
        if not self._clients.is_async:
            return await asyncio.to_thread(self.is_denied, pair, now_ms)
        return bool(await self._clients.in_loop.exists(self._name(f"d:{pair.hex()}")))

    def count(self, name: str, times: int = 1) -> None:
        """Add to a counter."""
        self._redis.hincrby(self._name("counts"), name, times)

    def counts(self) -> Mapping[str, int]:
        """Return all counters."""
        found: dict[bytes, bytes] = self._redis.hgetall(self._name("counts"))
        return {name.decode(): int(times) for name, times in found.items()}

    def size(self) -> StoreSize:
        """Return how many entries the index knows, and the memory they take, from a sample of them."""
        query = ("FT.SEARCH", self._index, "*", "NOCONTENT", "LIMIT", 0, _SAMPLED, "DIALECT", 2)
        try:
            reply = self._redis.execute_command(*query)
        except Exception as error:
            if _is_missing_index(error):
                return StoreSize(0, 0)
            raise
        keys = _keys(reply)
        taken = sum(int(self._redis.memory_usage(key) or 0) for key in keys)
        entries = _total(reply)
        return StoreSize(entries, taken * entries // len(keys) if keys else 0)

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, too."""
        await self._clients.aclose()

    @property
    def _redis(self) -> Any:
        return self._clients.here

    @property
    def _index(self) -> str:
        return self._name("index")

    def _name(self, what: str) -> str:
        return f"{self._prefix}:{what}"

    def _entry(self, entry_id: bytes) -> str:
        return f"{self._entries(entry_id)}{entry_id.hex()}"

    def _entries(self, entry_id: bytes) -> str:
        return self._name(f"e:{_hash_tag(entry_id)}:")

    def _expiries(self, entry_id: bytes) -> str:
        return self._name(f"x:{_hash_tag(entry_id)}")

    def _ranks(self, entry_id: bytes) -> str:
        return self._name(f"r:{_hash_tag(entry_id)}")

    def _fact(self, name: str, value: bytes) -> bytes:
        """Return a fact, set to a value the first time."""
        key = self._name(name)
        self._redis.set(key, value, nx=True)
        return bytes(self._redis.get(key))

    def _putting(self, stored: Stored, limits: Limits, now_ms: int) -> tuple[list[str], list[Any]]:
        entry_id, quota = stored.id, limits.max_entries_per_scope or 0
        first = rank(
            limits.eviction, last_used_ms=now_ms, uses=1, worth_usd=stored.worth_usd, size=max(stored.size, 1)
        )[0]
        values = [
            entry_id.hex(),
            now_ms,
            stored.expires_ms,
            NEVER_MS,
            first,
            quota,
            surplus(quota + 1, quota),
            self._entries(entry_id),
        ]
        keys = [self._entry(entry_id), self._expiries(entry_id), self._ranks(entry_id)]
        return keys, [*values, *_fields(stored, has_quota=quota > 0)]

    def _make_index(self, dimensions: int) -> None:
        schema = {
            "index": {"name": self._index, "prefix": self._name("e"), "storage_type": "hash"},
            "fields": [
                {"name": "partition", "type": "tag"},
                {"name": "tags", "type": "tag", "attrs": {"separator": ","}},
                {"name": "created", "type": "numeric"},
                {"name": "expires", "type": "numeric"},
                {
                    "name": "vector",
                    "type": "vector",
                    "attrs": {
                        "algorithm": self._algorithm,
                        "dims": dimensions,
                        "distance_metric": "cosine",
                        "datatype": "float16",
                    },
                },
            ],
        }
        search_index, index_schema = redisvl("index").SearchIndex, redisvl("schema").IndexSchema
        try:
            search_index(index_schema.from_dict(schema), redis_client=self._redis).create(overwrite=False)
        except Exception as error:
            # Another process was quicker.
            if "already exists" not in str(error).lower():
                raise

    def _sweep(self) -> int:
        ids = [bytes.fromhex(key.decode().rsplit(":", 1)[1]) for key in self._redis.scan_iter(self._name("e:*"))]
        return self.delete(ids)


def _hash_tag(entry_id: bytes) -> str:
    return f"{{{entry_id[:SCOPE_TAG_BYTES].hex()}}}"


def _space(value: bytes) -> VectorSpace:
    dimensions, _, embedder = value.decode().partition(" ")
    return VectorSpace(embedder, int(dimensions))


def _current(values: Sequence[bytes | None], now_ms: int) -> bytes | None:
    record, expires = values
    is_current = record is not None and expires is not None and int(expires) > now_ms
    return unpacked(record) if record is not None and is_current else None


def _fields(stored: Stored, *, has_quota: bool) -> list[Any]:
    owners = [f"{kind}{owner.hex()}" for kind, owner in zip(_OWNERS, stored.owners, strict=True) if owner]
    corpus = [f"c{stored.corpus.hex()}"] if stored.corpus else []
    sources = [f"s{source.hex()}" for source in stored.sources]
    fields: list[Any] = ["record", packed(stored.record), "partition", stored.partition.hex()]
    fields += ["created", stored.created_ms, "expires", stored.expires_ms]
    if has_quota:
        fields += ["unit", stored.worth_usd / max(stored.size, 1)]
    if tags := ",".join(owners + corpus + sources):
        fields += ["tags", tags]
    if stored.vector is not None:
        fields += ["vector", stored.vector.astype("<f2").tobytes()]
    return fields


def _used(entry_id: bytes, limits: Limits, now_ms: int, worth: bytes | None) -> dict[str, Any]:
    if limits.eviction == "lru":
        return {"mapping": {entry_id.hex(): now_ms}, "xx": True}
    more = 1.0 if limits.eviction == "lfu" else float(worth or 0)
    return {"mapping": {entry_id.hex(): more}, "xx": True, "incr": True}


def _vector_query(partition: bytes, vector: NDArray[Any], k: int, after_ms: int | None = None) -> list[Any]:
    """Return a search within a partition, on request for what expires after a moment."""
    filters = redisvl("query.filter")
    among = filters.Tag("partition") == partition.hex()
    if after_ms is not None:
        among &= filters.Num("expires") > after_ms
    query = redisvl("query").VectorQuery(
        vector.astype("<f2").tobytes(),
        "vector",
        return_fields=["record", "expires"],
        filter_expression=among,
        dtype="float16",
        num_results=k,
    )
    parameters = [part for name, value in query.params.items() for part in (name, value)]
    return [*query.query.get_args(), "PARAMS", len(parameters), *parameters]


def _selection_query(selection: Selection) -> str:
    tags = [f"{kind}{owner.hex()}" for kind, owner in zip(_OWNERS, selection.owners, strict=True) if owner]
    if selection.corpus is not None:
        tags.append(f"c{selection.corpus.hex()}")
    if selection.source is not None:
        tags.append(f"s{selection.source.hex()}")
    # Hexadecimal digits only: nothing to escape.
    parts = [f"@tags:{{{tag}}}" for tag in tags]
    if selection.created_before_ms is not None:
        parts.append(f"@created:[-inf ({selection.created_before_ms}]")
    return " ".join(parts) or "*"


_Found = list[tuple[bytes, dict[bytes, bytes]]]


def _found(reply: Any, now_ms: int) -> _Found | None:
    """Return what was found; None where some of it has expired by our clock and took the place of what has not."""
    # Without an expiry it expired by Redis's clock, while it was being found.
    found = [(key, fields) for key, fields in _documents(reply) if b"expires" in fields]
    return None if any(int(fields[b"expires"]) <= now_ms for _, fields in found) else found


def _near(found: _Found | None, min_similarity: float) -> list[Near]:
    near: list[Near] = []
    for key, fields in found or []:
        record, distance = fields.get(b"record"), fields.get(b"vector_distance")
        if record is None or distance is None:
            continue
        similarity = 1 - float(distance)
        if similarity >= min_similarity:
            near.append(Near(bytes.fromhex(key.decode().rsplit(":", 1)[1]), similarity, unpacked(record)))
    return near


def _documents(reply: Any) -> _Found:
    """Read an answer of FT.SEARCH in either version of the protocol."""
    if isinstance(reply, dict):
        results: list[dict[bytes, Any]] = cast("dict[bytes, Any]", reply).get(b"results", [])
        return [(result[b"id"], result.get(b"extra_attributes", {})) for result in results]
    rows = cast("list[Any]", reply)
    return [
        (rows[at], dict(zip(rows[at + 1][::2], rows[at + 1][1::2], strict=True)) if rows[at + 1] else {})
        for at in range(1, len(rows) - 1, 2)
    ]


def _keys(reply: Any) -> list[bytes]:
    if isinstance(reply, dict):
        return [key for key, _ in _documents(reply)]
    return list(cast("list[Any]", reply)[1:])


def _total(reply: Any) -> int:
    return int(cast("dict[bytes, Any]", reply)[b"total_results"] if isinstance(reply, dict) else reply[0])


def _is_missing_index(error: Exception) -> bool:
    text = str(error).lower()
    return "no such index" in text or "unknown index" in text or "index not found" in text
