"""Soft limits, spikes and runaways."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.accounting.budget import Budget, BudgetAlert, RunawayGuard, SpikeAlert
from thrift_core.accounting.budget_store import BudgetStore
from thrift_core.accounting.budget_streaks import lengthened, longest, signature
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.errors import BudgetExceeded, RunawayStopped
from thrift_core.messages import ToolCall

ANN, BOB = Attribution(user="ann"), Attribution(user="bob")
TASK = Attribution(task="ticket 7")
Make = Callable[..., Any]


def spend(budgets: Any, usd: str, attribution: Attribution = ANN) -> None:
    budgets.settle(budgets.reserve(usd=Decimal(usd), tokens=0, attribution=attribution), usd=Decimal(usd), tokens=0)


def ask_for(budgets: Any, *tool_calls: str | ToolCall, attribution: Attribution = TASK) -> None:
    held = budgets.reserve(usd=None, tokens=0, attribution=attribution)
    budgets.settle(held, usd=None, tokens=0, tool_calls=tool_calls)


def test_a_soft_limit_tells_once_for_each_window_and_key(driven: Make, clock: Any) -> None:
    told: list[BudgetAlert] = []
    budgets = driven(Budget(limit_usd=1, per="user", window="day", hard=False, on_exceeded=told.append))
    spend(budgets, "1")
    assert told == []
    for attribution in (ANN, ANN, BOB, ANN):
        spend(budgets, "2", attribution)
    assert [(alert.key, alert.used, alert.threshold) for alert in told] == [
        ("user=ann", Decimal(3), Decimal(1)),
        ("user=bob", Decimal(2), Decimal(1)),
    ]
    assert told[0].message == "$1.00 per user per day was passed for user=ann: $3.00 used, the limit is $1.00"
    assert str(told[0].window_start) == "2031-01-15 00:00:00+00:00"
    clock.now += 86_400
    spend(budgets, "2")
    assert [alert.key for alert in told] == ["user=ann", "user=bob", "user=ann"]


def test_two_processes_tell_only_once(make_store: Callable[..., BudgetStore], clock: Any) -> None:
    told: list[BudgetAlert] = []
    limit = Budget(limit_usd=1, hard=False, on_exceeded=told.append)
    for budgets in [Budgets(limit, store=make_store(clock)) for _ in range(3)]:
        spend(budgets, "2")
    assert len(told) == 1


def test_many_threads_tell_only_once(make_store: Callable[..., BudgetStore]) -> None:
    told: list[BudgetAlert] = []
    budgets = Budgets(Budget(limit_usd=1, hard=False, on_exceeded=told.append), store=make_store())
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: spend(budgets, "0.5"), range(60)))
    assert len(told) == 1


def test_several_soft_limits_tell_each_for_itself(driven: Make) -> None:
    told: list[str] = []
    soft = [
        Budget(limit_usd=amount, hard=False, on_exceeded=lambda alert: told.append(str(alert.limit)))
        for amount in (1, 2, 3)
    ]
    budgets = driven(*soft, Budget(limit_usd=4))
    spend(budgets, "1.5")
    assert told == ["$1.00"]
    spend(budgets, "2")
    assert told == ["$1.00", "$2.00", "$3.00"]
    with pytest.raises(BudgetExceeded):
        spend(budgets, "2")


def test_a_hard_limit_tells_of_its_first_refusal(driven: Make) -> None:
    told: list[BudgetAlert] = []
    budgets = driven(Budget(limit_usd=1, on_exceeded=told.append))
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            spend(budgets, "2")
    assert [alert.message for alert in told] == ["$1.00 refused a call for all calls: $0.00 used, the limit is $1.00"]


def test_a_soft_limit_without_a_callable_logs_a_warning(driven: Make, caplog: pytest.LogCaptureFixture) -> None:
    spend(driven(Budget(limit_usd=1, hard=False)), "2")
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "$1.00 was passed for all calls: $2.00 used, the limit is $1.00"
    ]


def test_a_callable_that_fails_does_not_break_the_call(driven: Make, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: BudgetAlert) -> None:
        raise OSError("the mail server is down")

    spend(driven(Budget(limit_usd=1, hard=False, on_exceeded=fail)), "2")
    assert "the callable for $1.00 failed" in caplog.text


def test_a_spike_is_told_once_for_each_window(driven: Make, clock: Any) -> None:
    told: list[BudgetAlert] = []
    budgets = driven(SpikeAlert(3, "hour", told.append, per="user", history=2))
    for usd in ("1", "2"):
        spend(budgets, usd)
        clock.now += 3600
    spend(budgets, "4.5")
    assert told == []
    for _ in range(3):
        spend(budgets, "0.01")
        spend(budgets, "9", BOB)
    assert [(alert.key, alert.used, alert.threshold) for alert in told] == [
        ("user=ann", Decimal("4.51"), Decimal("4.5"))
    ]
    assert told[0].message == (
        "more than 3 times the mean hour per user was passed for user=ann: $4.51 used, the limit is $4.50"
    )


def test_without_enough_history_nothing_is_a_spike(driven: Make, clock: Any) -> None:
    told: list[BudgetAlert] = []
    budgets = driven(SpikeAlert(2, "day", told.append, history=3))
    for usd in ("1", "1", "50"):
        spend(budgets, usd)
        clock.now += 86_400
    assert told == []


def test_idle_windows_are_no_history(driven: Make, clock: Any) -> None:
    told: list[BudgetAlert] = []
    budgets = driven(SpikeAlert(2, "hour", told.append, history=2))
    for hours in (1, 3, 1):
        spend(budgets, "1")
        clock.now += hours * 3600
    assert told == []
    spend(budgets, "2.01")
    assert len(told) == 1


def test_small_sums_are_no_spike(driven: Make, clock: Any) -> None:
    told: list[BudgetAlert] = []
    budgets = driven(SpikeAlert(2, "hour", told.append, history=1, min_usd="0.05"))
    spend(budgets, "0.0001")
    clock.now += 3600
    spend(budgets, "0.049")
    assert told == []
    spend(budgets, "0.001")
    assert len(told) == 1


def test_a_tool_call_repeated_in_a_row_stops_the_task(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_repeats=3))
    for spelling in ('search({"q": "x", "n": 1})', 'search({"n":1,"q":"x"})', ToolCall("search", '{"q":"x","n":1}')):
        ask_for(budgets, spelling)
    with pytest.raises(
        RunawayStopped, match="task=ticket 7 has asked for the same tool call 3 times in a row"
    ) as caught:
        ask_for(budgets, "search({})")
    assert (caught.value.scope, caught.value.used) == ("task=ticket 7", 3)
    ask_for(budgets, attribution=Attribution(task="ticket 8"))


def test_other_tool_calls_begin_a_new_row(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_repeats=2))
    for query in "abcabc":
        ask_for(budgets, f'search({{"q": "{query}"}})')


def test_an_answer_without_tool_calls_does_not_break_the_row(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_repeats=2))
    ask_for(budgets, "search(x)")
    ask_for(budgets)
    ask_for(budgets, "search(x)")
    with pytest.raises(RunawayStopped):
        ask_for(budgets)


def test_parallel_tool_calls_are_each_counted(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_repeats=4))
    for extra in "123":
        ask_for(budgets, "search(x)", f"search({extra})")
    ask_for(budgets, "search(y)", "search(x)")
    with pytest.raises(RunawayStopped):
        ask_for(budgets)


def test_a_step_that_repeats_itself_is_enough(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_repeats=3))
    ask_for(budgets, "search(x)", "search(x)", "search(x)")
    with pytest.raises(RunawayStopped):
        ask_for(budgets)


def test_too_many_calls_stop_the_task(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_calls_per_task=2))
    run = Attribution(run="r1")
    ask_for(budgets, attribution=run)
    budgets.release(budgets.reserve(usd=None, tokens=0, attribution=run))
    with pytest.raises(RunawayStopped, match="2 calls per task would be passed for run=r1: 2 calls used"):
        ask_for(budgets, attribution=run)
    ask_for(budgets, attribution=ANN)


def test_a_stopped_task_holds_nothing_elsewhere(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_calls_per_task=1), Budget(limit_usd=1))
    ask_for(budgets)
    for _ in range(3):
        with pytest.raises(RunawayStopped):
            budgets.reserve(usd=Decimal("0.4"), tokens=0, attribution=TASK)
    budgets.reserve(usd=Decimal(1), tokens=0)


def test_a_stopped_task_is_forgotten_after_7_days(driven: Make, clock: Any) -> None:
    budgets = driven(RunawayGuard(max_calls_per_task=1))
    ask_for(budgets)
    clock.now += 6 * 86_400
    with pytest.raises(RunawayStopped):
        ask_for(budgets)


def test_state_shows_how_many_calls_a_task_has_made(driven: Make) -> None:
    budgets = driven(RunawayGuard(max_calls_per_task=9), SpikeAlert(2, "day"))
    ask_for(budgets)
    assert [(state.key, state.used, state.limit) for state in budgets.state()] == [("task=ticket 7", 1, 9)]


@given(st.text(), st.text())
def test_tool_calls_are_the_same_only_if_name_and_arguments_are(name: str, arguments: str) -> None:
    one = signature(ToolCall(name, arguments))
    assert one != signature(ToolCall(name + "x", arguments))
    assert one != signature(ToolCall(name, arguments + "x"))
    assert len(one) == 16


@given(st.lists(st.lists(st.sampled_from("ab")), max_size=8))
def test_the_longest_row_is_never_longer_than_all_calls_together(steps: list[list[str]]) -> None:
    streaks = ""
    for step in steps:
        streaks = lengthened(streaks, step)
    assert longest(streaks) <= sum(map(len, steps))


def test_arguments_nested_too_deeply_are_compared_as_text() -> None:
    assert signature("f(" + "[" * 100_000 + ")") == signature("f(" + "[" * 100_000 + ")")
