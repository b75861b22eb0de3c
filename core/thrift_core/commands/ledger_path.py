"""Which ledger a command works on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import LedgerError


def add_ledger(parser: argparse.ArgumentParser) -> None:
    """Add the ledger as an optional argument."""
    parser.add_argument("ledger", nargs="?", help="the ledger file (default: $THRIFT_LEDGER, or thrift.sqlite here)")


def ledger_path(given: str | None) -> Path:
    """Return the file that is meant."""
    return Path(given or os.environ.get("THRIFT_LEDGER") or "thrift.sqlite")


def open_ledger(given: str | None) -> Ledger:
    """Open a ledger that exists: a report must not make one.

    Raises:
        LedgerError: there is none, or it cannot be used; says what to do.
    """
    path = ledger_path(given)
    if not path.exists():
        raise LedgerError(
            f"there is no ledger {path}; name one, set THRIFT_LEDGER, or let the app make it with Ledger({str(path)!r})"
        )
    return Ledger(path)
