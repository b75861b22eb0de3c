"""Which lines of the ledger are meant, as the SQL that selects them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict, get_args

from thrift_core.accounting.call import Outcome
from thrift_core.accounting.ledger_rows import microseconds


class Filters(TypedDict, total=False):
    """What a call must have to be meant; None and absent mean any."""

    feature: str | None
    user: str | None
    tenant: str | None
    task: str | None
    run: str | None
    model: str | None
    provider: str | None
    outcome: Outcome | None


FILTERS = tuple(Filters.__annotations__)
# A saving has no model of its own: it is that of the call it changed.
_OF_THE_CALL = ("model", "provider", "outcome")


def calls_where(since: datetime | None, until: datetime | None, filters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the condition on `calls`, and its values. From `since` on, to just before `until`.

    Raises:
        TypeError: a filter that does not exist.
        ValueError: an outcome that does not exist, or a time without a time zone.
    """
    conditions, values = _period("started_at", since, until)
    for name, value in _checked(filters).items():
        conditions.append(f"{name} = ?")
        values.append(value)
    return " AND ".join(conditions) or "1", values


def savings_where(since: datetime | None, until: datetime | None, filters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the condition on `savings`, and its values; raises as `calls_where` does."""
    conditions, values = _period("at", since, until)
    for name, value in _checked(filters).items():
        own = f"{name} = ?"
        conditions.append(own if name not in _OF_THE_CALL else f"call_id IN (SELECT id FROM calls WHERE {own})")  # noqa: S608
        values.append(value)
    return " AND ".join(conditions) or "1", values


def lookups_where(since: datetime | None, until: datetime | None, filters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the condition on `lookups`, and its values; raises as `calls_where` does.

    A lookup belongs to no call, so a filter by the call's model, provider or outcome leaves none.
    """
    conditions, values = _period("at", since, until)
    for name, value in _checked(filters).items():
        conditions.append("0" if name in _OF_THE_CALL else f"{name} = ?")
        values += [] if name in _OF_THE_CALL else [value]
    return " AND ".join(conditions) or "1", values


def _period(column: str, since: datetime | None, until: datetime | None) -> tuple[list[str], list[Any]]:
    bounds = [(f"{column} {sign} ?", microseconds(at)) for sign, at in ((">=", since), ("<", until)) if at is not None]
    return [condition for condition, _ in bounds], [value for _, value in bounds]


def _checked(filters: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := [name for name in filters if name not in FILTERS]:
        raise TypeError(f"no filter is called {', '.join(unknown)}; there are {', '.join(FILTERS)}")
    outcome = filters.get("outcome")
    if outcome is not None and outcome not in get_args(Outcome):
        raise ValueError(f"no outcome is called {outcome!r}; there are {', '.join(get_args(Outcome))}")
    return {name: value for name, value in filters.items() if value is not None}
