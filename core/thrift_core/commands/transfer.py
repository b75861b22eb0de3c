"""`thrift import` and `thrift export`: a ledger to and from lines of JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.transfer import line_count
from thrift_core.commands.ledger_path import ledger_path, open_ledger
from thrift_core.commands.progress import progress
from thrift_core.commands.subparsers import Subparsers


def add(commands: Subparsers) -> None:
    """Add the subcommands."""
    into = commands.add_parser("import", help="add the lines of a JSONL file to a ledger", description=import_.__doc__)
    into.add_argument("file", type=Path, help="a file as `thrift export` writes it")
    into.add_argument("ledger", nargs="?", help="the ledger file, made if absent (default: as in `thrift report`)")
    into.set_defaults(run=import_)
    out = commands.add_parser("export", help="write a ledger as lines of JSON", description=export.__doc__)
    out.add_argument("file", type=Path, help="the file to write; replaced if it is there")
    out.add_argument("ledger", nargs="?", help="the ledger file (default: as in `thrift report`)")
    out.set_defaults(run=export)


def import_(arguments: argparse.Namespace) -> int:
    """Add calls, savings, resolutions and faults to a ledger. Lines that are there already are passed over."""
    path = ledger_path(arguments.ledger)
    with Ledger(path) as ledger, progress("lines") as step:
        new = ledger.import_jsonl(arguments.file, on_line=step)
    sys.stderr.write(f"{new:,} new lines of {arguments.file} are in {path}\n")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write everything a ledger holds as lines of JSON."""
    with open_ledger(arguments.ledger) as ledger, progress("lines", total=line_count(ledger.store)) as step:
        lines = ledger.export_jsonl(arguments.file, on_line=step)
    sys.stderr.write(f"{lines:,} lines are in {arguments.file}\n")
    return 0
