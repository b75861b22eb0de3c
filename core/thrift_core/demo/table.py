"""The one table that the demo ends with."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from thrift_core.demo.run import RowFigures
from thrift_core.demo.workload import Figures

if TYPE_CHECKING:
    from rich.table import Table


def _usd(amount: Decimal, unpriced_calls: int = 0) -> str:
    text = f"${amount:.6f}"
    return f"{text} + {unpriced_calls} unpriced" if unpriced_calls else text


def _per_task(figures: Figures) -> str:
    each = figures.usd_per_resolved_task
    return "-" if each is None else _usd(each)


# Every line of a row: what it says, and how it is read from a workload's figures.
_LINES: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("dollars", lambda figures: _usd(figures.spend.cost_usd, figures.spend.unpriced_calls)),
    ("provider's bill", lambda figures: "-" if figures.billed_usd is None else _usd(figures.billed_usd)),
    ("calls", lambda figures: f"{figures.spend.calls:,}"),
    ("cached input", lambda figures: f"{figures.spend.cached_share:.0%}"),
    ("tasks resolved", lambda figures: f"{figures.resolved} of {figures.tasks}"),
    ("per resolved task", _per_task),
)


def demo_table(rows: list[RowFigures], *, title: str) -> Table:
    """Return the table: a block of lines for each row, a column for each workload.

    Args:
        rows: in the order they were run.
        title: what stands above it.
    """
    from rich.table import Table  # noqa: PLC0415 - slow to import

    table = Table(title=title, title_justify="left")
    table.add_column("levers")
    table.add_column("")
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    for name in (*names, "all"):
        table.add_column(name, justify="right")
    for row in rows:
        columns = [*(row.figures[name] for name in names), together(list(row.figures.values()))]
        for number, (label, read) in enumerate(_LINES):
            cells = [read(figures) for figures in columns]
            is_last = number == len(_LINES) - 1
            table.add_row(
                "" if number else row.name, label, *cells, end_section=is_last, style="bold" if not number else ""
            )
    return table


def together(figures: list[Figures]) -> Figures:
    """Return the sums over workloads."""
    spends = [one.spend for one in figures]
    first = spends[0]
    total = type(first)(
        key=None,
        calls=sum(spend.calls for spend in spends),
        usage=sum((spend.usage for spend in spends[1:]), first.usage),
        cost_usd=sum((spend.cost_usd for spend in spends), Decimal(0)),
        unpriced_calls=sum(spend.unpriced_calls for spend in spends),
    )
    bills = [one.billed_usd for one in figures if one.billed_usd is not None]
    return Figures(
        spend=total,
        billed_usd=sum(bills, Decimal(0)) if len(bills) == len(figures) else None,
        tasks=sum(one.tasks for one in figures),
        resolved=sum(one.resolved for one in figures),
    )
