"""A report as one self-contained page: no script, nothing loaded, every name from outside escaped."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from importlib.resources import files

from thrift_core.accounting.amounts import count, dollars, plural, share, tokens
from thrift_core.accounting.day_chart import day_chart
from thrift_core.accounting.report import Report, TaskCosts
from thrift_core.accounting.report_tables import Column, Line, Table, report_tables
from thrift_core.accounting.terminal import estimates, false_hits, period

# What stays on a narrow page beside the name and what the dollars leave out.
_KEPT_WHEN_NARROW = frozenset({"Cost", "Unpriced", "Mode", "Saved", "Hit rate", "with 95 %", "Each", "Reason", "Times"})


def report_page(report: Report) -> str:
    """Return the page, well-formed as XML too.

    Args:
        report: a report; with `day` among its keys the page has a chart of the days.
    """
    tables = {table.name: table for table in report_tables(report)}
    days = tables.pop("day", None)
    cards = [_card("days", "Spend by day", day_chart(report.spend["day"]), days.note)] if days is not None else []
    cards += [_table_card(table, report) for table in tables.values()]
    style = files("thrift_core.accounting").joinpath("page.css").read_text(encoding="utf-8")
    return _PAGE.format(
        style=style,
        title=_text(f"LLM spend: {period(report)}"),
        period=_text(period(report)),
        tiles="".join(_tiles(report)),
        cards="".join(cards) or _card("empty", "Nothing yet", "<p>The ledger holds no calls of this kind.</p>", None),
        estimates=_text("".join(f"{sentence}." for sentence in estimates(report))),
        made_at=f"{report.made_at:%Y-%m-%d %H:%M}",
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header><h1>LLM spend</h1><p class="soft"><bdi>{period}</bdi></p></header>
<section class="tiles">{tiles}</section>
<section class="cards">{cards}</section>
<footer class="soft">Made by thrift on {made_at} UTC. Days are those of UTC. What has no known price is shown as
unpriced and is in no sum. {estimates}</footer>
</main>
</body>
</html>
"""


def _tiles(report: Report) -> list[str]:
    total, usage, tasks = report.total, report.total.usage, report.tasks
    tiles = [
        _tile(dollars(total.cost_usd), "spent", _left_out(total.unpriced_calls) or "every call priced"),
        _tile(count(total.calls), "calls", _per_call(report)),
        _tile(tokens(usage.input_tokens), "tokens in", f"{share(total.cached_share)} read from the prompt cache"),
        _tile(tokens(usage.output_tokens), "tokens out", f"{tokens(usage.reasoning_tokens)} of them reasoning"),
    ]
    if tasks.cost_per_resolved_usd is not None:
        resolved = f"{count(tasks.succeeded)} resolved, {count(tasks.failed + tasks.unresolved)} not"
        resolved = " ".join(filter(None, (resolved, _left_out(tasks.unpriced_calls))))
        tiles.append(_tile(dollars(tasks.cost_per_resolved_usd), "per resolved task", resolved))
    if report.cache:
        use = report.cache[0]
        saved = f"{dollars(use.saved_usd)} saved"
        tiles.append(_tile(share(use.hit_rate), "answered from the cache", f"{saved}; {false_hits(use)}"))
    return tiles


def _per_call(report: Report) -> str:
    priced = report.total.calls - report.total.unpriced_calls
    return f"{dollars(report.total.cost_usd / priced)} for each priced one" if priced else ""


def _left_out(unpriced: int) -> str:
    return f"+ {plural(unpriced, 'unpriced call')}" if unpriced else ""


def _tile(figure: str, what: str, more: str) -> str:
    return (
        f'<div class="card tile"><strong>{_text(figure)}</strong>{_text(what)}<p class="soft">{_text(more)}</p></div>'
    )


def _table_card(table: Table, report: Report) -> str:
    before = _task_stack(report.tasks) if table.name == "tasks" else ""
    return _card(table.name, table.title, before + _table(table), table.note)


def _card(name: str, title: str, content: str, note: str | None) -> str:
    below = f'<p class="soft note">{_text(note)}</p>' if note else ""
    return f'<article class="card {name}"><h2>{_text(title)}</h2>{content}{below}</article>'


def _table(table: Table) -> str:
    classes = [_classes(index, column) for index, column in enumerate(table.columns)]
    heads = "".join(
        f'<th scope="col" class="{of_class}">{_text(column.title)}</th>'
        for of_class, column in zip(classes, table.columns, strict=True)
    )
    largest = max((abs(line.amount) for line in table.lines if line.amount is not None), default=Decimal(0))
    rows = "".join(_row(line, classes, largest) for line in table.lines)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _classes(index: int, column: Column) -> str:
    kind = "number" if column.is_number else "name" if index == 0 else "words"
    return kind if index == 0 or column.title in _KEPT_WHEN_NARROW else f"{kind} extra"


def _row(line: Line, classes: list[str], largest: Decimal) -> str:
    first, *others = line.cells
    weight = "muted" if line.is_muted else "plain"
    note = f'<p class="soft">{_text(line.note)}</p>' if line.note else ""
    name = f"<bdi>{_text(first)}</bdi>{_bar(line, largest)}{note}"
    cells = f'<td class="{classes[0]}">{name}</td>' + "".join(
        f'<td class="{of_class}">{_text(cell)}</td>' for of_class, cell in zip(classes[1:], others, strict=True)
    )
    return f'<tr class="{weight}">{cells}</tr>'


def _bar(line: Line, largest: Decimal) -> str:
    if line.amount is None or not largest:
        return ""
    part = abs(line.amount) / largest
    names = [*(["shadow"] if line.is_muted else []), *(["lost"] if line.amount < 0 else [])]
    of_class = " ".join(names) or "plain"
    fill = f'<i class="{of_class}" style="width:{part:.2%}"></i>' if line.amount else ""
    return f'<div class="bar" aria-hidden="true">{fill}</div>'


def _task_stack(tasks: TaskCosts) -> str:
    """Return where the money for tasks went, as one bar."""
    parts = [
        ("succeeded", "resolved with success", tasks.succeeded, tasks.succeeded_usd),
        ("failed", "failed", tasks.failed, tasks.failed_usd),
        ("unresolved", "no word on how they ended", tasks.unresolved, tasks.unresolved_usd),
    ]
    kept = [part for part in parts if part[2]]
    bars = "".join(
        f'<i class="{name}" style="flex:{float(cost / tasks.cost_usd):.4f}"></i>'
        for name, _, _, cost in kept
        if tasks.cost_usd and cost
    )
    legend = "".join(
        f'<span><i class="{name}"></i>{_text(f"{count(number)} {words}: {dollars(cost)}")}</span>'
        for name, words, number, cost in kept
    )
    stack = f'<div class="stack" aria-hidden="true">{bars}</div>' if bars else ""
    return f'{stack}<div class="legend soft">{legend}</div>'


def _text(text: str) -> str:
    return escape(text)
