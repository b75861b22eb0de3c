"""A report as tables of text, the same for the terminal and for the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from thrift_core.accounting.amounts import count, decimals_for, dollars, share, shown, tokens
from thrift_core.accounting.cache_use import CacheUse
from thrift_core.accounting.exact_sums import exact_sum
from thrift_core.accounting.report import LeverSaving, Report, TaskCosts
from thrift_core.accounting.spend import Spend, SpendKey
from thrift_core.accounting.usage import Usage
from thrift_core.accounting.waste import Waste

MOST_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's heading, and whether it holds numbers."""

    title: str
    is_number: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a table.

    Attributes:
        cells: the text of each column.
        amount: the row's dollars, for a bar; None where there is none.
        note: a sentence below the row.
        is_muted: measured only, or otherwise of less weight.
    """

    cells: tuple[str, ...]
    amount: Decimal | None = None
    note: str | None = None
    is_muted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its title, and a sentence on how to read it."""

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str | None = None


def report_tables(report: Report) -> list[Table]:
    """Return the tables of a report that have something to say, the spend first.

    A column `Unpriced` counts what the dollars beside it leave out; it is there only where something is left out.
    """
    tables = [spend_table(key, lines) for key, lines in report.spend.items()]
    tables += [waste_table(report.waste), savings_table(report.savings), cache_table(report.cache), task_table(report)]
    tables.append(fault_table(report.faults))
    return [_without_empty_columns(table) for table in tables if table.lines]


def spend_table(key: SpendKey, spend: list[Spend]) -> Table:
    """Return the spend by one key; what is beyond the first rows is added up in a last one."""
    kept = spend if key == "day" else _shortened(spend)
    decimals = decimals_for(line.cost_usd for line in kept)
    total = exact_sum([line.cost_usd for line in kept])
    return Table(
        name=key,
        title=f"Spend by {key}",
        columns=(
            Column(title=key.capitalize(), is_number=False),
            Column(title="Cost"),
            Column(title="Unpriced"),
            Column(title="Share"),
            Column(title="Calls"),
            Column(title="Input"),
            Column(title="Cached"),
            Column(title="Output"),
        ),
        lines=tuple(_spend_line(line, total, decimals) for line in kept),
    )


def waste_table(waste: list[Waste]) -> Table:
    """Return the waste lines that concern any call."""
    kept = [line for line in waste if line.calls or line.unpriced_calls]
    decimals = decimals_for(line.cost_usd for line in kept)
    return Table(
        name="waste",
        title="Where to look for waste",
        columns=(
            Column(title="Line", is_number=False),
            Column(title="Cost"),
            Column(title="Unpriced"),
            Column(title="Calls"),
            Column(title="Tokens"),
        ),
        lines=tuple(
            Line(
                cells=(
                    line.title,
                    ("up to " if line.is_upper_bound and line.cost_usd else "")
                    + _priced(line.cost_usd, line.unpriced_calls, decimals),
                    _unpriced(line.unpriced_calls),
                    count(line.calls),
                    tokens(line.tokens),
                ),
                amount=line.cost_usd,
                note=line.definition,
            )
            for line in kept
        ),
        note="The lines overlap and are not savings: do not add them up.",
    )


def savings_table(savings: list[LeverSaving]) -> Table:
    """Return what each lever saved, and below it what it would have saved."""
    decimals = decimals_for(line.cost_usd for line in savings)
    return Table(
        name="savings",
        title="Savings by lever",
        columns=(
            Column(title="Lever", is_number=False),
            Column(title="Mode", is_number=False),
            Column(title="Saved"),
            Column(title="Unpriced"),
            Column(title="Tokens"),
            Column(title="Requests"),
        ),
        lines=tuple(
            Line(
                cells=(
                    shown(line.lever),
                    "shadow: measured only" if line.is_shadow else "applied",
                    _priced(line.cost_usd, line.unpriced_requests, decimals),
                    _unpriced(line.unpriced_requests),
                    tokens(line.tokens),
                    count(line.requests),
                ),
                amount=line.cost_usd,
                is_muted=line.is_shadow,
            )
            for line in savings
        ),
        note="Against what the call would have cost with the provider's prompt cache as it was. "
        "What was measured in shadow was not saved.",
    )


def cache_table(uses: list[CacheUse]) -> Table:
    """Return what the semantic cache did: in all, and by feature where there are several."""
    decimals = decimals_for(use.saved_usd for use in uses)
    return Table(
        name="cache",
        title="Semantic cache",
        columns=(
            Column(title="Feature", is_number=False),
            Column(title="Saved"),
            Column(title="Unpriced"),
            Column(title="Requests"),
            Column(title="Hits"),
            Column(title="Hit rate"),
            Column(title="In shadow"),
            Column(title="Checked"),
            Column(title="False"),
            Column(title="False hits"),
            Column(title="with 95 %"),
        ),
        lines=tuple(_cache_line(use, "all" if not at else shown(use.feature), decimals) for at, use in enumerate(uses)),
        note="Checked: hits on a question that is not the very same, sent to the model too. False: those whose answer "
        "was another one. False hits: their share, and the bounds that hold it with 95 % confidence.",
    )


def task_table(report: Report) -> Table:
    """Return what tasks cost: all of them, and by feature where there are several."""
    groups = [report.tasks] if report.tasks.cost_usd or _tasks(report.tasks) else []
    if len(report.tasks_by_feature) > 1:
        groups += report.tasks_by_feature
    decimals = decimals_for(group.cost_usd for group in groups)
    each_decimals = decimals_for(group.cost_per_resolved_usd or Decimal(0) for group in groups)
    return Table(
        name="tasks",
        title="Cost per resolved task",
        columns=(
            Column(title="Feature", is_number=False),
            Column(title="Each"),
            Column(title="All tasks"),
            Column(title="Unpriced"),
            Column(title="Resolved"),
            Column(title="Failed"),
            Column(title="Open"),
        ),
        lines=tuple(
            _task_line(group, "all" if index == 0 else shown(group.feature), decimals, each_decimals)
            for index, group in enumerate(groups)
        ),
        note="Each: the cost of all tasks, failed and open ones included, for each that was resolved with success. "
        "Open: nobody said how the task ended.",
    )


def fault_table(faults: dict[tuple[str, str], int]) -> Table:
    """Return what failed in thrift itself."""
    return Table(
        name="faults",
        title="Faults of thrift",
        columns=(
            Column(title="Part", is_number=False),
            Column(title="Reason", is_number=False),
            Column(title="Times"),
        ),
        lines=tuple(
            Line(cells=(shown(lever), shown(reason), count(times))) for (lever, reason), times in sorted(faults.items())
        ),
        note="The app's calls went on each time.",
    )


def _spend_line(line: Spend, total: Decimal, decimals: int) -> Line:
    usage = line.usage
    return Line(
        cells=(
            shown(line.key),
            _priced(line.cost_usd, line.unpriced_calls, decimals),
            _unpriced(line.unpriced_calls),
            share(float(line.cost_usd / total)) if total and (line.cost_usd or not line.unpriced_calls) else "",
            count(line.calls),
            tokens(usage.input_tokens),
            share(line.cached_share) if usage.input_tokens else "",
            tokens(usage.output_tokens),
        ),
        amount=line.cost_usd,
    )


def _cache_line(use: CacheUse, name: str, decimals: int) -> Line:
    low, high = use.false_hit_interval()
    return Line(
        cells=(
            name,
            _priced(use.saved_usd, use.unpriced_hits, decimals),
            _unpriced(use.unpriced_hits),
            count(use.requests),
            count(sum(use.hits.values())),
            share(use.hit_rate),
            count(use.shadow_hits) if use.shadow_hits else "",
            count(use.checks),
            count(use.differed),
            "not checked" if use.false_hit_rate is None else share(use.false_hit_rate),
            f"{share(low)} to {share(high)}" if use.checks else "",
        ),
        amount=use.saved_usd,
    )


def _task_line(group: TaskCosts, name: str, decimals: int, each_decimals: int) -> Line:
    each = group.cost_per_resolved_usd
    return Line(
        cells=(
            name,
            "none resolved" if each is None else _priced(each, group.unpriced_calls, each_decimals),
            _priced(group.cost_usd, group.unpriced_calls, decimals),
            _unpriced(group.unpriced_calls),
            count(group.succeeded),
            count(group.failed),
            count(group.unresolved),
        ),
        amount=each,
    )


def _priced(amount: Decimal, unpriced: int, decimals: int) -> str:
    """Return dollars, and never 0 where calls without a price are all there is."""
    return "unpriced" if unpriced and not amount else dollars(amount, decimals)


def _unpriced(number: int) -> str:
    return f"+ {count(number)}" if number else ""


def _tasks(group: TaskCosts) -> int:
    return group.succeeded + group.failed + group.unresolved


def _without_empty_columns(table: Table) -> Table:
    kept = [index for index, _ in enumerate(table.columns) if any(line.cells[index] for line in table.lines)]
    return replace(
        table,
        columns=tuple(table.columns[index] for index in kept),
        lines=tuple(replace(line, cells=tuple(line.cells[index] for index in kept)) for line in table.lines),
    )


def _shortened(spend: list[Spend]) -> list[Spend]:
    if len(spend) <= MOST_ROWS:
        return spend
    rest = spend[MOST_ROWS - 1 :]
    summed = Spend(
        key=f"{count(len(rest))} others",
        calls=sum(line.calls for line in rest),
        usage=sum((line.usage for line in rest), Usage()),
        cost_usd=exact_sum([line.cost_usd for line in rest]),
        unpriced_calls=sum(line.unpriced_calls for line in rest),
        estimated_calls=sum(line.estimated_calls for line in rest),
        latency_seconds=sum(line.latency_seconds for line in rest),
    )
    return [*spend[: MOST_ROWS - 1], summed]
