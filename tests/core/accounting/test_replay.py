"""What a limit would have done to the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.replay import replay
from thrift_core.accounting.usage import Usage

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def ledger():
    with Ledger() as ledger:
        for hour, user, cost in [(0, "ann", "3"), (1, "bob", "1"), (2, "ann", "3"), (3, "ann", "1"), (14, "ann", "4")]:
            ledger.record(
                Call(
                    model="m",
                    cost_usd=Decimal(cost),
                    usage=Usage(input_tokens=100),
                    attribution=Attribution(user=user),
                    started_at=AT + timedelta(hours=hour),
                )
            )
        yield ledger


def test_a_limit_stops_the_calls_that_would_pass_it_and_no_others(ledger):
    result = replay(ledger, Budget(limit_usd=5, per="user", window="day"))
    (ann,) = result.stopped
    assert (ann.key, ann.calls, ann.cost_usd, ann.first_at) == ("user=ann", 1, 3, AT + timedelta(hours=2))
    assert (result.calls, result.cost_usd) == (5, 12)


def test_what_was_stopped_is_not_spent_and_a_new_window_begins_anew(ledger):
    result = replay(ledger, Budget(limit_usd=4, window="day"))
    (everyone,) = result.stopped
    assert (everyone.key, everyone.calls, everyone.cost_usd) == ("all calls", 2, 4)


def test_limits_on_tokens_and_calls_count_those(ledger):
    assert replay(ledger, Budget(limit_tokens=200)).stopped[0].calls == 3
    assert replay(ledger, Budget(limit_calls=4)).stopped[0].calls == 1


def test_a_limit_that_is_never_reached_stops_nothing(ledger):
    assert replay(ledger, Budget(limit_usd=100)).stopped == []


def test_a_limit_holds_only_for_the_calls_it_is_for(ledger):
    result = replay(ledger, Budget(limit_usd=1, only=Attribution(user="bob")))
    assert (result.calls, result.stopped) == (1, [])
    assert replay(ledger, Budget(limit_usd=1, per="task")).calls == 0


def test_calls_without_a_price_are_told_apart(ledger):
    ledger.record(Call(model="x", unpriced="no price", started_at=AT))
    result = replay(ledger, Budget(limit_usd=100))
    assert (result.uncounted_calls, result.stopped) == (1, [])


def test_a_soft_limit_is_tried_as_a_hard_one(ledger):
    assert replay(ledger, Budget(limit_usd=5, hard=False)).stopped
