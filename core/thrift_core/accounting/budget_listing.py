"""Limits as text that a store keeps, so that another process can list them with what is used of each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from thrift_core.accounting.budget import Budget, BudgetState, Limit, RunawayGuard, named
from thrift_core.accounting.budget_store import Level
from thrift_core.accounting.budget_units import Unit, from_count
from thrift_core.accounting.budget_watch import ALL_CALLS, counter_name
from thrift_core.accounting.budget_window import Window, window_end, window_start
from thrift_core.accounting.call import Attribution
from thrift_core.errors import ConfigurationError

# A limit that no process has set for so long is no longer listed.
_UNSEEN_SECONDS = 40 * 86_400


def describe(limits: Iterable[Limit]) -> dict[str, str]:
    """Return texts that describe the limits, under names that stay when only the amount of a limit changes."""
    described: dict[str, str] = {}
    for limit in limits:
        if (fields := _fields(limit)) is None:
            continue
        kind = "guard" if isinstance(limit, RunawayGuard) else "hard" if fields["hard"] else "soft"
        names = (f"{counter_name(limit)} {kind} {n}" for n in range(len(described) + 1))
        name = next(name for name in names if name not in described)
        described[name] = json.dumps({**fields, "seen_at": int(time.time())})
    return described


def states(described: Mapping[str, str], levels: Iterable[Level]) -> list[BudgetState]:
    """Return each limit with each key that it concerns; a limit on all calls is there even before the first call."""
    by_counter: dict[str, list[Level]] = {}
    for level in levels:
        by_counter.setdefault(level.counter, []).append(level)
    found: list[BudgetState] = []
    for name, description in sorted(described.items()):
        limit = _limit(description)
        if limit is None or (isinstance(limit, RunawayGuard) and limit.max_calls_per_task is None):
            continue
        counter = name.split(" ", 1)[0]
        rows = sorted(by_counter.get(counter, []), key=lambda level: (-level.used - level.reserved, level.key))
        found += [_state(limit, level) for level in rows or _unused(limit, counter)]
    return found


def _fields(limit: Limit) -> dict[str, Any] | None:
    match limit:
        case Budget():
            return {
                f"limit_{limit.unit}": str(limit.limit) if limit.unit == "usd" else limit.limit,
                "per": limit.per,
                "window": limit.window,
                "hard": limit.hard,
                "only": dict(named(limit.only)),
            }
        case RunawayGuard():
            return {"max_repeats": limit.max_repeats, "max_calls_per_task": limit.max_calls_per_task}
        case _:
            return None


def _limit(description: str) -> Budget | RunawayGuard | None:
    """Return the limit; None if it is out of use or written by a version that knows more than this one."""
    try:
        fields: dict[str, Any] = json.loads(description)
        if time.time() - fields.pop("seen_at") > _UNSEEN_SECONDS:
            return None
        if "max_repeats" in fields:
            return RunawayGuard(**fields)
        only: dict[str, str] = fields.pop("only")
        return Budget(**fields, only=Attribution(**only) if only else None)
    except (ValueError, TypeError, KeyError, AttributeError, ConfigurationError):
        return None


def _state(limit: Budget | RunawayGuard, level: Level) -> BudgetState:
    unit, window, allowed = _terms(limit)
    end = window_end(window, level.start)
    return BudgetState(
        budget=limit,
        key=level.key,
        window_start=None if end is None else datetime.fromtimestamp(level.start, UTC),
        window_end=None if end is None else datetime.fromtimestamp(end, UTC),
        used=from_count(unit, level.used),
        reserved=from_count(unit, level.reserved),
        limit=allowed,
        unpriced_calls=level.unpriced,
    )


def _terms(limit: Budget | RunawayGuard) -> tuple[Unit, Window | None, Any]:
    if isinstance(limit, RunawayGuard):
        return "calls", None, limit.max_calls_per_task
    return limit.unit, limit.window, limit.limit


def _unused(limit: Budget | RunawayGuard, counter: str) -> list[Level]:
    if not isinstance(limit, Budget) or limit.per is not None or limit.window == "run":
        return []
    return [Level(counter, ALL_CALLS, window_start(limit.window, time.time()), 0, 0, 0)]
