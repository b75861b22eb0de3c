"""A report as plain JSON values."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from thrift_core.accounting.report import Report


def report_json(report: Report) -> dict[str, Any]:
    """Return the report for `json.dumps`: money as text with every digit, times in ISO 8601."""
    values = cast("dict[str, Any]", _plain(report))
    each = report.tasks.cost_per_resolved_usd
    values["tasks"]["cost_per_resolved_usd"] = None if each is None else str(each)
    for given, use in zip(values["cache"], report.cache, strict=True):
        given["hit_rate"], given["false_hit_rate"] = use.hit_rate, use.false_hit_rate
        given["false_hits"], given["false_hit_interval"] = use.false_hits, list(use.false_hit_interval())
    values["faults"] = [
        {"lever": lever, "reason": reason, "times": times} for (lever, reason), times in sorted(report.faults.items())
    ]
    return values


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.name != "faults"}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
