"""Whatever breaks, the app's call completes and nothing wrong is served."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic.admission import Admission
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.matcher import Candidate, Judgement
from thrift_core.caching.semantic.memory_store import MemoryStore
from thrift_core.caching.semantic.record import Broken, opened
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.steady_clock import SteadyClock
from thrift_core.caching.semantic.store import CacheStore, VectorSpace
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Request

Ask = Callable[..., Request]
Say = Callable[..., CachedAnswer]


class BrokenStore(MemoryStore):
    """Fails wherever it is told to."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.broken = set(broken)
        self.tries = 0

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "__dict__").get("broken", ()):
            return self._fail
        return super().__getattribute__(name)

    def _fail(self, *_: Any) -> Any:
        self.tries += 1
        raise OSError("the disk is gone")


OPERATIONS = [
    "secret",
    "space",
    "claim",
    "get",
    "nearest",
    "put",
    "touch",
    "delete",
    "deny",
    "is_denied",
    "counts",
    "count",
]


@pytest.mark.parametrize("broken", OPERATIONS)
def test_a_store_that_fails_is_a_miss(embedder: Any, ask: Ask, say: Say, broken: str) -> None:
    ledger = Ledger()
    store = BrokenStore()
    cache = SemanticCache(store, embedder, ledger=ledger, settings=CacheSettings(retry_seconds=0))
    cache.store(ask("one two three"), say("a"))
    store.broken.add(broken)
    for text in ("one two three", "One two three", "the one two three", "other"):
        hit = cache.lookup(ask(text))
        assert hit is None or hit.answer.payload == "a"
        with cache.begin(ask(text)) as turn:
            if turn.hit is None:
                turn.finish(say("a"))
            else:
                cache.check(turn.hit, say("b"))
                cache.forget(turn.hit)
    cache.stats()
    assert isinstance(cache.confirm(ask("one two three")), bool)


def test_a_store_that_is_away_from_the_start_is_asked_again(embedder: Any, ask: Ask, say: Say) -> None:
    store = BrokenStore("secret")
    cache = SemanticCache(store, embedder, settings=CacheSettings(retry_seconds=0))
    assert not cache.store(ask("q"), say("a"))
    assert cache.lookup(ask("q")) is None
    store.broken.clear()
    assert cache.store(ask("q"), say("a"))
    assert cache.lookup(ask("q")) is not None


def test_a_store_that_failed_is_left_alone_for_a_while_and_warned_of_once(
    embedder: Any, ask: Ask, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore()
    cache = SemanticCache(store, embedder, settings=CacheSettings(retry_seconds=0.2))
    cache.store(ask("q"), say("a"))
    store.broken.add("get")
    with caplog.at_level(logging.WARNING, "thrift"):
        for _ in range(50):
            assert cache.lookup(ask("q")) is None
    assert store.tries == 1
    assert len(caplog.records) == 1
    store.broken.clear()
    time.sleep(0.25)
    assert cache.lookup(ask("q")) is not None


def test_faults_are_counted_in_the_ledger(embedder: Any, ask: Ask) -> None:
    ledger = Ledger()
    cache = SemanticCache(BrokenStore("get"), embedder, ledger=ledger)
    cache.lookup(ask("q"))
    assert ledger.faults() == {("cache", "store: OSError"): 1}


class SlowEmbedder:
    name = "slow"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls = 0

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.calls += 1
        time.sleep(self.seconds)
        return [[1.0, 0.0] for _ in texts]


def test_a_slow_embedder_costs_its_time_limit_once(ask: Ask, say: Say) -> None:
    slow = SlowEmbedder(0.6)
    cache = SemanticCache(None, slow, settings=CacheSettings(embed_timeout_seconds=0.1))
    began = time.perf_counter()
    for number in range(20):
        assert cache.lookup(ask(f"question {number}")) is None
    assert time.perf_counter() - began < 0.5
    assert slow.calls == 1, "while one call hangs no other is made"
    cache.store(ask("q"), say("a"))
    assert cache.lookup(ask("q")) is not None, "the same text needs no vector"


async def test_a_slow_embedder_does_not_hold_up_the_event_loop(ask: Ask) -> None:
    cache = SemanticCache(None, SlowEmbedder(0.3), settings=CacheSettings(embed_timeout_seconds=0.2))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    assert await cache.alookup(ask("q")) is None
    ticking.cancel()
    assert ticks > 5


@pytest.mark.parametrize(
    "answer", [[], [[]], [[float("nan")] * 4], [["x"]], None, [[1.0], [2.0]], [[0.0] * 64], [[float("inf")] * 64]]
)
def test_an_embedder_that_answers_nonsense_leaves_exact_matches(ask: Ask, say: Say, answer: Any) -> None:
    cache = SemanticCache(None, lambda texts: answer, embedder_name="nonsense")
    assert cache.lookup(ask("one two")) is None
    assert cache.store(ask("one two three"), say("a"))
    assert cache.lookup(ask("one two three")) is not None
    assert cache.lookup(ask("one two three four")) is None


def test_an_embedder_that_changes_its_dimensions_is_passed_over(ask: Ask, say: Say) -> None:
    sizes = iter([4, 8, 8, 8])
    cache = SemanticCache(None, lambda texts: [[1.0] * next(sizes) for _ in texts], embedder_name="fickle")
    cache.store(ask("one two three"), say("a"))
    assert cache.lookup(ask("one two three four")) is None
    assert any("cache embedder" in reason or "ValueError" in reason for reason in cache.stats().faults)


class Hanging:
    version = "hanging"
    min_similarity = -1.0
    needs_threshold = False

    def __init__(self, answer: Callable[[Sequence[Candidate]], Any]) -> None:
        self._answer = answer

    def judge(self, question: str, candidates: Sequence[Candidate]) -> Any:
        return self._answer(candidates)


def hang(_: Any) -> Any:
    time.sleep(0.5)


def fail(_: Any) -> Any:
    raise RuntimeError("no model")


@pytest.mark.parametrize(
    "answer",
    [hang, fail, lambda _: None, lambda _: [], lambda _: ["yes"], lambda _: [Judgement("accept", float("nan"), "")]],
)
def test_a_matcher_that_fails_accepts_nothing(embedder: Any, ask: Ask, say: Say, answer: Any) -> None:
    settings = CacheSettings(embed_timeout_seconds=0.1)
    cache = SemanticCache(None, embedder, matcher=Hanging(answer), settings=settings)
    cache.store(ask("one two three"), say("a"))
    assert cache.lookup(ask("one two three four")) is None
    assert cache.lookup(ask("one two three")) is not None, "the store is not to blame"


def test_a_rule_of_the_users_that_fails_admits_nothing(embedder: Any, ask: Ask, say: Say) -> None:
    cache = SemanticCache(
        None, embedder, admission=Admission(admit=lambda *_: 1 / 0 > 0, never=[lambda text: 1 / 0 > 0])
    )
    assert not cache.store(ask("q"), say("a"))
    assert cache.lookup(ask("q")) is None


def poison(store: MemoryStore, change: Callable[[bytes], bytes]) -> None:
    for slot in store._slots.values():
        slot.record = change(slot.record)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.replace(b"good", b"evil"),
        lambda record: record[:-1],
        lambda record: record + b"x",
        lambda record: b"\x02" + record[1:],
        lambda record: record[:2] + b"\x00" * 8 + record[10:],
        lambda record: record[:60] + bytes(len(record) - 60),
    ],
)
def test_a_poisoned_entry_is_not_served_and_removed(embedder: Any, ask: Ask, say: Say, change: Any) -> None:
    store = MemoryStore()
    cache = SemanticCache(store, embedder)
    cache.store(ask("one two three"), say("the good answer"))
    poison(store, change)
    for text in ("one two three", "One two three", "the one two three"):
        assert cache.lookup(ask(text)) is None
    assert store.size().entries == 0
    assert cache.store(ask("one two three"), say("the good answer"))
    assert cache.lookup(ask("one two three")) is not None


def test_every_byte_of_an_entry_is_sealed(embedder: Any, ask: Ask, say: Say) -> None:
    store = MemoryStore()
    cache = SemanticCache(store, embedder)
    cache.store(ask("q"), say("a", text="b", sources=("c",)))
    ((entry_id, slot),) = store._slots.items()
    for place in range(len(slot.record)):
        changed = bytearray(slot.record)
        changed[place] ^= 1
        with pytest.raises(Broken):
            opened(bytes(changed), entry_id=entry_id, partition=slot.partition.id, secret=store.secret())


def test_a_clock_that_goes_back_revives_nothing(embedder: Any, clock: Any, ask: Ask, say: Say) -> None:
    cache = SemanticCache(None, embedder, clock=clock, settings=CacheSettings(ttl_seconds=100))
    cache.store(ask("q"), say("a"))
    clock.now += 101
    assert cache.lookup(ask("another")) is None, "nobody met the entry while it was expired"
    clock.now -= 3600
    assert cache.lookup(ask("q")) is None


def test_an_entry_from_the_future_is_not_served(store: CacheStore, embedder: Any, ask: Ask, say: Say) -> None:
    """As another machine's clock, or this one's before it was set back, may have made it."""
    now = time.time()
    ahead = SemanticCache(store, embedder, clock=lambda: now + 86_400)
    ahead.store(ask("q"), say("a"))
    assert SemanticCache(store, embedder, clock=lambda: now).lookup(ask("q")) is None
    slightly_ahead = SemanticCache(store, embedder, clock=lambda: now + 30)
    slightly_ahead.store(ask("r"), say("a"))
    assert SemanticCache(store, embedder, clock=lambda: now).lookup(ask("r")) is not None


def test_time_goes_on_while_the_clock_is_behind() -> None:
    wall, ticks = [1000.0], [5.0]
    clock = SteadyClock(lambda: wall[0], lambda: ticks[0])
    assert clock.now_ms() == 1_000_000
    wall[0], ticks[0] = 400.0, 6.0
    assert clock.now_ms() == 1_001_000
    ticks[0] = 16.0
    assert clock.now_ms() == 1_011_000
    wall[0] = 2000.0
    assert clock.now_ms() == 2_000_000


class Embedder16:
    name, dimensions = "sixteen", 16

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0] * 16 for _ in texts]


def test_a_store_filled_by_another_embedder_is_refused_at_the_start(
    open_store: Callable[[], CacheStore], embedder: Any, ask: Ask, say: Say
) -> None:
    SemanticCache(open_store(), embedder).store(ask("q"), say("a"))
    with pytest.raises(ConfigurationError, match=r"vectors of words-64 with 64 dimensions.*is sixteen.*another store"):
        SemanticCache(open_store(), Embedder16())
    with pytest.raises(ConfigurationError, match=r"64 dimensions.*with 16 dimensions"):
        SemanticCache(open_store(), Embedder16(), embedder_name="words-64")
    assert SemanticCache(open_store(), embedder).lookup(ask("q")) is not None


def test_of_two_embedders_that_start_together_the_second_only_matches_exactly(
    open_store: Callable[[], CacheStore], embedder: Any, ask: Ask, say: Say
) -> None:
    first, second = SemanticCache(open_store(), embedder), SemanticCache(open_store(), Embedder16())
    first.store(ask("one two three"), say("a"))
    assert second.store(ask("four five six"), say("b"))
    assert second.lookup(ask("four five six")) is not None
    assert second.lookup(ask("the four five six")) is None
    assert first.lookup(ask("the one two three")) is not None
    assert first._engine.store.space() == VectorSpace("words-64", 64)
