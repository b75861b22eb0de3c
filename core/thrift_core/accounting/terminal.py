"""A report on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thrift_core.accounting.amounts import dollars, plural, share, shown, tokens, with_unpriced
from thrift_core.accounting.cache_use import CacheUse
from thrift_core.accounting.report import Report
from thrift_core.accounting.report_tables import Table, report_tables

if TYPE_CHECKING:
    from rich.console import Console


def print_report(report: Report, console: Console) -> None:
    """Print a report's headline and its tables."""
    from rich.text import Text  # noqa: PLC0415 - slow to import, and only the command line needs it

    console.print()
    for index, line in enumerate(headline(report)):
        console.print(Text(line, style="" if index else "bold"))
    for table in report_tables(report):
        console.print()
        print_table(table, console)
    console.print()


def headline(report: Report) -> list[str]:
    """Return what matters most, in a few lines."""
    total, usage = report.total, report.total.usage
    lines = [f"{plural(total.calls, 'call')}: {with_unpriced(total.cost_usd, total.unpriced_calls)}", period(report)]
    if total.calls:
        lines.append(
            f"{tokens(usage.input_tokens)} tokens in ({share(total.cached_share)} cached), "
            f"{tokens(usage.output_tokens)} out"
        )
    if report.cache:
        use = report.cache[0]
        hits = f"{share(use.hit_rate)} of {plural(use.requests, 'request')} answered from the cache"
        lines.append(f"{hits}, {dollars(use.saved_usd)} saved, {false_hits(use)}")
    return [*lines, *predictions(report), *estimates(report)]


def false_hits(use: CacheUse) -> str:
    """Return in words how many of the cache's answers are false, as far as that is known."""
    if use.false_hit_rate is None:
        return "no hit checked yet"
    low, high = use.false_hit_interval()
    return f"false hits {share(use.false_hit_rate)} ({share(low)} to {share(high)}) of those that are not exact"


def predictions(report: Report) -> list[str]:
    """Return a sentence on what was predicted of the prompt cache and what was billed, if anything was predicted."""
    seen = report.prediction
    if not seen.calls:
        return []
    said = f"{tokens(seen.predicted_tokens)} tokens predicted, {tokens(seen.billed_tokens)} billed"
    return [f"prompt cache reads of {plural(seen.calls, 'call')}: {said}"]


def estimates(report: Report) -> list[str]:
    """Return a sentence on calls whose tokens nobody reported, if there are any."""
    number = report.total.estimated_calls
    return [f"{plural(number, 'call')} with tokens counted by thrift: the provider told none"] if number else []


def period(report: Report) -> str:
    """Return what the report is about: the ledger, the time and the filters."""
    since, until = report.since or report.first_call_at, report.until or report.last_call_at
    when = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC" if since and until else "no calls"
    only = ", ".join(f"{name} {shown(value)}" for name, value in report.filters.items())
    return f"{shown(report.ledger)}: {when}{f'; only {only}' if only else ''}"


def print_table(table: Table, console: Console) -> None:
    """Print one table. Names come from outside: they are texts, never markup."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table as Grid  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Grid(box=box.SIMPLE_HEAD, title=Text(table.title, style="bold"), title_justify="left", pad_edge=False)
    for index, column in enumerate(table.columns):
        grid.add_column(
            Text(column.title),
            justify="right" if column.is_number else "left",
            overflow="fold" if index == 0 else "ellipsis",
            # Figures are never cut or broken: where the terminal is narrow, the names give way.
            no_wrap=column.is_number,
            min_width=None if column.is_number else 12,
        )
    for line in table.lines:
        grid.add_row(*map(Text, line.cells), style="dim" if line.is_muted else None)
    console.print(grid)
    notes = [*(f"{line.cells[0]}: {line.note}" for line in table.lines if line.note), table.note]
    for note in filter(None, notes):
        console.print(Text(note, style="dim"))
