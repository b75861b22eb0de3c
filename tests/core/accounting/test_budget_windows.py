"""Windows end, and reservations end with their lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budget_store import BudgetStore, Claim, Counter, Granted
from thrift_core.accounting.budget_window import LENGTH_SECONDS, Window, window_end, window_start
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.memory_budget_store import MemoryBudgetStore
from thrift_core.accounting.redis_budget_store import RedisBudgetStore
from thrift_core.accounting.sqlite_budget_store import SQLiteBudgetStore
from thrift_core.errors import BudgetExceeded

CENT = Decimal("0.01")
Make = Callable[..., Any]
TIMES = st.floats(min_value=0, max_value=4_000_000_000)


@pytest.mark.parametrize(
    ("window", "last", "first"),
    [
        ("minute", (2031, 1, 15, 10, 30, 59), (2031, 1, 15, 10, 31)),
        ("hour", (2031, 1, 15, 10, 59, 59), (2031, 1, 15, 11)),
        ("day", (2031, 1, 31, 23, 59, 59), (2031, 2, 1)),
        ("month", (2032, 2, 29, 23, 59, 59), (2032, 3, 1)),
        ("month", (2031, 12, 31, 23, 59, 59), (2032, 1, 1)),
    ],
)
def test_a_new_window_begins_with_nothing_used(
    driven: Make, clock: Any, window: Window, last: tuple[int, ...], first: tuple[int, ...]
) -> None:
    budgets = driven(Budget(limit_calls=1, window=window))
    clock.set(*last)
    budgets.reserve(usd=None, tokens=0)
    with pytest.raises(BudgetExceeded, match="in 1 s"):
        budgets.reserve(usd=None, tokens=0)
    clock.set(*first)
    budgets.reserve(usd=None, tokens=0)


def test_a_limit_without_a_window_never_begins_again(driven: Make, clock: Any) -> None:
    budgets = driven(Budget(limit_calls=1, per="user"))
    budgets.settle(budgets.reserve(usd=None, tokens=0), usd=None, tokens=0)
    clock.set(2040, 1, 1)
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=None, tokens=0)


def test_a_call_belongs_to_the_window_in_which_it_was_reserved(driven: Make, clock: Any, store: BudgetStore) -> None:
    budgets = driven(Budget(limit_usd=1, window="hour"))
    held = budgets.reserve(usd=Decimal(1), tokens=0)
    clock.now += 3600
    budgets.settle(held, usd=Decimal(1), tokens=0)
    budgets.reserve(usd=Decimal(1), tokens=0)
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (Decimal(0), Decimal(1))
    start = int(state.window_start.timestamp())
    assert store.history(Counter("usd:all:hour", "hour", 86_400), state.key, before=start, count=9) == [10**12]


def test_a_reservation_that_is_never_settled_ends_with_its_lease(driven: Make, clock: Any) -> None:
    budgets = driven(Budget(limit_usd=1), lease_seconds=60)
    budgets.reserve(usd=Decimal(1), tokens=0)
    clock.now += 59
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=Decimal(1), tokens=0)
    clock.now += 1
    budgets.reserve(usd=Decimal(1), tokens=0)


def test_a_call_that_outlives_its_lease_is_booked_all_the_same(driven: Make, clock: Any) -> None:
    budgets = driven(Budget(limit_usd=1), lease_seconds=60)
    late = budgets.reserve(usd=Decimal("0.7"), tokens=0)
    clock.now += 61
    other = budgets.reserve(usd=Decimal("0.5"), tokens=0)
    budgets.settle(late, usd=Decimal("0.6"), tokens=0)
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (Decimal("0.6"), Decimal("0.5"))
    budgets.settle(other, usd=Decimal("0.1"), tokens=0)
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (Decimal("0.7"), Decimal(0))


def test_leases_of_different_lengths_end_each_at_its_time(driven: Make, clock: Any) -> None:
    long, short = driven(Budget(limit_calls=2), lease_seconds=600), driven(Budget(limit_calls=2), lease_seconds=10)
    long.reserve(usd=None, tokens=0)
    short.reserve(usd=None, tokens=0)
    clock.now += 11
    assert [state.reserved for state in long.state()] == [1]
    clock.now += 600
    assert [state.reserved for state in long.state()] == [0]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_what_is_kept_per_task_is_forgotten_30_days_after_its_last_call(kind: str, tmp_path: Path, clock: Any) -> None:
    store = MemoryBudgetStore(clock=clock) if kind == "memory" else SQLiteBudgetStore(tmp_path / "it", clock=clock)
    budgets = Budgets(Budget(limit_calls=2, per="task"), store=store)
    task = Attribution(task="ticket 7")
    for _ in range(2):
        clock.now += 29 * 86_400
        budgets.settle(budgets.reserve(usd=None, tokens=0, attribution=task), usd=None, tokens=0)
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=None, tokens=0, attribution=task)
    clock.now += 31 * 86_400
    assert budgets.state() == []
    budgets.reserve(usd=None, tokens=0, attribution=task)
    store.close()


@pytest.mark.parametrize(
    ("limit", "days"),
    [
        (Budget(limit_calls=1, per="task"), 30),
        (Budget(limit_calls=1, window="minute"), 2 / 24),
        (Budget(limit_calls=1, window="month"), 93),
        (Budget(limit_calls=1, per="user"), None),
    ],
)
def test_redis_forgets_by_itself(redis_url: str, redis_prefix: str, limit: Budget, days: float | None) -> None:
    import redis

    budgets = Budgets(limit, store=RedisBudgetStore(redis_url, prefix=redis_prefix))
    held = budgets.reserve(usd=None, tokens=0, attribution=Attribution(task="ticket 7"))
    with redis.Redis.from_url(redis_url) as client:
        left = {
            kind: client.ttl(name)
            for kind in ("count", "leases")
            for name in client.keys(f"{{{redis_prefix}}}:{kind}:*")
        }
    budgets.settle(held, usd=None, tokens=0)
    budgets.store.close()
    if days is None:
        assert left == {"count": -1, "leases": -1}
    else:
        longest_window = 31 * 86_400 if limit.window == "month" else 60
        assert days * 86_400 - longest_window <= left["count"] <= days * 86_400
        assert left["leases"] > left["count"]


def test_old_windows_are_forgotten(store: BudgetStore, clock: Any) -> None:
    counter = Counter("calls:all:minute", "minute", 600)
    for number in range(20):
        granted = store.reserve(str(number), [Claim(counter, "all calls", 1, 5)], lease_seconds=30)
        assert isinstance(granted, Granted)
        assert store.mark(counter, "all calls", granted.starts[0], "told")
        clock.now += 61
    assert len(store.levels()) <= 1
    assert _kept_windows(store) <= 12


def _kept_windows(store: Any) -> int:
    if hasattr(store, "_counts"):
        return sum(map(len, store._counts.values()))
    if hasattr(store, "_connection"):
        kept: int = store._connection.execute("SELECT count(*) FROM budget_counts").fetchone()[0]
        return kept
    (hash_name,) = store._here.client.keys(f"{store._tag}:count:*")
    return sum(field.endswith(":reserved") for field in store._here.client.hkeys(hash_name))


@given(st.sampled_from(sorted(LENGTH_SECONDS)), TIMES)
def test_windows_follow_one_another_without_gap_or_overlap(window: Window, now: float) -> None:
    start = window_start(window, now)
    end = window_end(window, start)
    assert end is not None
    assert start <= now < end
    assert window_start(window, end) == end
    assert window_start(window, end - 1) == start


def test_months_are_those_of_the_calendar() -> None:
    now = datetime(2028, 2, 29, 12, tzinfo=UTC).timestamp()
    start = window_start("month", now)
    assert datetime.fromtimestamp(start, UTC) == datetime(2028, 2, 1, tzinfo=UTC)
    assert window_end("month", start) == datetime(2028, 3, 1, tzinfo=UTC).timestamp()


def test_redis_and_python_agree_when_windows_begin(redis_url: str, redis_prefix: str) -> None:
    at = [0.0]
    store = RedisBudgetStore(redis_url, prefix=redis_prefix, clock=lambda: at[0])

    @settings(max_examples=300, deadline=None)
    @given(TIMES)
    def agree(now: float) -> None:
        at[0] = now
        claims = [Claim(Counter(f"calls:all:{window}", window, None), "all calls", 0) for window in LENGTH_SECONDS]
        granted = store.reserve("one", claims, lease_seconds=1)
        assert isinstance(granted, Granted)
        assert granted.starts == tuple(window_start(window, now) for window in LENGTH_SECONDS)

    agree()
    store.close()
