"""Limits hold: on every store, by the sync methods and by their async twins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from thrift_core.accounting.budget import Budget, BudgetState
from thrift_core.accounting.budget_store import BudgetStore
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.errors import BudgetExceeded

ANN, BOB = Attribution(user="ann"), Attribution(user="bob")
CENT = Decimal("0.01")
Make = Callable[..., Any]


def spend(budgets: Any, usd: Decimal, tokens: int = 0, **given: Any) -> None:
    budgets.settle(budgets.reserve(usd=usd, tokens=tokens, **given), usd=usd, tokens=tokens)


def only_state(budgets: Budgets) -> BudgetState:
    (state,) = budgets.state()
    return state


def test_a_call_that_could_pass_the_limit_does_not_go_out(driven: Make) -> None:
    budgets = driven(Budget(limit_usd="0.10", per="user", window="day"))
    spend(budgets, Decimal("0.06"), attribution=ANN)
    budgets.reserve(usd=Decimal("0.03"), tokens=1, attribution=ANN)
    with pytest.raises(BudgetExceeded) as caught:
        budgets.reserve(usd=Decimal("0.02"), tokens=1, attribution=ANN)
    error = caught.value
    assert (error.budget, error.scope) == ("$0.10 per user per day", "user=ann")
    assert (error.used, error.asked) == (Decimal("0.09"), Decimal("0.02"))
    assert str(error) == (
        "$0.10 per user per day would be passed for user=ann: $0.06 used, $0.03 reserved by calls under way, "
        "this call could take up to $0.02; the day ends at 2031-01-16 00:00 UTC, in 13 h 30 min"
    )


def test_the_limit_itself_may_be_reached(driven: Make) -> None:
    budgets = driven(Budget(limit_usd="0.10"))
    spend(budgets, Decimal("0.10"))
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=Decimal("0.000000000001"), tokens=1)


def test_a_call_larger_than_the_whole_limit_is_told_so(driven: Make) -> None:
    with pytest.raises(BudgetExceeded, match="more than the whole limit: shorten it or lower its max_tokens"):
        driven(Budget(limit_tokens=100)).reserve(usd=None, tokens=101)


def test_what_was_reserved_and_not_used_can_be_used_again(driven: Make) -> None:
    budgets = driven(Budget(limit_usd=1))
    first = budgets.reserve(usd=Decimal(1), tokens=0)
    budgets.settle(first, usd=CENT, tokens=0)
    budgets.reserve(usd=Decimal("0.99"), tokens=0)
    state = only_state(budgets)
    assert (state.used, state.reserved, state.limit) == (CENT, Decimal("0.99"), Decimal(1))


def test_a_call_that_cost_more_than_reserved_is_booked_in_full(driven: Make) -> None:
    budgets = driven(Budget(limit_usd=1))
    budgets.settle(budgets.reserve(usd=CENT, tokens=0), usd=Decimal(3), tokens=0)
    assert (only_state(budgets).used, only_state(budgets).reserved) == (Decimal(3), Decimal(0))


def test_a_released_call_leaves_nothing_behind(driven: Make) -> None:
    budgets = driven(Budget(limit_calls=1), Budget(limit_usd=1), Budget(limit_tokens=10))
    budgets.release(budgets.reserve(usd=Decimal(1), tokens=10))
    budgets.reserve(usd=Decimal(1), tokens=10)
    assert all(state.used == 0 for state in budgets.state())


@pytest.mark.parametrize("second", ["settle", "release"])
def test_a_reservation_ends_only_once(driven: Make, second: str) -> None:
    budgets = driven(Budget(limit_usd=1))
    held = budgets.reserve(usd=Decimal("0.5"), tokens=0)
    other = budgets.reserve(usd=Decimal("0.5"), tokens=0)
    budgets.settle(held, usd=CENT, tokens=0)
    budgets.release(held) if second == "release" else budgets.settle(held, usd=CENT, tokens=0)
    assert (only_state(budgets).used, only_state(budgets).reserved) == (CENT, Decimal("0.5"))
    budgets.release(other)


def test_all_limits_hold_a_call_or_none_does(driven: Make) -> None:
    budgets = driven(
        Budget(limit_usd=1, per="user"), Budget(limit_tokens=100, per="user"), Budget(limit_calls=1, per="model")
    )
    budgets.reserve(usd=CENT, tokens=1, attribution=BOB, model="gpt")
    for _ in range(3):
        with pytest.raises(BudgetExceeded, match="1 call per model would be passed for model=gpt"):
            budgets.reserve(usd=CENT, tokens=1, attribution=ANN, model="gpt")
    assert {state.key for state in budgets.state()} == {"user=bob", "model=gpt"}


@pytest.mark.parametrize("per", ["feature", "user", "tenant", "task", "run"])
def test_each_name_has_an_allowance_of_its_own(driven: Make, per: Any) -> None:
    budgets = driven(Budget(limit_calls=1, per=per))
    for name in ("one", "two"):
        budgets.reserve(usd=None, tokens=0, attribution=Attribution(**{per: name}))
        with pytest.raises(BudgetExceeded, match=f"{per}={name}"):
            budgets.reserve(usd=None, tokens=0, attribution=Attribution(**{per: name}))


@pytest.mark.parametrize("per", ["feature", "user", "tenant"])
def test_calls_that_name_nobody_share_one_allowance(driven: Make, per: Any) -> None:
    budgets = driven(Budget(limit_calls=1, per=per))
    budgets.reserve(usd=None, tokens=0)
    with pytest.raises(BudgetExceeded, match=f"no {per}"):
        budgets.reserve(usd=None, tokens=0)


@pytest.mark.parametrize(
    "limit", [{"per": "task"}, {"per": "run"}, {"window": "run"}, {"per": "user", "window": "run"}]
)
def test_limits_per_task_or_run_pass_over_calls_that_name_none(driven: Make, limit: dict[str, Any]) -> None:
    budgets = driven(Budget(limit_calls=1, **limit))
    for _ in range(3):
        budgets.reserve(usd=None, tokens=0, attribution=ANN)


def test_a_run_is_a_window(driven: Make) -> None:
    budgets = driven(Budget(limit_calls=1, per="user", window="run"))
    for user, run in (("ann", "1"), ("ann", "2"), ("bob", "1"), ("ann", "1 run=3"), ("ann run=1", "3")):
        budgets.reserve(usd=None, tokens=0, attribution=Attribution(user=user, run=run))
    with pytest.raises(BudgetExceeded, match="user=ann run=1"):
        budgets.reserve(usd=None, tokens=0, attribution=Attribution(user="ann", run="1"))


def test_only_counts_only_what_it_names(driven: Make) -> None:
    budgets = driven(Budget(limit_calls=1, only=Attribution(feature="search", tenant="acme")))
    search = Attribution(feature="search", tenant="acme", user="ann")
    budgets.reserve(usd=None, tokens=0, attribution=search)
    budgets.reserve(usd=None, tokens=0, attribution=Attribution(feature="search"))
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=None, tokens=0, attribution=search)


def test_tokens_per_minute_make_a_rate_limit(driven: Make, clock: Any) -> None:
    budgets = driven(Budget(limit_tokens=1000, window="minute"))
    spend(budgets, CENT, tokens=800)
    with pytest.raises(BudgetExceeded, match="the minute ends at 2031-01-15 10:31 UTC, in 1 min"):
        budgets.reserve(usd=CENT, tokens=300)
    clock.now += 60
    budgets.reserve(usd=CENT, tokens=300)


def test_the_strictest_of_several_limits_decides(driven: Make) -> None:
    budgets = driven(Budget(limit_usd=5), Budget(limit_usd=2), Budget(limit_usd=9))
    with pytest.raises(BudgetExceeded, match=r"^\$2.00"):
        budgets.reserve(usd=Decimal(3), tokens=0)


def test_a_raised_limit_keeps_what_was_spent(driven: Make) -> None:
    spend(driven(Budget(limit_usd=5, window="day")), Decimal(5))
    raised = driven(Budget(limit_usd=8, window="day"))
    with pytest.raises(BudgetExceeded):
        raised.reserve(usd=Decimal(4), tokens=0)
    raised.reserve(usd=Decimal(3), tokens=0)
    assert [state.limit for state in raised.state()] == [Decimal(8)]


def test_sums_of_money_never_drift(driven: Make) -> None:
    budgets = driven(Budget(limit_usd=100_000))
    tiny, large = Decimal("0.000000075001"), Decimal("9999.999999999999")
    for _ in range(30):
        spend(budgets, tiny)
    spend(budgets, large)
    assert only_state(budgets).used == 30 * tiny + large


def test_a_free_call_is_never_refused(driven: Make) -> None:
    budgets = driven(Budget(limit_usd="0.01"))
    budgets.settle(budgets.reserve(usd=CENT, tokens=0), usd=Decimal(1), tokens=0)
    budgets.reserve(usd=Decimal(0), tokens=0)


def test_a_call_without_a_price_passes_with_one_warning_and_is_counted(
    driven: Make, caplog: pytest.LogCaptureFixture
) -> None:
    budgets = driven(Budget(limit_usd="0.01"))
    for _ in range(3):
        budgets.settle(budgets.reserve(usd=None, tokens=9, model="new-model"), usd=None, tokens=9)
    assert only_state(budgets).unpriced_calls == 3
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "no price is known for new-model: limits in dollars cannot stop its calls"
    ]
    assert budgets.faults == {"no price": 3}


def test_a_call_without_a_price_can_be_refused(driven: Make) -> None:
    budgets = driven(Budget(limit_usd=1), Budget(limit_tokens=100), on_unpriced="block")
    with pytest.raises(BudgetExceeded, match="no price is known for new-model"):
        budgets.reserve(usd=None, tokens=9, model="new-model")
    driven(Budget(limit_tokens=100), on_unpriced="block").reserve(usd=None, tokens=9)


def test_a_call_whose_price_is_lost_is_booked_as_it_was_reserved(driven: Make) -> None:
    budgets = driven(Budget(limit_usd=1))
    budgets.settle(budgets.reserve(usd=CENT, tokens=9), usd=None, tokens=9)
    assert (only_state(budgets).used, only_state(budgets).unpriced_calls) == (CENT, 1)


@pytest.mark.parametrize("nonsense", [Decimal("NaN"), Decimal(-1), Decimal("Infinity"), "much", True])
def test_a_cost_that_is_no_money_counts_as_unpriced(driven: Make, nonsense: Any) -> None:
    budgets = driven(Budget(limit_usd=1))
    budgets.settle(budgets.reserve(usd=nonsense, tokens=-4), usd=nonsense, tokens=-4)
    assert (only_state(budgets).used, only_state(budgets).unpriced_calls) == (Decimal(0), 1)


@pytest.mark.parametrize("name", ["", "{x}", "a|b\nc", "\ud800", "nul\0", "ünï", "x" * 100_000, "user=ann run=1"])
def test_any_name_can_be_counted(driven: Make, name: str) -> None:
    budgets = driven(Budget(limit_calls=1, per="user"))
    budgets.reserve(usd=None, tokens=0, attribution=Attribution(user=name))
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=None, tokens=0, attribution=Attribution(user=name))
    assert budgets.faults == {}


def test_long_names_that_differ_only_at_the_end_are_told_apart(driven: Make) -> None:
    budgets = driven(Budget(limit_calls=1, per="user"))
    for end in "ab":
        budgets.reserve(usd=None, tokens=0, attribution=Attribution(user="x" * 1000 + end))


def test_a_call_that_no_limit_concerns_passes(driven: Make) -> None:
    budgets = driven()
    budgets.settle(budgets.reserve(usd=CENT, tokens=1), usd=CENT, tokens=1)
    assert budgets.state() == []


def test_state_lists_what_other_budgets_set(make_store: Callable[..., BudgetStore], clock: Any) -> None:
    limits = (
        Budget(limit_usd=4, per="user", window="day", hard=False, on_exceeded=print),
        Budget(limit_usd=5, per="user", window="day"),
        Budget(limit_calls=7, window="minute", only=Attribution(feature="search")),
    )
    app = Budgets(*limits, store=make_store(clock))
    spend(app, CENT, attribution=ANN)
    app.reserve(usd=CENT, tokens=0, attribution=BOB)
    listed = Budgets(store=make_store(clock)).state()
    assert [(str(state.budget), state.key, state.used, state.reserved, state.limit) for state in listed] == [
        ("7 calls per minute only feature=search", "all calls", 0, 0, 7),
        ("$5.00 per user per day", "user=ann", CENT, Decimal(0), Decimal(5)),
        ("$5.00 per user per day", "user=bob", Decimal(0), CENT, Decimal(5)),
        ("$4.00 per user per day", "user=ann", CENT, Decimal(0), Decimal(4)),
        ("$4.00 per user per day", "user=bob", Decimal(0), CENT, Decimal(4)),
    ]
    assert str(listed[1].window_start) == "2031-01-15 00:00:00+00:00"
    assert str(listed[1].window_end) == "2031-01-16 00:00:00+00:00"
