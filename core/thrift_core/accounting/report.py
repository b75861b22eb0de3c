"""What a ledger says: the spend, the waste, the savings, and what a resolved task costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Unpack

from thrift_core.accounting.cache_use import CacheUse, cache_uses
from thrift_core.accounting.filters import Filters, calls_where, savings_where
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.ledger_rows import Row, moment
from thrift_core.accounting.ledger_store import LedgerStore
from thrift_core.accounting.prediction import CachePrediction, cache_prediction
from thrift_core.accounting.spend import Spend, SpendKey
from thrift_core.accounting.waste import Waste, WasteRules, waste_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverSaving:
    """What one lever saved. What it did and what it only measured are never added up.

    Attributes:
        lever: the lever's name.
        is_shadow: it only measured; nothing was changed and nothing was saved.
        requests: how many requests it was booked for.
        tokens: tokens not sent or not generated; negative where it added some.
        cost_usd: dollars; negative where it cost money.
        unpriced_requests: requests among them with no known price, not in `cost_usd`.
    """

    lever: str
    is_shadow: bool
    requests: int
    tokens: int
    cost_usd: Decimal
    unpriced_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCosts:
    """What tasks cost. Money spent on tasks that failed, or of which nobody said how they ended, is spent all the same.

    Attributes:
        feature: the feature whose calls these are; None for all, or for calls of none.
        succeeded: tasks resolved with success.
        failed: tasks resolved without.
        unresolved: tasks with calls, but without a word on how they ended.
        succeeded_usd: what the calls of the first cost.
        failed_usd: what the calls of the second cost.
        unresolved_usd: what the calls of the third cost.
        unpriced_calls: calls of any of them with no known price.
    """

    feature: str | None = None
    succeeded: int = 0
    failed: int = 0
    unresolved: int = 0
    succeeded_usd: Decimal = Decimal(0)
    failed_usd: Decimal = Decimal(0)
    unresolved_usd: Decimal = Decimal(0)
    unpriced_calls: int = 0

    @property
    def cost_usd(self) -> Decimal:
        """What all of the tasks cost."""
        return self.succeeded_usd + self.failed_usd + self.unresolved_usd

    @property
    def cost_per_resolved_usd(self) -> Decimal | None:
        """What all of the tasks cost, for each that was resolved with success; None if none was."""
        return self.cost_usd / self.succeeded if self.succeeded else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a ledger says about a period.

    Attributes:
        ledger: the file's name, or `in memory`.
        made_at: when the report was made.
        since: the first moment that counts, if one was given.
        until: the first moment that no longer counts, if one was given.
        filters: which calls count, by name and value.
        first_call_at: when the first of the calls was sent.
        last_call_at: when the last of them was sent.
        total: all the calls.
        spend: the calls by each of the keys asked for.
        waste: the waste lines.
        savings: what each lever saved, and what it would have saved.
        tasks: what tasks cost.
        tasks_by_feature: the same for each feature, the dearest first.
        faults: how often each (lever, reason) failed; of all calls, whatever the filters.
        cache: what the semantic cache did, in all and by feature; empty where it was never asked.
        prediction: tokens read from the provider's prompt cache, predicted beside billed.
    """

    ledger: str
    made_at: datetime
    since: datetime | None
    until: datetime | None
    filters: dict[str, str]
    first_call_at: datetime | None
    last_call_at: datetime | None
    total: Spend
    spend: dict[SpendKey, list[Spend]]
    waste: list[Waste]
    savings: list[LeverSaving]
    tasks: TaskCosts
    tasks_by_feature: list[TaskCosts]
    faults: dict[tuple[str, str], int]
    cache: list[CacheUse] = field(default_factory=list[CacheUse])
    prediction: CachePrediction = field(default_factory=CachePrediction)


def summarise(
    ledger: Ledger,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    by: Sequence[SpendKey] = ("feature", "model", "day"),
    rules: WasteRules | None = None,
    **filters: Unpack[Filters],
) -> Report:
    """Return what a ledger says about the calls from `since` to just before `until`.

    Args:
        ledger: the ledger.
        since: the first moment that counts.
        until: the first moment that no longer counts.
        by: the keys to break the spend down by.
        rules: where waste begins.
        **filters: only calls with this `feature`, `user`, `tenant`, `task`, `run`, `model`, `provider`, `outcome`.

    Raises:
        LedgerError: the file cannot be read.
        ValueError: an unknown key, or a time without a time zone.
    """
    where = calls_where(since, until, filters)
    first, last = ledger.store.read(f"SELECT min(started_at), max(started_at) FROM calls WHERE {where[0]}", where[1])[0]  # noqa: S608
    return Report(
        ledger=ledger.path.name if ledger.path else "in memory",
        made_at=datetime.now(UTC),
        since=since,
        until=until,
        filters={name: str(value) for name, value in filters.items() if value is not None},
        first_call_at=None if first is None else moment(first),
        last_call_at=None if last is None else moment(last),
        total=ledger.total(since=since, until=until, **filters),
        spend={key: ledger.spend(key, since=since, until=until, **filters) for key in by},
        waste=waste_lines(ledger, since=since, until=until, rules=rules, **filters),
        savings=_savings(ledger.store, *savings_where(since, until, filters)),
        tasks=_tasks(ledger.store, "NULL", *where)[0],
        tasks_by_feature=sorted(_tasks(ledger.store, "feature", *where), key=lambda line: -line.cost_usd),
        faults=ledger.faults(since=since, until=until),
        cache=cache_uses(ledger.store, since, until, filters),
        prediction=cache_prediction(ledger.store, *where),
    )


def _savings(store: LedgerStore, condition: str, values: list[Any]) -> list[LeverSaving]:
    rows = store.read(
        "SELECT lever, is_shadow, count(*), sum(tokens), decimal_sum(cost_usd), count(*) - count(cost_usd) "  # noqa: S608
        f"FROM savings WHERE {condition} GROUP BY 1, 2 ORDER BY 2, 1",
        values,
    )
    return [
        LeverSaving(
            lever=lever,
            is_shadow=bool(is_shadow),
            requests=requests,
            tokens=tokens,
            cost_usd=Decimal(cost),
            unpriced_requests=unpriced,
        )
        for lever, is_shadow, requests, tokens, cost, unpriced in rows
    ]


def _tasks(store: LedgerStore, key: str, condition: str, values: list[Any]) -> list[TaskCosts]:
    rows = store.read(
        f"SELECT {key}, success, count(DISTINCT task), decimal_sum(cost_usd), count(*) - count(cost_usd) "  # noqa: S608
        f"FROM (SELECT calls.*, success FROM calls LEFT JOIN resolutions USING (task)) "
        f"WHERE task IS NOT NULL AND {condition} GROUP BY 1, 2",
        values,
    )
    groups: dict[str | None, list[Row]] = {}
    for feature, *row in rows:
        groups.setdefault(feature, []).append(tuple(row))
    if key == "NULL":
        groups.setdefault(None, [])
    return [_task_costs(feature, endings) for feature, endings in groups.items()]


def _task_costs(feature: str | None, endings: list[Row]) -> TaskCosts:
    tasks = {success: count for success, count, _, _ in endings}
    dollars = {success: Decimal(cost) for success, _, cost, _ in endings}
    return TaskCosts(
        feature=feature,
        succeeded=tasks.get(1, 0),
        failed=tasks.get(0, 0),
        unresolved=tasks.get(None, 0),
        succeeded_usd=dollars.get(1, Decimal(0)),
        failed_usd=dollars.get(0, Decimal(0)),
        unresolved_usd=dollars.get(None, Decimal(0)),
        unpriced_calls=sum(unpriced for _, _, _, unpriced in endings),
    )
