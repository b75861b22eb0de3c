"""What was predicted of the prompt cache stands beside what was billed, in the ledger and in the report."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from thrift_core.accounting import ledger_schema
from thrift_core.accounting.call import Call
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.ledger_rows import CALL_COLUMNS, call_row
from thrift_core.accounting.meter import Answer, Meter
from thrift_core.accounting.prediction import CachePrediction, predicting
from thrift_core.accounting.report import summarise
from thrift_core.accounting.report_json import report_json
from thrift_core.accounting.terminal import headline
from thrift_core.accounting.usage import Usage
from thrift_core.messages import Message, Request


def call(meter: Meter, billed: int, **answer: object) -> Call:
    meter.start("key", lambda: Request((Message("user", "hi"),)), model="gpt-5", provider="openai")
    usage = Usage(input_tokens=5000, cache_read_tokens=billed)
    found = meter.finish("key", Answer(usage=usage, **answer))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_call_carries_what_the_enclosing_block_predicts() -> None:
    meter = Meter(Ledger())
    with predicting(4096):
        assert call(meter, 4000).predicted_cache_read_tokens == 4096
        with predicting(None):
            assert call(meter, 0).predicted_cache_read_tokens is None
    assert call(meter, 0).predicted_cache_read_tokens is None


def test_the_report_sums_only_calls_that_both_are_known_of() -> None:
    ledger = Ledger()
    meter = Meter(ledger)
    with predicting(4096):
        call(meter, 4000)
        call(meter, 4200)
        call(meter, 0, is_cache_hit=True)
    call(meter, 3000)
    report = summarise(ledger)
    assert report.prediction == CachePrediction(calls=2, predicted_tokens=8192, billed_tokens=8200, missed_tokens=200)
    assert report_json(report)["prediction"]["billed_tokens"] == 8200
    assert any("prompt cache reads of 2 calls" in line for line in headline(report))
    assert not any("prompt cache reads" in line for line in headline(summarise(Ledger())))


def test_it_survives_a_restart_and_a_copy(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as ledger:
        ledger.record(Call(model="m", cost_usd=Decimal(1), predicted_cache_read_tokens=7))
        ledger.record(Call(model="m", cost_usd=Decimal(1)))
        ledger.export_jsonl(tmp_path / "a.jsonl")
    with Ledger(tmp_path / "a.db") as again, Ledger(tmp_path / "b.db") as copy:
        copy.import_jsonl(tmp_path / "a.jsonl")
        for found in (again, copy):
            assert [one.predicted_cache_read_tokens for one in found.calls()] == [7, None]


def test_a_ledger_from_before_predictions_opens_with_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    with monkeypatch.context() as patch:
        patch.setattr(ledger_schema, "MIGRATIONS", ledger_schema.MIGRATIONS[:2])
        with Ledger(path) as old:
            given = dict(zip(CALL_COLUMNS, call_row(Call(model="m", cost_usd=Decimal(1))), strict=True))
            del given["predicted_cache_read_tokens"]
            marks = ", ".join("?" * len(given))
            old.store.write(f"INSERT INTO calls ({', '.join(given)}) VALUES ({marks})", [tuple(given.values())])
    with Ledger(path) as ledger:
        ledger.record(Call(model="m", cost_usd=Decimal(2), predicted_cache_read_tokens=0))
        assert ledger.total().cost_usd == Decimal(3)
        assert summarise(ledger).prediction.calls == 1
