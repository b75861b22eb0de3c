"""What a report says of the cache: how often it had an answer, how often a wrong one, and what that saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from thrift_core.accounting.filters import lookups_where, savings_where
from thrift_core.accounting.ledger_rows import Row
from thrift_core.accounting.ledger_store import LedgerStore
from thrift_core.accounting.lookup import EXACT
from thrift_core.calibration.binomial import share_interval

_LEVER = "cache"
_Counts = Counter[tuple[str, str | None, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What the cache did for one feature, or for all of them together.

    Whether a hit is false is known of those that were checked: a random share of the served ones, and all in shadow
    mode, were also sent to the model and the answers compared. Hits on the very same request are no part of it.

    Attributes:
        feature: the feature; None for all, or for requests of none.
        requests: requests that came by the cache, those that cannot be cached included.
        hits: hits that were served, or asked again as a check, by tier.
        shadow_hits: hits that were only measured.
        checks: hits, other than exact ones, whose answer was compared with the model's.
        differed: those among them whose answer was another one.
        saved_tokens: tokens that the model was not asked for.
        saved_usd: dollars that they would have cost.
        unpriced_hits: hits with no known price, not in `saved_usd`.
    """

    feature: str | None = None
    requests: int = 0
    hits: Mapping[str, int] = field(default_factory=dict[str, int])
    shadow_hits: int = 0
    checks: int = 0
    differed: int = 0
    saved_tokens: int = 0
    saved_usd: Decimal = Decimal(0)
    unpriced_hits: int = 0

    @property
    def hit_rate(self) -> float:
        """The share of requests that were hits, measured ones included; 0 to 1."""
        return (sum(self.hits.values()) + self.shadow_hits) / self.requests if self.requests else 0.0

    @property
    def false_hit_rate(self) -> float | None:
        """The share of checked hits that were false; None before the first check."""
        return self.differed / self.checks if self.checks else None

    def false_hit_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return bounds on the share of false ones among hits that are not exact; 0 and 1 before any check."""
        return share_interval(self.differed, self.checks, confidence=confidence)

    @property
    def false_hits(self) -> float | None:
        """How many of the hits that are not exact are estimated to be false; None before the first check."""
        rate = self.false_hit_rate
        inexact = sum(times for tier, times in self.hits.items() if tier != EXACT)
        return None if rate is None else rate * inexact


def cache_uses(
    store: LedgerStore, since: datetime | None, until: datetime | None, filters: Mapping[str, Any]
) -> list[CacheUse]:
    """Return what the cache did: in all, then by feature where there are several; empty where it was never asked.

    Requests that came by a cache are not known by model, so filters by the call's model, provider or outcome leave
    nothing.
    """
    condition, values = lookups_where(since, until, filters)
    rows = store.read(
        f"SELECT feature, outcome, tier, is_shadow, count(*) FROM lookups WHERE {condition} GROUP BY 1, 2, 3, 4",  # noqa: S608
        values,
    )
    if not rows:
        return []
    saved = _saved(store, *savings_where(since, until, filters))
    counts: dict[str | None, _Counts] = {}
    for feature, outcome, tier, is_shadow, times in rows:
        counts.setdefault(feature, Counter())[outcome, tier, bool(is_shadow)] += times
    uses = [_use(feature, counts[feature], saved.get(feature, [])) for feature in counts]
    together: _Counts = Counter()
    for of_feature in counts.values():
        together.update(of_feature)
    total = _use(None, together, [row for of_feature in saved.values() for row in of_feature])
    return [total, *sorted(uses, key=lambda use: -use.requests)] if len(uses) > 1 else [total]


def _saved(store: LedgerStore, condition: str, values: list[Any]) -> dict[str | None, list[Row]]:
    rows = store.read(
        "SELECT feature, sum(tokens), decimal_sum(cost_usd), count(*) - count(cost_usd) "  # noqa: S608
        f"FROM savings WHERE lever = ? AND NOT is_shadow AND {condition} GROUP BY 1",
        [_LEVER, *values],
    )
    return {feature: [tuple(row)] for feature, *row in rows}


def _use(feature: str | None, counts: _Counts, saved: Iterable[Row]) -> CacheUse:
    hits: Counter[str] = Counter()
    for (outcome, tier, is_shadow), times in counts.items():
        if outcome == "hit" and not is_shadow:
            hits[tier or "unknown"] += times
    checks = {
        name: sum(times for (outcome, tier, _), times in counts.items() if outcome == name and tier != EXACT)
        for name in ("agreed", "differed")
    }
    rows = list(saved)
    return CacheUse(
        feature=feature,
        requests=sum(times for (outcome, _, _), times in counts.items() if outcome in ("hit", "miss")),
        hits=dict(sorted(hits.items())),
        shadow_hits=sum(times for (outcome, _, is_shadow), times in counts.items() if outcome == "hit" and is_shadow),
        checks=sum(checks.values()),
        differed=checks["differed"],
        saved_tokens=sum(tokens for tokens, _, _ in rows),
        saved_usd=sum((Decimal(cost) for _, cost, _ in rows), Decimal(0)),
        unpriced_hits=sum(unpriced for _, _, unpriced in rows),
    )
