"""What a place that counts budgets must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from thrift_core.accounting.budget_window import Window, window_end


@dataclass(frozen=True, slots=True)
class Counter:
    """One thing that is counted, for each of its keys by itself.

    Attributes:
        name: unique, such as `usd:user:day`; the same name always comes with the same window and time of keeping.
        window: when counting starts again from 0; `run` and None never do.
        keep_seconds: how long the count of a window is kept after the window's start; for windows without an end,
            after its last use. None keeps it for ever.
    """

    name: str
    window: Window | None
    keep_seconds: int | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What one call asks of one counter.

    Attributes:
        counter: the counter.
        key: whose count it is.
        amount: the most that the call may add.
        ceiling: refuse if used, reserved and asked together would be more; None never refuses.
        max_repeats: refuse if a tool call has been made this many times in a row; None never refuses.
    """

    counter: Counter
    key: str
    amount: int
    ceiling: int | None = None
    max_repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """All claims hold; `starts` are the beginnings of their windows, in order."""

    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """One claim was too much, so none holds.

    Attributes:
        index: the first claim that was refused.
        used: what its window had used.
        reserved: what other calls had reserved.
        start: when its window began.
        now: the store's time.
        repeats: how often a tool call had been repeated, where that was the reason; else 0.
    """

    index: int
    used: int
    reserved: int
    start: int
    now: float
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Booking:
    """What one call really added to one counter.

    Attributes:
        counter: the counter.
        key: whose count it is.
        start: the window in which the call was reserved.
        reserved: what was reserved then, given back now if the lease has not done so already.
        actual: what is booked as used.
        is_unpriced: nobody knows the call's price.
        tool_calls: signatures of the tool calls that the answer asked for.
    """

    counter: Counter
    key: str
    start: int
    reserved: int
    actual: int
    is_unpriced: bool = False
    tool_calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one reservation."""

    reservation_id: str
    bookings: tuple[Booking, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """One count in its current window."""

    counter: str
    key: str
    start: int
    used: int
    reserved: int
    unpriced: int


class BudgetStore(Protocol):
    """Counts what is used and reserved. Any method may raise; `Budgets` then goes on without the store."""

    def reserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Hold all the claims, or none of them, in one atomic step; each ends by itself after `lease_seconds`."""
        ...

    async def areserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Do what `reserve` does, without blocking the event loop."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Book each settlement in its window and give back its reservation; return what each counter then has used."""
        ...

    async def asettle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Do what `settle` does, without blocking the event loop."""
        ...

    def history(self, counter: Counter, key: str, *, before: int, count: int) -> list[int]:
        """Return what was used in the last `count` windows before `before` that used anything, newest first."""
        ...

    def mark(self, counter: Counter, key: str, start: int, alert: str) -> bool:
        """Return True the first time an alert is marked for a window and key, and never again."""
        ...

    def describe(self, limits: Mapping[str, str]) -> None:
        """Keep descriptions of limits under their names, for `described`."""
        ...

    def described(self) -> dict[str, str]:
        """Return the descriptions of all limits, also those other processes gave."""
        ...

    def levels(self) -> list[Level]:
        """Return all counts whose window has not ended."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections, those of the running event loop included."""
        ...


def expiry(counter: Counter, start: int, now: float) -> float | None:
    """Return when the count of the window that began at `start` may be forgotten."""
    if counter.keep_seconds is None:
        return None
    return (now if window_end(counter.window, start) is None else start) + counter.keep_seconds


def is_too_much(claim: Claim, held: int) -> bool:
    """Return whether the claim cannot be granted where this much is used and reserved already."""
    return claim.ceiling is not None and held + claim.amount > claim.ceiling
