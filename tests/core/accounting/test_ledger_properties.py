"""What must hold for any calls at all."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.accounting.call import OUTCOMES, Attribution, Call, Saving
from thrift_core.accounting.exact_sums import exact_sum
from thrift_core.accounting.jsonl import load_line
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.spend import SPEND_KEYS
from thrift_core.accounting.usage import Usage
from thrift_core.accounting.waste import waste_lines

NAMES = st.none() | st.sampled_from(["a", "b", "c"]) | st.text(max_size=5)
COUNTS = st.integers(0, 10**9)
ZONES = st.integers(-720, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=ZONES)
DOLLARS = st.decimals(0, 10**6, allow_nan=False, places=12) | st.sampled_from([Decimal("1E-30"), Decimal(0)])
AMOUNTS = st.integers(0, 10**6) | st.decimals(0, 1000, allow_nan=False, places=6)
USAGES = st.builds(
    Usage,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_tokens=COUNTS,
    cache_write_tokens=COUNTS,
    cache_write_1h_tokens=COUNTS,
    reasoning_tokens=COUNTS,
    input_audio_tokens=COUNTS,
    output_audio_tokens=COUNTS,
    other=st.dictionaries(st.sampled_from(["web_searches", "audio_hours"]), AMOUNTS),
)
WHOM = st.builds(Attribution, feature=NAMES, user=NAMES, tenant=NAMES, task=NAMES, run=NAMES)
PRICED = st.tuples(DOLLARS, st.none()) | st.tuples(st.none(), st.text(max_size=5))
CALLS = st.builds(
    lambda cost, **others: Call(cost_usd=cost[0], unpriced=cost[1], **others),
    PRICED,
    model=st.sampled_from(["small", "large"]) | st.text(max_size=5),
    provider=NAMES,
    usage=USAGES,
    is_estimated=st.booleans(),
    attribution=WHOM,
    outcome=st.sampled_from(OUTCOMES),
    latency_seconds=st.none() | st.floats(0, 10**6),
    started_at=TIMES,
    tool_calls=st.lists(st.text(max_size=10), max_size=2).map(tuple),
    service_tier=NAMES,
    is_batch=st.booleans(),
)
SAVINGS = st.builds(
    Saving,
    lever=st.text(max_size=5),
    tokens=st.integers(-(10**9), 10**9),
    cost_usd=st.none() | DOLLARS | DOLLARS.map(lambda dollars: -dollars),
    is_shadow=st.booleans(),
    attribution=WHOM,
    call_id=NAMES,
    at=TIMES,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CALLS, max_size=12))
def test_spend_by_any_key_adds_up_to_the_total(calls):
    with Ledger() as ledger:
        for call in calls:
            ledger.record(call)
        total = ledger.total()
        assert total.calls == len(calls)
        assert total.cost_usd == exact_sum([call.cost_usd for call in calls if call.cost_usd is not None])
        assert total.usage == sum((call.usage for call in calls), Usage())
        for key in SPEND_KEYS:
            lines = ledger.spend(key)
            assert len({line.key for line in lines}) == len(lines)
            assert sum(line.calls for line in lines) == total.calls
            assert sum(line.unpriced_calls for line in lines) == total.unpriced_calls
            assert sum(line.estimated_calls for line in lines) == total.estimated_calls
            assert exact_sum([line.cost_usd for line in lines]) == total.cost_usd
            assert sum((line.usage for line in lines), Usage()) == total.usage
            assert sum(line.latency_seconds for line in lines) == pytest.approx(total.latency_seconds)


@settings(max_examples=60, deadline=None)
@given(st.lists(CALLS, max_size=8))
def test_recorded_twice_is_recorded_once_and_reads_back_equal(calls):
    with Ledger() as ledger:
        for call in [*calls, *reversed(calls)]:
            assert ledger.record(call) == call
        assert sorted(ledger.calls(), key=lambda call: call.id) == sorted(calls, key=lambda call: call.id)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(CALLS, max_size=6),
    st.lists(SAVINGS, max_size=4),
    st.dictionaries(st.text(max_size=5), st.booleans(), max_size=3),
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=3),
)
def test_out_to_json_lines_and_back_changes_nothing(calls, savings, resolutions, faults):
    with tempfile.TemporaryDirectory() as folder, Ledger() as ledger, Ledger() as copy:
        first, second = Path(folder) / "first.jsonl", Path(folder) / "second.jsonl"
        for call in calls:
            ledger.record(call)
        for saving in savings:
            ledger.book(saving)
        for task, success in resolutions.items():
            ledger.resolve(task, success=success)
        for lever, reason in faults:
            ledger.count_fault(lever, reason)
        lines = ledger.export_jsonl(first)
        assert copy.import_jsonl(first) == lines
        assert list(copy.calls()) == list(ledger.calls())
        assert list(copy.savings()) == list(ledger.savings())
        assert copy.resolutions() == ledger.resolutions() == resolutions
        assert copy.faults() == ledger.faults()
        copy.export_jsonl(second)
        assert second.read_text() == first.read_text()
        assert copy.import_jsonl(first) == 0
        # Latencies are floats: their sum depends on the order of rows, money's does not.
        assert replace(copy.total(), latency_seconds=0) == replace(ledger.total(), latency_seconds=0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["kind", "id", "model", "usage", "cost_usd", "started_at", "at", "lever", "task", "success", "tool_calls"]
GOOD = {
    "model": "m",
    "started_at": "2026-01-01T00:00:00Z",
    "lever": "l",
    "at": "2026-01-01T00:00:00Z",
    "task": "t",
    "success": True,
    "reason": "r",
}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["call", "saving", "resolution", "fault"]),
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), JSON, max_size=3),
)
def test_a_line_is_read_or_refused_and_what_is_read_can_be_kept(kind, wild):
    wanted = {
        "call": ("model", "started_at"),
        "saving": ("lever", "at"),
        "resolution": ("task", "success", "at"),
        "fault": ("lever", "reason", "at"),
    }[kind]
    text = json.dumps({"kind": kind, **{name: GOOD[name] for name in wanted}, **wild})
    try:
        line = load_line(text)
    except ValueError:
        return
    with Ledger() as ledger, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wild.jsonl"
        path.write_text(text)
        assert ledger.import_jsonl(path) == 1
        assert line.kind in ("call", "saving", "resolution", "fault")


@given(st.text(max_size=30) | st.sampled_from(["[" * 100_000, "1" * 5000, '{"kind": NaN}', "{}", "null"]))
def test_any_text_is_a_line_or_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        load_line(text)


@settings(max_examples=30, deadline=None)
@given(st.lists(CALLS, max_size=8))
def test_no_waste_line_is_more_than_what_was_paid(calls):
    with Ledger() as ledger:
        for call in calls:
            ledger.record(call)
        for line in waste_lines(ledger):
            assert 0 <= line.cost_usd <= ledger.total().cost_usd * Decimal("1.000001")
            assert line.calls <= len(calls)


def test_times_keep_their_moment_whatever_their_zone():
    at = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    with Ledger() as ledger:
        ledger.record(Call(model="m", cost_usd=Decimal(1), started_at=at))
        kept = next(ledger.calls()).started_at
    assert kept == at
    assert kept.tzinfo is UTC
