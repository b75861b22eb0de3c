"""What one call holds in the limits that concern it, from before it goes out until it is booked."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from thrift_core.accounting.budget_store import Booking, Claim, Refused, Settlement
from thrift_core.accounting.budget_streaks import signature
from thrift_core.accounting.budget_units import dollars_or_none, to_count
from thrift_core.accounting.budget_watch import Watch
from thrift_core.accounting.call import Attribution
from thrift_core.errors import BudgetExceeded
from thrift_core.messages import ToolCall


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held in one counter, in the window that began at `start`."""

    watch: Watch
    claim: Claim
    start: int


@dataclass(slots=True, eq=False)
class Reservation:
    """What one call may use at worst, held in every limit that concerns it until it is settled or released.

    Attributes:
        id: unique.
        holds: what is held where.
    """

    id: str
    holds: tuple[Hold, ...] = ()
    _open: list[str] = field(default_factory=lambda: ["open"], repr=False)

    def close(self) -> bool:
        """Return True the first time; taking from a list is one step, whatever the threads."""
        try:
            self._open.pop()
        except IndexError:
            return False
        return True

    def settlement(self, *, usd: Decimal | None, tokens: int, tool_calls: Iterable[ToolCall | str]) -> Settlement:
        """Return what to book for a call that was made."""
        dollars = dollars_or_none(usd)
        counted = None if dollars is None else to_count("usd", dollars)
        signatures = tuple(map(signature, tool_calls)) if any(hold.watch.guard for hold in self.holds) else ()
        return Settlement(
            self.id,
            tuple(
                _booking(
                    hold,
                    hold.watch.used(hold.claim.amount, usd=counted, tokens=max(0, tokens)),
                    is_unpriced=counted is None and hold.watch.unit == "usd",
                    tool_calls=signatures if hold.watch.guard else (),
                )
                for hold in self.holds
            ),
        )

    def release(self) -> Settlement:
        """Return what to book for a call that was not made or cost nothing."""
        return Settlement(self.id, tuple(_booking(hold, hold.watch.used_if_released) for hold in self.holds))


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call asks of the limits that concern it."""

    id: str
    watches: tuple[Watch, ...]
    claims: tuple[Claim, ...]

    def granted(self, starts: Sequence[int]) -> Reservation:
        """Return the reservation, held in the windows that began at `starts`."""
        parts = zip(self.watches, self.claims, starts, strict=True)
        return Reservation(self.id, tuple(Hold(watch, claim, start) for watch, claim, start in parts))

    def refusal(self, refused: Refused) -> BudgetExceeded:
        """Return the error that says what was refused, and why."""
        return self.watches[refused.index].refusal(self.claims[refused.index], refused)


def ask(watches: Iterable[Watch], attribution: Attribution, model: str, *, usd: int | None, tokens: int) -> Ask:
    """Return what a call asks, in the order of the watches."""
    asked = [
        (watch, claim)
        for watch in watches
        if (claim := watch.claim(attribution, model, usd=usd, tokens=tokens)) is not None
    ]
    return Ask(uuid.uuid4().hex, tuple(watch for watch, _ in asked), tuple(claim for _, claim in asked))


def _booking(hold: Hold, actual: int, *, is_unpriced: bool = False, tool_calls: tuple[str, ...] = ()) -> Booking:
    claim = hold.claim
    return Booking(claim.counter, claim.key, hold.start, claim.amount, actual, is_unpriced, tool_calls)
