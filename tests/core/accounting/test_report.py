"""What a report says: waste lines, savings by lever, cost per resolved task."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from thrift_core.accounting.amounts import dollars, shown, tokens, with_unpriced
from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.report import summarise
from thrift_core.accounting.report_json import report_json
from thrift_core.accounting.report_tables import report_tables
from thrift_core.accounting.usage import Usage
from thrift_core.accounting.waste import WasteRules, waste_lines
from thrift_core.errors import ConfigurationError
from thrift_core.prices import PriceBook

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
PRICES = {
    "large": {"input": "10", "output": "40", "cache_read": "1"},
    "small": {"input": "1", "output": "4", "cache_read": "0.1"},
    "slightly-cheaper": {"input": "9", "output": "36", "cache_read": "1"},
    "embedder": {"input": "0.01", "output": "0"},
    "uncacheable": {"input": "1", "output": "4"},
}


@pytest.fixture
def ledger():
    with Ledger(prices=PriceBook(PRICES)) as ledger:
        yield ledger


@pytest.fixture
def spend(ledger):
    """Record a call; each a day after the other unless told otherwise."""
    days = 0

    def spend(model="large", *, at=None, task=None, feature=None, cost=None, outcome="ok", tool_calls=(), **usage):
        nonlocal days
        days += 1
        return ledger.record(
            Call(
                model=model,
                provider="acme",
                usage=Usage(**usage),
                cost_usd=None if cost is None else Decimal(cost),
                attribution=Attribution(feature=feature, task=task),
                outcome=outcome,
                tool_calls=tool_calls,
                started_at=at or AT + timedelta(days=days),
            )
        )

    return spend


def waste(ledger, name, **given):
    return next(line for line in waste_lines(ledger, **given) if line.name == name)


def figures(line):
    return line.calls, line.tokens, line.cost_usd, line.unpriced_calls


def test_retries_are_the_failed_calls_that_were_billed(ledger, spend):
    spend(outcome="error", input_tokens=1000)
    spend(outcome="retried", input_tokens=1000, output_tokens=100)
    spend(outcome="error", cost="0.00")
    spend(outcome="error", model="nobody-knows-it", input_tokens=5)
    spend(input_tokens=1000)
    assert figures(waste(ledger, "retries")) == (3, 2105, Decimal("0.024"), 1)


def test_long_context_is_the_share_of_the_input_above_the_limit(ledger, spend):
    spend(input_tokens=40_000, output_tokens=100)
    spend(input_tokens=32_000)
    assert figures(waste(ledger, "long_context")) == (1, 8000, Decimal("0.08"), 0)


def test_long_context_counts_cached_tokens_at_their_price(ledger, spend):
    spend(input_tokens=64_000, cache_read_tokens=64_000)
    assert waste(ledger, "long_context").cost_usd == Decimal("0.032")


def test_waste_is_a_share_of_what_was_paid_and_not_of_the_list_price(ledger, spend):
    spend(input_tokens=64_000, cost="0.32")  # half of the list price
    assert waste(ledger, "long_context").cost_usd == Decimal("0.16")


def test_verbose_output_is_what_an_answer_has_above_the_limit_without_reasoning(ledger, spend):
    spend(output_tokens=1500)
    spend(output_tokens=1500, reasoning_tokens=500)
    assert figures(waste(ledger, "verbose_output")) == (1, 500, Decimal("0.02"), 0)


def test_a_long_call_without_a_price_is_reported_as_unpriced(ledger, spend):
    spend("nobody-knows-it", input_tokens=40_000)
    assert figures(waste(ledger, "long_context")) == (1, 8000, 0, 1)


def test_an_easy_call_is_over_large_where_a_much_cheaper_model_answers_too(ledger, spend):
    spend("large", input_tokens=1000, output_tokens=100)
    spend("small", input_tokens=5000, output_tokens=100)
    line = waste(ledger, "over_large_model")
    assert figures(line) == (1, 1100, Decimal("0.0126"), 0)
    assert line.is_upper_bound


@pytest.mark.parametrize(
    "harder",
    [
        {"input_tokens": 1001},
        {"output_tokens": 201},
        {"reasoning_tokens": 1},
        {"tool_calls": ("search()",)},
        {"outcome": "rejected"},
        {"output_audio_tokens": 1},
    ],
)
def test_a_harder_call_is_not_over_large(ledger, spend, harder):
    spend("small", input_tokens=5000, output_tokens=100)
    spend("large", **{"input_tokens": 1000, "output_tokens": 100, **harder})
    assert waste(ledger, "over_large_model").calls == 0


def test_a_model_is_not_over_large_beside_one_that_is_only_slightly_cheaper_or_gives_no_answers(ledger, spend):
    spend("large", input_tokens=1000, output_tokens=100)
    spend("slightly-cheaper", input_tokens=5000, output_tokens=100)
    spend("embedder", input_tokens=5000)
    assert waste(ledger, "over_large_model").calls == 0


def test_repeats_that_use_no_cache_are_counted_up_to_the_shorter_input(ledger, spend):
    spend(at=AT, input_tokens=2000)
    spend(at=AT + timedelta(seconds=60), input_tokens=5000)
    spend(at=AT + timedelta(seconds=120), input_tokens=3000)
    line = waste(ledger, "uncached_repeats")
    assert figures(line) == (2, 5000, Decimal("0.045"), 0)
    assert line.is_upper_bound


@pytest.mark.parametrize(
    "second",
    [
        {"input_tokens": 2000, "cache_read_tokens": 1024},
        {"input_tokens": 2000, "cache_write_tokens": 1024},
        {"input_tokens": 1000},
        {"input_tokens": 2000, "feature": "other"},
        {"input_tokens": 2000, "model": "small"},
        {"input_tokens": 2000, "at": AT + timedelta(seconds=301)},
    ],
)
def test_a_call_that_is_no_uncached_repeat_is_not_one(ledger, spend, second):
    spend(at=AT, input_tokens=2000)
    spend(**{"at": AT + timedelta(seconds=60), **second})
    assert waste(ledger, "uncached_repeats").calls == 0


def test_a_model_without_a_cache_discount_has_no_uncached_repeats(ledger, spend):
    for second in range(3):
        spend("uncacheable", at=AT + timedelta(seconds=second), input_tokens=2000)
    assert waste(ledger, "uncached_repeats").calls == 0


def test_the_limits_of_waste_can_be_moved_and_are_named_in_the_definition(ledger, spend):
    spend(input_tokens=1000)
    line = waste(ledger, "long_context", rules=WasteRules(long_context_tokens=600))
    assert (line.tokens, "600 tokens" in line.definition) == (400, True)
    with pytest.raises(ConfigurationError, match="long_context_tokens must be a whole number"):
        WasteRules(long_context_tokens=0)


def test_waste_is_that_of_the_calls_asked_for(ledger, spend):
    spend(input_tokens=40_000, feature="search")
    spend(input_tokens=40_000, feature="chat")
    assert waste(ledger, "long_context", feature="chat").calls == 1
    assert waste(ledger, "long_context", since=AT + timedelta(days=2)).calls == 1


def test_a_resolved_task_costs_what_all_tasks_cost_together(ledger, spend):
    spend(task="good", cost="1")
    spend(task="good", cost="2", outcome="error")
    spend(task="also good", cost="1")
    spend(task="bad", cost="4")
    spend(task="open", cost="0.5")
    spend(task="open", model="nobody-knows-it")
    spend(cost="100")
    ledger.resolve("good", success=True)
    ledger.resolve("also good", success=True)
    ledger.resolve("bad", success=False)
    ledger.resolve("never seen", success=True)
    tasks = summarise(ledger).tasks
    assert (tasks.succeeded, tasks.failed, tasks.unresolved) == (2, 1, 1)
    assert (tasks.succeeded_usd, tasks.failed_usd, tasks.unresolved_usd) == (4, 4, Decimal("0.5"))
    assert (tasks.cost_per_resolved_usd, tasks.unpriced_calls) == (Decimal("4.25"), 1)


def test_without_a_resolved_task_there_is_no_cost_for_one(ledger, spend):
    assert summarise(ledger).tasks.cost_per_resolved_usd is None
    spend(task="t", cost="1")
    assert summarise(ledger).tasks.cost_per_resolved_usd is None


def test_tasks_are_told_by_feature(ledger, spend):
    spend(task="t1", cost="1", feature="search")
    spend(task="t2", cost="3", feature="chat")
    ledger.resolve("t1", success=True)
    lines = summarise(ledger).tasks_by_feature
    assert [(line.feature, line.cost_per_resolved_usd) for line in lines] == [("chat", None), ("search", 1)]


def test_savings_are_by_lever_and_shadow_stays_apart(ledger):
    ledger.book(Saving(lever="cache", tokens=10, cost_usd=Decimal("0.1"), at=AT))
    ledger.book(Saving(lever="cache", tokens=10, cost_usd=None, at=AT))
    ledger.book(Saving(lever="cache", tokens=-10, cost_usd=Decimal("-0.5"), is_shadow=True, at=AT))
    applied, shadow = summarise(ledger).savings
    assert (applied.requests, applied.tokens, applied.cost_usd, applied.unpriced_requests) == (2, 20, Decimal("0.1"), 1)
    assert (shadow.is_shadow, shadow.requests, shadow.cost_usd) == (True, 1, Decimal("-0.5"))
    assert summarise(ledger, AT + timedelta(days=1)).savings == []


def test_a_report_holds_the_period_the_filters_and_the_keys_asked_for(ledger, spend):
    spend(feature="search", cost="1", at=AT)
    spend(feature="chat", cost="2", at=AT + timedelta(days=1))
    report = summarise(ledger, AT, AT + timedelta(days=1), by=("user", "day"), feature="search")
    assert (list(report.spend), report.filters, report.total.cost_usd) == (["user", "day"], {"feature": "search"}, 1)
    assert (report.first_call_at, report.last_call_at) == (AT, AT)


def test_a_report_is_plain_json(ledger, spend):
    spend(feature="search", task="t", cost="0.10")
    ledger.resolve("t", success=True)
    ledger.count_fault("cache", "timeout")
    ledger.book(Saving(lever="cache", cost_usd=Decimal("0.1")))
    values = json.loads(json.dumps(report_json(summarise(ledger))))
    assert values["total"]["cost_usd"] == "0.10"
    assert values["spend"]["feature"][0]["key"] == "search"
    assert values["tasks"]["cost_per_resolved_usd"] == "0.10"
    assert values["faults"] == [{"lever": "cache", "reason": "timeout", "times": 1}]
    assert {line["name"] for line in values["waste"]} >= {"retries", "long_context", "verbose_output"}


def test_the_rows_beyond_the_first_are_added_up(ledger, spend):
    for number in range(30):
        spend(feature=f"f{number:02}", cost=str(100 - number))
    table = next(table for table in report_tables(summarise(ledger)) if table.name == "feature")
    assert len(table.lines) == 20
    assert table.lines[-1].cells[0] == "11 others"
    assert sum(line.amount for line in table.lines) == summarise(ledger).total.cost_usd


def test_unpriced_calls_stand_beside_the_money_and_never_as_0(ledger, spend):
    spend(feature="search", cost="1")
    spend(feature="search", model="nobody-knows-it")
    spend(feature="chat", model="nobody-knows-it")
    table = next(table for table in report_tables(summarise(ledger)) if table.name == "feature")
    cells = [dict(zip([column.title for column in table.columns], line.cells, strict=True)) for line in table.lines]
    assert [(cell["Cost"], cell["Unpriced"]) for cell in cells] == [("$1.0000", "+ 1"), ("unpriced", "+ 1")]


def test_money_is_written_so_that_something_never_looks_like_nothing():
    assert dollars(Decimal(0)) == "$0"
    assert dollars(Decimal("0.001"), 2) == "<$0.01"
    assert dollars(Decimal("-0.001"), 2) == "-<$0.01"
    assert dollars(Decimal("1234567.891")) == "$1,234,567.89"
    assert with_unpriced(Decimal("1.23"), 4) == "$1.23 + 4 unpriced calls"
    assert with_unpriced(Decimal(0), 1) == "1 unpriced call"
    assert [tokens(number) for number in (999, 1234, 999_600, 12_345_678)] == ["999", "1.23k", "1,000k", "12.3M"]


def test_names_lose_what_could_act_on_a_terminal():
    assert shown("a\x1b[31mred\x07\u202egnp") == "a�[31mred��gnp"
    assert shown(None) == "(none)"
    assert len(shown("x" * 500)) == 80
