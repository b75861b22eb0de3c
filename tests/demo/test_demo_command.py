"""`thrift demo` runs what is installed and ends with one table."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.spend import Spend
from thrift_core.accounting.usage import Usage
from thrift_core.commands import demo
from thrift_core.demo import ROWS, Figures, Row, RowFigures, Setup, Workload, discover, run_row
from thrift_core.demo.table import demo_table
from thrift_core.demo.workload import NEEDS, Result
from thrift_core.errors import ConfigurationError
from thrift_core.testing import ChatRequest, LocalProvider, Reply
from thrift_core.thrift import Thrift


def thrift(*words: str) -> int:
    parser = argparse.ArgumentParser()
    demo.add(parser.add_subparsers())
    arguments = parser.parse_args(["demo", *words])
    run: Callable[[argparse.Namespace], int] = arguments.run
    return run(arguments)


def test_the_demo_ends_with_a_table_and_keeps_its_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "demo.sqlite"
    assert thrift("--only", "support", "--ledger", str(file)) == 0
    shown = capsys.readouterr().out
    for words in ("gpt-5-mini on the local provider", "as is", "bill", "300 of 300", "each: dollars per"):
        assert words in shown
    with Ledger(file) as ledger:
        passes = ledger.spend("run", feature="support")
    assert len(passes) == len(ROWS)
    assert all(f"${each.cost_usd:.6f}" in shown for each in passes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "gpt-9"], "no rates for 'gpt-9'"),
        (["--real", "--model", "gpt-5-mini"], "OPENAI_API_KEY"),
        (["--only", "shoes"], "no workload is called shoes"),
    ],
)
def test_a_command_line_that_cannot_work_says_what_would(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=said):
        thrift(*words)


def test_every_workload_is_installed_here() -> None:
    workloads, missing = discover()
    assert [workload.name for workload in workloads] == list(NEEDS) == ["shop", "parcels", "docs", "support"]
    assert missing == {}


def test_a_workload_that_is_not_installed_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("thrift_core.demo.workload.entry_points", lambda group: ())
    assert thrift("--only", "docs") == 1
    assert "docs: skipped; to run it: pip install llamaindex-thrift llama-index-llms-openai" in capsys.readouterr().out


def test_a_real_provider_is_asked_with_the_key_and_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    workloads, _ = discover(("docs", "support"))
    brains = {workload.name: workload.brain for workload in workloads}

    def brain(request: ChatRequest) -> Reply:
        return brains["support" if "Tern Mobile" in request.system else "docs"](request)

    with LocalProvider(brain) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
        monkeypatch.setenv("OPENAI_API_BASE", provider.base_url)
        row = run_row(ROWS[0], workloads, model="gpt-5-mini", ledger=Ledger(), is_real=True)
        assert {request.api_key for request in provider.requests} == {"from the environment"}
    assert row.figures["support"].resolved == 300
    assert row.figures["docs"].billed_usd is None


def idle(setup: Setup) -> Result:
    return Result(name=setup.workload, outcomes=(setup.settle("one", "", is_resolved=setup.thrift is not None),))


IDLE = Workload(name="idle", about="does nothing", tasks=1, brain=lambda _: Reply(), run=idle)


def test_a_row_hands_its_levers_to_the_workloads() -> None:
    ledger, steps = Ledger(), list[int]()
    plain = run_row(Row("as is", lambda _: None), [IDLE], model="m", ledger=ledger, advance=lambda: steps.append(1))
    levers = run_row(Row("safe", lambda ledger: Thrift.safe(ledger=ledger)), [IDLE], model="m", ledger=ledger)
    assert (plain.figures["idle"].resolved, levers.figures["idle"].resolved) == (0, 1)
    assert plain.figures["idle"].usd_per_resolved_task is None
    assert steps == [1]


def figures(cost: str, resolved: int, *, billed: str | None = None, unpriced: int = 0) -> Figures:
    usage = Usage(input_tokens=1000, cache_read_tokens=500, output_tokens=10)
    spend = Spend(key=None, calls=4, usage=usage, cost_usd=Decimal(cost), unpriced_calls=unpriced)
    return Figures(spend=spend, billed_usd=None if billed is None else Decimal(billed), tasks=5, resolved=resolved)


def lines(rows: list[RowFigures]) -> list[str]:
    console = Console(width=160, file=io.StringIO())
    console.print(demo_table(rows, title="t"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_table_has_a_block_for_each_row_and_adds_up() -> None:
    shop, docs = figures("0.5", 5, billed="0.5"), figures("0.25", 0, unpriced=2)
    cheaper = figures("0.2", 5, billed="0.3")
    shown = lines(
        [RowFigures("as is", {"shop": shop, "docs": docs}), RowFigures("cache", {"shop": cheaper, "docs": docs})]
    )
    first, second = (line.split() for line in shown if line.strip().startswith("shop"))
    assert first[:4] == ["shop", "$0.500000", "-", "same"]
    assert second[:4] == ["shop", "$0.200000", "40%", "$0.300000"]
    together, _ = (line for line in shown if line.strip().startswith("all"))
    assert all(text in together for text in ("$0.750000 + 2 unpriced", "5 of 10", "$0.150000"))
    assert [line.strip() for line in shown if line.strip() in ("as is", "cache")] == ["as is", "cache"]
