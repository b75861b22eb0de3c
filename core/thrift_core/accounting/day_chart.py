"""The spend of each day as columns, drawn as inline SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from html import escape

from thrift_core.accounting.amounts import dollars, plural, with_unpriced
from thrift_core.accounting.exact_sums import exact_sum
from thrift_core.accounting.spend import Spend

# More columns than this would be thinner than a few pixels: then each stands for a month.
_MOST_DAYS = 100
_MOST_MONTHS = 240
_HEIGHT = 100
_STEP = 10
_STEPS = tuple(map(Decimal, ("1", "1.2", "1.6", "2", "2.4", "3", "4", "5", "6", "8", "10")))


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    cost_usd: Decimal
    calls: int
    unpriced_calls: int


def day_chart(days: list[Spend]) -> str:
    """Return a chart of the days in order; days without a call are gaps, long periods are drawn by month."""
    columns = _columns([day for day in days if day.key is not None])
    if not columns:
        return "<p>No days.</p>"
    largest = max(column.cost_usd for column in columns)
    top = _round_up(largest)
    marks = "".join(_mark(index, column, top) for index, column in enumerate(columns))
    lines = "".join(f'<line x1="0" x2="100%" y1="{y}" y2="{y}" />' for y in (0, _HEIGHT // 2, _HEIGHT))
    names = [columns[0].name, *([columns[len(columns) // 2].name] if len(columns) > 4 else []), columns[-1].name]
    axis = "".join(f"<span>{escape(name)}</span>" for name in dict.fromkeys(names))
    label = f"Spend from {columns[0].name} to {columns[-1].name}, at most {dollars(largest)} in one column"
    return (
        f'<div class="chart"><div class="scale soft"><span>{dollars(top)}</span>'
        f"<span>{dollars(top / 2, _decimals(top))}</span><span>$0</span></div>"
        f'<svg class="columns" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(columns) * _STEP} {_HEIGHT}" '
        f'preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{lines}{marks}</svg>'
        f'<div class="axis soft">{axis}</div></div>'
    )


def _decimals(top: Decimal) -> int:
    return len(dollars(top).partition(".")[2])


def _mark(index: int, column: _Column, top: Decimal) -> str:
    height = float(column.cost_usd / top) * _HEIGHT if top else 0.0
    money = with_unpriced(column.cost_usd, column.unpriced_calls)
    words = f"{column.name}: {money}, {plural(column.calls, 'call')}"
    # The hit area fills the column, so that a low one can be pointed at too.
    return (
        f'<rect x="{index * _STEP + 1}" y="{_HEIGHT - height:.2f}" width="{_STEP - 2}" height="{height:.2f}" />'
        f'<rect class="hit" x="{index * _STEP}" y="0" width="{_STEP}" height="{_HEIGHT}">'
        f"<title>{escape(words)}</title></rect>"
    )


def _columns(days: list[Spend]) -> list[_Column]:
    dated = {date.fromisoformat(day.key): day for day in days if day.key is not None}
    if not dated:
        return []
    first, last = min(dated), max(dated)
    if (last - first).days < _MOST_DAYS:
        every = [first + timedelta(days=index) for index in range((last - first).days + 1)]
        return [_column(day.isoformat(), [dated[day]] if day in dated else []) for day in every]
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    if months > _MOST_MONTHS:  # a clock was wrong somewhere: draw only the months with calls
        names: Iterable[str] = sorted({f"{day:%Y-%m}" for day in dated})
    else:
        starts = (first.year * 12 + first.month - 1 + index for index in range(months))
        names = [f"{start // 12:04}-{start % 12 + 1:02}" for start in starts]
    return [_column(name, [day for at, day in dated.items() if f"{at:%Y-%m}" == name]) for name in names]


def _column(name: str, days: list[Spend]) -> _Column:
    return _Column(
        name,
        exact_sum([day.cost_usd for day in days]),
        sum(day.calls for day in days),
        sum(day.unpriced_calls for day in days),
    )


def _round_up(largest: Decimal) -> Decimal:
    """Return the next amount of few digits, for the top of the scale."""
    if not largest:
        return Decimal(1)
    unit = Decimal(1).scaleb(largest.adjusted())
    return next(unit * step for step in _STEPS if unit * step >= largest)
