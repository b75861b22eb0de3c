"""The Redis store: gone, restarted, shared, clustered; that it finds what a filter lets through and nothing else."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from thrift_core.accounting.call import Attribution
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.redis_store import RedisStore
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.store import Limits
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Request

# ruff: noqa: PLR0917 - fixtures
Ask = Callable[..., Request]
Say = Callable[..., CachedAnswer]


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def test_the_key_of_an_entry_ends_when_the_entry_does(
    redis_url: str, prefix: str, client: Any, embedder: Any, ask: Ask, say: Say
) -> None:
    cache = SemanticCache(RedisStore(redis_url, prefix=prefix), embedder)
    cache.store(ask("q"), say("a"), ttl_seconds=2.0)
    (key,) = client.keys(f"{prefix}:e:*")
    ends = client.pexpiretime(key)
    for _ in range(3):
        assert cache.lookup(ask("q")) is not None
    assert client.pexpiretime(key) == ends
    time.sleep(2.1)
    assert cache.lookup(ask("q")) is None
    assert not client.exists(key)
    cache.close()


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_what_expired_by_our_clock_alone_does_not_stand_before_what_has_not(
    redis_url: str, prefix: str, embedder: Any, clock: Any, ask: Ask, say: Say, way: str
) -> None:
    cache = SemanticCache(RedisStore(redis_url, prefix=prefix), embedder, clock=clock)
    for number in range(10):
        cache.store(ask(f"one two three {number}"), say("old"), ttl_seconds=60)
    cache.store(ask("one two three 77"), say("new"), ttl_seconds=6000)
    clock.now += 600
    near = ask("the one two three 77")
    hit = cache.lookup(near) if way == "sync" else await cache.alookup(near)
    assert hit is not None
    assert hit.answer.payload == "new"
    assert cache.lookup(ask("the one two three 5")) is None
    await cache.aclose()


def test_all_keys_of_a_scope_lie_in_one_slot_of_a_cluster(
    redis_url: str, prefix: str, client: Any, embedder: Any, ask: Ask, say: Say
) -> None:
    from redis.crc import key_slot

    cache = SemanticCache(RedisStore(redis_url, prefix=prefix), embedder, limits=Limits(max_entries_per_scope=3))
    for tenant in ("t1", "t2"):
        for number in range(5):
            cache.store(ask(f"q{number}"), say("a"), scope=Attribution(tenant=tenant))
    keys = [key for kind in "exr" for key in client.keys(f"{prefix}:{kind}:*")]
    tags = {key.split(b"{")[1].split(b"}")[0] for key in keys}
    assert len(tags) == 2
    for tag in tags:
        assert len({key_slot(key) for key in keys if tag in key}) == 1
    cache.close()


def test_a_restart_that_lost_everything_is_a_miss_and_the_cache_fills_again(
    start_redis: Callable[[], Any], embedder: Any, ask: Ask, say: Say
) -> None:
    server = start_redis()
    cache = SemanticCache(RedisStore(server.url), embedder, settings=CacheSettings(retry_seconds=0.2))
    cache.store(ask("one two three"), say("a"))
    assert cache.lookup(ask("the one two three")) is not None
    server.kill()
    began = time.perf_counter()
    for _ in range(30):
        assert cache.lookup(ask("one two three")) is None
        with cache.begin(ask("one two three")) as turn:
            assert turn.hit is None
            turn.finish(say("a"))
    assert time.perf_counter() - began < 3
    server.start()
    time.sleep(0.3)
    assert cache.lookup(ask("the one two three")) is None
    assert cache.store(ask("one two three"), say("b"))
    for text in ("one two three", "the one two three"):
        hit = cache.lookup(ask(text))
        assert hit is not None
        assert hit.answer.payload == "b"
    cache.close()
    server.kill()


def test_an_app_starts_while_redis_is_away(embedder: Any, ask: Ask, say: Say) -> None:
    cache = SemanticCache(RedisStore("redis://127.0.0.1:1/0"), embedder)
    assert cache.lookup(ask("q")) is None
    assert not cache.store(ask("q"), say("a"))


async def test_the_event_loop_goes_on_while_redis_is_away(embedder: Any, ask: Ask, say: Say) -> None:
    cache = SemanticCache(RedisStore("redis://127.0.0.1:1/0"), embedder, settings=CacheSettings(retry_seconds=0))
    hits = await asyncio.gather(*(cache.alookup(ask("q")) for _ in range(20)))
    assert set(hits) == {None}
    await cache.aclose()


async def test_a_hundred_concurrent_lookups_share_the_clients(
    redis_url: str, prefix: str, embedder: Any, ask: Ask, say: Say
) -> None:
    cache = SemanticCache(RedisStore(redis_url, prefix=prefix), embedder)
    await asyncio.gather(*(cache.astore(ask(f"question {number}"), say(str(number))) for number in range(100)))
    hits = await asyncio.gather(*(cache.alookup(ask(f"Question {number}.")) for number in range(100)))
    assert [hit.answer.payload if hit else None for hit in hits] == [str(number) for number in range(100)]
    await cache.aclose()


def test_two_prefixes_share_nothing(redis_url: str, prefix: str, embedder: Any, ask: Ask, say: Say) -> None:
    first = SemanticCache(RedisStore(redis_url, prefix=prefix), embedder, secret=b"the same secret in both")
    second = SemanticCache(RedisStore(redis_url, prefix=f"{prefix}2"), embedder, secret=b"the same secret in both")
    first.store(ask("one two three"), say("a"))
    second.store(ask("something else"), say("b"))
    assert second.lookup(ask("one two three")) is None
    assert second.lookup(ask("the one two three")) is None
    first.close()
    second.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_client_of_ones_own_works_with_either_protocol(
    redis_url: str, prefix: str, embedder: Any, ask: Ask, say: Say, protocol: int
) -> None:
    with redis.Redis.from_url(redis_url, protocol=protocol) as own:
        cache = SemanticCache(RedisStore(own, prefix=prefix, algorithm="flat"), embedder)
        cache.store(ask("one two three"), say("a"))
        hit = cache.lookup(ask("the one two three"))
        assert hit is not None
        assert hit.similarity == pytest.approx(0.866, abs=0.01)
        assert cache.purge(older_than=-60) == 1
        assert asyncio.run(cache.alookup(ask("one two three"))) is None


def test_limits_that_redis_itself_must_hold_are_named(
    redis_url: str, prefix: str, embedder: Any, ask: Ask, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError, match="maxmemory"):
        SemanticCache(RedisStore(redis_url, prefix=prefix), embedder, limits=Limits(max_entries=10))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url_or_client": "http://localhost"}, "redis://"),
        ({"url_or_client": 5}, "client"),
        ({"url_or_client": redis.Redis(decode_responses=True)}, "decode_responses"),
        ({"url_or_client": "redis://h", "prefix": "a{b}"}, "prefix"),
        ({"url_or_client": "redis://h", "algorithm": "ivf"}, "algorithm"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RedisStore(**wrong)


def test_a_password_is_never_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedisStore("redis://:hunter2@host:notaport/0")
    assert "hunter2" not in str(refused.value)
