"""Calls, savings and lookups as rows of the ledger's tables, and back."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.lookup import Lookup
from thrift_core.accounting.usage import Amount, Usage

Row = tuple[Any, ...]

COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
)
CALL_COLUMNS: Final = (
    "id",
    "started_at",
    "model",
    "provider",
    *COUNTS,
    "other",
    "cost_usd",
    "unpriced",
    "is_estimated",
    "feature",
    "user",
    "tenant",
    "task",
    "run",
    "outcome",
    "latency_seconds",
    "tool_calls",
    "service_tier",
    "is_batch",
    "predicted_cache_read_tokens",
)
SAVING_COLUMNS: Final = (
    "id",
    "at",
    "lever",
    "tokens",
    "cost_usd",
    "is_shadow",
    "feature",
    "user",
    "tenant",
    "task",
    "run",
    "call_id",
)
LOOKUP_COLUMNS: Final = ("id", "at", "outcome", "tier", "is_shadow", "feature", "user", "tenant", "task", "run")
FAULT_COLUMNS: Final = ("id", "at", "lever", "reason", "times")


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    # The id makes a line count once, however often it arrives.
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608


INSERT_CALL: Final = _insert("calls", CALL_COLUMNS)
INSERT_SAVING: Final = _insert("savings", SAVING_COLUMNS)
INSERT_LOOKUP: Final = _insert("lookups", LOOKUP_COLUMNS)
INSERT_FAULT: Final = _insert("faults", FAULT_COLUMNS)
# The later word on a task counts, in whatever order the two arrive.
INSERT_RESOLUTION: Final = (
    "INSERT INTO resolutions (task, success, at) VALUES (?, ?, ?) ON CONFLICT (task) "
    "DO UPDATE SET success = excluded.success, at = excluded.at "
    "WHERE (excluded.at, excluded.success) > (resolutions.at, resolutions.success)"
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return a moment as whole microseconds since 1970 in UTC, as the ledger keeps time.

    Raises:
        ValueError: the time has no time zone, so that it could be any of 27 hours.
    """
    if at.tzinfo is None:
        raise ValueError(f"a time needs a time zone, such as datetime.now(UTC); got {at!r}")
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Return the moment that `microseconds` stands for."""
    return _EPOCH + value * _MICROSECOND


def money(value: Decimal | None) -> str | None:
    """Return dollars as text, every digit kept.

    Raises:
        ValueError: not a finite amount; one NaN would spoil every sum.
    """
    if value is not None and not value.is_finite():
        raise ValueError(f"cost_usd must be a finite amount of dollars; got {value}")
    return None if value is None else str(value)


def call_row(call: Call) -> Row:
    """Return a call in the order of `CALL_COLUMNS`."""
    usage, whom = call.usage, call.attribution
    cost_usd = money(call.cost_usd)
    if call.cost_usd is not None and call.cost_usd < 0:
        raise ValueError(f"cost_usd must be 0 or more; got {cost_usd}")
    return (
        call.id,
        microseconds(call.started_at),
        call.model,
        call.provider,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.reasoning_tokens,
        usage.input_audio_tokens,
        usage.output_audio_tokens,
        dump_other(usage.other) if usage.other else None,
        cost_usd,
        call.unpriced,
        call.is_estimated,
        whom.feature,
        whom.user,
        whom.tenant,
        whom.task,
        whom.run,
        call.outcome,
        # SQLite has no NaN and JSON no infinity: neither is a time.
        call.latency_seconds if call.latency_seconds is not None and math.isfinite(call.latency_seconds) else None,
        json.dumps(call.tool_calls) if call.tool_calls else None,
        call.service_tier,
        call.is_batch,
        call.predicted_cache_read_tokens,
    )


def call_from(row: Row) -> Call:
    """Return the call that a row in the order of `CALL_COLUMNS` holds."""
    named: dict[str, Any] = dict(zip(CALL_COLUMNS, row, strict=True))
    return Call(
        id=named["id"],
        started_at=moment(named["started_at"]),
        model=named["model"],
        provider=named["provider"],
        usage=usage_from(row[4:12], named["other"]),
        cost_usd=_amount(named["cost_usd"]),
        unpriced=named["unpriced"],
        is_estimated=bool(named["is_estimated"]),
        attribution=_attribution(named),
        outcome=named["outcome"],
        latency_seconds=named["latency_seconds"],
        tool_calls=tuple(json.loads(named["tool_calls"])) if named["tool_calls"] else (),
        service_tier=named["service_tier"],
        is_batch=bool(named["is_batch"]),
        predicted_cache_read_tokens=named["predicted_cache_read_tokens"],
    )


def saving_row(saving: Saving, id: str | None = None) -> Row:  # noqa: A002 - the column's name
    """Return a saving in the order of `SAVING_COLUMNS`, under a new id unless one is given."""
    whom = saving.attribution
    return (
        id or uuid.uuid4().hex,
        microseconds(saving.at),
        saving.lever,
        saving.tokens,
        money(saving.cost_usd),
        saving.is_shadow,
        whom.feature,
        whom.user,
        whom.tenant,
        whom.task,
        whom.run,
        saving.call_id,
    )


def saving_from(row: Row) -> Saving:
    """Return the saving that a row in the order of `SAVING_COLUMNS` holds."""
    named: dict[str, Any] = dict(zip(SAVING_COLUMNS, row, strict=True))
    return Saving(
        lever=named["lever"],
        tokens=named["tokens"],
        cost_usd=_amount(named["cost_usd"]),
        is_shadow=bool(named["is_shadow"]),
        attribution=_attribution(named),
        call_id=named["call_id"],
        at=moment(named["at"]),
    )


def lookup_row(lookup: Lookup, id: str | None = None) -> Row:  # noqa: A002 - the column's name
    """Return a lookup in the order of `LOOKUP_COLUMNS`, under a new id unless one is given."""
    whom = lookup.attribution
    return (
        id or uuid.uuid4().hex,
        microseconds(lookup.at),
        lookup.outcome,
        lookup.tier,
        lookup.is_shadow,
        whom.feature,
        whom.user,
        whom.tenant,
        whom.task,
        whom.run,
    )


def lookup_from(row: Row) -> Lookup:
    """Return the lookup that a row in the order of `LOOKUP_COLUMNS` holds."""
    named: dict[str, Any] = dict(zip(LOOKUP_COLUMNS, row, strict=True))
    return Lookup(
        outcome=named["outcome"],
        tier=named["tier"],
        is_shadow=bool(named["is_shadow"]),
        attribution=_attribution(named),
        at=moment(named["at"]),
    )


def usage_from(counts: Row, other: str | None) -> Usage:
    """Return usage from the eight counts in the order of `COUNTS` and the further units as JSON."""
    named: dict[str, Any] = dict(zip(COUNTS, counts, strict=True))
    if other:
        named["other"] = load_other(other)
    return Usage(**named)


def dump_other(other: Mapping[str, Amount]) -> str:
    """Return further billed units as JSON; fractions as text, so that no digit is lost."""
    return json.dumps({name: value if isinstance(value, int) else str(value) for name, value in other.items()})


def load_other(text: str) -> dict[str, Amount]:
    """Return the further billed units that `dump_other` wrote."""
    return {name: value if isinstance(value, int) else Decimal(value) for name, value in json.loads(text).items()}


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _attribution(named: Mapping[str, Any]) -> Attribution:
    return Attribution(**{name: named[name] for name in ("feature", "user", "tenant", "task", "run")})
