"""What every store promises, one suite for all three."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift_core.caching.semantic.cache_key import SCOPE_TAG_BYTES
from thrift_core.caching.semantic.record import NEVER_MS
from thrift_core.caching.semantic.redis_store import RedisStore
from thrift_core.caching.semantic.store import CacheStore, Limits, Selection, Stored, VectorSpace

NO_LIMITS = Limits()
# Redis drops what has expired by its own clock: an hour ahead of it, a slow run cannot reach an end before its test.
NOW = int(time.time() * 1000) + 3_600_000
SPACE = VectorSpace("test-8", 8)


@pytest.fixture
def claimed(store: CacheStore) -> CacheStore:
    store.claim(SPACE)
    return store


def name(number: int, scope: bytes = b"scop") -> bytes:
    return scope[:SCOPE_TAG_BYTES] + number.to_bytes(16)


def direction(*weights: float) -> Any:
    vector = np.zeros(8, np.float32)
    vector[: len(weights)] = weights
    return vector / np.linalg.norm(vector)


def entry(number: int, **changes: Any) -> Stored:
    fields: dict[str, Any] = {
        "id": name(number, changes.get("scope", b"scop")),
        "partition": b"p" * 16,
        "scope": b"scope-of-tests--",
        "owners": (b"tenant-1", b"", b""),
        "corpus": b"",
        "sources": (),
        "created_ms": NOW,
        "expires_ms": NOW + 3_600_000,
        "worth_usd": 0.0,
        "record": header(NOW, NOW + 3_600_000) + b"record %d" % number,
        "vector": direction(1),
    }
    fields.update(changes)
    if "partition" not in changes and changes.keys() & {"owners", "corpus", "scope"}:
        # A partition has one scope, one corpus version and so on, since its name is a hash of them.
        fields["partition"] = repr((fields["owners"], fields["corpus"], fields["scope"])).encode()
    if "record" not in changes:
        fields["record"] = header(fields["created_ms"], fields["expires_ms"], fields["worth_usd"]) + b"%d" % number
    return Stored(**fields)


def header(created_ms: int, expires_ms: int, worth_usd: float = 0.0) -> bytes:
    import struct

    return struct.pack("<BBqqd8s8sIII", 1, 1, created_ms, expires_ms, worth_usd, b"", b"", 0, 0, 0)


def test_what_was_put_is_found_under_its_id_byte_for_byte(store: CacheStore) -> None:
    stored = entry(1, record=header(NOW, NOW + 9000) + bytes(range(256)))
    store.put(stored, NO_LIMITS, NOW)
    assert store.get(stored.id, NOW) == stored.record
    assert store.get(name(2), NOW) is None


def test_a_second_put_replaces_the_first(claimed: CacheStore) -> None:
    claimed.put(entry(1, vector=direction(1)), NO_LIMITS, NOW)
    claimed.put(entry(1, vector=direction(0, 1), record=header(NOW, NOW + 9999) + b"new"), NO_LIMITS, NOW)
    assert (claimed.get(name(1), NOW) or b"").endswith(b"new")
    assert claimed.nearest(b"p" * 16, direction(1), 8, 0.5, NOW) == []
    assert [near.id for near in claimed.nearest(b"p" * 16, direction(0, 1), 8, 0.5, NOW)] == [name(1)]
    assert claimed.size().entries == 1


def test_neighbours_come_nearest_first_with_their_cosines_and_records(claimed: CacheStore) -> None:
    for number, vector in enumerate([direction(1), direction(1, 0.2), direction(1, 1), direction(0, 1)]):
        claimed.put(entry(number, vector=vector), NO_LIMITS, NOW)
    near = claimed.nearest(b"p" * 16, direction(1), 3, 0.5, NOW)
    assert [one.id for one in near] == [name(0), name(1), name(2)]
    assert [one.similarity for one in near] == pytest.approx([1, 0.9806, 0.7071], abs=2e-3)
    assert near[0].record == entry(0, vector=direction(1)).record


def test_only_the_partition_asked_for_is_searched(claimed: CacheStore) -> None:
    claimed.put(entry(1, partition=b"a" * 16), NO_LIMITS, NOW)
    claimed.put(entry(2, partition=b"b" * 16), NO_LIMITS, NOW)
    assert [near.id for near in claimed.nearest(b"b" * 16, direction(1), 8, -1, NOW)] == [name(2)]
    assert claimed.nearest(b"c" * 16, direction(1), 8, -1, NOW) == []


def test_an_entry_without_a_vector_is_found_by_its_id_alone(claimed: CacheStore) -> None:
    claimed.put(entry(1, vector=None), NO_LIMITS, NOW)
    assert claimed.get(name(1), NOW) is not None
    assert claimed.nearest(b"p" * 16, direction(1), 8, -1, NOW) == []


def test_what_has_expired_is_found_no_more_and_no_use_moves_its_end(claimed: CacheStore) -> None:
    claimed.put(entry(1, expires_ms=NOW + 60_000), NO_LIMITS, NOW)
    for at in range(0, 60_000, 10_000):
        assert claimed.get(name(1), NOW + at) is not None
        claimed.touch(name(1), NO_LIMITS, NOW + at)
    assert claimed.get(name(1), NOW + 60_000) is None
    assert claimed.nearest(b"p" * 16, direction(1), 8, -1, NOW + 60_000) == []


def test_what_never_expires_stays(claimed: CacheStore) -> None:
    claimed.put(entry(1, expires_ms=NEVER_MS), NO_LIMITS, NOW)
    claimed.put(entry(2, vector=direction(0, 1)), NO_LIMITS, NOW)
    in_a_century = NOW + 100 * 365 * 86_400_000
    assert claimed.get(name(1), in_a_century) is not None
    assert [near.id for near in claimed.nearest(b"p" * 16, direction(1), 1, 0.5, in_a_century)] == [name(1)]


def test_what_is_deleted_is_gone_everywhere(claimed: CacheStore) -> None:
    for number in range(5):
        claimed.put(entry(number), NO_LIMITS, NOW)
    assert claimed.delete([name(0), name(3), name(9)]) == 2
    assert claimed.get(name(3), NOW) is None
    assert {near.id for near in claimed.nearest(b"p" * 16, direction(1), 8, -1, NOW)} == {name(1), name(2), name(4)}
    assert claimed.size().entries == 3


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Selection(owners=(b"tenant-1", b"", b"")), {2}),
        (Selection(owners=(b"tenant-1", b"user-two", b"")), {0, 2, 3}),
        (Selection(corpus=b"corpus-2"), {0, 1, 2}),
        (Selection(source=b"source-b"), {1, 2, 3}),
        (Selection(created_before_ms=NOW - 500), {0, 1, 3}),
        (Selection(owners=(b"tenant-1", b"", b""), created_before_ms=NOW - 500), {0, 1, 2, 3}),
        (Selection(), set()),
    ],
)
def test_a_purge_removes_what_meets_all_conditions(claimed: CacheStore, selection: Selection, kept: set[int]) -> None:
    claimed.put(entry(0, sources=(b"source-a", b"source-b")), NO_LIMITS, NOW)
    claimed.put(entry(1, owners=(b"tenant-1", b"user-two", b"")), NO_LIMITS, NOW)
    claimed.put(entry(2, owners=(b"tenant-2", b"", b""), created_ms=NOW - 1000), NO_LIMITS, NOW)
    claimed.put(entry(3, corpus=b"corpus-2", sources=(b"source-a",), vector=None), NO_LIMITS, NOW)
    assert claimed.purge(selection) == 4 - len(kept)
    assert {number for number in range(4) if claimed.get(name(number), NOW)} == kept
    assert claimed.purge(selection) == 0


def test_the_quota_of_a_scope_pushes_out_its_own_entries_only(claimed: CacheStore) -> None:
    limits = Limits(max_entries_per_scope=3)
    claimed.put(entry(100, scope=b"quiet-scope-----"), limits, NOW)
    for number in range(8):
        claimed.put(entry(number, scope=b"noisy-scope-----"), limits, NOW + number)
    left = [number for number in range(8) if claimed.get(name(number, b"noisy"), NOW + 10)]
    assert left == [5, 6, 7]
    assert claimed.get(name(100, b"quiet"), NOW) is not None


@pytest.mark.parametrize("eviction", ["lru", "lfu", "cost"])
def test_eviction_takes_what_is_worth_least(claimed: CacheStore, eviction: Any) -> None:
    limits = Limits(max_entries_per_scope=3, eviction=eviction)
    # 0 is cheap but used often, 1 is dear but was used longest ago, 2 was used last but once only.
    for number, worth in enumerate([0.001, 1.0, 0.01]):
        claimed.put(entry(number, worth_usd=worth), limits, NOW + number)
    for number, at in [(1, 5), (1, 6), (0, 10), (0, 11), (0, 12), (2, 20)]:
        claimed.touch(name(number), limits, NOW + at)
    claimed.put(entry(3, worth_usd=0.5), limits, NOW + 30)
    gone = [number for number in range(4) if claimed.get(name(number), NOW + 40) is None]
    assert gone == {"lru": [1], "lfu": [2], "cost": [0]}[eviction]


def test_the_negative_list_holds_until_it_ends(store: CacheStore) -> None:
    soon = int(time.time() * 1000) + 60_000
    store.deny(b"pair-one", soon)
    assert store.is_denied(b"pair-one", soon - 1)
    assert not store.is_denied(b"pair-two", soon - 1)


def test_counters_add_up(store: CacheStore) -> None:
    store.count("right")
    store.count("right", 4)
    store.count("wrong")
    assert store.counts() == {"right": 5, "wrong": 1}


def test_the_secret_and_the_space_are_those_of_whoever_was_first(open_store: Callable[[], CacheStore]) -> None:
    first, second = open_store(), open_store()
    assert len(first.secret()) == 32
    assert first.secret() == second.secret()
    assert first.space() is None
    assert second.claim(VectorSpace("a b:c", 8)) == VectorSpace("a b:c", 8)
    assert first.claim(VectorSpace("other", 16)) == VectorSpace("a b:c", 8)
    assert first.space() == VectorSpace("a b:c", 8)


def test_what_one_process_puts_and_removes_another_sees_at_once(open_store: Callable[[], CacheStore]) -> None:
    first, second = open_store(), open_store()
    for opened in (first, second):
        opened.claim(SPACE)
    first.put(entry(1), NO_LIMITS, NOW)
    assert [near.id for near in second.nearest(b"p" * 16, direction(1), 8, -1, NOW)] == [name(1)]
    second.put(entry(2, vector=direction(1, 0.1)), NO_LIMITS, NOW)
    assert [near.id for near in first.nearest(b"p" * 16, direction(1), 8, -1, NOW)] == [name(1), name(2)]
    second.delete([name(1)])
    assert [near.id for near in first.nearest(b"p" * 16, direction(1), 8, -1, NOW)] == [name(2)]


def test_limits_on_everything_together(claimed: CacheStore) -> None:
    if isinstance(claimed, RedisStore):
        pytest.skip("Redis bounds its own memory; that it says so is tested with it")
    for number in range(30):
        claimed.put(entry(number, scope=b"scope-%d--------" % (number % 3)), Limits(max_entries=10), NOW + number)
    assert claimed.size().entries == 10
    size = entry(0).size
    claimed.put(entry(99), Limits(max_bytes=5 * size), NOW + 100)
    assert claimed.size().bytes <= 5 * size
    assert claimed.get(name(99), NOW + 100) is not None


def test_an_entry_larger_than_everything_is_not_kept(claimed: CacheStore) -> None:
    if isinstance(claimed, RedisStore):
        pytest.skip("Redis bounds its own memory")
    claimed.put(entry(1, record=header(NOW, NOW + 9999) + b"x" * 10_000), Limits(max_bytes=5_000), NOW)
    assert claimed.get(name(1), NOW) is None
    assert claimed.size().entries == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "delete", "purge"]), st.integers(0, 12), st.integers(0, 3)), max_size=40
    )
)
def test_a_store_holds_what_a_dictionary_would(store: CacheStore, steps: list[tuple[str, int, int]]) -> None:
    store.claim(SPACE)
    store.purge(Selection())
    model: dict[int, int] = {}
    for step, number, partition in steps:
        if step == "put":
            kept = entry(
                number,
                partition=bytes([partition]) * 16,
                vector=direction(1, number / 20),
                corpus=b"corpus-%d" % partition,
            )
            store.put(kept, NO_LIMITS, NOW)
            model[number] = partition
        elif step == "delete":
            assert store.delete([name(number)]) == (model.pop(number, None) is not None)
        else:
            gone = [held for held, where in model.items() if where == partition]
            assert store.purge(Selection(corpus=b"corpus-%d" % partition)) == len(gone)
            for held in gone:
                del model[held]
    assert store.size().entries == len(model)
    for partition in range(4):
        near = store.nearest(bytes([partition]) * 16, direction(1), 20, -1, NOW)
        expected = sorted(number for number, where in model.items() if where == partition)
        assert [one.id for one in near] == [name(number) for number in expected]
