"""What a group of calls used and cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, get_args

from thrift_core.accounting.ledger_rows import COUNTS, Row, usage_from
from thrift_core.accounting.ledger_store import LedgerStore
from thrift_core.accounting.usage import Usage

SpendKey = Literal["model", "feature", "user", "tenant", "task", "run", "day", "provider", "outcome"]
SPEND_KEYS: Final[tuple[SpendKey, ...]] = get_args(SpendKey)

_DAY = "date(started_at / 1000000, 'unixepoch')"
_SUMS = ", ".join(
    (
        "count(*)",
        "coalesce(decimal_sum(cost_usd), '0')",
        "count(*) - count(cost_usd)",
        "sum(is_estimated)",
        "total(latency_seconds)",
        *(f"sum({name})" for name in COUNTS),
        "unit_sum(other) FILTER (WHERE other IS NOT NULL)",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What a group of calls used and cost.

    Attributes:
        key: what the calls have in common; None for those where it is not known, and for a total.
        calls: how many there were.
        usage: what they used together.
        cost_usd: what the priced ones cost together; says nothing of the unpriced ones.
        unpriced_calls: how many have no known price, so that the true cost is higher than `cost_usd`.
        estimated_calls: how many have tokens counted by us, because the provider reported none.
        latency_seconds: the time they took, one after the other.
    """

    key: str | None
    calls: int
    usage: Usage
    cost_usd: Decimal
    unpriced_calls: int = 0
    estimated_calls: int = 0
    latency_seconds: float = 0.0

    @property
    def cached_share(self) -> float:
        """The part of the input that was read from the provider's prompt cache, from 0 to 1."""
        return self.usage.cache_read_tokens / self.usage.input_tokens if self.usage.input_tokens else 0.0


def spend_by(store: LedgerStore, by: SpendKey, condition: str, values: list[Any]) -> list[Spend]:
    """Return one line for each value of a key: days in order, all else with the dearest first.

    Raises:
        ValueError: a key that does not exist.
    """
    if by not in SPEND_KEYS:
        raise ValueError(f"spend is known by {', '.join(SPEND_KEYS)}; not by {by!r}")
    key = _DAY if by == "day" else by
    rows = store.read(f"SELECT {key}, {_SUMS} FROM calls WHERE {condition} GROUP BY 1 ORDER BY 1", values)  # noqa: S608
    lines = [_spend(row) for row in rows]
    return lines if by == "day" else sorted(lines, key=lambda line: (-line.cost_usd, -line.calls, line.key or ""))


def spend_total(store: LedgerStore, condition: str, values: list[Any]) -> Spend:
    """Return all the calls as one line."""
    rows = store.read(f"SELECT NULL, {_SUMS} FROM calls WHERE {condition}", values)  # noqa: S608
    return _spend(rows[0])


def _spend(row: Row) -> Spend:
    key, calls, cost, unpriced, estimated, latency, *counts, other = row
    return Spend(
        key=key,
        calls=calls,
        usage=usage_from(tuple(count or 0 for count in counts), other),
        cost_usd=Decimal(cost),
        unpriced_calls=unpriced,
        estimated_calls=estimated or 0,
        latency_seconds=latency,
    )
