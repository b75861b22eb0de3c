"""Counts budgets in memory."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from thrift_core.accounting.budget_store import (
    Booking,
    Claim,
    Counter,
    Granted,
    Level,
    Refused,
    Settlement,
    expiry,
    is_too_much,
)
from thrift_core.accounting.budget_streaks import lengthened, longest
from thrift_core.accounting.budget_window import window_end, window_start
from thrift_core.accounting.fork import hold_across_forks

_PRUNING_SECONDS = 60


@dataclass(slots=True)
class _Count:
    counter: Counter
    start: int
    expires_at: float | None = None
    used: int = 0
    reserved: int = 0
    unpriced: int = 0
    streaks: str = ""
    alerts: set[str] = field(default_factory=set[str])

    def is_forgotten(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class MemoryBudgetStore:
    """Counts within this process; nothing is shared or kept.

    Every method takes microseconds, so the async ones run on the event loop itself. A forked child counts on its own
    from what its parent had.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self._clock = clock
        self._counts: dict[tuple[str, str], dict[int, _Count]] = {}
        self._leases: dict[str, tuple[tuple[_Count, int], ...]] = {}
        self._ends: list[tuple[float, str]] = []
        self._limits: dict[str, str] = {}
        self._next_pruning = 0.0
        hold_across_forks(self)

    def reserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Hold all the claims or none of them."""
        with self.lock:
            now = self._clock()
            self._end_leases(now)
            starts = tuple(window_start(claim.counter.window, now) for claim in claims)
            for index, (claim, start) in enumerate(zip(claims, starts, strict=True)):
                # Who is refused leaves no trace.
                count = self._found(claim.counter, claim.key, start, now) or _Count(claim.counter, start)
                repeats = longest(count.streaks)
                is_repeated = claim.max_repeats is not None and repeats >= claim.max_repeats
                if is_repeated or is_too_much(claim, count.used + count.reserved):
                    return Refused(index, count.used, count.reserved, start, now, repeats if is_repeated else 0)
            self._hold(reservation_id, claims, starts, now + lease_seconds)
            return Granted(starts)

    async def areserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Do what `reserve` does; it is over in microseconds."""
        return self.reserve(reservation_id, claims, lease_seconds=lease_seconds)

    def settle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Book each settlement and give back its reservation."""
        with self.lock:
            return [self._settle(settlement) for settlement in settlements]

    async def asettle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Do what `settle` does; it is over in microseconds."""
        return self.settle(settlements)

    def history(self, counter: Counter, key: str, *, before: int, count: int) -> list[int]:
        """Return the last windows before `before` that used anything, newest first."""
        with self.lock:
            windows = self._counts.get((counter.name, key), {})
            past = sorted((start for start, other in windows.items() if start < before and other.used), reverse=True)
            return [windows[start].used for start in past[:count]]

    def mark(self, counter: Counter, key: str, start: int, alert: str) -> bool:
        """Return True the first time only."""
        with self.lock:
            alerts = self._count(counter, key, start).alerts
            is_first = alert not in alerts
            alerts.add(alert)
            return is_first

    def describe(self, limits: Mapping[str, str]) -> None:
        """Keep descriptions of limits."""
        self._limits.update(limits)

    def described(self) -> dict[str, str]:
        """Return the descriptions of all limits."""
        return dict(self._limits)

    def levels(self) -> list[Level]:
        """Return all counts whose window has not ended."""
        with self.lock:
            now = self._clock()
            self._end_leases(now)
            return [
                Level(name, key, start, count.used, count.reserved, count.unpriced)
                for (name, key), windows in self._counts.items()
                for start, count in windows.items()
                if not count.is_forgotten(now) and _is_open(count, now)
            ]

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    async def aclose(self) -> None:
        """Do nothing."""

    def before_fork(self) -> None:
        """Do nothing: memory is copied."""

    def _settle(self, settlement: Settlement) -> tuple[int, ...]:
        self._give_back(settlement.reservation_id)
        return tuple(self._book(booking) for booking in settlement.bookings)

    def _book(self, booking: Booking) -> int:
        count = self._count(booking.counter, booking.key, booking.start)
        count.used += booking.actual
        count.unpriced += booking.is_unpriced
        count.streaks = lengthened(count.streaks, booking.tool_calls)
        return count.used

    def _hold(self, reservation_id: str, claims: Sequence[Claim], starts: Sequence[int], until: float) -> None:
        held: list[tuple[_Count, int]] = []
        for claim, start in zip(claims, starts, strict=True):
            count = self._count(claim.counter, claim.key, start)
            count.reserved += claim.amount
            held.append((count, claim.amount))
        self._leases[reservation_id] = tuple(held)
        heapq.heappush(self._ends, (until, reservation_id))

    def _found(self, counter: Counter, key: str, start: int, now: float) -> _Count | None:
        count = self._counts.get((counter.name, key), {}).get(start)
        return None if count is None or count.is_forgotten(now) else count

    def _count(self, counter: Counter, key: str, start: int) -> _Count:
        now = self._clock()
        if (count := self._found(counter, key, start, now)) is None:
            self._prune(now)
            count = self._counts.setdefault((counter.name, key), {})[start] = _Count(counter, start)
        count.expires_at = expiry(counter, start, now)
        return count

    def _give_back(self, reservation_id: str) -> None:
        for count, amount in self._leases.pop(reservation_id, ()):
            count.reserved -= amount

    def _end_leases(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._give_back(heapq.heappop(self._ends)[1])
        if len(self._ends) > 2 * len(self._leases) + 100:
            # Settled reservations leave their ends behind; a heap made anew now and then costs nothing in the mean.
            self._ends = [end for end in self._ends if end[1] in self._leases]
            heapq.heapify(self._ends)

    def _prune(self, now: float) -> None:
        if now < self._next_pruning:
            return
        self._next_pruning = now + _PRUNING_SECONDS
        for where, windows in list(self._counts.items()):
            for start, count in list(windows.items()):
                if count.is_forgotten(now):
                    del windows[start]
            if not windows:
                del self._counts[where]


def _is_open(count: _Count, now: float) -> bool:
    end = window_end(count.counter.window, count.start)
    return end is None or end > now
