"""Ledgers as lines of JSON, with lines that people and crashes have spoiled."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from thrift_core.accounting.call import Call, Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.errors import LedgerError
from thrift_core.prices import PriceBook

AT = "2026-03-02T12:00:00+00:00"
GOOD = {"model": "small", "started_at": AT, "cost_usd": "0.5"}


@pytest.fixture
def ledger():
    with Ledger(prices=PriceBook({"small": {"input": "1", "output": "2"}})) as ledger:
        yield ledger


@pytest.fixture
def write(tmp_path):
    def write(*lines):
        path = tmp_path / "calls.jsonl"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
        return path

    return write


def test_a_line_without_a_kind_is_a_call(ledger, write):
    assert ledger.import_jsonl(write(GOOD)) == 1
    assert next(ledger.calls()).cost_usd == Decimal("0.5")


def test_a_call_without_a_cost_is_priced_on_its_way_in(ledger, write):
    ledger.import_jsonl(write({"model": "small", "started_at": AT, "usage": {"input_tokens": 500_000}}))
    assert ledger.total().cost_usd == Decimal("0.5")


def test_a_line_without_an_id_is_imported_once(ledger, write):
    path = write(GOOD, {**GOOD, "cost_usd": 0.25})
    assert (ledger.import_jsonl(path), ledger.import_jsonl(path)) == (2, 0)
    assert ledger.total().cost_usd == Decimal("0.75")


def test_a_number_keeps_the_digits_it_was_written_with(ledger, write):
    ledger.import_jsonl(write(b'{"model":"m","started_at":"%s","cost_usd":0.1234567890123456789012}' % AT.encode()))
    assert ledger.total().cost_usd == Decimal("0.1234567890123456789012")


def test_blank_lines_windows_ends_and_a_byte_order_mark_are_passed_over(ledger, write):
    good = json.dumps(GOOD).encode()
    assert ledger.import_jsonl(write(b"\xef\xbb\xbf" + good + b"\r", b"", b"  ")) == 1


def test_malformed_lines_are_named_and_the_others_are_kept(ledger, write):
    path = write(GOOD, b"{", {**GOOD, "cost_usd": "1"}, b"\xff\xfe", {"model": "m"}, [1])
    with pytest.raises(LedgerError) as refused:
        ledger.import_jsonl(path)
    message = str(refused.value)
    assert "calls.jsonl has 4 malformed lines" in message
    assert "line 2: is not JSON" in message
    assert "line 4 is not UTF-8" in message
    assert "line 5: started_at is missing" in message
    assert "line 6: is not an object" in message
    assert ledger.total().cost_usd == Decimal("1.5")


def test_of_many_malformed_lines_the_first_are_named(ledger, write):
    with pytest.raises(LedgerError, match=r"30 malformed lines.*line 10: .*and 20 more.*no other line was new"):
        ledger.import_jsonl(write(*[b"oops"] * 30))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"cost_usd": "much"}, "cost_usd must be an amount of dollars; got 'much'"),
        ({"cost_usd": -1}, "cost_usd must be 0 or more; got -1"),
        ({"usage": {"input_tokens": -1}}, "input_tokens must be a whole number"),
        ({"usage": {"input_tokens": 2**63}}, "too large to be a count"),
        ({"usage": {"tokens_in": 1}}, "usage has unknown counts: tokens_in"),
        ({"usage": [1]}, "usage must be an object"),
        ({"usage": {"other": {"web_searches": "x"}}}, "web_searches must be a number"),
        ({"started_at": "yesterday"}, "started_at must be a time"),
        ({"started_at": "2026-03-02T12:00:00"}, "needs a time zone"),
        ({"outcome": "great"}, "unknown outcome 'great'"),
        ({"feature": 7}, "feature must be text"),
        ({"is_batch": "yes"}, "is_batch must be true or false"),
        ({"latency_seconds": -1}, "latency_seconds must be a number"),
        ({"tool_calls": "f()"}, "tool_calls must be a list of texts"),
        ({"colour": "red"}, "unknown fields: colour"),
        ({"kind": "song"}, "unknown kind 'song'"),
    ],
)
def test_each_complaint_says_what_was_wrong(ledger, write, wrong, complaint):
    path = write({**GOOD, **wrong})
    if wrong == {"tool_calls": "f()"}:
        assert ledger.import_jsonl(path) == 1  # one tool call may stand alone
        return
    with pytest.raises(LedgerError) as refused:
        ledger.import_jsonl(path)
    assert complaint in str(refused.value)


def test_everything_goes_out_on_lines_a_person_can_read(ledger, tmp_path):
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    ledger.record(Call(model="small", cost_usd=Decimal("0.5"), usage=Usage(input_tokens=3), started_at=at, id="c1"))
    ledger.book(Saving(lever="cache", tokens=7, cost_usd=Decimal("0.1"), at=at))
    ledger.resolve("t1", success=True, at=at)
    ledger.count_fault("cache", "timeout")
    assert ledger.export_jsonl(tmp_path / "out.jsonl") == 4
    call, saving, resolution, fault = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert call == {
        "kind": "call",
        "id": "c1",
        "started_at": AT,
        "model": "small",
        "usage": {"input_tokens": 3},
        "cost_usd": "0.5",
        "outcome": "ok",
    }
    assert (saving["kind"], saving["lever"], saving["cost_usd"]) == ("saving", "cache", "0.1")
    assert resolution == {"kind": "resolution", "task": "t1", "success": True, "at": AT}
    assert (fault["kind"], fault["lever"], fault["times"]) == ("fault", "cache", 1)


def test_progress_is_told_for_each_line(ledger, write, tmp_path):
    told = []
    ledger.import_jsonl(write(GOOD, {**GOOD, "id": "2"}), on_line=lambda: told.append("in"))
    ledger.export_jsonl(tmp_path / "out.jsonl", on_line=lambda: told.append("out"))
    assert told == ["in", "in", "out", "out"]


def test_files_that_cannot_be_read_or_written_are_named(ledger, tmp_path):
    with pytest.raises(LedgerError, match=r"gone\.jsonl cannot be read"):
        ledger.import_jsonl(tmp_path / "gone.jsonl")
    with pytest.raises(LedgerError, match=r"cannot be written"):
        ledger.export_jsonl(tmp_path)
