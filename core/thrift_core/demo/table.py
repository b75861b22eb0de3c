"""The one table that the demo ends with."""

from __future__ import annotations

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


def _bill(figures: Figures) -> str:
    if figures.billed_usd is None:
        return "-"
    return "same" if figures.billed_usd == figures.spend.cost_usd else _usd(figures.billed_usd)


def _share(figures: Figures, first: Figures | None) -> str:
    if first is None or first is figures or not first.spend.cost_usd:
        return "-"
    return f"{figures.spend.cost_usd / first.spend.cost_usd:.0%}"


def demo_table(rows: list[RowFigures], *, title: str) -> Table:
    """Return the table: a block for each row, with a line for each workload and one for all.

    Args:
        rows: in the order they were run; the first is what the others are compared with.
        title: what stands above it.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("levers", max_width=14)
    for heading in ("dollars", "of first", "bill", "calls", "cached", "resolved", "each"):
        table.add_column(heading, justify="right", no_wrap=True)
    firsts: dict[str, Figures] = {}
    for row in rows:
        table.add_row(row.name, style="bold")
        for name, figures in [*row.figures.items(), ("all", together(list(row.figures.values())))]:
            table.add_row(
                f"  {name}",
                _usd(figures.spend.cost_usd, figures.spend.unpriced_calls),
                _share(figures, firsts.setdefault(name, figures)),
                _bill(figures),
                f"{figures.spend.calls:,}",
                f"{figures.spend.cached_share:.0%}",
                f"{figures.resolved} of {figures.tasks}",
                _per_task(figures),
                end_section=name == "all",
            )
    table.caption = (
        "bill: what the provider itself charged, which the ledger must equal. cached: share of input tokens read from "
        "the prompt cache. each: dollars per resolved task."
    )
    table.caption_justify = "left"
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
