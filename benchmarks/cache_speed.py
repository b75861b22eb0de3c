"""How long lookups take, and how much room entries take; each store and size in a process of its own."""

# ruff: noqa: PLC0415, SIM905
from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from benchmarks.records import Options, Record, watched

SIZES = {
    "memory": (1_000, 10_000, 100_000, 1_000_000),
    "sqlite": (100_000,),
    "redis": (10_000, 100_000),
    "gptcache": (2_000,),
    "langchain-redis": (10_000,),
    "redisvl": (10_000,),
}
PEERS = {"gptcache": ("gptcache", "faiss"), "langchain-redis": ("langchain_redis",), "redisvl": ("redisvl",)}
_LOOKUPS = 1000
_VECTOR_BYTES = 256 * 4
_VERBS = "reset change cancel renew open close find export import share move delete restore print track".split()
_NOUNS = "password invoice booking ticket account order parcel report contract licence voucher refund alarm".split()
_PLACES = "Oslo Rome Lima Cairo Delhi Quito Paris Tokyo Accra Perth Turin Leeds".split()
_WORDS = "lamp shelf river orbit clause ledger garden signal copper velvet anchor pepper meadow tunnel glacier".split()


def question(number: int) -> str:
    """Return the question with a number, unlike all others by more than the number."""
    verb, rest = _VERBS[number % len(_VERBS)], number // len(_VERBS)
    noun, rest = _NOUNS[rest % len(_NOUNS)], rest // len(_NOUNS)
    place, rest = _PLACES[rest % len(_PLACES)], rest // len(_PLACES)
    word = _WORDS[rest % len(_WORDS)]
    return f"How do I {verb} the {word} {noun} of the {place} office {number}?"


def run(options: Options) -> Iterator[Record]:
    jobs = [
        (store, size)
        for store, sizes in SIZES.items()
        if all(find_spec(module) is not None for module in PEERS.get(store, ()))
        for size in sorted({min(size, options.limit or size) for size in sizes})
    ]
    for store, size in watched(jobs, "speed"):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.cache_speed", store, str(size), folder, str(options.seed)],
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            sys.stderr.write(f"{store} with {size} entries failed: {done.stderr.strip().splitlines()[-1:]}\n")
            continue
        yield {"data": "generated", **json.loads(done.stdout.splitlines()[-1])}


def measure(store: str, entries: int, folder: Path, seed: int) -> Record:
    """Fill one store and time lookups in it."""
    chosen = random.Random(seed).sample(range(entries), min(entries, _LOOKUPS))
    with _Redis(folder) if store in ("redis", "redisvl", "langchain-redis") else _Nothing() as server:
        if store in PEERS:
            from benchmarks import cache_peers

            return cache_peers.measure(store, entries, folder, chosen, server)
        return _measure_ours(store, entries, folder, chosen, server)


def _measure_ours(store: str, entries: int, folder: Path, chosen: Sequence[int], server: Any) -> Record:
    from thrift_core.caching.semantic.cache import SemanticCache
    from thrift_core.caching.semantic.memory_store import MemoryStore
    from thrift_core.caching.semantic.redis_store import RedisStore
    from thrift_core.caching.semantic.sqlite_store import SQLiteStore

    path = folder / "cache.sqlite"
    made: dict[str, Callable[[], Any]] = {
        "memory": MemoryStore,
        "sqlite": lambda: SQLiteStore(path),
        "redis": lambda: RedisStore(server.url),
    }
    loaded = _load_what_is_loaded_once() if store == "memory" else 0
    cache = SemanticCache(made[store]())
    cache.lookup(request("warm up"))
    before = _room(store, path, server)
    content = 0
    storing: list[float] = []
    for number in range(entries):
        asked, given = request(question(number)), answer(number)
        began = time.perf_counter()
        if not cache.store(asked, given):
            raise SystemExit(f"entry {number} was not kept: {cache.stats()}")
        storing.append(time.perf_counter() - began)
        content += len(question(number)) + len(given.payload)
    room = (_room(store, path, server) - before) / entries
    cache.lookup(request("warm up"))  # loads what a first search loads
    exact_work: list[float] = []
    semantic_work: list[float] = []
    exact = _timed(cache, [question(number) for number in chosen], tier="exact", work=exact_work)
    # Embedded now, 500 at a time, which the cache remembers; then only searching is timed.
    semantic: list[float] = []
    missing: list[float] = []
    for chunk in _batched(chosen, 250):
        near, far = [paraphrase(number) for number in chunk], [unknown(number) for number in chunk]
        cache._vectors.learn(near + far)
        semantic += _timed(cache, near, tier="semantic", work=semantic_work)
        missing += _timed(cache, far, tier=None)
    embedding = _timed(cache, [f"Thanks, h{question(number)[1:]}" for number in chosen], tier="semantic")
    return {
        "system": "thrift",
        "store": store,
        "entries": entries,
        "n": len(chosen),
        "exact_p50_ms": quantile(exact, 0.5),
        "exact_p99_ms": quantile(exact, 0.99),
        "semantic_p50_ms": quantile(semantic, 0.5),
        "semantic_p99_ms": quantile(semantic, 0.99),
        "exact_p99_cpu_ms": quantile(exact_work, 0.99),
        "semantic_p99_cpu_ms": quantile(semantic_work, 0.99),
        "miss_p99_ms": quantile(missing, 0.99),
        "with_embedder_p99_ms": quantile(embedding, 0.99),
        "store_p50_ms": quantile(storing, 0.5),
        "bytes_per_entry": round(room),
        "bytes_ratio": round(room / (content / entries + _VECTOR_BYTES), 3),
        **({"loaded_once_mb": round(loaded / 2**20, 1)} if loaded else {}),
    }


def _load_what_is_loaded_once() -> int:
    """Use once what serves all entries; returns the bytes by which the process has grown.

    The embedder's rows, its memory of words, and the work space of the matrix library are the same for a thousand
    entries and for a million: they are no part of what an entry takes.
    """
    from thrift_core.caching.semantic.vector_index import VectorIndex
    from thrift_core.embedding.static_embedder import shipped_embedder

    before = _room("memory", Path(), None)
    vectors = shipped_embedder().embed([question(number) for number in range(-20_000, -17_000)])
    index: VectorIndex[int] = VectorIndex(vectors.shape[1])
    index.extend(list(range(1_100)), vectors[:1_100])
    index.search(vectors[0], 8)
    del index, vectors
    gc.collect()
    # What is free again goes back to the system, or the first entries would be put there and count for nothing.
    ctypes.CDLL(None).malloc_trim(0)
    return _room("memory", Path(), None) - before


def paraphrase(number: int) -> str:
    return "Hi, how can I" + question(number).removeprefix("How do I")


def unknown(number: int) -> str:
    return question(number).replace("How do I", "Why should nobody") + " And since when?"


def request(text: str) -> Any:
    from thrift_core.messages import Message, Request

    system = "You are the help desk of an office supplier. Answer in three sentences."
    return Request(messages=(Message("system", system), Message("user", text)), model="gpt-4.1-mini")


def answer(number: int) -> Any:
    from thrift_core.caching.semantic.answer import CachedAnswer

    # Prose, for a store may pack what it keeps: 640 characters from anywhere in Python's language reference.
    at = random.Random(number).randrange(len(_prose()) - 640)
    content = f"Open page {number}: {_prose()[at : at + 640]}"
    text = json.dumps({"type": "ai", "content": content, "model": "gpt-4.1-mini"})
    return CachedAnswer(payload=text, finish_reason="stop")


@lru_cache(maxsize=1)
def _prose() -> str:
    from pydoc_data.topics import topics

    return " ".join(" ".join(topics.values()).split())


def quantile(seconds: Sequence[float], share: float) -> float:
    """Return a quantile in milliseconds."""
    ordered = sorted(seconds)
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4)


def _timed(cache: Any, texts: Sequence[str], *, tier: str | None, work: list[float] | None = None) -> list[float]:
    requests = [request(text) for text in texts]
    out: list[float] = []
    found = 0
    gc.collect()
    for asked in requests:
        worked, began = time.process_time(), time.perf_counter()
        hit = cache.lookup(asked)
        out.append(time.perf_counter() - began)
        if work is not None:
            work.append(time.process_time() - worked)
        found += (hit.tier if hit else None) == tier
    if found < 0.99 * len(texts):
        raise SystemExit(f"{found} of {len(texts)} lookups ended as {tier}: {cache.stats()}")
    return out


def _room(store: str, path: Path, server: Any) -> int:
    if store == "memory":
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if store == "sqlite":
        import sqlite3

        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return path.stat().st_size
    return int(server.client.info("memory")["used_memory"])


def _batched(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class _Redis:
    """The Redis of the tests, or the one that THRIFT_TEST_REDIS_URL names."""

    def __init__(self, folder: Path) -> None:
        import redis

        self._server: Any = None
        self.url = os.environ.get("THRIFT_TEST_REDIS_URL", "")
        if not self.url:
            file = Path(__file__).resolve().parent.parent / "tests" / "conftest.py"
            spec = spec_from_file_location("tests_conftest", file)
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            self._server = module.RedisServer(folder)
            self._server.start()
            self.url = self._server.url
        self.client = redis.Redis.from_url(self.url)

    def __enter__(self) -> _Redis:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._server is not None:
            self._server.kill()


if __name__ == "__main__":
    name, count, where, number = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(name, int(count), Path(where), int(number))) + "\n")
