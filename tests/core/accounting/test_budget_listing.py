"""What one process sets, another can list; and what the stores keep for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.accounting import budgets as budgets_module
from thrift_core.accounting.budget import Budget, RunawayGuard, SpikeAlert
from thrift_core.accounting.budget_listing import describe, states
from thrift_core.accounting.budget_store import Booking, BudgetStore, Claim, Counter, Granted, Level, Settlement
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.memory_budget_store import MemoryBudgetStore
from thrift_core.accounting.redis_budget_store import RedisBudgetStore


@pytest.mark.parametrize(
    "limit",
    [
        Budget(limit_usd="0.000001", window="minute"),
        Budget(limit_tokens=7, only=Attribution(tenant="ä b:c", run="1")),
        Budget(limit_calls=1, hard=False),
        RunawayGuard(max_repeats=None, max_calls_per_task=3),
    ],
)
def test_a_limit_survives_its_description(limit: Budget | RunawayGuard) -> None:
    (name,) = described = describe([limit])
    (state,) = states(described, [Level(name.split(" ")[0], "some key", 0, 1, 0, 0)])
    assert state.budget == limit


def test_a_limit_on_all_calls_is_listed_before_the_first_call() -> None:
    (state,) = Budgets(
        Budget(limit_usd=5, window="day"), Budget(limit_calls=1, per="user"), SpikeAlert(2, "day")
    ).state()
    assert (state.key, state.used, state.limit) == ("all calls", 0, 5)


def test_a_limit_that_nobody_has_set_for_40_days_is_not_listed() -> None:
    described = describe([Budget(limit_usd=5)])
    (name,) = described
    old = {**json.loads(described[name]), "seen_at": time.time() - 41 * 86_400}
    assert states(described, [])
    assert states({name: json.dumps(old)}, []) == []


@pytest.mark.parametrize(
    "description", ["", "[]", "7", "{}", '{"seen_at": 9e9}', '{"seen_at": 9e9, "only": {}, "limit_pears": 3}']
)
def test_a_description_of_a_newer_version_is_passed_over(description: str) -> None:
    assert states({"pears:all:ever hard 0": description}, []) == []


def test_an_app_that_goes_on_keeps_its_limits_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryBudgetStore()
    budgets = Budgets(Budget(limit_usd=5), store=store)
    budgets.state()
    first = store.described()
    start = time.time()
    monkeypatch.setattr(time, "time", lambda: start + 4000)
    budgets.state()
    assert store.described() == first
    budgets._describe_at = 0.0
    budgets.state()
    assert store.described() != first


def test_what_cannot_be_booked_does_not_pile_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets_module, "_MOST_UNBOOKED", 10)
    budgets = Budgets(Budget(limit_calls=100), store=MemoryBudgetStore(), back_off_seconds=60)
    held = [budgets.reserve(usd=None, tokens=0) for _ in range(30)]
    monkeypatch.setattr(budgets.store, "settle", lambda _: 1 / 0)
    for one in held:
        budgets.settle(one, usd=None, tokens=0)
    assert len(budgets._unbooked) == 10
    assert budgets.faults == {"ZeroDivisionError": 1, "call not booked": 20}


def test_windows_in_redis_begin_by_its_own_clock(
    redis_url: str, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        now: Any = client.time()
        monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
        store = RedisBudgetStore(redis_url, prefix=redis_prefix)
        granted = store.reserve(
            "1", [Claim(Counter("calls:all:minute", "minute", 600), "all calls", 1)], lease_seconds=9
        )
        store.close()
    assert isinstance(granted, Granted)
    assert 0 <= granted.starts[0] + 60 - now[0] <= 120


@given(st.text(max_size=20), st.text(max_size=20))
def test_all_redis_keys_of_one_step_lie_in_one_slot_of_a_cluster(key: str, other: str) -> None:
    from redis.crc import key_slot

    store = RedisBudgetStore("redis://localhost", prefix="thrift")
    counter = Counter("calls:user:day", "day", 600)
    bookings = tuple(Booking(counter, name, 0, 1, 1) for name in (key, other))
    for keys, _ in (
        store._reserving("1", [Claim(counter, name, 1) for name in (key, other)], 60),
        store._settling([Settlement("1", bookings), Settlement("2", bookings)]),
    ):
        assert len({key_slot(name.encode(errors="surrogatepass")) for name in keys}) == 1


def test_budgets_close_only_what_they_opened(make_store: Callable[..., BudgetStore], tmp_path: Any) -> None:
    store = make_store()
    given_store = Budgets(Budget(limit_usd=1), store=store)
    given_store.close()
    given_store.settle(given_store.reserve(usd=Decimal("0.1"), tokens=0), usd=Decimal("0.1"), tokens=0)
    own = Budgets(Budget(limit_usd=1), store=tmp_path / "own.sqlite")
    own.close()
    assert own.store._connection is None  # type: ignore[attr-defined]
    assert given_store.faults == {}
