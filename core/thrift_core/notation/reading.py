"""Reads the compact notation back, which is how each re-encoding is proved lossless before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from thrift_core.notation.shapes import LEAF, MAP_KEY, Json, Leaf, Record, Shape, Table, fits, leaves, rows_of
from thrift_core.notation.writing import ABSENT, DITTO, MISFIT, MISSING, Absent, Cell, flat_cells

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"-?[A-Za-z0-9][\w.@:/+%,?'-]*", re.ASCII)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_JSON_STARTS = frozenset("-0123456789tfn")
_JSON_WORD = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?\Z|true\Z|false\Z|null\Z")


class NotationError(ValueError):
    """The text is not in the compact notation."""


class Reader:
    """Reads values off a text, from left to right.

    Args:
        text: what was written.

    Raises:
        NotationError: (from every method) the text cannot be read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self) -> Json:
        """Read a value that carries its own keys and columns."""
        opening = self._next()
        if opening == "{":
            self._at += 1
            if self._accept("#"):
                return self._table("map", "}")
            return self.fields("}")
        if opening == "[":
            self._at += 1
            if self._accept("##"):
                return self._table("groups", "]")
            if self._accept("#"):
                return self._table("list", "]")
            items: list[Json] = []
            while not self._accept("]"):
                items.append(self.value())
            return items
        return self._scalar()

    def fields(self, closing: str = "") -> dict[str, Json]:
        """Read `key=value` fields up to a closing brace, or to the end of the text."""
        found: dict[str, Json] = {}
        while not self._closes(closing):
            key = self._key()
            self._expect("=")
            found[key] = self.value()
        return found

    def record(self, shape: Record, base: Cell, closing: str = "") -> dict[str, Json]:
        """Read values in the order of a shape's keys, then extra fields."""
        above: Mapping[str, Json] = base if isinstance(base, dict) else {}
        found: dict[str, Json] = {}
        for key, inner in shape.fields:
            if self._accept(MISSING):
                continue
            if self._accept(DITTO):
                found[key] = above[key]
            else:
                found[key] = self._positional(inner, ABSENT)
        while not self._closes(closing):
            self._expect("+")
            key = self._key()
            self._expect("=")
            found[key] = self.value()
        return found

    def body(self, shape: Shape, base: Cell) -> Json:
        """Read a value of a known shape."""
        if isinstance(shape, Record):
            return self.record(shape, base)
        return self._positional(shape, ABSENT)

    def changes(self, shape: Shape, base: Json) -> Json:
        """Read what differs from `base` and return the whole value; where nothing is written, nothing differs."""
        if self._closes(""):
            return base
        if not (isinstance(base, dict) and isinstance(shape, Record)):
            return self._changed(shape, base)
        inner = dict(shape.fields)
        found = dict(base)
        while not self._closes(""):
            if self._accept("-"):
                del found[self._key()]
                continue
            key = self._key()
            self._expect("=")
            found[key] = self._changed(inner.get(key, LEAF), base.get(key, ABSENT))
        return found

    def end(self) -> None:
        """Check that nothing is left."""
        if not self._closes(""):
            raise NotationError(f"unread text at {self._at}")

    def _changed(self, shape: Shape, base: Cell) -> Json:
        return self._positional(shape, base) if self._accept(MISFIT) else self.value()

    def _positional(self, shape: Shape, base: Cell) -> Json:
        if isinstance(shape, Leaf) or self._accept(MISFIT):
            return self.value()
        if isinstance(shape, Record):
            self._expect("{")
            return self.record(shape, ABSENT, "}")
        self._expect("{" if shape.kind == "map" else "[")
        return self._rows(shape, base, {}, "}" if shape.kind == "map" else "]")

    def _table(self, kind: str, closing: str) -> Json:
        if kind == "map":
            self._expect(MAP_KEY)
        constants: dict[str, Json | Absent] = {}
        columns = self._columns("|", constants)
        return self._rows(Table(columns, kind), ABSENT, constants, closing)

    def _columns(self, closing: str, constants: dict[str, Json | Absent]) -> Record:
        fields: list[tuple[str, Shape]] = []
        while not self._accept(closing):
            key = self._key()
            shape: Shape = LEAF
            if self._accept("{"):
                shape = self._columns("}", {})
            elif self._accept("="):
                constants[key] = ABSENT if self._accept(MAP_KEY) else self.value()
            fields.append((key, shape))
        return Record(tuple(fields))

    def _rows(self, shape: Table, base: Cell, constants: Mapping[str, Json | Absent], closing: str) -> Json:
        is_map = shape.kind == "map"
        width = leaves(shape.row) - len(constants) + is_map
        skip = dict.fromkeys(constants, "")
        patterns = _patterns(shape, base, skip)
        groups: list[list[dict[str, Json]]] = [[]]
        names: list[str] = []
        above: list[Cell] | None = None
        by_first: dict[str, list[Cell]] = {}
        count = 0
        while True:
            above = patterns[count] if count < len(patterns) else above
            above = self._row(width, above, by_first)
            count += 1
            cells = iter(above)
            if is_map:
                names.append(cast("str", next(cells)))
            groups[-1].append(_unflatten(shape.row, cells, constants, names[-1] if is_map else None))
            if self._accept("&"):
                groups.append([])
            elif not self._accept(";"):
                break
        self._expect(closing)
        if is_map:
            return cast("Json", dict(zip(names, groups[0], strict=True)))
        return cast("Json", groups if shape.kind == "groups" else groups[0])

    def _row(self, width: int, above: Sequence[Cell] | None, by_first: dict[str, list[Cell]]) -> list[Cell]:
        cells: list[Cell] = []
        for column in range(width):
            symbol = self._next()
            if symbol == DITTO:
                self._at += 1
                if column == 0 and self._at < len(self._text) and self._text[self._at].isalnum():
                    return by_first[self._key()]
                if above is None:
                    raise NotationError("nothing stands above")
                cells.append(above[column])
            elif symbol == MISSING:
                self._at += 1
                cells.append(ABSENT)
            else:
                cells.append(self.value())
        if cells and isinstance(cells[0], str):
            by_first[cells[0]] = cells
        return cells

    def _scalar(self) -> Json:
        if self._next() == '"':
            if match := _QUOTED.match(self._text, self._at):
                self._at = match.end()
                return cast("str", json.loads(match.group(), strict=False))
        elif match := _WORD.match(self._text, self._at):
            self._at = match.end()
            word = match.group()
            # Most words begin as no number, truth value or null does.
            return cast("Json", json.loads(word)) if word[0] in _JSON_STARTS and _JSON_WORD.match(word) else word
        raise NotationError(f"no value at {self._at}")

    def _key(self) -> str:
        self._skip_space()
        if match := _QUOTED.match(self._text, self._at) or _WORD.match(self._text, self._at):
            self._at = match.end()
            return cast("str", json.loads(match.group(), strict=False)) if match.group()[0] == '"' else match.group()
        raise NotationError(f"no key at {self._at}")

    def _closes(self, closing: str) -> bool:
        if closing:
            return self._accept(closing)
        self._skip_space()
        return self._at >= len(self._text)

    def _accept(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._at):
            if not self._text[self._at : self._at + 1].isspace():
                return False
            self._skip_space()
            if not self._text.startswith(symbol, self._at):
                return False
        self._at += len(symbol)
        return True

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise NotationError(f"no {symbol} at {self._at}")

    def _next(self) -> str:
        """Return the character that comes next, blanks skipped; empty at the end."""
        self._skip_space()
        return self._text[self._at : self._at + 1]

    def _skip_space(self) -> None:
        if self._text[self._at : self._at + 1].isspace():
            self._at = cast("re.Match[str]", _SPACE.match(self._text, self._at)).end()


def _patterns(shape: Table, base: Cell, skip: Mapping[str, str]) -> list[list[Cell]]:
    if isinstance(base, Absent) or not fits(base, shape):
        return []
    rows = [flat_cells(row, shape.row, skip) for group in rows_of(base, shape.kind) for row in group]
    if shape.kind == "map":
        rows = [[name, *cells] for name, cells in zip(cast("dict[str, Json]", base), rows, strict=True)]
    return rows


def _unflatten(
    shape: Record, cells: Iterator[Cell], constants: Mapping[str, Json | Absent], name: str | None
) -> dict[str, Json]:
    row: dict[str, Json] = {}
    for key, inner in shape.fields:
        if key in constants:
            constant = constants[key]
            row[key] = cast("str", name) if isinstance(constant, Absent) else constant
        elif isinstance(inner, Record):
            row[key] = _unflatten(inner, cells, {}, None)
        elif not isinstance(cell := next(cells), Absent):
            row[key] = cell
    return row
