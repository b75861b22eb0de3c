"""The command line as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.cli import main
from thrift_core.commands.period import moment

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THRIFT_LEDGER", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "thrift.sqlite"
    with Ledger(path) as ledger:
        for day, feature, cost in [(0, "search", "1"), (1, "[red]chat\x1b[31m", "2"), (2, "search", "4")]:
            ledger.record(
                Call(
                    model="large",
                    cost_usd=Decimal(cost),
                    usage=Usage(input_tokens=1000, cache_read_tokens=250, output_tokens=10),
                    attribution=Attribution(feature=feature, user="ann", task=f"t{day}"),
                    started_at=AT + timedelta(days=day),
                )
            )
        ledger.record(Call(model="mystery", unpriced="no price", started_at=AT))
        ledger.resolve("t0", success=True)
        ledger.book(Saving(lever="trimmer", tokens=500, cost_usd=Decimal("0.25"), at=AT))
        ledger.count_fault("compressor", "timeout")
    return path


@pytest.fixture
def run(capsys):
    def run(*words):
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_report_shows_spend_savings_tasks_and_faults(path, run):
    code, out, err = run("report", path)
    assert (code, err) == (0, "")
    assert "4 calls: $7.00 + 1 unpriced call" in out
    for word in (
        "Spend by feature",
        "Spend by model",
        "Savings by lever",
        "trimmer",
        "Cost per resolved task",
        "timeout",
    ):
        assert word in out
    assert "25%" in out


def test_names_are_printed_as_text(path, run):
    _, out, _ = run("report", path)
    assert "[red]chat�[31m" in out
    assert "\x1b" not in out


def test_the_ledger_is_that_of_the_environment_or_the_one_that_lies_here(path, run, monkeypatch, tmp_path):
    assert "4 calls" in run("report")[1]
    with Ledger(tmp_path / "other.sqlite") as other:
        other.record(Call(model="m", cost_usd=Decimal(1)))
    monkeypatch.setenv("THRIFT_LEDGER", str(tmp_path / "other.sqlite"))
    assert "1 call: $1.00" in run("report")[1]


def test_report_keeps_to_the_period_and_the_filters(path, run):
    assert "1 call: $2.00" in run("report", "--since", "2026-03-03", "--until", "2026-03-04")[1]
    assert "2 calls: $5.00" in run("report", "--feature", "search")[1]
    assert "0 calls: $0" in run("report", "--since", "1h", "--run", "r1")[1]


def test_report_breaks_down_by_what_is_asked(path, run):
    out = run("report", "--by", "user", "--by", "day")[1]
    assert "Spend by user" in out
    assert "2026-03-03" in out
    assert "Spend by model" not in out


def test_report_writes_json_in_place_of_tables(path, run):
    code, out, err = run("report", "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["total"]["cost_usd"] == "7"


def test_report_writes_files(path, run, tmp_path):
    code, out, err = run("report", "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert code == 0
    assert "Spend by feature" in out
    assert err.count("written: ") == 2
    assert json.loads((tmp_path / "r.json").read_text())["total"]["calls"] == 4
    assert "Spend by day" in (tmp_path / "r.html").read_text()


def one_line(err):
    return err.startswith("thrift: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("command", [["report"], ["export", "out.jsonl"], ["budget"], ["budget", "try", "--usd", "1"]])
def test_a_missing_ledger_is_one_line_and_is_not_made(command, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THRIFT_LEDGER", raising=False)
    code, _, err = run(*command)
    assert (code, one_line(err), "thrift.sqlite" in err) == (2, True, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["report"], ["export", "out.jsonl"], ["budget"], ["budget", "try", "--usd", "1"]])
def test_a_file_that_is_no_ledger_is_one_line(command, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THRIFT_LEDGER", "notes.txt")
    (tmp_path / "notes.txt").write_text("not a ledger at all\n" * 100)
    code, _, err = run(*command)
    assert (code, one_line(err), "notes.txt" in err) == (2, True, True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["report", "--since", "yesterday"], "neither an age"),
        (["report", "--by", "colour"], "invalid choice"),
        ([], "required"),
        (["sing"], "invalid choice"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_would_do(words, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["budget", "try"], "exactly one of limit_usd"),
        (["budget", "try", "--usd", "-5"], "limit_usd"),
        (["budget", "--usd", "5"], "thrift budget try"),
        (["budget", "try", "a", "b", "--usd", "5"], "one store at a time"),
        (["report", "--html", "/nowhere/at/all.html"], "cannot be written"),
    ],
)
def test_a_limit_or_a_file_that_cannot_work_is_one_line(path, run, words, complaint):
    code, _, err = run(*words)
    assert (code, err.splitlines()[-1].startswith("thrift: "), complaint in err) == (2, True, True)


def test_export_and_import_carry_a_ledger_over(path, run, tmp_path):
    code, _, err = run("export", tmp_path / "out.jsonl")
    assert (code, "7 lines" in err) == (0, True)
    code, _, err = run("import", tmp_path / "out.jsonl", tmp_path / "copy.sqlite")
    assert (code, "7 new lines" in err) == (0, True)
    assert "0 new lines" in run("import", tmp_path / "out.jsonl", tmp_path / "copy.sqlite")[2]
    with Ledger(path) as ledger, Ledger(tmp_path / "copy.sqlite") as copy:
        assert list(copy.calls()) == list(ledger.calls())


def test_import_names_the_lines_it_cannot_read(path, run, tmp_path):
    (tmp_path / "in.jsonl").write_text("{}\n[]\n")
    code, _, err = run("import", tmp_path / "in.jsonl")
    assert (code, one_line(err)) == (2, True)
    assert "line 1: started_at is missing" in err
    assert "line 2: is not an object" in err


def test_budget_try_replays_the_past(path, run):
    code, out, _ = run("budget", "try", "--usd", "3", "--per", "user", "--window", "day")
    assert code == 0
    assert "$3.00 per user per day would have stopped 1 of 4 calls ($7.00 + 1 unpriced call), worth $4.00" in out
    assert "user=ann" in out
    assert "would have stopped 0 of" in run("budget", "try", path, "--usd", "300")[1]


def test_budget_shows_what_limits_have_counted(path, run):
    assert "No limit has counted anything" in run("budget", path)[1]
    budgets = Budgets(Budget(limit_usd=5, per="user", window="month"), store=str(path))
    reservation = budgets.reserve(usd=Decimal(2), tokens=10, attribution=Attribution(user="ann"), model="m")
    budgets.settle(reservation, usd=Decimal("1.25"), tokens=10)
    code, out, _ = run("budget", path)
    assert code == 0
    assert "$5.00 per user per month" in out
    assert "user=ann" in out
    assert "$1.25 (25%)" in out
    assert "$3.75" in out


def test_ages_and_dates_are_moments():
    now = datetime(2026, 3, 10, tzinfo=UTC)
    assert moment("7d", now=now) == datetime(2026, 3, 3, tzinfo=UTC)
    assert moment("90m", now=now) == now - timedelta(minutes=90)
    assert moment("2w", now=now) == now - timedelta(weeks=2)
    assert moment("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert moment("2026-01-31T08:00+02:00") == datetime(2026, 1, 31, 6, tzinfo=UTC)


@pytest.mark.parametrize("words", [["report"], ["report", "--json", "-"]])
def test_a_reader_that_leaves_early_gets_no_traceback(path, words):
    script = f"import sys; from thrift_core.cli import main; sys.exit(main({words!r}))"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode in (0, 1), err) == (True, b"")


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out.split()[0]) == (0, "thrift")


def test_an_interrupted_command_ends_with_130(run, monkeypatch, path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("thrift_core.commands.report.summarise", interrupted)
    assert run("report")[0] == 130


def test_on_a_terminal_long_work_shows_that_it_goes_on(path, run, monkeypatch, tmp_path):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for words in (["report"], ["export", tmp_path / "out.jsonl"], ["budget", "try", "--calls", "1"]):
        code, _, err = run(*words)
        assert (code, "Traceback" in err) == (0, False)
    assert "7 lines" in run("export", tmp_path / "out.jsonl")[2]


def test_the_commands_start_without_loading_what_only_tables_need():
    script = "import sys, thrift_core.cli; print([name for name in ('rich', 'genai_prices') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
