"""Drives a request through a cascade: asks, judges, accepts, escalates, falls over, and books; sync and async."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, closing
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from thrift_core.accounting.recorded import Recorded, recorded_into, recorded_while_advancing
from thrift_core.routing.callers import Caller, StreamCaller
from thrift_core.routing.cascade_run import Asked, CascadeRun
from thrift_core.routing.race import AsyncRace, Race, told
from thrift_core.routing.waiting import Waiting

A = TypeVar("A")
P = TypeVar("P")


def drive(run: CascadeRun[A], caller: Caller[A], waiting: Waiting) -> A:
    """Return the answer to a request, and book it.

    Raises:
        Exception: the last tier's error, or `CascadeExhausted`, where none has answered.
    """
    race = Race(run, caller, waiting)
    try:
        while not run.is_over:
            told(run, race.next())
    finally:
        race.close()
    run.finish()
    return run.answer


async def adrive(run: CascadeRun[A], caller: Caller[A], waiting: Waiting) -> A:
    """Do what `drive` does."""
    race = AsyncRace(run, caller, waiting)
    is_cancelled = True
    try:
        while not run.is_over:
            told(run, await race.next())
        is_cancelled = False
    except Exception:
        is_cancelled = False
        raise
    finally:
        race.close(is_cancelled=is_cancelled)
    await asyncio.to_thread(run.finish)
    return run.answer


def drive_stream(run: CascadeRun[A], caller: StreamCaller[A, P], waiting: Waiting) -> Generator[P]:
    """Yield the answer to a request piece by piece, and book it; nothing that is yielded is ever taken back.

    A tier whose answer is used whatever it says is passed on as it comes, but for its tool calls, which are checked
    first. The answer of any other tier is held back until it is accepted.
    """
    race = Race(run, caller, waiting)
    try:
        while not run.is_over:
            if _passes_on(run, caller) and not race.has_asked(run.decision.index):
                stream = _Passing(run, caller)
                yield from stream.passed(waiting)
                if stream.is_over:
                    return
            else:
                told(run, race.next())
    finally:
        race.close()
    run.finish()
    yield from caller.pieces(run)


async def adrive_stream(run: CascadeRun[A], caller: StreamCaller[A, P], waiting: Waiting) -> AsyncGenerator[P]:
    """Do what `drive_stream` does."""
    race = AsyncRace(run, caller, waiting)
    is_cancelled = True
    try:
        while not run.is_over:
            if _passes_on(run, caller) and not race.has_asked(run.decision.index):
                stream = _Passing(run, caller)
                async with aclosing(stream.apassed(waiting)) as passed:
                    async for piece in passed:
                        yield piece
                if stream.is_over:
                    is_cancelled = False
                    return
            else:
                told(run, await race.next())
        is_cancelled = False
    except Exception:
        is_cancelled = False
        raise
    finally:
        race.close(is_cancelled=is_cancelled)
    await asyncio.to_thread(run.finish)
    for piece in caller.pieces(run):
        yield piece


def _passes_on(run: CascadeRun[A], caller: StreamCaller[A, P]) -> bool:
    return run.decision.is_committed and caller.may_pass_on


@dataclass(slots=True)
class _Passing(Generic[A, P]):
    """Passes one tier's stream on, as far as it cannot be wrong to."""

    run: CascadeRun[A]
    caller: StreamCaller[A, P]
    is_over: bool = False
    _all: list[P] = field(default_factory=list[P])
    _held: list[P] = field(default_factory=list[P])
    _calls: list[Recorded] = field(default_factory=list[Recorded])
    _is_streamed: bool = False
    _acts: bool = False

    def passed(self, waiting: Waiting) -> Generator[P]:
        index = self.run.decision.index
        source = recorded_while_advancing(self.caller.stream(index), self._calls)
        stream = _timed(source, waiting, self.run.decision.tier.name)
        try:
            with closing(stream):
                for piece in stream:
                    yield from self._taken(piece)
            answer = self.caller.joined(self._all)
        except Exception as error:
            self._failed(index, error)
            return
        except GeneratorExit:
            self.run.close()
            raise
        yield from self._ended(index, answer)

    async def apassed(self, waiting: Waiting) -> AsyncGenerator[P]:
        index = self.run.decision.index
        stream = _atimed(self.caller.astream(index), waiting, self.run.decision.tier.name, self._calls)
        try:
            async with aclosing(stream):
                async for piece in stream:
                    for ready in self._taken(piece):
                        yield ready
            answer = self.caller.joined(self._all)
        except Exception as error:
            self._failed(index, error)
            return
        except (GeneratorExit, asyncio.CancelledError):
            self.run.close()
            raise
        for ready in self._ended(index, answer):
            yield ready

    def _taken(self, piece: P) -> Generator[P]:
        """Yield what may be passed on now: nothing before the first word, nothing from the first tool call on."""
        self._all.append(piece)
        self._acts = self._acts or self.caller.acts(piece)
        self._held.append(piece)
        if self._acts or not (self._is_streamed or self.caller.says(piece)):
            return
        self._is_streamed = True
        held, self._held = self._held, []
        yield from held

    def _failed(self, index: int, error: Exception) -> None:
        self.run.failed(Asked(index, None, None, self._calls), error, is_streamed=self._is_streamed)

    def _ended(self, index: int, answer: A) -> Generator[P]:
        draft = self.caller.draft(index, answer)
        self.run.answered(Asked(index, answer, draft, self._calls), is_streamed=self._is_streamed)
        if not self.run.is_over:
            return
        self.is_over = True
        self.run.finish()
        yield from self.caller.closing(self.run, self._held)


def _timed(stream: Generator[P], waiting: Waiting, tier: str) -> Generator[P]:
    """Yield the pieces of a stream, each within the time allowed; read in a thread where there is a limit."""
    if waiting.timeout_seconds is None:
        yield from stream
        return
    pieces: queue.SimpleQueue[tuple[P] | BaseException | None] = queue.SimpleQueue()
    is_dropped = threading.Event()
    reading = threading.Thread(
        target=copy_context().run, args=(_read, stream, pieces, is_dropped), name="thrift-stream", daemon=True
    )
    reading.start()
    try:
        while True:
            try:
                came = pieces.get(timeout=waiting.timeout_seconds)
            except queue.Empty:
                raise waiting.late(tier) from None
            if came is None:
                return
            if isinstance(came, BaseException):
                raise came
            yield came[0]
    finally:
        is_dropped.set()


def _read(
    stream: Generator[P], pieces: queue.SimpleQueue[tuple[P] | BaseException | None], is_dropped: threading.Event
) -> None:
    try:
        with closing(stream):
            for piece in _until(stream, is_dropped):
                pieces.put((piece,))
        pieces.put(None)
    except BaseException as error:  # raised where the stream is read
        pieces.put(error)


def _until(stream: Iterator[P], is_dropped: threading.Event) -> Generator[P]:
    for piece in stream:
        if is_dropped.is_set():
            return
        yield piece


async def _atimed(stream: AsyncGenerator[P], waiting: Waiting, tier: str, calls: list[Recorded]) -> AsyncGenerator[P]:
    """Yield the pieces of a stream, each within the time allowed."""
    async with aclosing(stream):
        while True:
            limit = asyncio.timeout(waiting.timeout_seconds)
            try:
                with recorded_into(calls):
                    async with limit:
                        piece = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if limit.expired():
                    raise waiting.late(tier) from None
                raise
            yield piece
