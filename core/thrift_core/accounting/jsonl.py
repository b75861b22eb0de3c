"""The ledger as lines of JSON: one call, saving, lookup, resolution or fault on each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast, get_args

from thrift_core.accounting.call import Attribution, Call, Outcome, Saving
from thrift_core.accounting.ledger_rows import COUNTS, Row, microseconds, moment
from thrift_core.accounting.lookup import LOOKUP_OUTCOMES, Lookup
from thrift_core.accounting.usage import Usage

_TOO_MANY = 2**63  # SQLite's integers end here
_WHOM = tuple(field.name for field in fields(Attribution))
_CALL_FIELDS = frozenset(
    {"kind", "usage", *_WHOM, *(field.name for field in fields(Call) if field.name != "attribution")}
)


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of JSON holds.

    Attributes:
        kind: `call`, `saving`, `lookup`, `resolution` or `fault`.
        id: what tells it from other lines of its kind, so that it is never imported twice.
        value: a `Call`, a `Saving`, a `Lookup`, or the row of the table of its kind.
    """

    kind: str
    id: str
    value: Call | Saving | Lookup | Row


def dump_call(call: Call) -> str:
    """Return a call as a line of JSON, without what it does not have."""
    usage: dict[str, Any] = {name: count for name in COUNTS if (count := getattr(call.usage, name))}
    if call.usage.other:
        usage["other"] = {name: _number(amount) for name, amount in call.usage.other.items()}
    return _line(
        "call",
        id=call.id,
        started_at=call.started_at.isoformat(),
        model=call.model,
        provider=call.provider,
        usage=usage,
        cost_usd=_text(call.cost_usd),
        unpriced=call.unpriced,
        is_estimated=call.is_estimated or None,
        **_whom(call.attribution),
        outcome=call.outcome,
        latency_seconds=call.latency_seconds,
        tool_calls=list(call.tool_calls) or None,
        service_tier=call.service_tier,
        is_batch=call.is_batch or None,
        predicted_cache_read_tokens=call.predicted_cache_read_tokens,
    )


def dump_saving(id: str, saving: Saving) -> str:  # noqa: A002 - the column's name
    """Return a saving as a line of JSON."""
    return _line(
        "saving",
        id=id,
        at=saving.at.isoformat(),
        lever=saving.lever,
        tokens=saving.tokens,
        cost_usd=_text(saving.cost_usd),
        is_shadow=saving.is_shadow,
        **_whom(saving.attribution),
        call_id=saving.call_id,
    )


def dump_lookup(id: str, lookup: Lookup) -> str:  # noqa: A002 - the column's name
    """Return a lookup as a line of JSON."""
    return _line(
        "lookup",
        id=id,
        at=lookup.at.isoformat(),
        outcome=lookup.outcome,
        tier=lookup.tier,
        is_shadow=lookup.is_shadow or None,
        **_whom(lookup.attribution),
    )


def dump_resolution(row: Row) -> str:
    """Return a row of `resolutions` as a line of JSON."""
    task, success, at = row
    return _line("resolution", task=task, success=bool(success), at=moment(at).isoformat())


def dump_fault(row: Row) -> str:
    """Return a row of `faults` as a line of JSON."""
    id_, at, lever, reason, times = row
    return _line("fault", id=id_, at=moment(at).isoformat(), lever=lever, reason=reason, times=times)


def load_line(text: str) -> Line:
    """Return what a line holds. A line without `kind` is a call; one without `id` is known by its text.

    Raises:
        ValueError: the line is malformed; says what is wrong with it.
    """
    try:
        value = json.loads(text, parse_float=Decimal)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"is not an object but {type(value).__name__}")
    given = cast("dict[str, Any]", value)
    kind = given.get("kind", "call")
    load = _LOADERS.get(kind) if isinstance(kind, str) else None
    if load is None:
        raise ValueError(f"has the unknown kind {kind!r}; there are {', '.join(_LOADERS)}")
    id_ = _text_of(given, "id")
    if id_ is None:
        id_ = hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()[:32]
    try:
        return Line(kind, id_, load(given, id_))
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _load_call(given: Mapping[str, Any], id_: str) -> Call:
    if unknown := given.keys() - _CALL_FIELDS:
        raise ValueError(f"has unknown fields: {', '.join(sorted(unknown))}")
    outcome = given.get("outcome", "ok")
    if outcome not in get_args(Outcome):
        raise ValueError(f"has the unknown outcome {outcome!r}; there are {', '.join(get_args(Outcome))}")
    cost_usd = _dollars(given)
    if cost_usd is not None and cost_usd < 0:
        raise ValueError(f"cost_usd must be 0 or more; got {cost_usd}")
    return Call(
        id=id_,
        started_at=_time(given, "started_at"),
        model=_required(given, "model"),
        provider=_text_of(given, "provider"),
        usage=_usage(given.get("usage") or {}),
        cost_usd=cost_usd,
        unpriced=_text_of(given, "unpriced"),
        is_estimated=_flag(given, "is_estimated"),
        attribution=_attribution(given),
        outcome=outcome,
        latency_seconds=_seconds(given),
        tool_calls=_texts(given, "tool_calls"),
        service_tier=_text_of(given, "service_tier"),
        is_batch=_flag(given, "is_batch"),
        predicted_cache_read_tokens=(
            None
            if given.get("predicted_cache_read_tokens") is None
            else _whole(given, "predicted_cache_read_tokens", 0)
        ),
    )


def _load_saving(given: Mapping[str, Any], _id: str) -> Saving:
    return Saving(
        lever=_required(given, "lever"),
        tokens=_whole(given, "tokens", 0),
        cost_usd=_dollars(given),
        is_shadow=_flag(given, "is_shadow"),
        attribution=_attribution(given),
        call_id=_text_of(given, "call_id"),
        at=_time(given, "at"),
    )


def _load_lookup(given: Mapping[str, Any], _id: str) -> Lookup:
    outcome = given.get("outcome")
    if outcome not in LOOKUP_OUTCOMES:
        raise ValueError(f"has the unknown outcome {outcome!r}; there are {', '.join(LOOKUP_OUTCOMES)}")
    return Lookup(
        outcome=outcome,
        tier=_text_of(given, "tier"),
        is_shadow=_flag(given, "is_shadow"),
        attribution=_attribution(given),
        at=_time(given, "at"),
    )


def _load_resolution(given: Mapping[str, Any], _id: str) -> Row:
    if not isinstance(given.get("success"), bool):
        raise ValueError(f"success must be true or false; got {given.get('success')!r}")
    return _required(given, "task"), given["success"], microseconds(_time(given, "at"))


def _load_fault(given: Mapping[str, Any], id_: str) -> Row:
    at = microseconds(_time(given, "at"))
    return id_, at, _required(given, "lever"), _required(given, "reason"), _whole(given, "times", 1)


_LOADERS: dict[str, Callable[[Mapping[str, Any], str], Call | Saving | Lookup | Row]] = {
    "call": _load_call,
    "saving": _load_saving,
    "lookup": _load_lookup,
    "resolution": _load_resolution,
    "fault": _load_fault,
}


def _line(kind: str, **values: Any) -> str:
    kept = {name: value for name, value in values.items() if value is not None}
    return json.dumps({"kind": kind, **kept}, separators=(",", ":"), allow_nan=False)


def _whom(attribution: Attribution) -> dict[str, str | None]:
    return {name: getattr(attribution, name) for name in _WHOM}


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _number(amount: int | Decimal) -> int | str:
    return amount if isinstance(amount, int) else str(amount)


def _usage(given: object) -> Usage:
    counts = _object(given, "usage")
    if unknown := counts.keys() - {*COUNTS, "other"}:
        raise ValueError(f"usage has unknown counts: {', '.join(sorted(unknown))}; there are {', '.join(COUNTS)}")
    named: dict[str, Any] = {name: counts[name] for name in COUNTS if name in counts}
    if too_many := [name for name, count in named.items() if isinstance(count, int) and count >= _TOO_MANY]:
        raise ValueError(f"{too_many[0]} is too large to be a count of tokens; got {named[too_many[0]]}")
    if other := _object(counts.get("other") or {}, "usage.other"):
        named["other"] = {name: _amount(name, amount) for name, amount in other.items()}
    return Usage(**named)


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object; got {value!r}")
    return cast("dict[str, Any]", value)


def _amount(name: str, value: Any) -> int | Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str | Decimal) and (amount := _decimal(value)) is not None:
        return amount
    raise ValueError(f"{name} must be a number; got {value!r}")


def _decimal(value: str | int | Decimal) -> Decimal | None:
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _dollars(given: Mapping[str, Any]) -> Decimal | None:
    value = given.get("cost_usd")
    if value is None:
        return None
    amount = _decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
    if amount is None:
        raise ValueError(f"cost_usd must be an amount of dollars; got {value!r}")
    return amount


def _time(given: Mapping[str, Any], name: str) -> datetime:
    text = _required(given, name)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be a time such as 2026-01-31T12:00:00+00:00; got {text!r}") from None
    microseconds(at)
    return at


def _seconds(given: Mapping[str, Any]) -> float | None:
    value = given.get("latency_seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value < _TOO_MANY:
        raise ValueError(f"latency_seconds must be a number, 0 or more; got {value!r}")
    return float(value)


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    value = given.get(name, default)
    if type(value) is not int or abs(value) >= _TOO_MANY:
        raise ValueError(f"{name} must be a whole number; got {value!r}")
    return value


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false; got {value!r}")
    return value


def _text_of(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be text; got {value!r}")
    return value


def _required(given: Mapping[str, Any], name: str) -> str:
    value = _text_of(given, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _texts(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value: object = given.get(name) or []
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    texts = tuple(item for item in items if isinstance(item, str))
    if len(texts) < len(items):
        raise ValueError(f"{name} must be a list of texts; got {value!r}")
    return texts


def _attribution(given: Mapping[str, Any]) -> Attribution:
    return Attribution(**{name: _text_of(given, name) for name in _WHOM})
