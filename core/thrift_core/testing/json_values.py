"""Reads untrusted JSON without trusting its shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

Json = dict[str, Any]


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is a JSON object, otherwise an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """Return the value if it is a JSON array, otherwise an empty one."""
    return value if _is_list(value) else []


def as_text(value: object) -> str:
    """Return the value if it is a string, otherwise an empty one."""
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int:
    """Return the value if it is a whole number of 0 or more, otherwise 0."""
    return value if type(value) is int and value >= 0 else 0


def as_limit(value: object) -> int | None:
    """Return the value if it is a whole number of 1 or more, otherwise None."""
    return value if type(value) is int and value >= 1 else None


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
