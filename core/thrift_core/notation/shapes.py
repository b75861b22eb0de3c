"""The keys of a JSON value, told apart from its data, so that a second value of the same shape need not repeat them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value without keys of its own to share."""


@dataclass(frozen=True, slots=True)
class Record:
    """An object: its keys in order, each with the shape of its value."""

    fields: tuple[tuple[str, Shape], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, in order."""
        return tuple(key for key, _ in self.fields)


@dataclass(frozen=True, slots=True)
class Table:
    """Many objects of one shape.

    Attributes:
        row: the shape of one object; its keys are the union over the objects.
        kind: `list` of objects, `groups` (a list of lists of objects) or `map` (objects under keys that are data).
    """

    row: Record
    kind: str


Shape = Leaf | Record | Table
LEAF = Leaf()
MAP_KEY = "*"


def shape_of(value: Json) -> Shape:
    """Return the shape that a value is best written in."""
    if isinstance(value, dict):
        if is_map(value):
            return Table(_row_shape([cast("dict[str, Json]", row) for row in value.values()]), "map")
        return Record(tuple((key, shape_of(item)) for key, item in value.items())) if value else LEAF
    if isinstance(value, list) and value:
        if all(isinstance(item, dict) and item for item in value):
            return Table(_row_shape(cast("list[dict[str, Json]]", value)), "list")
        if all(_is_row_list(item) for item in value):
            return Table(_row_shape([row for group in rows_of(value, "groups") for row in group]), "groups")
    return LEAF


def rows_of(value: Json, kind: str) -> list[list[dict[str, Json]]]:
    """Return the objects of a table's value in groups; a map's objects come without their keys."""
    if kind == "map":
        return [[cast("dict[str, Json]", row) for row in cast("dict[str, Json]", value).values()]]
    if kind == "groups":
        return [
            [cast("dict[str, Json]", row) for row in cast("list[Json]", group)] for group in cast("list[Json]", value)
        ]
    return [[cast("dict[str, Json]", row) for row in cast("list[Json]", value)]]


def fits(value: Json, shape: Shape) -> bool:
    """Say whether a value can be written in a shape, missing keys allowed."""
    match shape:
        case Leaf():
            return True
        case Record():
            if not isinstance(value, dict) or not value:
                return False
            fields = dict(shape.fields)
            return all(key in fields and fits(item, fields[key]) for key, item in value.items())
        case Table():
            return _table_fits(value, shape)


def leaves(shape: Record) -> int:
    """Return how many cells a row of this shape has."""
    return sum(leaves(inner) if isinstance(inner, Record) else 1 for _, inner in shape.fields)


def _table_fits(value: Json, shape: Table) -> bool:
    if shape.kind == "map":
        is_right = isinstance(value, dict) and all(isinstance(row, dict) and row for row in value.values())
    elif shape.kind == "groups":
        is_right = isinstance(value, list) and bool(value) and all(_is_row_list(item) for item in value)
    else:
        is_right = isinstance(value, list) and all(isinstance(row, dict) and row for row in value)
    return (
        is_right
        and bool(value)
        and all(_row_fits(row, shape.row) for group in rows_of(value, shape.kind) for row in group)
    )


def _row_fits(row: Mapping[str, Json], shape: Record) -> bool:
    """As `fits`, but an object inside a row is written flat, so it must be there with all its keys."""
    fields = dict(shape.fields)
    if not all(key in fields for key in row):
        return False
    for key, inner in shape.fields:
        if isinstance(inner, Record):
            item = row.get(key)
            if not isinstance(item, dict) or set(item) != set(inner.keys) or not _row_fits(item, inner):
                return False
    return True


def _row_shape(rows: Sequence[Mapping[str, Json]]) -> Record:
    keys: dict[str, None] = {}
    for row in rows:
        keys.update(dict.fromkeys(row))
    return Record(tuple((key, _cell_shape([row.get(key) for row in rows])) for key in keys))


def _cell_shape(cells: Sequence[Json]) -> Shape:
    """Return a record if each cell is an object with the same keys, so that its cells can stand in the row itself."""
    objects = [cell for cell in cells if isinstance(cell, dict) and cell]
    if len(objects) < len(cells) or any(set(item) != set(objects[0]) for item in objects):
        return LEAF
    return Record(tuple((key, _cell_shape([item[key] for item in objects])) for key in objects[0]))


def is_map(value: Mapping[str, Json]) -> bool:
    """Say whether an object's keys are data: its values are objects that share keys, and its keys carry digits.

    Without digits, the values must share at least two keys, and half of all keys that any has.
    """
    if len(value) < 2 or not all(isinstance(row, dict) and row for row in value.values()):
        return False
    rows = list(value.values())
    shared = set(cast("dict[str, Json]", rows[0]))
    union = set(shared)
    for row in rows[1:]:
        shared &= set(cast("dict[str, Json]", row))
        union |= set(cast("dict[str, Json]", row))
    if shared and sum(any(c.isdigit() for c in key) for key in value) * 2 >= len(value):
        return True
    return len(shared) >= 2 and 2 * len(shared) >= len(union)


def _is_row_list(item: Json) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(row, dict) and row for row in item)
