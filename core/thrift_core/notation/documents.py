"""A JSON document by itself in the compact notation, with the mark and the few words that explain it to a model.

What is written here reads back as the same value without any other text: `written` proves that before it answers.
"""

from __future__ import annotations

import json
from typing import Any, cast

from thrift_core.notation.reading import NotationError, Reader
from thrift_core.notation.shapes import Json, is_map
from thrift_core.notation.writing import same, write_fields, write_value

MARK = "§"
JSON_LEGEND = "JSON; [#columns| row; row]; ^ as above"
_HEAD = f"{MARK}({JSON_LEGEND}) "
_UNREADABLE = (ValueError, LookupError, TypeError, RecursionError, StopIteration)


def parse(text: str) -> Json:
    """Return the object or array that a text is as JSON; None if it is none, is empty, or has a key twice."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value: Any = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return cast("Json", value) if isinstance(value, dict | list) and value else None


def written(value: Json) -> str | None:
    """Return a value as a document of its own, or None where it does not read back as the same value.

    Example:
        >>> written([{"id": "A1", "state": "open"}, {"id": "B2", "state": "open"}])
        '§(JSON; [#columns| row; row]; ^ as above) [#id state=open| A1; B2]'
    """
    try:
        is_record = isinstance(value, dict) and not is_map(value)
        body = write_fields(cast("dict[str, Json]", value)) if is_record else write_value(value)
        return _HEAD + body if same(_read(body), value) else None
    except _UNREADABLE:
        return None


def read(text: str) -> Json:
    """Return the value of a document.

    Raises:
        NotationError: it is none.

    Example:
        >>> read("§(JSON; [#columns| row; row]; ^ as above) name=lamp price=20")
        {'name': 'lamp', 'price': 20}
    """
    if not text.startswith(_HEAD):
        raise NotationError(f"a document begins with {_HEAD!r}; this begins with {text[:20]!r}")
    try:
        return _read(text[len(_HEAD) :])
    except NotationError:
        raise
    except _UNREADABLE as error:
        raise NotationError(str(error)) from error


def _read(body: str) -> Json:
    reader = Reader(body)
    found = reader.value() if body[:1] in "[{" else reader.fields()
    reader.end()
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
