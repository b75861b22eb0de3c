"""What may be set as a limit, and how it is said."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.accounting.budget import Budget, RunawayGuard, SpikeAlert
from thrift_core.accounting.budget_units import as_words, from_count, to_count
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.errors import ConfigurationError

WRONG_BUDGETS: list[tuple[dict[str, Any], str]] = [
    ({}, "exactly one of limit_usd, limit_tokens and limit_calls; got none"),
    ({"limit_usd": 1, "limit_calls": 1}, "got limit_usd and limit_calls"),
    ({"limit_usd": 0}, 'above 0, such as "5.00"; got 0'),
    ({"limit_usd": "-1"}, "got '-1'"),
    ({"limit_usd": float("nan")}, "got nan"),
    ({"limit_usd": Decimal("Infinity")}, "got Decimal('Infinity')"),
    ({"limit_usd": "1e-13"}, "got '1e-13'"),
    ({"limit_usd": "1e999999"}, "got '1e999999'"),
    ({"limit_usd": True}, "got True"),
    ({"limit_usd": "five"}, "got 'five'"),
    ({"limit_tokens": 0}, "limit_tokens must be a whole number, 1 or more; got 0"),
    ({"limit_tokens": 1.5}, "got 1.5"),
    ({"limit_calls": -3}, "limit_calls must be a whole number, 1 or more; got -3"),
    ({"limit_calls": True}, "got True"),
    ({"limit_calls": 1, "per": "team"}, "per must be one of 'feature', 'user'"),
    (
        {"limit_calls": 1, "window": "week"},
        "window must be one of 'minute', 'hour', 'day', 'month', 'run', None; got 'week'",
    ),
    ({"limit_calls": 1, "hard": "no"}, "hard must be True or False; got 'no'"),
    ({"limit_calls": 1, "on_exceeded": "mail"}, "on_exceeded must be a callable"),
    ({"limit_calls": 1, "only": {"user": "ann"}}, "only must be an Attribution"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG_BUDGETS)
def test_a_budget_that_cannot_work_says_what_was_given_and_what_would_do(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Budget(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factor": 1, "window": "day"}, "factor must be a number above 1, such as 3; got 1"),
        ({"factor": float("nan"), "window": "day"}, "got nan"),
        ({"factor": True, "window": "day"}, "got True"),
        ({"factor": 3, "window": "run"}, "window must be one of 'minute', 'hour', 'day', 'month'; got 'run'"),
        ({"factor": 3, "window": None}, "got None"),
        ({"factor": 3, "window": "day", "history": 0}, "history must be a whole number, 1 or more; got 0"),
        ({"factor": 3, "window": "day", "min_usd": -1}, "min_usd must be an amount of dollars above 0"),
    ],
)
def test_a_spike_alert_that_cannot_work_says_so(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SpikeAlert(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_repeats": 1}, "max_repeats must be a whole number, 2 or more; got 1"),
        ({"max_calls_per_task": 0}, "max_calls_per_task must be a whole number, 1 or more; got 0"),
        ({"max_repeats": None, "max_calls_per_task": None}, "got neither"),
    ],
)
def test_a_runaway_guard_that_cannot_work_says_so(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RunawayGuard(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": "postgres://host/db"}, "redis://"),
        ({"store": "redis://host:port"}, "cannot be understood"),
        ({"store": 7}, "store must be None, a file's path, a Redis URL or a budget store; got 7"),
        ({"store": ""}, "got ''"),
        ({"lease_seconds": 0}, "lease_seconds must be a whole number from 1 to 86400; got 0"),
        ({"on_unavailable": "ignore"}, "on_unavailable must be 'allow' or 'block'; got 'ignore'"),
        ({"on_unpriced": None}, "on_unpriced must be 'allow' or 'block'; got None"),
    ],
)
def test_settings_of_budgets_that_cannot_work_say_so(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Budgets(Budget(limit_calls=1), **settings)
    assert message in str(caught.value)


def test_something_else_is_no_limit() -> None:
    with pytest.raises(ConfigurationError, match="a limit must be a Budget"):
        Budgets({"limit_usd": 5})  # type: ignore[arg-type]


def test_a_wrong_redis_url_never_shows_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Budgets(Budget(limit_calls=1), store="redis://me:hunter2@host:port:9")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Budget(limit_usd=5, per="user", window="day"), "$5.00 per user per day"),
        (Budget(limit_usd=0.1), "$0.10"),
        (Budget(limit_usd="1234.5675", window="month"), "$1,234.5675 per month"),
        (Budget(limit_tokens=90_000, window="minute", per="model"), "90,000 tokens per model per minute"),
        (Budget(limit_calls=1, per="run", window="run"), "1 call per run"),
        (Budget(limit_calls=60, only=Attribution(feature="search")), "60 calls only feature=search"),
        (SpikeAlert(3, "hour", per="tenant"), "more than 3 times the mean hour per tenant"),
        (RunawayGuard(max_calls_per_task=None), "at most 5 equal tool calls in a row per task"),
        (RunawayGuard(), "at most 5 equal tool calls in a row and 100 calls per task"),
    ],
)
def test_a_limit_reads_as_a_phrase(limit: Budget | SpikeAlert | RunawayGuard, words: str) -> None:
    assert str(limit) == words


def test_a_float_limit_is_the_amount_as_it_was_written() -> None:
    assert Budget(limit_usd=0.1).limit == Decimal("0.1")


@given(st.decimals(min_value=0, max_value=10**9, places=12))
def test_a_sum_with_12_decimals_survives_the_stores_unchanged(amount: Decimal) -> None:
    assert from_count("usd", to_count("usd", amount)) == amount


@given(st.decimals(min_value=0, max_value=10**6, allow_nan=False, allow_infinity=False))
def test_a_finer_sum_is_never_rounded_down(amount: Decimal) -> None:
    assert 0 <= from_count("usd", to_count("usd", amount)) - amount < Decimal("1e-12")


@pytest.mark.parametrize(("count", "text"), [(500 * 10**12, "500"), (10**12 // 2, "0.5"), (1, "1E-12"), (0, "0")])
def test_dollars_read_plainly(count: int, text: str) -> None:
    assert str(from_count("usd", count)) == text


def test_tiny_sums_are_written_out() -> None:
    assert as_words("usd", Decimal("1E-12")) == "$0.000000000001"
