"""One call for many who ask the same at the same time."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field

from thrift_core.accounting.fork import hold_across_forks
from thrift_core.caching.semantic.answer import CachedAnswer

# Whoever leads and asks the same again inside its own call would wait for itself.
_leading: ContextVar[frozenset[bytes]] = ContextVar("thrift_flights_led", default=frozenset())
_TRIES = 2
_MOST_LANDED = 64


@dataclass(eq=False, slots=True)
class Landing:
    """How a flight ended.

    Attributes:
        answer: what came; None where there is nothing to share.
        is_failed: the leader's call failed or was given up.
    """

    answer: CachedAnswer | None = None
    is_failed: bool = False


@dataclass(eq=False, slots=True)
class Flight:
    """A call under way, led by one and awaited by others."""

    key: bytes
    landing: Future[Landing] = field(default_factory=Future[Landing])


class Flights:
    """The calls under way in this process.

    When a leader fails, one of those who wait leads in turn, once; when that one fails too, all others call for
    themselves, as they would have without us. Nobody waits for a call of its own, nor inside a running event loop.

    Args:
        wait_seconds: how long to wait for another's answer before calling oneself.
    """

    def __init__(self, wait_seconds: float) -> None:
        self.lock = threading.RLock()
        self._wait_seconds = wait_seconds
        self._flights: dict[bytes, Flight] = {}
        self._process = os.getpid()
        self._landed: dict[bytes, tuple[float, CachedAnswer]] = {}
        hold_across_forks(self)

    def before_fork(self) -> None:
        """Nothing is open; the lock alone keeps a child from half of a change."""

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: bytes, since: float) -> Flight | CachedAnswer | None:
        """Return a flight to lead, the answer of another's, or None to call by oneself.

        Args:
            key: what is asked.
            since: when looking for it began, by `time.monotonic`; a flight that landed after that has its answer.
        """
        if _in_event_loop():
            return self._lead_or_alone(key, since)
        for _ in range(_TRIES):
            flight, is_leader = self._board(key, since)
            if not isinstance(flight, Flight) or is_leader:
                return flight
            try:
                landing = flight.landing.result(self._wait_seconds)
            except TimeoutError:
                return None
            if not landing.is_failed:
                return landing.answer
        return None

    async def ajoin(self, key: bytes, since: float) -> Flight | CachedAnswer | None:
        """Do what `join` does, without holding up the event loop."""
        for _ in range(_TRIES):
            flight, is_leader = self._board(key, since)
            if not isinstance(flight, Flight) or is_leader:
                return flight
            try:
                landing = await asyncio.wait_for(asyncio.wrap_future(flight.landing), self._wait_seconds)
            except TimeoutError:
                return None
            if not landing.is_failed:
                return landing.answer
        return None

    def land(self, flight: Flight, landing: Landing) -> None:
        """End a flight; a second end changes nothing."""
        with self.lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            is_first = not flight.landing.done()
            if is_first:
                flight.landing.set_result(landing)
                self._remember(flight.key, landing)
        if is_first:
            _leading.set(_leading.get() - {flight.key})

    def forget(self) -> None:
        """Give no answer that landed before now to anybody, since it may have been purged."""
        with self.lock:
            self._landed.clear()

    def _remember(self, key: bytes, landing: Landing) -> None:
        """Keep an answer for those who looked for it just before it came, and would now ask again."""
        if landing.answer is not None:
            self._landed.pop(key, None)
            self._landed[key] = (time.monotonic(), landing.answer)
        while len(self._landed) > _MOST_LANDED:
            del self._landed[next(iter(self._landed))]

    def _lead_or_alone(self, key: bytes, since: float) -> Flight | CachedAnswer | None:
        flight, is_leader = self._board(key, since)
        return flight if is_leader or isinstance(flight, CachedAnswer) else None

    def _board(self, key: bytes, since: float) -> tuple[Flight | CachedAnswer | None, bool]:
        if key in _leading.get():
            return None, False
        with self.lock:
            if self._process != os.getpid():
                # Forked: whoever leads these flights is in the parent, and will not land them here.
                self._flights.clear()
                self._process = os.getpid()
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            landed_at, answer = self._landed.get(key, (0.0, None))
            if answer is not None and landed_at >= since:
                return answer, False
            flight = self._flights[key] = Flight(key)
            # Running futures cannot be cancelled: one impatient task must not take the answer from the others.
            flight.landing.set_running_or_notify_cancel()
        _leading.set(_leading.get() | {key})
        return flight, True


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
