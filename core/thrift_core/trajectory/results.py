"""Shortens a tool's result when it is first seen, without losing anything that it says.

Each result is written in the cheapest of several ways, and only where reading it back gives the same value:

- as it is;
- `§ ...`: JSON in the compact notation of `notation_write`;
- `§= ...`: the same without keys, which are those of the tool's result before;
- `§tool#2 ...`: only what differs from that tool's second result;
- `§lines`: text in which runs of earlier lines are references, see `line_runs`;
- `§rows`: the same, and runs of lines that are alike are folded, see `folding`.

The first use of each way in a thread is explained in a few words in parentheses, for the model that reads it.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

from thrift_core.notation.folding import fold, unfold
from thrift_core.notation.line_runs import LineIndex, names_in
from thrift_core.notation.reading import Reader
from thrift_core.notation.shapes import Json, Shape, is_map, shape_of
from thrift_core.notation.writing import same, write_body, write_changes, write_fields, write_value

MARK = "§"
LEGENDS = {
    "": "JSON; [#columns| row; row]; ^ as above",
    "=": "keys as in this tool's last result",
    "#": "that earlier result, changed",
    "lines": "tool#n:a-b are lines a-b of its nth result",
    "rows": "[3x] a*b: 3 rows follow, each for the * in a line; tool#n:a-b are lines a-b of its nth result",
}
_TEXT_KINDS = ("lines", "rows")
_HEAD = re.compile(r"§(?:\(([^()]*)\))?(lines\n|rows\n|=|[\w.-]+#\d+)? ?", re.ASCII)
_SAFE_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}\Z", re.ASCII)
# Below this a result is not worth the work, nor the reader's.
_FEWEST_CHARACTERS = 24
_FEWEST_TOKENS_SAVED = 3
_BASES = 6
# Counting tokens takes longest of all; a text half as long again as another is not the cheaper one.
_LONGEST_TO_COUNT = 1.5
# Re-encoding is quick but not free; a longer text would make its step slow.
_MOST_CHARACTERS = 200_000
# What depends on a text alone is worked out once while it is among those last met, such as the turns still live.
_TEXTS_KNOWN = 64
_UNREADABLE = (ValueError, LookupError, TypeError, RecursionError, StopIteration)


@dataclass(frozen=True, slots=True)
class Shortened:
    """A result as it is sent.

    Attributes:
        text: what is sent in its place.
        tokens: how many tokens that is.
        how: in words, why it is shorter.
        refers_to: the names of earlier results that it cannot be read without.
    """

    text: str
    tokens: int
    how: str
    refers_to: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Base:
    """A result that later ones may be written as changes of.

    Attributes:
        name: what they refer to it by.
        value: what it said, keys in the order in which they are read.
        shape: its keys.
        content: what is the same for each text that says the same.
    """

    name: str
    value: Json
    shape: Shape
    content: str


@dataclass(slots=True)
class _Way:
    kind: str
    body: str
    how: str
    read: Json = None
    is_explained: bool = True


@dataclass(slots=True)
class Results:
    """What a thread's results so far have taught: shapes of tools, values to differ from, lines to refer to.

    Attributes:
        count: counts tokens.
        has_absorbed: whether a result came in that was shortened before.
    """

    count: Callable[[str], int]
    has_absorbed: bool = False
    _ordinals: dict[str, int] = field(default_factory=dict[str, int])
    _shapes: dict[str, _Base] = field(default_factory=dict[str, _Base])
    _bases: deque[_Base] = field(default_factory=lambda: deque[_Base](maxlen=_BASES))
    _lines: LineIndex = field(default_factory=LineIndex)
    _by_content: dict[str, _Base] = field(default_factory=dict[str, _Base])
    _by_name: dict[str, _Base] = field(default_factory=dict[str, _Base])
    _explained: set[str] = field(default_factory=set[str])
    _explained_at: dict[str, str] = field(default_factory=dict[str, str])
    _keys_at: dict[str, str] = field(default_factory=dict[str, str])
    _pending: _Way | None = None

    def shorten(self, tool: str, text: str, tokens: int) -> Shortened | None:
        """Return the cheapest way to write a result, or None to leave it; `learn` must follow in either case."""
        self._pending = None
        if not _FEWEST_CHARACTERS <= len(text) <= _MOST_CHARACTERS or text.startswith(MARK):
            return None
        value = parse(text)
        for ways in self._rounds(tool, text, value):
            for cost, written, way in self._cheapest_first(ways, tokens - _FEWEST_TOKENS_SAVED):
                if self._reads_back(tool, way, text, value):
                    self._pending = way
                    return Shortened(written, cost, way.how, self._refers_to(tool, way))
        return None

    def _rounds(self, tool: str, text: str, value: Json) -> Iterator[list[_Way]]:
        """Yield ways to try, the next ones only where none of those before saves anything.

        So JSON that is shorter by itself is always shortened, whatever came before it.
        """
        if value is None:
            yield self._text_ways(text)
            return
        if (twin := self._by_content.get(_content(text))) is not None:
            yield [_Way(twin.name, "", f"the same as {twin.name}")]
        ways = self._value_ways(tool, text, value)
        yield ways
        yield ways[:1]

    def _cheapest_first(self, ways: list[_Way], most_tokens: int) -> list[tuple[int, str, _Way]]:
        written = [self._write(way) for way in ways]
        shortest = min(map(len, written), default=0)
        costs = [
            (self.count(text), text, way)
            for text, way in zip(written, ways, strict=True)
            if len(text) <= _LONGEST_TO_COUNT * shortest + _FEWEST_CHARACTERS
        ]
        return sorted((item for item in costs if item[0] <= most_tokens), key=lambda item: item[0])

    def _refers_to(self, tool: str, way: _Way) -> frozenset[str]:
        if way.kind in _TEXT_KINDS:
            return frozenset(names_in(way.body))
        if way.kind == "=":
            return frozenset((self._shapes[tool].name, self._keys_at[tool]))
        return frozenset((way.kind,)) if way.kind else frozenset()

    def forget(self, name: str) -> None:
        """Refer no more to a result that is no longer sent."""
        self._shapes = {
            tool: base for tool, base in self._shapes.items() if name not in (base.name, self._keys_at[tool])
        }
        self._bases = deque((base for base in self._bases if base.name != name), maxlen=_BASES)
        if (base := self._by_name.pop(name, None)) is not None:
            del self._by_content[base.content]
        self._lines.forget(name)
        # Its text may have held an explanation; giving it again is cheap.
        self._explained = {key for key, at in self._explained_at.items() if at != name}

    def learn(self, tool: str, text: str, *, is_shortened: bool) -> str:
        """Remember a result that is sent, shortened (as last proposed) or as it is; return the name it goes by."""
        way = self._pending if is_shortened else None
        self._pending = None
        ordinal = self._ordinals.get(tool, 0) + 1
        self._ordinals[tool] = ordinal
        name = f"{tool}#{ordinal}"
        if way is not None and way.is_explained and _legend_key(way.kind) not in self._explained:
            self._explained.add(_legend_key(way.kind))
            self._explained_at[_legend_key(way.kind)] = name
        is_of_use = way is not None or _FEWEST_CHARACTERS <= len(text) <= _MOST_CHARACTERS
        if not _SAFE_NAME.match(tool) or not is_of_use:
            return name
        value = parse(text)
        if value is None:
            literal = self._lines.refer(text) if way is not None and way.kind in _TEXT_KINDS else None
            self._lines.add(name, text, literal=literal[1] if literal else None)
            return name
        self._remember(_base_of(name, text, way), tool, way)
        return name

    def _remember(self, base: _Base, tool: str, way: _Way | None) -> None:
        if way is not None and way.kind == "=":
            self._shapes[tool] = replace(base, shape=self._shapes[tool].shape)
        else:
            self._shapes[tool] = base
            self._keys_at[tool] = base.name
        self._bases.append(base)
        if base.content not in self._by_content:
            self._by_content[base.content] = self._by_name[base.name] = base

    def _value_ways(self, tool: str, text: str, value: Json) -> list[_Way]:
        ways = [_Way("", _whole(text), "JSON written compactly")]
        before = self._shapes.get(tool)
        if before is not None and type(before.value) is type(value):
            ways.append(_Way("=", write_body(value, before.shape, before.value), "keys not repeated"))
        for base in self._bases:
            if _is_near(value, base.value):
                body = write_changes(value, base.shape, base.value)
                ways.append(_Way(base.name, body, f"only what differs from {base.name}"))
        return ways

    def _text_ways(self, text: str) -> list[_Way]:
        referred = self._lines.refer(text)
        ways = [_Way("lines", referred[0], "repeated lines as references")] if referred else []
        lines = (referred[0] if referred else text).split("\n")
        folded = fold(lines)
        if len(folded) > len(lines):
            ways.append(_Way("rows", "\n".join(folded), "lines that are alike in short"))
        return ways

    def _write(self, way: _Way) -> str:
        key = _legend_key(way.kind)
        legend = "" if key in self._explained else f"({LEGENDS[key]})"
        return f"{MARK}{legend}{way.kind}{chr(10) if way.kind in _TEXT_KINDS else ' '}{way.body}"

    def _reads_back(self, tool: str, way: _Way, text: str, value: Json) -> bool:
        try:
            way.read = self._read(tool, way.kind, way.body)
        except _UNREADABLE:
            return False
        return way.read == text if value is None else same(way.read, value)

    def _read(self, tool: str, kind: str, body: str) -> Json:
        if kind in _TEXT_KINDS:
            return self._lines.expand("\n".join(unfold(body.split("\n"))) if kind == "rows" else body)
        if not kind:
            return _read_whole(body)
        reader = Reader(body)
        if kind == "=":
            found = reader.body(self._shapes[tool].shape, self._shapes[tool].value)
        else:
            base = self._base(kind)
            found = reader.changes(base.shape, base.value)
        reader.end()
        return found

    def _base(self, name: str) -> _Base:
        return next((base for base in self._bases if base.name == name), None) or self._by_name[name]

    def absorb(self, tool: str, text: str) -> tuple[str, frozenset[str]]:
        """Learn from a result that was shortened before it came here; return its name and those it refers to."""
        match = _HEAD.match(text)
        if match is None:
            return self.learn(tool, text, is_shortened=False), frozenset()
        kind = (match[2] or "").strip()
        body = text[match.end() :]
        try:
            back = self._read(tool, kind, body)
        except _UNREADABLE:
            return self.learn(tool, "", is_shortened=False), frozenset()
        # Only text that explains itself in our words is surely ours; others may begin with the mark by chance.
        self.has_absorbed = self.has_absorbed or match[1] in LEGENDS.values()
        self._pending = way = _Way(kind, body, "", back, is_explained=match[1] is not None)
        refers_to = self._refers_to(tool, way)
        name = self.learn(tool, back if isinstance(back, str) else json.dumps(back), is_shortened=True)
        return name, refers_to


@lru_cache(maxsize=_TEXTS_KNOWN)
def parse(text: str) -> Json:
    """Return the object or array that a text is as JSON, or None if it is none that can be written otherwise."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value: Any = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return cast("Json", value) if isinstance(value, dict | list) and value else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


@lru_cache(maxsize=_TEXTS_KNOWN)
def _content(text: str) -> str:
    """Return what is the same for two texts that say the same JSON."""
    return json.dumps(parse(text), sort_keys=True)


@lru_cache(maxsize=_TEXTS_KNOWN)
def _shape(text: str) -> Shape:
    return shape_of(parse(text))


@lru_cache(maxsize=_TEXTS_KNOWN)
def _whole(text: str) -> str:
    value = parse(text)
    if isinstance(value, dict) and not is_map(value):
        return write_fields(value)
    return write_value(value)


@lru_cache(maxsize=_TEXTS_KNOWN)
def _read_whole(body: str) -> Json:
    reader = Reader(body)
    found = reader.value() if body[:1] in "[{" else reader.fields()
    reader.end()
    return found


def _base_of(name: str, text: str, way: _Way | None) -> _Base:
    if way is None:
        return _Base(name, parse(text), _shape(text), _content(text))
    # Who reads what is sent has the keys in the order in which they stand there, not in the tool's.
    return _Base(name, way.read, shape_of(way.read), _content(text))


def _is_near(value: Json, base: Json) -> bool:
    if isinstance(value, dict) and isinstance(base, dict):
        return 2 * len(value.keys() & base.keys()) > len(value)
    return isinstance(value, list) and isinstance(base, list)


def _legend_key(kind: str) -> str:
    return "#" if "#" in kind else kind
