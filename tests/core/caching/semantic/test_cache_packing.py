"""A packed record is shorter where that pays, comes back bit by bit, and does no harm where it is none of ours."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.caching.semantic import CachedAnswer, SemanticCache
from thrift_core.caching.semantic.packing import packed, unpacked
from thrift_core.caching.semantic.redis_store import RedisStore

Make = Callable[..., Any]
PROSE = b"You find it under Settings, where you choose Security and then the second entry from the top. " * 12


@given(st.binary(max_size=2000), st.sampled_from([b"\x01", b"\x78", b""]))
def test_every_record_comes_back_bit_by_bit(content: bytes, first: bytes) -> None:
    record = first + content
    # What begins as a packed one does is no record of ours: those begin with their version.
    assert unpacked(packed(record)) == record or first == b"\x78" or record.startswith(b"\x78")
    assert len(packed(record)) <= len(record)


def test_prose_takes_less_and_noise_no_more() -> None:
    import random

    assert len(packed(b"\x01" + PROSE)) < 0.5 * len(PROSE)
    noise = b"\x01" + random.Random(0).randbytes(2000)
    assert packed(noise) is noise
    short = b"\x01" + b"a" * 100
    assert packed(short) is short


@pytest.mark.parametrize("poison", [b"\x78\x9c not zlib at all", zlib.compress(PROSE)[:-9], b"\x78"])
def test_what_cannot_be_unpacked_comes_back_as_it_is(poison: bytes) -> None:
    assert unpacked(poison) == poison


def test_a_bomb_does_not_go_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from thrift_core.caching.semantic import packing

    monkeypatch.setattr(packing, "_MOST_BYTES", 10_000)
    bomb = zlib.compress(bytes(50_000_000), 9)
    assert unpacked(bomb) == bomb


@pytest.mark.parametrize("poison", [b"\x78\x9c poison", zlib.compress(bytes(20_000_000), 9), b"", b"\x01"])
def test_a_poisoned_record_in_redis_is_a_miss_and_goes(redis_url: str, embedder: Any, ask: Make, poison: bytes) -> None:
    import redis

    cache = SemanticCache(RedisStore(redis_url, prefix="poisoned"), embedder, embedder_name="test")
    cache.clear()
    cache.store(ask("What are lamps?"), CachedAnswer(payload=PROSE.decode()))
    hit = cache.lookup(ask("What are lamps?"))
    assert hit is not None
    assert hit.answer.payload == PROSE.decode()
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.scan_iter("poisoned:e:*")
        client.hset(key, "record", poison)
        assert cache.lookup(ask("What are lamps?")) is None
        assert not client.exists(key)
    cache.close()
