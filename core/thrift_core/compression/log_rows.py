"""A log written without loss: what its kinds of lines share stands once, then one short row for each line.

By example, a log of two kinds. `*` is a value, `^` one that hardly ever changes; a row gives its kind's letter, then
the values of the `*` in turn, and begins with a blank where its kind is that of the row above:

    A ^ * INFO served /item/* in * ms
    B ^ * WARN slow query by *

    A! 2026-11-20 10:01:07 44 5
     ':09 45 7
    B '12 root
    =a line of no kind

Reading it back gives the log byte for byte; `rows` proves that before it answers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice, pairwise, product, takewhile
from string import ascii_uppercase
from typing import cast

from thrift_core.compression.log_templates import Mined
from thrift_core.notation.documents import MARK

_HEAD = (
    f"{MARK}lines(kinds, * a value; then rows: kind, its values; ^ as above (first %d: in any kind);"
    " 'x above but for its end; <n> as the nth value; ! with the ^ values; =whole line;"
    " blank: kind above; a=...: short names)"
)
_SHARED = (1, 2, 3)
# How many of the first values are the time, whatever the kind, is tried on so many lines.
_TRIED_LINES = 120
# Names of values that come often: a to z, then aa to zz, mostly one token each and a blank or so.
_MOST_NAMES = 26 + 26 * 26
_LONGEST_NAME = 2
_NAME_TOKENS = 1.3
_ALIAS = re.compile(r"[a-z]{1,2}")
_ALIAS_LINE = re.compile(r"[a-z]{1,2}=")
_RUN = re.compile(r"\d+|[A-Za-z]+|[^\dA-Za-z]")
_PLACE = "*"
_STEADY = "^"
_SAME = "^"
_END = "'"
_WHOLE = "="
_ALL = "!"
_RAW_FROM = 2
# A value that changes in fewer rows than this share is written only where it does. The sign for no change is one token,
# a value and the signs for the other steady places that then must be written are about eight.
_STEADY_SHARE = 0.12
# A place that always says what an earlier place of the line says is shown by that place's number in these.
_TWIN = ("<", ">")
# Stands for a blank inside a value.
_BLANK = "·"
_FIELDS = re.compile(r"([.:,/_-])")
_LONG_ENOUGH = 4
_NAME = re.compile(r"[A-Z]*!?")
_SPECIAL = re.compile(r"[*^<\\]")


class RowsError(ValueError):
    """The text is no log written in rows."""


def rows(mined: Mined) -> str | None:
    """Return the log in rows, or None where that does not read back as the same lines."""
    written = _write(mined)
    try:
        return written if read(written) == "\n".join(mined.lines) else None
    except RowsError:
        return None


def read(text: str) -> str:
    """Return the log that was written in rows, byte for byte.

    Raises:
        RowsError: the text is none.
    """
    lines = text.split("\n")
    shared = next((number for number in _SHARED if lines[0] == _HEAD % number), None)
    if shared is None:
        raise RowsError("the first line is not that of a log in rows")
    kinds: dict[str, _Layout] = {}
    names: dict[str, str] = {}
    for at in range(1, len(lines)):
        name, _, literal = lines[at].partition(" ")
        if not lines[at]:
            return "\n".join(_read_rows(lines[at + 1 :], kinds, names))
        if _ALIAS_LINE.match(lines[at]):
            pairs = (pair.partition("=") for pair in lines[at].split(" "))
            names = {alias: value.replace(_BLANK, " ") for alias, _, value in pairs}
            continue
        if name != _name(len(kinds)):
            break
        kinds[name] = _layout(literal, shared)
    raise RowsError("an empty line must stand between the kinds and the rows")


def _read_rows(lines: Sequence[str], kinds: Mapping[str, _Layout], names: Mapping[str, str]) -> Iterator[str]:
    above: dict[str, str] = {}
    before = ""
    for line in lines:
        if line.startswith(_WHOLE):
            yield line[1:]
            continue
        name = cast("re.Match[str]", _NAME.match(line))[0]
        rest = line[len(name) :]
        cells = rest.removeprefix(" ").split(" ") if rest.strip() else []
        if names:
            cells = [names.get(cell, cell) for cell in cells]
        has_all = name.endswith(_ALL)
        name = name.removesuffix(_ALL) or before
        before = name
        layout = kinds.get(name)
        if layout is None:
            raise RowsError(f"no kind of line is called {name!r}")
        yield layout.line(cells, above, has_all=has_all)


def _value(cell: str, above: str | None) -> str:
    if cell != _SAME and not cell.startswith(_END):
        return cell.replace(_BLANK, " ")
    if above is None:
        raise RowsError("nothing stands above")
    return above if cell == _SAME else _ending(above, cell[1:].replace(_BLANK, " "))


def _ending(above: str, end: str) -> str:
    """Return the value above with its end replaced: as many fields as `end` has, or as many characters."""
    fields = _FIELDS.split(above)
    if len(fields) > 1:
        width = len(_FIELDS.split(end))
        return "".join(fields[: max(0, len(fields) - width)]) + end
    return above[: max(0, len(above) - len(end))] + end


@dataclass(frozen=True, slots=True)
class _Layout:
    """A kind as it is written.

    Attributes:
        literals: the text between its places, one more than there are.
        steady: for each place, whether it is written only in rows that have all.
        contexts: for each place, what it is known by to the same place in rows above, of whatever kind.
        twins: for each place, the earlier place that always says the same, or -1.
    """

    literals: tuple[str, ...]
    steady: tuple[bool, ...]
    contexts: tuple[str, ...]
    twins: tuple[int, ...]

    def line(self, cells: Sequence[str], above: dict[str, str], *, has_all: bool) -> str:
        """Return the line that a row's cells stand for."""
        given = iter(cells)
        parts = [self.literals[0]]
        values: list[str] = []
        for place, context in enumerate(self.contexts):
            if self.twins[place] >= 0:
                value = values[self.twins[place]]
            else:
                cell = _SAME if self.steady[place] and not has_all else next(given, _SAME)
                value = above[context] = _value(cell, above.get(context))
            values.append(value)
            parts += (value, self.literals[place + 1])
        if next(given, None) is not None:
            raise RowsError("a row has more values than its kind has places")
        return "".join(parts)

    def row(self, name: str, values: Sequence[str], above: dict[str, str]) -> _Row | None:
        """Return a line's cells; None where a value cannot be written."""
        cells: list[str] = []
        unsteady: list[str] = []
        shown_values: list[str] = []
        unsteady_values: list[str] = []
        has_all = False
        for place, (value, context) in enumerate(zip(values, self.contexts, strict=True)):
            if self.twins[place] >= 0:
                continue
            cell = _cell(value, above.get(context))
            if cell is None:
                return None
            cells.append(cell)
            shown_values.append(value)
            if not self.steady[place]:
                unsteady.append(cell)
                unsteady_values.append(value)
            elif cell != _SAME:
                has_all = True
        for place, (value, context) in enumerate(zip(values, self.contexts, strict=True)):
            if self.twins[place] < 0:
                above[context] = value
        row = _Row(name, has_all, cells, shown_values) if has_all else _Row(name, has_all, unsteady, unsteady_values)
        while row.cells and row.cells[-1] == _SAME:
            row.cells.pop()
            row.values.pop()
        return row


def _time_places(mined: Mined) -> int:
    layouts = {shared: _layouts(mined, shared) for shared in _SHARED}
    return min(_SHARED, key=lambda shared: _length(_cells(mined, layouts[shared], _TRIED_LINES)))


def _length(rows_of: Iterable[_Row]) -> int:
    return sum(len(cell) + 1 for row in rows_of for cell in row.cells)


@dataclass(slots=True)
class _Row:
    """A line on its way: a name of its kind, empty for a whole line, and its cells with the values they stand for."""

    name: str
    has_all: bool
    cells: list[str]
    values: list[str]


def _layouts(mined: Mined, shared: int) -> dict[int, tuple[_Layout, tuple[int, ...], str]]:
    found: dict[int, tuple[_Layout, tuple[int, ...], str]] = {}
    for number, kind in enumerate(mined.kinds):
        if len(kind.lines) >= _RAW_FROM:
            rows_of = [mined.values[line] for line in kind.lines]
            literals, places = _folded(kind.literals, rows_of)
            columns = [[row[place] for row in rows_of] for place in places]
            layout = _Layout(literals, _steady(columns), _contexts(literals, shared), _twins(columns))
            found[number] = (layout, places, _name(len(found)))
    return found


def _cells(mined: Mined, layouts: Mapping[int, tuple[_Layout, tuple[int, ...], str]], most_lines: int) -> list[_Row]:
    above: dict[str, str] = {}
    found: list[_Row] = []
    for number, line in enumerate(mined.lines[:most_lines]):
        layout, places, name = layouts.get(mined.kind_of[number], _NO_LAYOUT)
        values = mined.values[number]
        row = layout.row(name, [values[place] for place in places], above) if name else None
        found.append(row if row is not None else _Row("", False, [line], []))
    return found


def _write(mined: Mined) -> str:
    shared = _time_places(mined)
    layouts = _layouts(mined, shared)
    cells = _cells(mined, layouts, len(mined.lines))
    names = _often(cells)
    body: list[str] = []
    before = ""
    for row in cells:
        if not row.name:
            body.append(_WHOLE + row.cells[0])
            continue
        shown = ("" if row.name == before else row.name) + (_ALL if row.has_all else "")
        before = row.name
        texts = row.cells
        if names:
            texts = [
                cell if cell == _SAME else names.get(value, cell)
                for cell, value in zip(row.cells, row.values, strict=True)
            ]
        is_joined = shown and (not texts or texts[0][:1].isdigit())
        body.append(shown + ("" if is_joined else " ") + " ".join(texts))
    kinds = [f"{name} {_shown(layout)}" for layout, _, name in layouts.values()]
    words = [" ".join(f"{name}={value.replace(' ', _BLANK)}" for value, name in names.items())] if names else []
    return "\n".join([_HEAD % shared, *kinds, *words, "", *body])


def _often(rows_of: Iterable[_Row]) -> dict[str, str]:
    """Return short names for values that come often, by the tokens they save; and for those that look like a name."""
    gains: dict[str, float] = defaultdict(float)
    lookalikes: dict[str, None] = {}
    for row in rows_of:
        for cell, value in zip(row.cells, row.values, strict=False):
            if cell != _SAME and len(cell) > 3:
                gains[value] += _tokens(cell) - _NAME_TOKENS
            if len(value) <= _LONGEST_NAME and _ALIAS.fullmatch(value):
                lookalikes[value] = None
    gained = {value: gain - _tokens(value) - _NAME_TOKENS - 1 for value, gain in gains.items()}
    best = sorted((value for value, gain in gained.items() if gain > 0), key=lambda value: (-gained[value], value))
    chosen = dict.fromkeys([*best[: _MOST_NAMES - len(lookalikes)], *lookalikes])
    return dict(zip(chosen, map(str.lower, map(_name, range(len(chosen)))), strict=True))


def _tokens(text: str) -> float:
    """Return about how many tokens a value has: three digits or four letters each, and one for each other sign."""
    return (
        sum(-(-len(run) // (3 if run[0].isdigit() else 4)) if run[0].isalnum() else 1 for run in _RUN.findall(text))
        + 0.5
    )


def _steady(columns: Sequence[Sequence[str]]) -> tuple[bool, ...]:
    # What is the same at the end of a row is not written anyway.
    return tuple(
        _is_steady(column, _STEADY_SHARE if place + 1 < len(columns) else 0.0) for place, column in enumerate(columns)
    )


def _is_steady(column: Sequence[str], share: float) -> bool:
    return sum(value != before for value, before in pairwise(column)) <= share * len(column)


_NO_LAYOUT: tuple[_Layout, tuple[int, ...], str] = (_Layout(("",), (), (), ()), (), "")


def _twins(columns: Sequence[Sequence[str]]) -> tuple[int, ...]:
    first: dict[tuple[str, ...], int] = {}
    found = [first.setdefault(tuple(column), place) for place, column in enumerate(columns)]
    return tuple(twin if twin < place else -1 for place, twin in enumerate(found))


def _cell(value: str, above: str | None) -> str | None:
    """Return a value as it is written below another; None where it cannot be told from what has a meaning here."""
    if value == above:
        return _SAME
    if not value or value[0] in "^'" or _BLANK in value or "\n" in value:
        return None
    if above is None or len(value) < _LONG_ENOUGH:
        return value.replace(" ", _BLANK)
    if len(value) == len(above) and _FIELDS.search(above) is None:
        same = next(at for at in range(len(value)) if value[at] != above[at])
        # Tokens hold three digits each.
        end = value[-(-(-(len(value) - same) // 3) * 3) :]
    else:
        fields, others = _FIELDS.split(value), _FIELDS.split(above)
        if len(fields) != len(others):
            return value.replace(" ", _BLANK)
        same = next(at for at in range(len(fields)) if fields[at] != others[at])
        same += same % 2
        end = "".join(fields[same:])
    is_shorter = len(end) + 1 < len(value)
    if is_shorter and end and _ending(above, end) == value:
        return _END + end.replace(" ", _BLANK)
    return value.replace(" ", _BLANK)


def _folded(literals: Sequence[str], rows_of: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return a kind's literals with places that never vary written in, and the places that are left."""
    kept: list[str] = [literals[0]]
    places: list[int] = []
    for place, after in enumerate(literals[1:]):
        column = {row[place] for row in rows_of}
        if len(column) == 1:
            kept[-1] += column.pop() + after
        else:
            places.append(place)
            kept.append(after)
    return tuple(kept), tuple(places)


def _contexts(literals: Sequence[str], shared: int) -> tuple[str, ...]:
    """Return what each place is known by to the places above it: the text around it, and its turn among such.

    The first places, which hold the time, are the same in lines of all kinds.
    """
    found: list[str] = []
    seen: dict[str, int] = {}
    for place, (before, after) in enumerate(pairwise(literals)):
        around = f"{before}{_PLACE}{after}"
        turn = seen[around] = seen.get(around, 0) + 1
        found.append(str(place) if place < shared else f"{turn}{around}")
    return tuple(found)


def _shown(layout: _Layout) -> str:
    parts = [_escaped(layout.literals[0])]
    for literal, is_steady, twin in zip(layout.literals[1:], layout.steady, layout.twins, strict=True):
        place = f"{_TWIN[0]}{twin + 1}{_TWIN[1]}" if twin >= 0 else _STEADY if is_steady else _PLACE
        parts += (place, _escaped(literal))
    return "".join(parts)


def _escaped(literal: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", literal)


def _layout(shown: str, shared: int) -> _Layout:
    literals: list[str] = [""]
    steady: list[bool] = []
    twins: list[int] = []
    characters = iter(shown)
    for character in characters:
        if character == "\\":
            literals[-1] += next(characters, "")
        elif character in (_PLACE, _STEADY, _TWIN[0]):
            number = "".join(takewhile(_TWIN[1].__ne__, characters)) if character == _TWIN[0] else "0"
            if not number.isdecimal() or int(number) > len(twins):
                raise RowsError(f"there is no place {number!r} before")
            twins.append(int(number) - 1)
            steady.append(character == _STEADY)
            literals.append("")
        else:
            literals[-1] += character
    return _Layout(tuple(literals), tuple(steady), _contexts(literals, shared), tuple(twins))


_LETTERS = 26


def _name(number: int) -> str:
    """Return the name of a kind: A to Z, then AA, AB..."""
    for length in count(1):
        if number < _LETTERS**length:
            return "".join(next(islice(product(ascii_uppercase, repeat=length), number, None)))
        number -= _LETTERS**length
    raise AssertionError
