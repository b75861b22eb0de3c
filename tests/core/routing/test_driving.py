"""A request on its way through the tiers: sync, async, streamed, with errors, timeouts and hedges."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from thrift_core.accounting.attribution import attribute
from thrift_core.errors import BudgetExceeded, CascadeExhausted, ConfigurationError
from thrift_core.messages import ToolCall
from thrift_core.routing.error_kinds import failure_of
from thrift_core.routing.waiting import TierTimeout, Waiting

from tests.core.routing.scripted_tiers import EASY, HARD, Driver, Says

GOOD, DOUBTFUL = Says("Pain."), Says("I'm not sure, perhaps pain.")
STRONG = Says("The bread is le pain.")
WAYS = ["sync", "async", "sync stream", "async stream"]


class RateLimitError(Exception):
    status_code = 429


@pytest.fixture(params=WAYS)
def drive(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


def wait_for_calls(driver: Driver, count: int) -> None:
    give_up = time.monotonic() + 5
    while len(list(driver.ledger.calls())) < count and time.monotonic() < give_up:
        time.sleep(0.005)


def test_an_easy_question_is_answered_by_the_cheap_tier_alone(drive: Driver):
    driven = drive(EASY, [GOOD], [STRONG])
    assert driven.text == "Pain."
    assert drive.outcomes() == [("gpt-4.1-nano", "ok")]


def test_a_hard_question_goes_straight_to_the_strong_tier(drive: Driver):
    driven = drive(HARD, [GOOD], [STRONG])
    assert driven.text == STRONG.text
    assert drive.outcomes() == [("gpt-4.1", "ok")]
    assert (len(driven.pieces) > 1) == ("stream" in drive.way)


def test_a_doubtful_draft_is_never_seen_but_its_tokens_are_in_the_books(drive: Driver):
    driven = drive(EASY, [DOUBTFUL], [STRONG])
    assert driven.text == STRONG.text
    assert sorted(drive.outcomes()) == [("gpt-4.1", "ok"), ("gpt-4.1-nano", "escalated")]
    assert [call["tier"] for call in driven.run.as_metadata()["calls"]] == ["cheap", "strong"]
    (saving,) = drive.ledger.savings()
    draft, answer = (call.cost_usd for call in sorted(drive.ledger.calls(), key=lambda call: -len(call.model)))
    assert saving.cost_usd == -draft
    assert drive.ledger.total().cost_usd == draft + answer


def test_all_calls_of_a_request_are_of_one_task(drive: Driver):
    with attribute(task="ticket 7"):
        drive(EASY, [DOUBTFUL], [STRONG])
    assert drive.ledger.total(task="ticket 7").calls == 2


def test_a_rate_limit_moves_the_request_and_is_no_question_of_quality(drive: Driver):
    driven = drive(EASY, [Says(error=RateLimitError())], [STRONG])
    assert driven.text == STRONG.text
    assert sorted(drive.outcomes()) == [("gpt-4.1", "ok"), ("gpt-4.1-nano", "retried")]


def test_the_last_error_comes_out_when_nobody_answers_and_says_what_was_tried(drive: Driver):
    with pytest.raises(ConnectionResetError) as caught:
        drive(EASY, [Says(error=RateLimitError())], [Says(error=ConnectionResetError("gone"))])
    assert "cheap failed (rate_limit); strong failed (disconnect)" in caught.value.__notes__[0]
    assert drive.passed == []


def test_a_draft_that_was_doubted_answers_when_the_strong_tier_is_out(drive: Driver):
    driven = drive(EASY, [DOUBTFUL], [Says(error=RateLimitError())])
    assert driven.text == DOUBTFUL.text
    assert driven.run.as_metadata()["is_degraded"]


def test_a_hard_budget_is_raised_at_once_and_no_other_tier_is_asked(drive: Driver):
    stop = BudgetExceeded("no", budget="$1", scope="all", used=1, asked=1)
    with pytest.raises(BudgetExceeded):
        drive(EASY, [Says(error=stop)], [STRONG])
    assert drive.outcomes() == [("gpt-4.1-nano", "error")]


def test_an_invalid_tool_call_of_the_strongest_tier_is_asked_for_once_more_and_then_refused(drive: Driver):
    wrong = Says("!call", draft={"tool_calls": (ToolCall("nothing", "{}"),)})
    with pytest.raises(CascadeExhausted, match="there is no tool 'nothing'"):
        drive(HARD, [GOOD], [wrong])
    assert drive.passed == []
    assert drive.outcomes() == [("gpt-4.1", "rejected"), ("gpt-4.1", "rejected")]


@pytest.mark.parametrize("way", ["sync stream", "async stream"])
def test_a_stream_that_breaks_off_before_its_first_word_is_answered_by_another_tier(way: str):
    drive = Driver(way)
    broken = Says("Le pain.", error=ConnectionResetError(), breaks_after=0)
    driven = drive(HARD, [GOOD], [broken])
    assert driven.text == "Pain."


@pytest.mark.parametrize("way", ["sync stream", "async stream"])
def test_a_stream_that_breaks_off_later_is_an_error_and_never_goes_on_in_another_voice(way: str):
    drive = Driver(way)
    broken = Says("It is le pain", error=ConnectionResetError(), breaks_after=2)
    with pytest.raises(ConnectionResetError) as caught:
        drive(HARD, [GOOD], [broken])
    assert drive.passed == ["It ", "is "]
    assert "streamed already" in caught.value.__notes__[0]


def test_a_tier_that_hangs_is_left_for_another_one(drive: Driver):
    driven = drive(EASY, [Says("Pain.", seconds=0.3)], [STRONG], timeout_seconds=0.08)
    assert driven.text == STRONG.text
    assert driven.run.decision.tried[0].reason == "timeout"


@pytest.mark.parametrize("way", ["sync stream", "async stream"])
def test_a_stream_that_hangs_is_left_for_another_one_too(way: str):
    driven = Driver(way)(HARD, [GOOD], [Says("Le pain", seconds=0.3)], timeout_seconds=0.08)
    assert driven.text == "Pain."


def test_when_all_hang_the_error_says_so(drive: Driver):
    with pytest.raises(TierTimeout, match=r"has not answered within 0.03 s"):
        drive(EASY, [Says("Pain.", seconds=0.2)], [Says("Pain.", seconds=0.2)], timeout_seconds=0.03)


def test_a_hedge_answers_for_a_slow_tier_and_the_loser_is_paid_for(drive: Driver):
    driven = drive(EASY, [Says("Pain.", seconds=0.15)], [STRONG], hedge_seconds=0.01)
    assert driven.text == STRONG.text
    wait_for_calls(drive, 2)
    wait_until = time.monotonic() + 2
    while len(list(drive.ledger.savings())) < 2 and time.monotonic() < wait_until:
        time.sleep(0.005)
    assert sorted(drive.outcomes()) == [("gpt-4.1", "ok"), ("gpt-4.1-nano", "rejected")]
    saved = sum((saving.cost_usd or Decimal(0) for saving in drive.ledger.savings()), Decimal(0))
    (loser,) = [call for call in drive.ledger.calls() if call.model == "gpt-4.1-nano"]
    assert saved == -loser.cost_usd


def test_no_hedge_is_started_for_a_tier_that_is_quick(drive: Driver):
    driven = drive(EASY, [GOOD], [STRONG], hedge_seconds=2)
    assert driven.caller.asked == [0]


def test_a_hedge_that_was_started_is_used_and_not_asked_again(drive: Driver):
    slow_doubt = Says(DOUBTFUL.text, seconds=0.03)
    driven = drive(EASY, [slow_doubt], [Says(STRONG.text, seconds=0.1)], hedge_seconds=0)
    assert driven.text == STRONG.text
    assert driven.caller.asked == [0, 1]


@pytest.mark.parametrize("way", ["sync stream", "async stream"])
def test_text_is_streamed_but_a_tool_call_is_held_until_it_is_checked(way: str):
    drive = Driver(way)
    driven = drive(HARD, [GOOD], [Says("Let me see: !call it")])
    assert driven.text == "Let me see: !call it"
    wrong = Says("Let me see: !call it", draft={"tool_calls": (ToolCall("nothing", "{}"),)})
    with pytest.raises(CascadeExhausted, match="streamed, but invalid tool call"):
        drive(HARD, [GOOD], [wrong])
    assert drive.passed == ["Let ", "me ", "see: "]


@pytest.mark.parametrize("wrong", [{"timeout_seconds": 0}, {"hedge_seconds": -1}])
def test_waits_that_cannot_be_are_refused(wrong: dict[str, float]):
    with pytest.raises(ConfigurationError):
        Waiting(**wrong)


class Headers:
    def __init__(self, after: str) -> None:
        self.headers = {"retry-after": after}


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("RateLimitError", 429, "rate_limit"),
        ("OverloadedError", 529, "rate_limit"),
        ("InternalServerError", 500, "outage"),
        ("APITimeoutError", None, "timeout"),
        ("APIConnectionError", None, "outage"),
        ("RemoteProtocolError", None, "disconnect"),
        ("JSONDecodeError", None, "garbage"),
        ("BadRequestError", 400, "other"),
    ],
)
def test_errors_of_any_client_are_told_apart_by_status_and_name(name: str, status: int | None, kind: str):
    error = type(name, (Exception,), {"status_code": status})()
    assert failure_of(error).kind == kind


def test_the_cause_of_an_error_counts_and_so_does_its_retry_after_header():
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = type("ReadTimeout", (Exception,), {})()
    assert failure_of(wrapped).kind == "timeout"
    limited = type("RateLimitError", (Exception,), {"status_code": 429, "response": Headers("7")})()
    assert failure_of(limited).retry_after == 7
    dated = type("RateLimitError", (Exception,), {"status_code": 429, "response": Headers("a date")})()
    assert failure_of(dated).retry_after is None
