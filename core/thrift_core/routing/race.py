"""Calls to tiers side by side, in threads or tasks: timeouts, hedges, and what became of calls nobody waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextvars import copy_context
from typing import Any, Generic, NamedTuple, TypeVar

from thrift_core.accounting.recorded import Recorded, recorded_into
from thrift_core.routing.callers import Caller
from thrift_core.routing.cascade_run import Asked, CascadeRun
from thrift_core.routing.waiting import Waiting

A = TypeVar("A")
# Tasks that nobody waits for are kept here, or the event loop would forget them half way.
_left_behind: set[asyncio.Task[Any]] = set()


class Came(NamedTuple, Generic[A]):
    """How asking a tier ended: with an answer or with an error."""

    asked: Asked[A]
    error: BaseException | None


class _Started(NamedTuple, Generic[A]):
    future: Future[Came[A]]
    calls: list[Recorded]


class Race(Generic[A]):
    """Asks the tiers of one request in threads, each at most once at a time.

    Args:
        run: the request.
        caller: makes the calls.
        waiting: how long to wait.
    """

    def __init__(self, run: CascadeRun[A], caller: Caller[A], waiting: Waiting) -> None:
        self._run = run
        self._caller = caller
        self._waiting = waiting
        self._started: dict[int, _Started[A]] = {}

    def next(self) -> Came[A]:
        """Ask the tier of the decision, and return what came first: its answer, a hedge's, an error."""
        index = self._run.decision.index
        if self._waiting.is_plain:
            return ask(self._caller, index)
        began = time.monotonic()
        own = self._start(index)
        hedge = self._run.hedge
        after = self._waiting.until_hedge()
        if hedge is not None and after is not None:
            wait([own.future], timeout=after)
            if not own.future.done():
                return self._first_of(index, hedge, began)
        wait([own.future], timeout=self._left(began))
        return self._take(index) if own.future.done() else self._give_up(index)

    def has_asked(self, index: int) -> bool:
        """Return whether a tier is being asked already."""
        return index in self._started

    def close(self) -> None:
        """Let calls that are still under way end by themselves; what they used is booked when they do."""
        for index in tuple(self._started):
            self._leave(index)

    def _first_of(self, index: int, hedge: int, began: float) -> Came[A]:
        own, other = self._start(index).future, self._start(hedge).future
        while not own.done() and not (other.done() and other.result().error is None):
            open_ones = {future for future in (own, other) if not future.done()}
            done, _ = wait(open_ones, timeout=self._left(began), return_when=FIRST_COMPLETED)
            if not done:
                return self._give_up(index)
        return self._take(index if own.done() else hedge)

    def _start(self, index: int) -> _Started[A]:
        if index in self._started:
            return self._started[index]
        future: Future[Came[A]] = Future()
        calls: list[Recorded] = []
        context = copy_context()

        def work() -> None:
            future.set_result(context.run(ask, self._caller, index, calls))

        # A daemon: a tier that hangs must not keep the app's process from ending.
        threading.Thread(target=work, name=f"thrift-tier-{index}", daemon=True).start()
        self._started[index] = _Started(future, calls)
        return self._started[index]

    def _left(self, began: float) -> float | None:
        seconds = self._waiting.timeout_seconds
        return None if seconds is None else max(0.0, seconds - (time.monotonic() - began))

    def _take(self, index: int) -> Came[A]:
        return self._started.pop(index).future.result()

    def _give_up(self, index: int) -> Came[A]:
        self._leave(index)
        error = self._waiting.late(self._run.router.tiers[index].name)
        return Came(Asked(index, None, None), error)

    def _leave(self, index: int) -> None:
        run = self._run
        self._started.pop(index).future.add_done_callback(lambda future: run.late(future.result().asked))


class AsyncRace(Generic[A]):
    """Does what `Race` does with tasks."""

    def __init__(self, run: CascadeRun[A], caller: Caller[A], waiting: Waiting) -> None:
        self._run = run
        self._caller = caller
        self._waiting = waiting
        self._started: dict[int, asyncio.Task[Came[A]]] = {}

    async def next(self) -> Came[A]:
        """Ask the tier of the decision, and return what came first: its answer, a hedge's, an error."""
        index = self._run.decision.index
        if self._waiting.is_plain:
            return await aask(self._caller, index)
        began = time.monotonic()
        own = self._start(index)
        hedge = self._run.hedge
        after = self._waiting.until_hedge()
        if hedge is not None and after is not None:
            await asyncio.wait([own], timeout=after)
            if not own.done():
                return await self._first_of(index, hedge, began)
        await asyncio.wait([own], timeout=self._left(began))
        return self._take(index) if own.done() else self._give_up(index)

    def has_asked(self, index: int) -> bool:
        """Return whether a tier is being asked already."""
        return index in self._started

    def close(self, *, is_cancelled: bool = False) -> None:
        """Let calls that are still under way end by themselves, unless the app has cancelled the request."""
        for index in tuple(self._started):
            if is_cancelled:
                self._started[index].cancel()
            self._leave(index)

    async def _first_of(self, index: int, hedge: int, began: float) -> Came[A]:
        own, other = self._start(index), self._start(hedge)
        while not own.done() and not (other.done() and other.result().error is None):
            open_ones = {task for task in (own, other) if not task.done()}
            done, _ = await asyncio.wait(open_ones, timeout=self._left(began), return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return self._give_up(index)
        return self._take(index if own.done() else hedge)

    def _start(self, index: int) -> asyncio.Task[Came[A]]:
        if index not in self._started:
            self._started[index] = asyncio.create_task(aask(self._caller, index))
        return self._started[index]

    def _left(self, began: float) -> float | None:
        seconds = self._waiting.timeout_seconds
        return None if seconds is None else max(0.0, seconds - (time.monotonic() - began))

    def _take(self, index: int) -> Came[A]:
        return self._started.pop(index).result()

    def _give_up(self, index: int) -> Came[A]:
        # A task can be stopped, unlike a thread, and one that hangs would stay for ever.
        self._started[index].cancel()
        self._leave(index)
        error = self._waiting.late(self._run.router.tiers[index].name)
        return Came(Asked(index, None, None), error)

    def _leave(self, index: int) -> None:
        run = self._run
        task = self._started.pop(index)

        def ended(task: asyncio.Task[Came[A]]) -> None:
            _left_behind.discard(task)
            if not task.cancelled() and task.exception() is None:
                run.late(task.result().asked)

        _left_behind.add(task)
        task.add_done_callback(ended)


def ask(caller: Caller[A], index: int, calls: list[Recorded] | None = None) -> Came[A]:
    """Ask a tier, and return what came; raises only what is no `Exception`."""
    seen: list[Recorded] = [] if calls is None else calls
    try:
        with recorded_into(seen):
            answer = caller.ask(index)
        return Came(Asked(index, answer, caller.draft(index, answer), seen), None)
    except Exception as error:
        return Came(Asked(index, None, None, seen), error)


async def aask(caller: Caller[A], index: int) -> Came[A]:
    """Do what `ask` does."""
    seen: list[Recorded] = []
    try:
        with recorded_into(seen):
            answer = await caller.aask(index)
        return Came(Asked(index, answer, caller.draft(index, answer), seen), None)
    except Exception as error:
        return Came(Asked(index, None, None, seen), error)


def told(run: CascadeRun[A], came: Came[A]) -> None:
    """Tell a run what came; raises what `CascadeRun.answered` and `failed` raise."""
    if came.error is None:
        run.answered(came.asked)
    else:
        run.failed(came.asked, came.error)
