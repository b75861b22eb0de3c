"""Sums of money and of billed units that SQLite computes without losing a digit."""

from __future__ import annotations

import sqlite3
from decimal import Context, Decimal
from typing import Any

from thrift_core.accounting.ledger_rows import dump_other, load_other
from thrift_core.accounting.usage import Amount

# SQLite's own SUM would go through floats, and Python's default context rounds at 28 digits: a sum would then depend
# on its order, and the parts would not add up to the total.
_EXACT = Context(prec=1000)


def exact_sum(amounts: list[Decimal]) -> Decimal:
    """Return the sum with every digit."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


class DecimalSum:
    """SQLite aggregate: the sum of amounts kept as text, as text; NULLs are passed over."""

    def __init__(self) -> None:
        self._total = Decimal(0)

    def step(self, value: str | None, /) -> None:
        """Add one row."""
        if value is not None:
            self._total = _EXACT.add(self._total, Decimal(value))

    def finalize(self) -> str:
        """Return the sum."""
        return str(self._total)


class UnitSum:
    """SQLite aggregate: the sums of further billed units kept as JSON, as JSON; None if there are none."""

    def __init__(self) -> None:
        self._totals: dict[str, Amount] = {}

    def step(self, value: str | None, /) -> None:
        """Add one row."""
        for name, amount in (load_other(value) if value else {}).items():
            before = self._totals.get(name, 0)
            if isinstance(before, int) and isinstance(amount, int):
                self._totals[name] = before + amount
            else:
                self._totals[name] = _EXACT.add(Decimal(before), Decimal(amount))

    def finalize(self) -> str | None:
        """Return the sums."""
        return dump_other(self._totals) if self._totals else None


def add_exact_sums(connection: sqlite3.Connection) -> None:
    """Teach a connection the aggregates `decimal_sum` and `unit_sum`."""
    # Any, because typeshed knows only aggregates of whole numbers.
    aggregates: dict[str, Any] = {"decimal_sum": DecimalSum, "unit_sum": UnitSum}
    for name, aggregate in aggregates.items():
        connection.create_aggregate(name, 1, aggregate)
