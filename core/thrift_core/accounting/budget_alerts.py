"""Tells of soft limits and spikes, once for each window and key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from thrift_core.accounting.budget import Budget, BudgetAlert, SpikeAlert
from thrift_core.accounting.budget_store import BudgetStore
from thrift_core.accounting.budget_units import as_words, from_count, to_count
from thrift_core.accounting.budget_watch import Watch
from thrift_core.accounting.budget_window import window_end

logger = logging.getLogger("thrift")
# What was found out is kept to spare round trips; the store itself knows what was told.
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A limit that may have been passed and not yet told; `Alerts.confirm` asks the store.

    Attributes:
        watch: where.
        limit: what.
        key: whom it concerns.
        start: in which window.
        used: what the window has used.
        is_refusal: a hard limit refused a call.
    """

    watch: Watch
    limit: Budget | SpikeAlert
    key: str
    start: int
    used: int
    is_refusal: bool = False

    @property
    def name(self) -> str:
        """The name under which the store marks it as told."""
        if isinstance(self.limit, SpikeAlert):
            return f"spike:{self.limit.factor:g}"
        return f"{'hard' if self.is_refusal else 'soft'}:{to_count(self.watch.unit, self.limit.limit)}"

    @property
    def identity(self) -> Hashable:
        """Equal for what must be told only once."""
        return self.watch.counter.name, self.key, self.start, self.name


class Alerts:
    """Finds out what must be told, and tells it."""

    def __init__(self, store: BudgetStore) -> None:
        self._store = store
        self._told: set[Hashable] = set()
        self._thresholds: dict[Hashable, int | None] = {}

    def suspect(self, watch: Watch, key: str, start: int, used: int) -> list[Suspicion]:
        """Return what may have to be told now that a window has used so much; asks nobody."""
        found = [Suspicion(watch, budget, key, start, used) for budget in watch.soft if _is_passed(watch, budget, used)]
        for spike in watch.spikes:
            suspicion = Suspicion(watch, spike, key, start, used)
            if used >= to_count("usd", spike_floor(spike)) and self._may_be_spike(suspicion):
                found.append(suspicion)
        return [suspicion for suspicion in found if suspicion.identity not in self._told]

    def suspect_refusal(self, watch: Watch, key: str, start: int, held: int) -> list[Suspicion]:
        """Return what may have to be told now that a hard limit refused a call."""
        if watch.hard is None or watch.hard.on_exceeded is None:
            return []
        suspicion = Suspicion(watch, watch.hard, key, start, held, is_refusal=True)
        return [] if suspicion.identity in self._told else [suspicion]

    def confirm(self, suspicions: list[Suspicion]) -> list[BudgetAlert]:
        """Return the alerts that are true and that nobody has told; asks the store."""
        return [alert for suspicion in suspicions if (alert := self._confirm(suspicion)) is not None]

    def tell(self, alert: BudgetAlert) -> None:
        """Call the user's callable, or log a warning where there is none; its errors are logged."""
        told: Callable[[BudgetAlert], object] | None
        told = alert.limit.on_spike if isinstance(alert.limit, SpikeAlert) else alert.limit.on_exceeded
        if told is None:
            logger.warning(alert.message)
            return
        try:
            told(alert)
        except Exception:  # whatever the user's callable does, the app's call goes on
            logger.warning("the callable for %s failed", alert.limit, exc_info=True)

    def _confirm(self, suspicion: Suspicion) -> BudgetAlert | None:
        threshold = self._threshold(suspicion)
        if threshold is None or (suspicion.used <= threshold and not suspicion.is_refusal):
            return None
        watch = suspicion.watch
        is_first = self._store.mark(watch.counter, suspicion.key, suspicion.start, suspicion.name)
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told.add(suspicion.identity)
        return _alert(suspicion, threshold) if is_first else None

    def _may_be_spike(self, suspicion: Suspicion) -> bool:
        known = self._thresholds.get(suspicion.identity, 0)
        return known is not None and suspicion.used > known

    def _threshold(self, suspicion: Suspicion) -> int | None:
        limit = suspicion.limit
        if not isinstance(limit, SpikeAlert):
            return to_count(suspicion.watch.unit, limit.limit)
        if suspicion.identity not in self._thresholds:
            if len(self._thresholds) >= _MOST_REMEMBERED:
                self._thresholds.clear()
            self._thresholds[suspicion.identity] = self._spike_threshold(suspicion, limit)
        return self._thresholds[suspicion.identity]

    def _spike_threshold(self, suspicion: Suspicion, spike: SpikeAlert) -> int | None:
        past = self._store.history(suspicion.watch.counter, suspicion.key, before=suspicion.start, count=spike.history)
        if len(past) < spike.history:
            return None
        return int(Decimal(sum(past)) * Decimal(str(spike.factor)) / spike.history)


def spike_floor(spike: SpikeAlert) -> Decimal:
    """Return the spend below which nothing is a spike."""
    return Decimal(str(spike.min_usd))


def _is_passed(watch: Watch, budget: Budget, used: int) -> bool:
    return used > to_count(watch.unit, budget.limit)


def _alert(suspicion: Suspicion, threshold: int) -> BudgetAlert:
    unit, counter = suspicion.watch.unit, suspicion.watch.counter
    used, passed = from_count(unit, suspicion.used), from_count(unit, threshold)
    has_window = window_end(counter.window, suspicion.start) is not None
    verb = "refused a call" if suspicion.is_refusal else "was passed"
    return BudgetAlert(
        limit=suspicion.limit,
        key=suspicion.key,
        used=used,
        threshold=passed,
        window_start=datetime.fromtimestamp(suspicion.start, UTC) if has_window else None,
        message=f"{suspicion.limit} {verb} for {suspicion.key}: "
        f"{as_words(unit, used)} used, the limit is {as_words(unit, passed)}",
    )
