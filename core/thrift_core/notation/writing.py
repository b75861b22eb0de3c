"""Writes JSON values in a compact notation that a model can read: keys once, then rows.

The notation, by example:

    name=value                      a field; values are bare words where JSON would allow no other reading
    [a b c]   {x=1 y=2}             an array, an object
    [#id price| A1 20; B2 30]       a list of objects: columns, then one row each
    [#id status=open| A1; B2]       the same, `status` being `open` in each row
    [#id seats{eco biz}| A1 5 2]    objects inside a row stand flat in it
    {#* brand id=*| k1 visa; k2 mc} an object of objects under keys that are data; `id` equals the key
    [##leg| a; b & c]               a list of lists of objects
    ^                               the same value as above it; `^A1` the whole row that began with A1
    _                               no such key here

White space is chosen for the tokenizer: a blank before a word is free in byte-pair encodings, a comma is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from thrift_core.notation.shapes import (
    LEAF,
    MAP_KEY,
    Json,
    Leaf,
    Record,
    Shape,
    Table,
    fits,
    is_map,
    rows_of,
    shape_of,
)

DITTO = "^"
MISSING = "_"
MISFIT = "!"
# One word, but not one that JSON would read as a number, a truth value or nothing.
_BARE = re.compile(r"(?!(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)\Z)[A-Za-z0-9][\w.@:/+%,?'-]*\Z", re.ASCII)
# A ditto costs one token; so does a short word or number.
_DITTO_PAYS_FROM = 4
_quoted = json.JSONEncoder(ensure_ascii=False).encode


class Absent:
    """Stands for a key that is not there, in place of a JSON value."""


ABSENT = Absent()
Cell = Json | Absent


def word(text: str) -> str:
    """Return a string or key as a bare word where that reads back as the same string, else in JSON quotes."""
    return text if _BARE.match(text) else _quoted(text)


def write_value(value: Json) -> str:
    """Return a value with its own keys and columns, in need of nothing around it."""
    if isinstance(value, str):
        return word(value)
    if isinstance(value, dict) and value:
        if is_map(value):
            return _table_with_header(value, cast("Table", shape_of(value)))
        return "{" + write_fields(value) + "}"
    if isinstance(value, list) and value:
        shape = shape_of(value)
        if isinstance(shape, Table):
            return _table_with_header(value, shape)
        return "[" + " ".join(map(write_value, value)) + "]"
    # A whole number is what JSON says most often, and an encoder takes its time to begin.
    return str(value) if type(value) is int else json.dumps(value)


def write_fields(value: Mapping[str, Json]) -> str:
    """Return an object's fields without the braces."""
    return " ".join(f"{word(key)}={write_value(item)}" for key, item in value.items())


def write_body(value: Json, shape: Shape, base: Cell) -> str:
    """Return a value without the keys of its shape, which stand further up; `^` is the value in `base`."""
    if isinstance(shape, Record) and isinstance(value, dict):
        return write_record(value, shape, base)
    return _positional(value, shape, ABSENT)


def write_record(value: Mapping[str, Json], shape: Record, base: Cell) -> str:
    """Return an object's values in the order of its shape's keys, then the fields that the shape lacks."""
    above: Mapping[str, Json] = base if isinstance(base, dict) else {}
    cells = [_field_cell(value.get(key, ABSENT), inner, above.get(key, ABSENT)) for key, inner in shape.fields]
    known = set(shape.keys)
    extra = [f"+{word(key)}={write_value(item)}" for key, item in value.items() if key not in known]
    return " ".join(cells + extra)


def write_changes(value: Json, shape: Shape, base: Json) -> str:
    """Return only what differs from `base`: changed fields, `-key` for those gone; `^` is the value in `base`."""
    if isinstance(value, dict) and isinstance(base, dict) and isinstance(shape, Record):
        inner = dict(shape.fields)
        changed = [
            f"{word(key)}={_changed(item, inner.get(key, LEAF), base.get(key, ABSENT))}"
            for key, item in value.items()
            if not same(item, base.get(key, ABSENT))
        ]
        return " ".join(changed + [f"-{word(key)}" for key in base if key not in value])
    return _changed(value, shape, base)


def same(value: Cell, other: Cell) -> bool:
    """Say whether two values are the same JSON, `1`, `1.0` and `true` being three different ones."""
    if type(value) is not type(other):
        return False
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(same(item, other[key]) for key, item in value.items())
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(same, value, other))
    return value == other


def _changed(value: Json, shape: Shape, base: Cell) -> str:
    if isinstance(shape, Table) and not isinstance(base, Absent) and fits(value, shape) and fits(base, shape):
        return MISFIT + _positional(value, shape, base)
    return write_value(value)


def _field_cell(value: Cell, shape: Shape, above: Cell) -> str:
    if isinstance(value, Absent):
        return MISSING
    text = _positional(value, shape, ABSENT)
    return DITTO if _pays(text) and same(value, above) else text


def _positional(value: Json, shape: Shape, base: Cell) -> str:
    if isinstance(shape, Leaf):
        return write_value(value)
    if not fits(value, shape):
        return MISFIT + write_value(value)
    if isinstance(shape, Record):
        return "{" + write_record(cast("dict[str, Json]", value), shape, ABSENT) + "}"
    opening, closing = "{}" if shape.kind == "map" else "[]"
    return opening + _rows(value, shape, base, {}) + closing


def _table_with_header(value: Json, shape: Table) -> str:
    constants = _constants(value, shape)
    header = " ".join(_column(key, inner, constants) for key, inner in shape.row.fields)
    rows = _rows(value, shape, ABSENT, constants)
    opening = {"map": "{#* ", "groups": "[##", "list": "[#"}[shape.kind]
    return f"{opening}{header}| {rows}{'}' if shape.kind == 'map' else ']'}"


def _column(key: str, shape: Shape, constants: Mapping[str, str]) -> str:
    if key in constants:
        return f"{word(key)}={constants[key]}"
    if isinstance(shape, Record):
        return word(key) + "{" + " ".join(_column(name, inner, {}) for name, inner in shape.fields) + "}"
    return word(key)


def _constants(value: Json, shape: Table) -> dict[str, str]:
    """Return the columns that say the same in each row, as they are written in the header."""
    rows = [row for group in rows_of(value, shape.kind) for row in group]
    if len(rows) < 2:
        return {}
    found: dict[str, str] = {}
    for key, inner in shape.row.fields:
        first = rows[0].get(key, ABSENT)
        if not isinstance(inner, Leaf) or isinstance(first, Absent):
            continue
        if shape.kind == "map" and all(
            row.get(key) == name for name, row in cast("dict[str, dict[str, Json]]", value).items()
        ):
            found[key] = MAP_KEY
        elif all(same(row.get(key, ABSENT), first) for row in rows):
            found[key] = write_value(first)
    # A row must keep a cell of its own.
    if len(found) == len(shape.row.fields) and shape.kind != "map":
        found.popitem()
    return found


def _rows(value: Json, shape: Table, base: Cell, constants: Mapping[str, str]) -> str:
    names = iter(cast("dict[str, Json]", value)) if shape.kind == "map" else None
    patterns = [] if isinstance(base, Absent) else [row for group in rows_of(base, shape.kind) for row in group]
    above: list[Cell] | None = None
    by_first: dict[str, list[Cell]] = {}
    count = 0
    groups: list[str] = []
    for group in rows_of(value, shape.kind):
        lines: list[str] = []
        for row in group:
            cells = flat_cells(row, shape.row, constants)
            if names is not None:
                cells.insert(0, next(names))
            if count < len(patterns):
                above = flat_cells(patterns[count], shape.row, constants)
                if names is not None:
                    above.insert(0, list(cast("dict[str, Json]", base))[count])
            lines.append(_row(cells, above, by_first))
            above = cells
            count += 1
        groups.append("; ".join(lines))
    return " & ".join(groups)


def _row(cells: Sequence[Cell], above: Sequence[Cell] | None, by_first: dict[str, list[Cell]]) -> str:
    texts = [MISSING if isinstance(cell, Absent) else write_value(cell) for cell in cells]
    first = cells[0]
    if isinstance(first, str) and texts[0] == first:
        if len(cells) > 2 and (earlier := by_first.get(first)) is not None and all(map(same, earlier, cells)):
            return DITTO + first
        by_first[first] = list(cells)
    if above is not None:
        texts = [
            DITTO if _pays(text) and same(cell, upper) else text
            for text, cell, upper in zip(texts, cells, above, strict=True)
        ]
    return " ".join(texts)


def flat_cells(row: Mapping[str, Json], shape: Record, skip: Mapping[str, str]) -> list[Cell]:
    """Return a row's cells in the order of its columns, objects inside it spread out."""
    cells: list[Cell] = []
    for key, inner in shape.fields:
        if key in skip:
            continue
        if isinstance(inner, Record):
            cells.extend(flat_cells(cast("dict[str, Json]", row[key]), inner, {}))
        else:
            cells.append(row.get(key, ABSENT))
    return cells


def _pays(text: str) -> bool:
    return len(text) >= _DITTO_PAYS_FROM
