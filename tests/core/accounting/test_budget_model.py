"""Whatever happens in whatever order, all stores agree with a plain model and hard limits hold."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from thrift_core.accounting.budget_store import (
    Booking,
    BudgetStore,
    Claim,
    Counter,
    Granted,
    Level,
    Refused,
    Settlement,
)
from thrift_core.accounting.budget_window import window_start
from thrift_core.accounting.memory_budget_store import MemoryBudgetStore
from thrift_core.accounting.redis_budget_store import RedisBudgetStore
from thrift_core.accounting.sqlite_budget_store import SQLiteBudgetStore

LEASE_SECONDS = 300
AGES = 4000 * 86_400
# Limits beyond 2^53 and beyond 2^63, where doubles and SQLite's integers lose digits.
LIMITS = {
    Counter("usd:user:hour", "hour", AGES): 20_000 * 10**12 + 1,
    Counter("usd:all:month", "month", AGES): 2**64,
    Counter("calls:user:minute", "minute", AGES): 4,
    Counter("tokens:all:ever", None, None): 3 * 10**15,
}
COUNTERS = list(LIMITS)
AMOUNTS = {"usd": st.integers(0, 9_000 * 10**12 + 7), "calls": st.just(1), "tokens": st.integers(0, 10**15)}
Where = tuple[str, str, int]


@dataclass
class Held:
    number: str
    claims: list[Claim]
    starts: tuple[int, ...]
    ends_at: float


@dataclass
class Model:
    """The rules of budgets, as plainly as they can be written."""

    used: dict[Where, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, Held] = field(default_factory=dict)
    late: set[Where] = field(default_factory=set)

    def reserved(self, where: Where, now: float) -> int:
        return sum(
            claim.amount
            for held in self.held.values()
            if held.ends_at > now
            for claim, start in zip(held.claims, held.starts, strict=True)
            if (claim.counter.name, claim.key, start) == where
        )

    def refused(self, claims: list[Claim], now: float) -> int | None:
        for index, claim in enumerate(claims):
            where = (claim.counter.name, claim.key, window_start(claim.counter.window, now))
            asked = self.used[where] + self.reserved(where, now) + claim.amount
            if claim.ceiling is not None and asked > claim.ceiling:
                return index
        return None


class Interleavings(RuleBasedStateMachine):
    reservations: Bundle[Held] = Bundle("reservations")

    def __init__(self, make: Callable[[Callable[[], float]], list[BudgetStore]]) -> None:
        super().__init__()
        self.now = 1_925_000_000.0
        self.stores = make(lambda: self.now)
        self.model = Model()

    @rule(target=reservations, data=st.data(), user=st.sampled_from(["user=ann", "user=bob|{x}"]))
    def reserve(self, data: st.DataObject, user: str) -> Held:
        counters = data.draw(st.lists(st.sampled_from(COUNTERS), unique=True, min_size=1))
        claims = [
            Claim(
                counter,
                user if "user" in counter.name else "all calls",
                data.draw(AMOUNTS[counter.name.split(":")[0]]),
                LIMITS[counter] if data.draw(st.integers(0, 5)) else None,
            )
            for counter in counters
        ]
        held = Held(uuid.uuid4().hex, claims, (), 0)
        refused = self.model.refused(claims, self.now)
        outcomes = [store.reserve(held.number, claims, lease_seconds=LEASE_SECONDS) for store in self.stores]
        for outcome in outcomes:
            if refused is None:
                assert isinstance(outcome, Granted)
            else:
                assert isinstance(outcome, Refused)
                where = (claims[refused].counter.name, claims[refused].key, outcome.start)
                told = (outcome.index, outcome.used, outcome.reserved)
                assert told == (refused, self.model.used[where], self.model.reserved(where, self.now))
        if isinstance(outcomes[0], Granted):
            assert len(set(outcomes)) == 1
            held.starts, held.ends_at = outcomes[0].starts, self.now + LEASE_SECONDS
            self.model.held[held.number] = held
            # A soft claim may pass the limit: it is not for this window to hold any more.
            self.model.late |= {where for where, claim in self._places(held) if claim.ceiling is None}
        return held

    @rule(held=consumes(reservations), share=st.integers(0, 100), is_released=st.booleans())
    def settle(self, held: Held, share: int, is_released: bool) -> None:
        if not held.starts:
            return
        is_late = held.ends_at <= self.now
        bookings = []
        for (where, claim), start in zip(self._places(held), held.starts, strict=True):
            actual = 0 if is_released else claim.amount * share // 100
            bookings.append(Booking(claim.counter, claim.key, start, claim.amount, actual))
            self.model.used[where] += actual
            if is_late and actual:
                self.model.late.add(where)
        del self.model.held[held.number]
        settlement = Settlement(held.number, tuple(bookings))
        expected = tuple(self.model.used[where] for where, _ in self._places(held))
        for store in self.stores:
            assert store.settle([settlement]) == [expected]

    @rule(seconds=st.sampled_from([0.5, 7, 61, 299, 300, 3599, 86_400 * 31]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def stores_agree_and_hard_limits_hold(self) -> None:
        listed = [sorted(store.levels(), key=_place) for store in self.stores]
        assert all(levels == listed[0] for levels in listed)
        ceilings = {counter.name: limit for counter, limit in LIMITS.items()}
        for level in listed[0]:
            where = (level.counter, level.key, level.start)
            assert (level.used, level.reserved) == (self.model.used[where], self.model.reserved(where, self.now))
            if where not in self.model.late:
                assert level.used + level.reserved <= ceilings[level.counter]

    def teardown(self) -> None:
        for counter in COUNTERS[:3]:
            for key in ("user=ann", "user=bob|{x}", "all calls"):
                start = window_start(counter.window, self.now)
                past = [
                    (at, used) for (name, of, at), used in self.model.used.items() if (name, of) == (counter.name, key)
                ]
                expected = [used for at, used in sorted(past, reverse=True) if used and at < start]
                for store in self.stores:
                    assert store.history(counter, key, before=start, count=100) == expected
        for store in self.stores:
            store.close()

    def _places(self, held: Held) -> list[tuple[Where, Claim]]:
        return [
            ((claim.counter.name, claim.key, start), claim)
            for claim, start in zip(held.claims, held.starts, strict=True)
        ]


def _place(level: Level) -> Where:
    return level.counter, level.key, level.start


def test_all_stores_agree_with_a_plain_model_and_no_hard_limit_is_passed(
    redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    def make(clock: Callable[[], float]) -> list[BudgetStore]:
        name = uuid.uuid4().hex
        return [
            MemoryBudgetStore(clock=clock),
            SQLiteBudgetStore(tmp_path / f"{name}.sqlite", clock=clock),
            RedisBudgetStore(redis_url, prefix=redis_prefix + name, clock=clock),
        ]

    run_state_machine_as_test(
        lambda: Interleavings(make),
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("amount", [2**53 - 1, 2**53 + 1, 2**63 - 1, 2**63 + 1, 10**12 - 1, 10**12, 10**26 + 1])
def test_amounts_of_any_size_are_counted_to_the_last_unit(make_store: Callable[..., BudgetStore], amount: int) -> None:
    store = make_store()
    counter = Counter("usd:all:ever", None, None)
    claim = Claim(counter, "all calls", amount, 3 * amount)
    for number in "123":
        assert isinstance(store.reserve(number, [claim], lease_seconds=60), Granted)
    too_much = store.reserve("4", [Claim(counter, "all calls", 1, 3 * amount)], lease_seconds=60)
    assert isinstance(too_much, Refused)
    assert too_much.reserved == 3 * amount
    booking = Booking(counter, "all calls", 0, amount, amount - 1)
    assert store.settle([Settlement(number, (booking,)) for number in "12"]) == [(amount - 1,), (2 * amount - 2,)]
    (level,) = store.levels()
    assert (level.used, level.reserved) == (2 * amount - 2, amount)
