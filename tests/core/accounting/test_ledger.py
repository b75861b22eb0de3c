"""What the ledger keeps, and how it adds up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.ledger import Ledger, priced
from thrift_core.accounting.usage import Usage
from thrift_core.errors import LedgerError
from thrift_core.prices import PriceBook

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "file"])
def ledger(request, tmp_path):
    path = None if request.param == "memory" else tmp_path / "thrift.sqlite"
    with Ledger(path, prices=PriceBook({"small": {"input": "1", "output": "2"}})) as ledger:
        yield ledger


def call(cost="0.01", *, at=MONDAY, model="small", feature=None, **given):
    return Call(
        model=model,
        cost_usd=None if cost is None else Decimal(cost),
        started_at=at,
        attribution=Attribution(
            feature=feature, **{name: given.pop(name) for name in ("user", "task") if name in given}
        ),
        **given,
    )


def test_a_call_comes_back_as_it_was_recorded(ledger):
    recorded = Call(
        model="small",
        provider="acme",
        usage=Usage(
            input_tokens=100,
            output_tokens=20,
            cache_read_tokens=60,
            cache_write_tokens=10,
            cache_write_1h_tokens=4,
            reasoning_tokens=5,
            input_audio_tokens=3,
            output_audio_tokens=2,
            other={"web_searches": 2, "audio_hours": Decimal("0.1250")},
        ),
        cost_usd=Decimal("0.000012345678901234567890123456789"),
        is_estimated=True,
        attribution=Attribution(feature="search", user="ann", tenant="acme", task="t1", run="r1"),
        outcome="escalated",
        latency_seconds=1.25,
        started_at=datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC),
        tool_calls=('lookup({"q":"ü"})',),
        service_tier="flex",
        is_batch=True,
    )
    assert ledger.record(recorded) == recorded
    assert list(ledger.calls()) == [recorded]


def test_a_call_without_a_cost_is_priced(ledger):
    recorded = ledger.record(call(None, usage=Usage(input_tokens=1_000_000, output_tokens=500_000)))
    assert recorded.cost_usd == Decimal(2)
    assert ledger.total().cost_usd == Decimal(2)


def test_an_unknown_price_is_unpriced_and_never_0(ledger):
    recorded = ledger.record(call(None, model="nobody-knows-it", usage=Usage(input_tokens=10)))
    assert recorded.cost_usd is None
    assert "nobody-knows-it" in recorded.unpriced
    total = ledger.total()
    assert (total.calls, total.cost_usd, total.unpriced_calls) == (1, 0, 1)
    assert list(ledger.calls()) == [recorded]


def test_a_cost_that_is_given_is_kept(ledger):
    assert ledger.record(call("9", usage=Usage(input_tokens=5))).cost_usd == 9


def test_a_cache_hit_costs_nothing(ledger):
    recorded = ledger.record(call(None, model="nobody-knows-it", outcome="cache_hit", usage=Usage(input_tokens=10)))
    assert (recorded.cost_usd, recorded.unpriced) == (0, None)


def test_pricing_that_fails_leaves_the_call_unpriced():
    class Broken(PriceBook):
        def price(self, *_, **__):
            raise RuntimeError("no list")

    unpriced = priced(call(None), Broken())
    assert unpriced.cost_usd is None
    assert "no list" in unpriced.unpriced


def test_the_same_id_counts_once_as_it_first_came(ledger):
    first = call("1", id="same")
    ledger.record(first)
    ledger.record(call("2", id="same"))
    assert list(ledger.calls()) == [first]


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-0.01"])
def test_a_cost_that_is_no_amount_is_refused(ledger, cost):
    with pytest.raises(ValueError, match="cost_usd"):
        ledger.record(call(cost))
    assert ledger.total().calls == 0


def test_a_time_without_a_zone_is_refused(ledger):
    with pytest.raises(ValueError, match="time zone"):
        ledger.record(call(at=datetime(2026, 3, 2)))
    with pytest.raises(ValueError, match="time zone"):
        ledger.calls(since=datetime(2026, 3, 2))


def test_a_count_beyond_any_bill_is_a_ledger_error(ledger):
    with pytest.raises(LedgerError, match="too large"):
        ledger.record(call(usage=Usage(input_tokens=2**63)))


def test_half_a_surrogate_pair_does_not_cost_the_call(ledger):
    ledger.record(call(feature="cut \ud83d"))
    assert [line.key for line in ledger.spend("feature")] == ["cut ?"]


def test_a_latency_that_is_no_time_is_not_kept(ledger):
    ledger.record(call(latency_seconds=float("nan")))
    assert next(ledger.calls()).latency_seconds is None


def test_calls_come_in_the_order_they_were_sent_over_many_pages(ledger):
    sent = [call(at=MONDAY + timedelta(seconds=number // 3), id=str(number)) for number in range(2500)]
    for one in reversed(sent):
        ledger.record(one)
    got = list(ledger.calls())
    assert [one.started_at for one in got] == [one.started_at for one in sent]
    assert {one.id for one in got} == {one.id for one in sent}


def test_a_reader_sees_what_is_recorded_while_it_reads(ledger):
    for number in range(1500):
        ledger.record(call(at=MONDAY + timedelta(seconds=number)))
    reading = ledger.calls()
    next(reading)
    ledger.record(call(at=MONDAY + timedelta(days=1)))
    assert sum(1 for _ in reading) == 1500


def test_a_period_holds_its_first_moment_and_not_its_last(ledger):
    for hour in range(4):
        ledger.record(call(at=MONDAY + timedelta(hours=hour), id=str(hour)))
    kept = ledger.calls(since=MONDAY + timedelta(hours=1), until=MONDAY + timedelta(hours=3))
    assert [one.id for one in kept] == ["1", "2"]


def test_filters_hold_together(ledger):
    ledger.record(call(feature="search", user="ann", id="1"))
    ledger.record(call(feature="search", user="bob", id="2"))
    ledger.record(call(feature="chat", user="ann", model="large", id="3"))
    assert [one.id for one in ledger.calls(feature="search", user="ann")] == ["1"]
    assert ledger.total(user="ann").calls == 2
    assert ledger.total(model="large", outcome="ok").calls == 1
    assert ledger.total(feature=None).calls == 3


def test_an_unknown_filter_key_or_outcome_says_what_there_is(ledger):
    with pytest.raises(TypeError, match="feature, user"):
        ledger.calls(colour="red")
    with pytest.raises(ValueError, match="escalated"):
        ledger.total(outcome="great")
    with pytest.raises(ValueError, match="tenant"):
        ledger.spend("colour")


def test_spend_is_by_key_with_the_dearest_first(ledger):
    ledger.record(call("0.10", feature="chat", usage=Usage(input_tokens=10, cache_read_tokens=5)))
    ledger.record(call("0.20", feature="search", is_estimated=True, latency_seconds=1.5))
    ledger.record(call("0.20", feature="chat", usage=Usage(input_tokens=10), latency_seconds=0.5))
    ledger.record(call(None, model="nobody-knows-it"))
    chat, search, nobody = ledger.spend("feature")
    assert (chat.key, chat.calls, chat.cost_usd, chat.usage.input_tokens) == ("chat", 2, Decimal("0.30"), 20)
    assert chat.cached_share == 0.25
    assert (search.key, search.estimated_calls, search.latency_seconds) == ("search", 1, 1.5)
    assert (nobody.key, nobody.cost_usd, nobody.unpriced_calls) == (None, 0, 1)


def test_days_are_those_of_utc_in_order(ledger):
    ledger.record(call("1", at=datetime.fromisoformat("2026-03-03T00:30:00+01:00")))
    ledger.record(call("2", at=datetime.fromisoformat("2026-03-03T00:00:00+00:00")))
    assert [(line.key, line.cost_usd) for line in ledger.spend("day")] == [("2026-03-02", 1), ("2026-03-03", 2)]


def test_sums_of_money_are_exact(ledger):
    for _ in range(10):
        ledger.record(call("0.1"))
    ledger.record(call("1E-27"))
    assert ledger.total().cost_usd == Decimal("1.000000000000000000000000001")


def test_further_units_are_added_up(ledger):
    ledger.record(call(usage=Usage(other={"web_searches": 1})))
    ledger.record(call(usage=Usage(other={"web_searches": 2, "audio_hours": Decimal("0.1")})))
    assert ledger.total().usage.other == {"web_searches": 3, "audio_hours": Decimal("0.1")}


def test_an_empty_ledger_has_spent_nothing(ledger):
    assert ledger.spend("model") == []
    total = ledger.total()
    assert (total.calls, total.cost_usd, total.usage, total.cached_share) == (0, 0, Usage(), 0.0)


def test_savings_come_back_as_they_were_booked(ledger):
    booked = [
        Saving(lever="trimmer", tokens=100, cost_usd=Decimal("0.01"), at=MONDAY, call_id="c1"),
        Saving(lever="trimmer", tokens=-5, cost_usd=Decimal("-0.02"), is_shadow=True, at=MONDAY + timedelta(days=1)),
        Saving(lever="cache", attribution=Attribution(feature="search"), at=MONDAY + timedelta(days=2)),
    ]
    for saving in reversed(booked):
        ledger.book(saving)
    assert list(ledger.savings()) == booked
    assert list(ledger.savings(since=MONDAY + timedelta(hours=1), until=MONDAY + timedelta(days=2))) == booked[1:2]
    assert list(ledger.savings(feature="search")) == booked[2:]


def test_a_saving_has_the_model_of_its_call(ledger):
    ledger.record(call(model="large", id="c1"))
    ledger.book(Saving(lever="cache", call_id="c1"))
    ledger.book(Saving(lever="cache"))
    assert [saving.call_id for saving in ledger.savings(model="large")] == ["c1"]


def test_the_latest_word_on_a_task_counts(ledger):
    ledger.resolve("t1", success=False, at=MONDAY)
    ledger.resolve("t1", success=True, at=MONDAY + timedelta(hours=1))
    ledger.resolve("t1", success=False, at=MONDAY - timedelta(hours=1))
    ledger.resolve("t2", success=False)
    assert ledger.resolutions() == {"t1": True, "t2": False}


def test_faults_are_counted(ledger):
    ledger.count_fault("compressor", "timeout")
    ledger.count_fault("compressor", "timeout")
    ledger.count_fault("cache", "x" * 1000)
    assert ledger.faults() == {("compressor", "timeout"): 2, ("cache", "x" * 200): 1}
    assert ledger.faults(until=MONDAY) == {}
    assert ledger.faults(since=MONDAY) == ledger.faults()


def test_many_threads_record_into_one_ledger(ledger):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: ledger.record(call("0.001", id=str(number))), range(800)))
    assert (ledger.total().calls, ledger.total().cost_usd) == (800, Decimal("0.8"))


async def test_many_asyncio_tasks_record_into_one_ledger(ledger):
    async def work(number):
        await asyncio.sleep(0)
        ledger.record(call("0.001", id=str(number)))

    await asyncio.gather(*map(work, range(300)))
    assert ledger.total().calls == 300


def test_a_closed_ledger_says_so(ledger):
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.record(call())
    ledger.count_fault("ledger", "closed")
    assert ledger.faults() == {("ledger", "closed"): 1}


def test_how_a_call_ended_can_be_said_later(ledger):
    kept = ledger.record(call(outcome="error"))
    ledger.amend(kept.id, "retried")
    ledger.amend("nobody's", "retried")
    assert [found.outcome for found in ledger.calls()] == ["retried"]
    with pytest.raises(ValueError, match="outcome must be one of"):
        ledger.amend(kept.id, "forgotten")
