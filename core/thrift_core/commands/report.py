"""`thrift report`: what was spent, by whom and for what."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.report import Report, summarise
from thrift_core.accounting.spend import SPEND_KEYS, SpendKey
from thrift_core.commands.ledger_path import add_ledger, open_ledger
from thrift_core.commands.period import add_period, filters
from thrift_core.commands.progress import waiting
from thrift_core.commands.subparsers import Subparsers
from thrift_core.errors import ThriftError

_DEFAULT: tuple[SpendKey, ...] = ("feature", "model")
_ON_THE_PAGE: tuple[SpendKey, ...] = ("feature", "model", "day")


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("report", help="what was spent, on what, and where to look", description=run.__doc__)
    add_ledger(parser)
    parser.add_argument(
        "--by", action="append", choices=SPEND_KEYS, help="break the spend down by this; may be given again"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON; - writes it here, instead of tables")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the report as one page, with charts")
    add_period(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show what a ledger says: spend, waste lines, savings by lever, cost per resolved task, faults."""
    asked: tuple[SpendKey, ...] = tuple(arguments.by or _DEFAULT)
    with open_ledger(arguments.ledger) as ledger, waiting("reading the ledger"):
        report = _summarise(ledger, arguments, asked)
        if arguments.html:
            from thrift_core.accounting.html import report_page  # noqa: PLC0415 - only a page needs it

            page = _summarise(ledger, arguments, tuple(dict.fromkeys((*_ON_THE_PAGE, *asked))))
            _write(arguments.html, report_page(page))
    if arguments.json:
        _write_json(arguments.json, report)
    if arguments.json != "-":
        _print(report)
    return 0


def _summarise(ledger: Ledger, arguments: argparse.Namespace, by: tuple[SpendKey, ...]) -> Report:
    return summarise(ledger, arguments.since, arguments.until, by=by, **filters(arguments))


def _print(report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import

    from thrift_core.accounting.terminal import print_report  # noqa: PLC0415

    print_report(report, Console(highlight=False))


def _write_json(file: str, report: Report) -> None:
    from thrift_core.accounting.report_json import report_json  # noqa: PLC0415

    text = json.dumps(report_json(report), indent=2) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        _write(Path(file), text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ThriftError(f"{path} cannot be written: {error.strerror or error}") from error
    sys.stderr.write(f"written: {path}\n")
