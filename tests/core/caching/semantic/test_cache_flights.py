"""Concurrent identical misses make one call."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.memory_store import MemoryStore
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.turn import Turn
from thrift_core.messages import Request

Ask = Callable[..., Request]
Say = Callable[..., CachedAnswer]


class Model:
    """Answers after a moment, and counts; fails as often as it is told to."""

    def __init__(self, failures: int = 0, seconds: float = 0.05) -> None:
        self.calls = 0
        self._failures = failures
        self._seconds = seconds
        self._lock = threading.Lock()

    def call(self) -> CachedAnswer:
        with self._lock:
            self.calls += 1
            is_failing = self.calls <= self._failures
        time.sleep(self._seconds)
        if is_failing:
            raise TimeoutError("the provider is down")
        return CachedAnswer(payload="the answer")

    async def acall(self) -> CachedAnswer:
        self.calls += 1
        is_failing = self.calls <= self._failures
        await asyncio.sleep(self._seconds)
        if is_failing:
            raise TimeoutError("the provider is down")
        return CachedAnswer(payload="the answer")


def through(cache: SemanticCache, request: Request, model: Model) -> str:
    with cache.begin(request) as turn:
        if turn.hit is not None:
            return turn.hit.answer.payload
        answer = model.call()
        turn.finish(answer)
        return answer.payload


async def athrough(cache: SemanticCache, request: Request, model: Model) -> str:
    async with await cache.abegin(request) as turn:
        if turn.hit is not None:
            return turn.hit.answer.payload
        answer = await model.acall()
        await turn.afinish(answer)
        return answer.payload


@pytest.fixture
def cache(embedder: Any) -> SemanticCache:
    return SemanticCache(None, embedder)


def test_fifty_threads_that_ask_the_same_make_one_call(cache: SemanticCache, ask: Ask) -> None:
    model = Model()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: through(cache, ask("q"), model), range(50)))
    assert answers == ["the answer"] * 50
    assert model.calls == 1
    assert sum(cache.stats().hits.values()) == 49
    assert len(cache._flights) == 0


async def test_five_hundred_tasks_that_ask_the_same_make_one_call(cache: SemanticCache, ask: Ask) -> None:
    model = Model(seconds=0.3)
    answers = await asyncio.gather(*(athrough(cache, ask("q"), model) for _ in range(500)))
    assert answers == ["the answer"] * 500
    assert model.calls == 1


async def test_threads_and_tasks_share_one_call(cache: SemanticCache, ask: Ask) -> None:
    model = Model(seconds=0.2)
    threads = [asyncio.to_thread(through, cache, ask("q"), model) for _ in range(4)]
    tasks = [athrough(cache, ask("q"), model) for _ in range(20)]
    assert set(await asyncio.gather(*threads, *tasks)) == {"the answer"}
    assert model.calls == 1


def test_who_looked_just_before_the_answer_came_does_not_ask_again(embedder: Any, ask: Ask, say: Say) -> None:
    searching, answered = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def nearest(self, *given: Any) -> Any:
            found = super().nearest(*given)
            if threading.current_thread() is follower:
                searching.set()
                answered.wait(5)
            return found

    cache = SemanticCache(Slow(), embedder)
    turns: list[Turn] = []
    follower = threading.Thread(target=lambda: turns.append(cache.begin(ask("q"))))
    leader = cache.begin(ask("q"))
    follower.start()
    searching.wait(5)
    leader.finish(say("a"))
    answered.set()
    follower.join()
    assert turns[0].hit is not None
    assert turns[0].hit.tier == "shared"


async def test_other_questions_do_not_wait(cache: SemanticCache, ask: Ask) -> None:
    model = Model()
    await asyncio.gather(*(athrough(cache, ask(f"question number {number}"), model) for number in range(20)))
    assert model.calls == 20


def test_when_the_first_fails_one_other_calls_and_all_have_its_answer(cache: SemanticCache, ask: Ask) -> None:
    model = Model(failures=1)

    def run(_: int) -> str:
        try:
            return through(cache, ask("q"), model)
        except TimeoutError:
            return "failed"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(run, range(20)))
    assert answers.count("failed") == 1
    assert answers.count("the answer") == 19
    assert model.calls == 2


async def test_when_the_provider_is_down_nobody_waits_for_more_than_two_failures(
    cache: SemanticCache, ask: Ask
) -> None:
    model = Model(failures=1000, seconds=0.05)
    began = time.perf_counter()
    answers = await asyncio.gather(*(athrough(cache, ask("q"), model) for _ in range(40)), return_exceptions=True)
    assert all(isinstance(answer, TimeoutError) for answer in answers)
    assert time.perf_counter() - began < 2
    assert model.calls == 40
    assert len(cache._flights) == 0


async def test_a_task_that_is_cancelled_takes_the_answer_from_nobody(cache: SemanticCache, ask: Ask) -> None:
    model = Model(seconds=0.1)
    leader = asyncio.create_task(athrough(cache, ask("q"), model))
    await asyncio.sleep(0.02)
    impatient = asyncio.create_task(athrough(cache, ask("q"), model))
    patient = asyncio.create_task(athrough(cache, ask("q"), model))
    await asyncio.sleep(0.02)
    impatient.cancel()
    assert await leader == await patient == "the answer"
    assert model.calls == 1


async def test_a_leader_that_is_cancelled_hands_over(cache: SemanticCache, ask: Ask) -> None:
    model = Model(seconds=0.1)
    leader = asyncio.create_task(athrough(cache, ask("q"), model))
    await asyncio.sleep(0.02)
    others = [asyncio.create_task(athrough(cache, ask("q"), model)) for _ in range(5)]
    await asyncio.sleep(0.02)
    leader.cancel()
    assert set(await asyncio.gather(*others)) == {"the answer"}
    assert model.calls == 2


def test_a_stream_that_is_dropped_keeps_nobody_waiting(cache: SemanticCache, ask: Ask) -> None:
    def stream() -> Any:
        turn = cache.begin(ask("q"))
        yield "first"
        turn.finish(CachedAnswer(payload="never reached"))

    chunks = stream()
    next(chunks)
    assert len(cache._flights) == 1
    del chunks
    gc.collect()
    assert len(cache._flights) == 0
    assert cache.begin(ask("q")).hit is None


def test_nobody_waits_for_a_call_of_its_own(cache: SemanticCache, ask: Ask, say: Say) -> None:
    with cache.begin(ask("q")) as outer:
        with cache.begin(ask("q")) as inner:
            assert inner.hit is None
            inner.finish(say("a"))
        assert outer.hit is None


async def test_sync_code_inside_an_event_loop_does_not_wait(cache: SemanticCache, ask: Ask) -> None:
    model = Model(seconds=0.2)
    leader = asyncio.create_task(athrough(cache, ask("q"), model))
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    turn = cache.begin(ask("q"))
    assert turn.hit is None
    assert time.perf_counter() - began < 0.1
    turn.abandon()
    await leader


def test_who_waits_too_long_calls_for_itself(embedder: Any, ask: Ask) -> None:
    cache = SemanticCache(None, embedder, settings=CacheSettings(flight_wait_seconds=0.05))
    slow = threading.Thread(target=through, args=(cache, ask("q"), Model(seconds=0.5)))
    slow.start()
    time.sleep(0.1)
    began = time.perf_counter()
    with cache.begin(ask("q")) as turn:
        assert turn.hit is None
    assert time.perf_counter() - began < 0.3
    slow.join()


def test_an_answer_that_is_not_kept_is_not_shared(cache: SemanticCache, ask: Ask, say: Say) -> None:
    leader = cache.begin(ask("q"))
    waiting: list[Turn] = []
    follower = threading.Thread(target=lambda: waiting.append(cache.begin(ask("q"))))
    follower.start()
    time.sleep(0.05)
    leader.finish(say("half an ans", finish_reason="length"))
    follower.join()
    assert waiting[0].hit is None


def test_an_answer_made_of_what_was_purged_meanwhile_is_not_kept(cache: SemanticCache, ask: Ask, say: Say) -> None:
    turn = cache.begin(ask("q"))
    cache.purge(source="doc-1")
    turn.finish(say("made of the old doc-1"))
    assert cache.lookup(ask("q")) is None


def test_a_forked_child_does_not_wait_for_a_call_of_its_parent(cache: SemanticCache, ask: Ask) -> None:
    leading: list[Turn] = []
    leader = threading.Thread(target=lambda: leading.append(cache.begin(ask("q"))))
    leader.start()
    leader.join()
    child = os.fork()
    if not child:
        began = time.perf_counter()
        cache.begin(ask("q"))
        os._exit(0 if time.perf_counter() - began < 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    leading[0].abandon()


def test_shadow_mode_shares_nothing(embedder: Any, ask: Ask) -> None:
    cache = SemanticCache(None, embedder, settings=CacheSettings(mode="shadow"))
    first, second = cache.begin(ask("q")), cache.begin(ask("q"))
    assert first.hit is second.hit is None
    assert len(cache._flights) == 0
