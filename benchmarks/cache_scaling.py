"""Several Redis processes on one machine, sharded by scope: bytes of an entry, and lookups a second of a core."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from benchmarks.cache_speed import _Redis, answer, paraphrase, question, request
from benchmarks.records import Options, Record

SERVERS = (1, 2, 4)
_SCOPES = 64
_ENTRIES = 8_000
_SECONDS = 4.0
_CLIENTS = 2


def run(options: Options) -> Iterator[Record]:
    """Yield a record for each number of servers; `--limit` sets the entries."""
    entries = options.limit or _ENTRIES
    for count in SERVERS:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            servers = []
            for number in range(count):
                own = Path(folder) / str(number)
                own.mkdir()
                servers.append(stack.enter_context(_Redis(own)))
            yield {"data": "generated", "system": "thrift", **_measured(servers, entries)}


def server_of(tenant: str, servers: int) -> int:
    """Return which server keeps a tenant's entries: all that is ever compared lies together."""
    return int.from_bytes(blake2b(tenant.encode(), digest_size=8).digest(), "big") % servers


def _measured(servers: Sequence[Any], entries: int) -> Record:
    urls = [server.url for server in servers]
    empty, idle = _held(servers), _cpu(servers)
    _fill(urls, entries)
    filling, held = _cpu(servers) - idle, _held(servers)
    keys = [server.client.dbsize() for server in servers]
    exact, semantic = (_load(servers, urls, entries, way) for way in ("exact", "semantic"))
    return {
        "store": "redis",
        "servers": len(servers),
        "entries": entries,
        "n": exact.lookups + semantic.lookups,
        "bytes_per_entry": round((held - empty) / entries),
        "fullest_share_pct": round(100 * max(keys) / sum(keys), 1),
        "server_ms_per_store": round(1000 * filling / entries, 4),
        "server_ms_per_exact": exact.server_ms,
        "server_ms_per_semantic": semantic.server_ms,
        "client_ms_per_semantic": semantic.client_ms,
        # What the clock says depends on what else the machine does; the servers' own processor time does not.
        "exact_per_second_per_server_core": round(1000 / exact.server_ms),
        "semantic_per_second_per_server_core": round(1000 / semantic.server_ms),
        "semantic_per_second": semantic.per_second,
        "wrong": exact.wrong + semantic.wrong,
    }


@dataclass(frozen=True, slots=True)
class _Load:
    """What the servers and clients did while lookups ran."""

    lookups: int
    wrong: int
    server_ms: float
    client_ms: float
    per_second: int


def _load(servers: Sequence[Any], urls: Sequence[str], entries: int, way: str) -> _Load:
    before = _cpu(servers)
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cache_scaling", way, str(seed), str(entries), *urls],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(_CLIENTS)
    ]
    told = [json.loads(client.communicate()[0]) for client in clients]
    busy, lookups = _cpu(servers) - before, sum(one["lookups"] for one in told)
    return _Load(
        lookups=lookups,
        wrong=sum(one["wrong"] for one in told),
        server_ms=round(1000 * busy / lookups, 4),
        client_ms=round(1000 * sum(one["cpu"] for one in told) / lookups, 4),
        per_second=round(lookups / max(one["seconds"] for one in told)),
    )


def _held(servers: Sequence[Any]) -> int:
    return sum(int(server.client.info("memory")["used_memory"]) for server in servers)


def _cpu(servers: Sequence[Any]) -> float:
    used = [server.client.info("cpu") for server in servers]
    return sum(float(one["used_cpu_user"]) + float(one["used_cpu_sys"]) for one in used)


def _caches(urls: Sequence[str]) -> list[Any]:
    from thrift_core.caching.semantic.cache import SemanticCache
    from thrift_core.caching.semantic.redis_store import RedisStore
    from thrift_core.caching.semantic.settings import CacheSettings

    return [SemanticCache(RedisStore(url), settings=CacheSettings(checked_share=0.0)) for url in urls]


def _fill(urls: Sequence[str], entries: int) -> None:
    from thrift_core.accounting.call import Attribution

    caches = _caches(urls)
    for number in range(entries):
        tenant = f"tenant-{number % _SCOPES}"
        cache = caches[server_of(tenant, len(caches))]
        if not cache.store(request(question(number)), answer(number), scope=Attribution(tenant=tenant)):
            raise SystemExit(f"entry {number} was not kept: {cache.stats()}")


def _ask(urls: Sequence[str], entries: int, seed: int, way: str) -> Record:
    """Look questions up for a while; returns how many, how long that took, and how many answers were wrong."""
    import random

    from thrift_core.accounting.call import Attribution

    caches, chance = _caches(urls), random.Random(seed)
    for cache in caches:
        cache.lookup(request("warm up"))
    lookups = wrong = 0
    worked, began = time.process_time(), time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        number = chance.randrange(entries)
        tenant = f"tenant-{number % _SCOPES}"
        hit = caches[server_of(tenant, len(caches))].lookup(
            request(question(number) if way == "exact" else paraphrase(number)), scope=Attribution(tenant=tenant)
        )
        lookups += 1
        # The page's number is in the answer; making the whole answer again would cost more than the lookup.
        wrong += hit is None or f"Open page {number}:" not in hit.answer.payload
    return {
        "lookups": lookups,
        "wrong": wrong,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - worked,
    }


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    given = sys.argv[1:]
    sys.stdout.write(json.dumps(_ask(given[3:], int(given[2]), int(given[1]), given[0])) + "\n")
