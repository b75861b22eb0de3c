"""A call is counted once, at its price, and nothing that goes wrong in counting reaches the app."""

import logging
import threading
from contextvars import copy_context
from decimal import Decimal

import pytest
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.meter import Answer, Meter
from thrift_core.accounting.usage import Usage
from thrift_core.errors import BudgetExceeded
from thrift_core.messages import Message, Request, ToolCall

MODEL = "gpt-4.1-mini"
PAYLOAD = {"model": MODEL, "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}}
COST = Decimal("0.00056")  # 1,000 at $0.40 and 100 at $1.60 per million
USAGE = Usage(input_tokens=1000, output_tokens=100)


def request():
    return Request((Message("user", "hello there"),), model=MODEL, provider="openai", max_output_tokens=1000)


def unread():
    raise AssertionError("the request was read though nobody has to count it")


@pytest.fixture
def meter():
    return Meter()


def start(meter, key, build=request, **about):
    meter.start(key, build, model=MODEL, provider="openai", **about)


def test_a_finished_call_is_recorded_at_its_price_without_reading_the_request(meter):
    start(meter, 1, unread, attribution=Attribution(feature="f"))
    call = meter.finish(1, Answer(payload=PAYLOAD, tool_calls=(ToolCall("f", "{}"),)))
    assert (call.cost_usd, call.usage, call.tool_calls) == (COST, USAGE, ("f({})",))
    assert list(meter.ledger.calls(feature="f")) == [call]


def test_the_frameworks_own_reading_serves_where_there_is_no_payload(meter):
    start(meter, 1)
    assert meter.finish(1, Answer(usage=USAGE)).cost_usd == COST


def test_without_any_usage_the_tokens_are_counted_by_us_and_marked(meter):
    start(meter, 1)
    call = meter.finish(1, Answer(text="well, hello to you too"))
    assert call.is_estimated
    assert 0 < call.usage.input_tokens < 20
    assert 0 < call.usage.output_tokens < 20


def test_a_cache_hit_costs_nothing_and_has_no_usage(meter):
    start(meter, 1, unread)
    call = meter.finish(1, Answer(usage=USAGE, is_cache_hit=True))
    assert (call.outcome, call.cost_usd, call.usage, call.is_estimated) == ("cache_hit", 0, Usage(), False)


def test_a_call_that_was_never_started_or_has_ended_is_not_recorded(meter):
    start(meter, 1)
    assert meter.finish(1, Answer(usage=USAGE))
    assert meter.finish(1, Answer(usage=USAGE)) is None
    assert meter.fail("unknown", ValueError()) is None
    assert meter.ledger.total().calls == 1


def test_a_wrapper_that_passes_on_the_usage_of_what_it_wraps_is_not_counted(meter):
    start(meter, "outer")
    for key in ("draft", "final"):
        start(meter, key)
        meter.finish(key, Answer(usage=USAGE))
    assert meter.finish("outer", Answer(usage=USAGE + USAGE)) is None
    assert meter.ledger.total().calls == 2


def test_a_wrapper_that_reports_no_usage_is_not_counted(meter):
    start(meter, "outer", unread)
    start(meter, "inner")
    meter.finish("inner", Answer(usage=USAGE))
    assert meter.finish("outer", Answer(text="passed on")) is None


def test_a_call_with_usage_of_its_own_counts_beside_one_made_meanwhile(meter):
    start(meter, "streaming")
    start(meter, "meanwhile")
    meter.finish("meanwhile", Answer(usage=USAGE))
    assert meter.finish("streaming", Answer(usage=Usage(input_tokens=7))).usage.input_tokens == 7
    assert meter.ledger.total().calls == 2


def test_calls_started_together_are_siblings_not_wrappers(meter):
    for key in (1, 2):
        start(meter, key, siblings="batch")
    assert meter.finish(2, Answer(usage=USAGE))
    assert meter.finish(1, Answer(usage=USAGE))


def test_calls_in_other_threads_are_no_wrappers(meter):
    start(meter, 1)
    thread = threading.Thread(target=lambda: (start(meter, 2), meter.finish(2, Answer(usage=USAGE))))
    thread.start()
    thread.join()
    assert meter.finish(1, Answer(usage=USAGE))
    assert meter.ledger.total().calls == 2


def test_a_failed_wrapper_of_a_counted_call_is_not_counted(meter):
    start(meter, "outer")
    start(meter, "inner")
    meter.finish("inner", Answer(usage=USAGE))
    assert meter.fail("outer", ValueError("cannot parse")) is None


def test_a_failed_call_costs_nothing_unless_part_of_an_answer_came(meter):
    start(meter, 1)
    failed = meter.fail(1, ConnectionError())
    assert (failed.outcome, failed.cost_usd, failed.usage) == ("error", 0, Usage())
    start(meter, 2)
    broken_off = meter.fail(2, GeneratorExit(), Answer(text="Once upon a"))
    assert (broken_off.outcome, broken_off.is_estimated) == ("error", True)
    assert broken_off.cost_usd > 0


def test_attribution_is_the_calls_then_the_blocks_then_the_meters():
    meter = Meter(attribution=Attribution(feature="meter", user="meter", task="meter"))
    with attribute(feature="block", user="block"):
        start(meter, 1, attribution=Attribution(feature="call"))
    found = meter.finish(1, Answer(usage=USAGE)).attribution
    assert found == Attribution(feature="call", user="block", task="meter")


def test_two_meters_over_one_ledger_count_a_call_once():
    ledger = Ledger()
    for meter in (Meter(ledger), Meter(ledger)):
        start(meter, 1, call_id="the same")
        meter.finish(1, Answer(usage=USAGE))
    assert ledger.total().calls == 1


MALFORMED = [
    {"prompt_tokens": -1, "completion_tokens": 1},
    {"prompt_tokens": True, "completion_tokens": 1},
    {"prompt_tokens": "12", "completion_tokens": 1},
    {"prompt_tokens": float("inf"), "completion_tokens": 1},
    {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -4}},
    {"promptTokenCount": 5, "cachedContentTokenCount": 50},
    {},
]


@pytest.mark.parametrize("usage", MALFORMED)
def test_malformed_usage_falls_back_to_an_estimate_with_one_warning(meter, usage, caplog):
    with caplog.at_level(logging.WARNING, logger="thrift"):
        for key in range(3):
            start(meter, key)
            assert meter.finish(key, Answer(payload={"model": MODEL, "usage": usage}, text="hi")).is_estimated
    assert len(caplog.records) == 1
    assert meter.ledger.faults() == {("usage", "ValueError"): 3}


def test_a_request_that_cannot_be_read_is_still_a_call(meter):
    def broken():
        raise KeyError("content")

    start(meter, 1, broken)
    call = meter.finish(1, Answer(text="hi"))
    assert call.cost_usd is None
    assert "could not be read" in call.unpriced
    assert meter.ledger.total().calls == 1


def test_a_budget_refuses_before_the_call_and_the_call_is_not_open(meter):
    meter = Meter(budgets=Budgets(Budget(limit_usd=Decimal("0.001"))))
    with pytest.raises(BudgetExceeded, match=r"\$0\.001"):
        start(meter, 1)
    assert meter.finish(1, Answer(usage=USAGE)) is None


def test_what_was_reserved_is_settled_released_or_booked(meter):
    budgets = Budgets(Budget(limit_usd=1))
    meter = Meter(budgets=budgets)
    for key in ("finished", "failed", "outer", "inner"):
        start(meter, key)
        if key == "finished":
            meter.finish(key, Answer(usage=USAGE))
        if key == "failed":
            meter.fail(key, ValueError())
    meter.finish("inner", Answer(usage=USAGE))
    meter.finish("outer", Answer())
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (2 * COST, 0)


def test_a_wrapper_and_what_it_wraps_need_one_reservation():
    budgets = Budgets(Budget(limit_calls=1))
    meter = Meter(budgets=budgets)
    for key in ("outer", "middle", "inner"):
        start(meter, key)
    assert meter.finish("inner", Answer(usage=USAGE))
    assert meter.finish("middle", Answer(usage=USAGE)) is None
    assert meter.finish("outer", Answer(usage=USAGE)) is None
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (1, 0)


def test_a_call_whose_reservation_went_to_one_inside_it_is_still_booked():
    budgets = Budgets(Budget(limit_usd=1))
    meter = Meter(budgets=budgets)
    start(meter, "streaming")
    start(meter, "meanwhile")
    meter.finish("meanwhile", Answer(usage=USAGE))
    meter.finish("streaming", Answer(usage=USAGE + USAGE))
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (3 * COST, 0)


def test_a_request_that_cannot_be_counted_passes_the_budget_with_a_fault(caplog):
    def broken():
        raise KeyError("content")

    meter = Meter(budgets=Budgets(Budget(limit_usd=1)))
    with caplog.at_level(logging.WARNING, logger="thrift"):
        start(meter, 1, broken)
    assert meter.ledger.faults() == {("budget", "KeyError"): 1}
    assert meter.finish(1, Answer(usage=USAGE)).cost_usd == COST


def test_an_exporter_that_fails_does_not_hurt(caplog):
    told = []
    meter = Meter(on_call=[lambda call: 1 / 0, told.append])
    start(meter, 1)
    call = meter.finish(1, Answer(usage=USAGE))
    assert told == [call]
    assert meter.ledger.faults() == {("on_call", "ZeroDivisionError"): 1}


def test_calls_that_never_end_do_not_pile_up(monkeypatch):
    monkeypatch.setattr("thrift_core.accounting.meter._MOST_OPEN_CALLS", 3)
    budgets = Budgets(Budget(limit_calls=10))
    meter = Meter(budgets=budgets)
    for key in range(8):
        start(meter, key, siblings="batch")
    (state,) = budgets.state()
    assert state.reserved == 3


def test_a_failed_call_that_its_step_makes_again_was_retried(meter):
    for key, parent in (("a", "step"), ("b", "other step")):
        start(meter, key, parent=parent)
        meter.fail(key, ConnectionError())
    start(meter, "c", parent="step", is_retry=True)
    meter.finish("c", Answer(usage=USAGE))
    assert [call.outcome for call in meter.ledger.calls()] == ["retried", "error", "ok"]


def test_a_wrapper_that_passes_on_one_of_several_answers_is_not_counted_as_one_more(meter):
    start(meter, "outer")
    for key, tokens in (("draft", 10), ("answer", 20)):
        start(meter, key)
        meter.finish(key, Answer(usage=Usage(input_tokens=tokens, output_tokens=tokens)))
    assert meter.finish("outer", Answer(usage=Usage(input_tokens=20, output_tokens=20))) is None
    assert [call.usage.input_tokens for call in meter.ledger.calls()] == [10, 20]


def test_a_call_whose_end_is_told_in_another_context_does_not_hide_the_wrapper_around_the_next_one(meter):
    start(meter, "outer")
    for key, tokens in (("draft", 10), ("answer", 20)):
        start(meter, key)
        copy_context().run(meter.finish, key, Answer(usage=Usage(input_tokens=tokens, output_tokens=1)))
    assert meter.finish("outer", Answer(usage=Usage(input_tokens=20, output_tokens=1))) is None
    assert meter.ledger.total().calls == 2
