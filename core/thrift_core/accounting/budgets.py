"""Limits that hold: what a call could cost at worst is reserved before it goes out and settled after."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from thrift_core.accounting.budget import Budget, BudgetAlert, BudgetState, Limit, RunawayGuard, SpikeAlert
from thrift_core.accounting.budget_alerts import Alerts, Suspicion
from thrift_core.accounting.budget_circuit import Circuit
from thrift_core.accounting.budget_listing import describe, states
from thrift_core.accounting.budget_store import BudgetStore, Granted, Refused, Settlement
from thrift_core.accounting.budget_units import dollars_or_none, to_count
from thrift_core.accounting.budget_watch import ALL_CALLS, watches
from thrift_core.accounting.budget_window import window_start
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.memory_budget_store import MemoryBudgetStore
from thrift_core.accounting.reservation import Ask, Reservation, ask
from thrift_core.errors import BudgetExceeded, ConfigurationError
from thrift_core.messages import ToolCall

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("thrift")

Choice = Literal["allow", "block"]
_CHOICES = ("allow", "block")
_LONGEST_LEASE_SECONDS = 86_400
_DESCRIBE_SECONDS = 3600
_MOST_UNBOOKED = 10_000
_UNBOOKED_AT_ONCE = 50
_NOBODY = Attribution()
T = TypeVar("T")


class Budgets:
    """The limits of an app, and the place where they are counted.

    Before a call, `reserve` holds its worst case in all the limits that concern it, in one atomic step, or refuses it.
    After the call, `settle` books what it really cost in the windows in which it was reserved, even if they have ended.
    So used and reserved together never pass a hard limit, however many threads, tasks, processes or machines share the
    store, as long as no call costs more than was reserved for it. What a killed process had reserved is given back when
    its lease ends; a call that is settled later still is booked.

    Args:
        limits: `Budget`s, `SpikeAlert`s and `RunawayGuard`s; none, to list what other processes have set.
        store: where to count: None in this process, a path in an SQLite file, such as the ledger's, that processes of
            one machine share, a Redis URL for many machines, or a store object.
        lease_seconds: when a reservation ends that is neither settled nor released; longer than any call takes.
        on_unavailable: with the store away, `allow` lets calls pass, warns once each time and books what they cost
            when the store is back; `block` refuses calls that a hard limit concerns.
        on_unpriced: `allow` lets a call without a known price pass a limit in dollars, warns once and counts it in
            `state()`; `block` refuses it.
        back_off_seconds: how long a store that failed is left alone.
        on_fault: told of each failure of ours as `("budget", reason)`; a ledger's `count_fault` will do.

    Raises:
        ConfigurationError: a setting cannot work, or the file or URL cannot be used.
        MissingExtra: a Redis URL is given and `redis` is not installed.

    Example:
        >>> budgets = Budgets(Budget(limit_usd="0.10", per="user", window="day"))
        >>> ann = Attribution(user="ann")
        >>> call = budgets.reserve(usd=Decimal("0.08"), tokens=4000, attribution=ann)
        >>> budgets.settle(call, usd=Decimal("0.03"), tokens=1500)
        >>> [str(state.used) for state in budgets.state()]
        ['0.03']
    """

    def __init__(
        self,
        *limits: Limit,
        store: BudgetStore | str | Path | None = None,
        lease_seconds: int = 900,
        on_unavailable: Choice = "allow",
        on_unpriced: Choice = "allow",
        back_off_seconds: float = 2.0,
        on_fault: Callable[[str, str], object] | None = None,
    ) -> None:
        _check(limits, lease_seconds, {"on_unavailable": on_unavailable, "on_unpriced": on_unpriced})
        self.limits = limits
        self.store: BudgetStore = _store(store)
        self._owns_store = store is None or isinstance(store, str | Path)
        self._watches = watches(limits)
        self._lease_seconds = lease_seconds
        self._on_unavailable = on_unavailable
        self._on_unpriced = on_unpriced
        self._on_fault = on_fault
        self._circuit = Circuit(back_off_seconds)
        self._alerts = Alerts(self.store)
        self._faults: Counter[str] = Counter()
        self._unbooked: deque[Settlement] = deque(maxlen=_MOST_UNBOOKED)
        self._bookings: set[asyncio.Future[None]] = set()
        self._process = os.getpid()
        self._describe_at = 0.0
        self._has_warned_of_unpriced = False

    def reserve(
        self, *, usd: Decimal | None, tokens: int, attribution: Attribution = _NOBODY, model: str = "unknown"
    ) -> Reservation:
        """Hold the worst case of a call that is about to go out.

        Args:
            usd: the most it can cost; None if nobody knows its price.
            tokens: the most tokens it can use, input and output.
            attribution: whom it is for.
            model: the model it goes to.

        Raises:
            BudgetExceeded: a hard limit could be passed; nothing is held and the call must not go out.
            RunawayStopped: its task goes in circles.
        """
        asked = self._ask(usd, tokens, attribution, model)
        began = self._circuit.begin() if asked.claims else None
        if began is None:
            return self._pass_unchecked(asked)
        try:
            self._describe_if_due()
            outcome = self.store.reserve(asked.id, asked.claims, lease_seconds=self._lease_seconds)
        except Exception as error:  # a store may fail in any way; the app's call goes on
            self._note_failure(began, error)
            return self._pass_unchecked(asked)
        self._note_success(began)
        if isinstance(outcome, Granted):
            return asked.granted(outcome.starts)
        self._tell(self._suspect_refusal(asked, outcome))
        raise asked.refusal(outcome)

    async def areserve(
        self, *, usd: Decimal | None, tokens: int, attribution: Attribution = _NOBODY, model: str = "unknown"
    ) -> Reservation:
        """Do what `reserve` does, without blocking the event loop."""
        asked = self._ask(usd, tokens, attribution, model)
        began = self._circuit.begin() if asked.claims else None
        if began is None:
            return self._pass_unchecked(asked)
        try:
            if self._describe_at <= time.monotonic():
                await _in_thread(self._describe_if_due)
            outcome = await self.store.areserve(asked.id, asked.claims, lease_seconds=self._lease_seconds)
        except Exception as error:  # a store may fail in any way; the app's call goes on
            self._note_failure(began, error)
            return self._pass_unchecked(asked)
        self._note_success(began)
        if isinstance(outcome, Granted):
            return asked.granted(outcome.starts)
        await self._atell(self._suspect_refusal(asked, outcome))
        raise asked.refusal(outcome)

    def settle(
        self, reservation: Reservation, *, usd: Decimal | None, tokens: int, tool_calls: Iterable[ToolCall | str] = ()
    ) -> None:
        """Book what a call really used; one that was settled or released before stays as it is. Never raises.

        Args:
            reservation: what `reserve` returned.
            usd: what the call cost; None if nobody knows, and then what was reserved for it is booked.
            tokens: the tokens it used, input and output.
            tool_calls: the calls its answer asks for, as `ToolCall`s or `name(arguments)`.
        """
        if (settlement := self._settlement(reservation, usd, tokens, tool_calls)) is not None:
            self._book(reservation, settlement)

    async def asettle(
        self, reservation: Reservation, *, usd: Decimal | None, tokens: int, tool_calls: Iterable[ToolCall | str] = ()
    ) -> None:
        """Do what `settle` does, without blocking the event loop; booked even where the task is cancelled meanwhile."""
        if (settlement := self._settlement(reservation, usd, tokens, tool_calls)) is not None:
            await self._finish(self._abook(reservation, settlement))

    def release(self, reservation: Reservation) -> None:
        """Give back what a call held that did not go out or cost nothing. Never raises.

        Only a `RunawayGuard` still counts the call: a task that fails for ever runs away too.
        """
        if reservation.close() and reservation.holds:
            self._book(reservation, reservation.release())

    async def arelease(self, reservation: Reservation) -> None:
        """Do what `release` does, without blocking the event loop."""
        if reservation.close() and reservation.holds:
            await self._finish(self._abook(reservation, reservation.release()))

    def state(self) -> list[BudgetState]:
        """Return every limit kept in the store, also by other processes, with each key in its current window.

        Raises:
            Exception: whatever the store raises when it cannot be read.
        """
        self._describe_if_due()
        return states(self.store.described(), self.store.levels())

    @property
    def faults(self) -> Mapping[str, int]:
        """How often what went wrong on our side, by reason."""
        return dict(self._faults)

    def close(self) -> None:
        """Let go of the store, unless it was given as an object."""
        if self._owns_store:
            self.store.close()

    async def aclose(self) -> None:
        """Let go of the store and of the running event loop's connections, unless it was given as an object."""
        if self._owns_store:
            await self.store.aclose()

    def _ask(self, usd: Decimal | None, tokens: int, attribution: Attribution, model: str) -> Ask:
        dollars = dollars_or_none(usd)
        counted = None if dollars is None else to_count("usd", dollars)
        asked = ask(self._watches, attribution, model, usd=counted, tokens=max(0, tokens))
        if counted is None:
            self._check_unpriced(asked, model)
        return asked

    def _check_unpriced(self, asked: Ask, model: str) -> None:
        limit = next((watch.hard for watch in asked.watches if watch.unit == "usd" and watch.hard), None)
        if limit is None:
            return
        if self._on_unpriced == "block":
            message = (
                f"{limit} cannot be checked: no price is known for {model}, and on_unpriced='block'; "
                "give it a price, or use a limit in tokens or calls"
            )
            raise BudgetExceeded(message, budget=str(limit), scope=f"model={model}", used="unknown", asked="unknown")
        self._count_fault("no price")
        if not self._has_warned_of_unpriced:
            self._has_warned_of_unpriced = True
            logger.warning("no price is known for %s: limits in dollars cannot stop its calls", model)

    def _pass_unchecked(self, asked: Ask) -> Reservation:
        limit = next((watch.hard or watch.guard for watch in asked.watches if watch.can_refuse), None)
        if self._on_unavailable == "block" and limit is not None:
            message = f"{limit} cannot be checked: the budget store is unavailable, and on_unavailable='block'"
            raise BudgetExceeded(message, budget=str(limit), scope=ALL_CALLS, used="unknown", asked="unknown")
        if asked.claims:
            self._count_fault("call not checked")
        now = time.time()
        return asked.granted([window_start(claim.counter.window, now) for claim in asked.claims])

    def _settlement(
        self, reservation: Reservation, usd: Decimal | None, tokens: int, tool_calls: Iterable[ToolCall | str]
    ) -> Settlement | None:
        if not reservation.close() or not reservation.holds:
            return None
        try:
            return reservation.settlement(usd=usd, tokens=tokens, tool_calls=tool_calls)
        except Exception as error:  # the answer has come; whatever is odd about it must not break the app
            self._count_fault(type(error).__name__)
            logger.warning("a call is booked as it was reserved, since what it used cannot be read: %s", error)
            return reservation.settlement(usd=None, tokens=0, tool_calls=())

    def _book(self, reservation: Reservation, settlement: Settlement) -> None:
        batch = [settlement, *self._take_unbooked()]
        if (began := self._circuit.begin()) is None:
            return self._keep_unbooked(batch)
        try:
            used = self.store.settle(batch)
        except Exception as error:  # a store may fail in any way; the app goes on
            self._keep_unbooked(batch)
            return self._note_failure(began, error)
        self._note_success(began)
        return self._tell(self._suspect(reservation, used[0]))

    async def _abook(self, reservation: Reservation, settlement: Settlement) -> None:
        batch = [settlement, *self._take_unbooked()]
        if (began := self._circuit.begin()) is None:
            return self._keep_unbooked(batch)
        try:
            used = await self.store.asettle(batch)
        except Exception as error:  # a store may fail in any way; the app goes on
            self._keep_unbooked(batch)
            return self._note_failure(began, error)
        self._note_success(began)
        return await self._atell(self._suspect(reservation, used[0]))

    async def _finish(self, booking: Coroutine[Any, Any, None]) -> None:
        """Wait for the booking; it goes on where whoever waits is cancelled."""
        import asyncio  # noqa: PLC0415 - takes 20 ms, and who awaits has it

        task = asyncio.ensure_future(booking)
        self._bookings.add(task)
        task.add_done_callback(self._bookings.discard)
        await asyncio.shield(task)

    def _take_unbooked(self) -> list[Settlement]:
        if self._process != os.getpid():
            # A forked child has a copy of what its parent is going to book.
            self._process = os.getpid()
            self._unbooked.clear()
        taken: list[Settlement] = []
        while len(taken) < _UNBOOKED_AT_ONCE:
            try:
                taken.append(self._unbooked.popleft())
            except IndexError:
                break
        return taken

    def _keep_unbooked(self, settlements: list[Settlement]) -> None:
        for settlement in settlements:
            if len(self._unbooked) >= _MOST_UNBOOKED:
                self._count_fault("call not booked")
            self._unbooked.append(settlement)

    def _suspect(self, reservation: Reservation, used: tuple[int, ...]) -> list[Suspicion]:
        return [
            suspicion
            for hold, amount in zip(reservation.holds, used, strict=True)
            for suspicion in self._alerts.suspect(hold.watch, hold.claim.key, hold.start, amount)
        ]

    def _suspect_refusal(self, asked: Ask, refused: Refused) -> list[Suspicion]:
        watch, claim = asked.watches[refused.index], asked.claims[refused.index]
        return self._alerts.suspect_refusal(watch, claim.key, refused.start, refused.used + refused.reserved)

    def _tell(self, suspicions: list[Suspicion]) -> None:
        if suspicions:
            for alert in self._confirmed(suspicions):
                self._alerts.tell(alert)

    async def _atell(self, suspicions: list[Suspicion]) -> None:
        # Once for each window and key, so a thread is good enough; what is the user's runs on the user's loop.
        if suspicions:
            for alert in await _in_thread(lambda: self._confirmed(suspicions)):
                self._alerts.tell(alert)

    def _confirmed(self, suspicions: list[Suspicion]) -> list[BudgetAlert]:
        try:
            return self._alerts.confirm(suspicions)
        except Exception as error:  # an alert that cannot be confirmed is found again by the next call
            self._count_fault(type(error).__name__)
            return []

    def _describe_if_due(self) -> None:
        if self.limits and self._describe_at <= time.monotonic():
            self._describe_at = time.monotonic() + _DESCRIBE_SECONDS
            try:
                self.store.describe(describe(self.limits))
            except Exception:
                self._describe_at = 0.0
                raise

    def _note_success(self, began: float) -> None:
        if self._circuit.worked(began):
            self._describe_at = 0.0
            logger.info("the budget store is back: limits hold again")

    def _note_failure(self, began: float, error: Exception) -> None:
        self._count_fault(type(error).__name__)
        if self._circuit.failed(began):
            action = "calls pass unchecked" if self._on_unavailable == "allow" else "limited calls are refused"
            logger.warning(
                "the budget store is unavailable, %s until it is back: %s: %s", action, type(error).__name__, error
            )

    def _count_fault(self, reason: str) -> None:
        self._faults[reason] += 1
        if self._on_fault is not None:
            try:
                self._on_fault("budget", reason)
            except Exception:  # counting a fault must not make another
                logger.debug("a fault could not be counted", exc_info=True)


async def _in_thread(work: Callable[[], T]) -> T:
    import asyncio  # noqa: PLC0415 - takes 20 ms, and who awaits has it

    return await asyncio.to_thread(work)


def _check(limits: tuple[Any, ...], lease_seconds: Any, choices: Mapping[str, str]) -> None:
    for limit in limits:
        if not isinstance(limit, Budget | SpikeAlert | RunawayGuard):
            raise ConfigurationError(f"a limit must be a Budget, SpikeAlert or RunawayGuard; got {limit!r}")
    if type(lease_seconds) is not int or not 1 <= lease_seconds <= _LONGEST_LEASE_SECONDS:
        raise ConfigurationError(
            f"lease_seconds must be a whole number from 1 to {_LONGEST_LEASE_SECONDS}; got {lease_seconds!r}"
        )
    for name, choice in choices.items():
        if choice not in _CHOICES:
            raise ConfigurationError(f"{name} must be 'allow' or 'block'; got {choice!r}")


def _store(store: Any) -> BudgetStore:
    if store is None:
        return MemoryBudgetStore()
    if isinstance(store, str) and "://" in store:
        from thrift_core.accounting.redis_budget_store import RedisBudgetStore  # noqa: PLC0415 - brings asyncio

        return RedisBudgetStore(store)
    if isinstance(store, str | Path) and str(store):
        from thrift_core.accounting.sqlite_budget_store import SQLiteBudgetStore  # noqa: PLC0415 - brings asyncio

        return SQLiteBudgetStore(store)
    if not isinstance(store, str | Path) and callable(getattr(store, "reserve", None)):
        given: BudgetStore = store
        return given
    raise ConfigurationError(f"store must be None, a file's path, a Redis URL or a budget store; got {store!r}")
