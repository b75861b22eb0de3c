"""The compact notation says all that the JSON said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.notation.line_runs import LineIndex
from thrift_core.notation.reading import NotationError, Reader
from thrift_core.notation.shapes import shape_of
from thrift_core.notation.writing import same, word, write_body, write_changes, write_fields, write_value
from thrift_core.trajectory.results import parse

_KEYS = st.sampled_from(["id", "a", "b", "c d", "x1", "y2", "", "1", "-z", "_", "^", "name", "+k", "true"])
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["abcdef", "2024-05-20", "12", "-3", "true", "^", "_", "A1", "!x", "#", "a=b", "x;y", "1e5", "é"]),
)
_ROWS = st.dictionaries(st.sampled_from(["a", "b", "x1"]), _LEAVES, min_size=1, max_size=3)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.lists(_ROWS, max_size=5),
        st.lists(st.lists(_ROWS, min_size=1, max_size=3), max_size=3),
        st.dictionaries(st.sampled_from(["k1", "k2", "k3"]), _ROWS, max_size=3),
    ),
    max_leaves=25,
)
_TOPS = st.one_of(st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=5), st.lists(_VALUES, min_size=1, max_size=5))
thorough = settings(max_examples=250, deadline=None)


@thorough
@given(_VALUES)
def test_a_value_reads_back_as_it_was(value: Any) -> None:
    reader = Reader(write_value(value))
    assert same(reader.value(), value)
    reader.end()


@thorough
@given(_TOPS, _TOPS)
def test_values_without_their_keys_read_back_with_those_of_another(value: Any, base: Any) -> None:
    shape = shape_of(base)
    reader = Reader(write_body(value, shape, base) if type(value) is type(base) else write_value(value))
    assert same(reader.body(shape, base) if type(value) is type(base) else reader.value(), value)
    reader.end()


@thorough
@given(_TOPS, _TOPS)
def test_changes_make_one_value_of_another(value: Any, base: Any) -> None:
    if type(value) is not type(base):
        return
    reader = Reader(write_changes(value, shape_of(base), base))
    assert same(reader.changes(shape_of(base), base), value)
    reader.end()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": 1, "b": "x y", "c": None}, 'a=1 b="x y" c=null'),
        ({"zip": "78750"}, 'zip="78750"'),
        ({"rows": [{"id": "A1", "n": 20}, {"id": "B2", "n": 30}]}, "rows=[#id n| A1 20; B2 30]"),
        ({"rows": [{"id": "A1", "s": "open"}, {"id": "B2", "s": "open"}]}, "rows=[#id s=open| A1; B2]"),
        ({"r": [{"id": "A1", "s": {"x": 1, "y": 2}}]}, "r=[#id s{x y}| A1 1 2]"),
        ({"m": {"k1": {"id": "k1", "n": 5}, "k2": {"id": "k2", "n": 6}}}, "m={#* id=* n| k1 5; k2 6}"),
        ({"t": [{"id": "A1"}, {"n": 2}]}, "t=[#id n| A1 _; _ 2]"),
    ],
)
def test_the_notation_by_example(value: Any, written: str) -> None:
    assert write_fields(value) == written


def test_equal_rows_are_named_by_their_first_cell() -> None:
    leg = {"flight": "XY12", "from": "Rome", "to": "Oslo"}
    other = {"flight": "ZZ9a", "from": "Oslo", "to": "Bonn"}
    assert write_value([leg, other, leg]).endswith("^XY12]")


def test_a_word_that_json_would_read_as_something_else_is_quoted() -> None:
    assert [word(text) for text in ("true", "12", "1e5", "a b", "", "A-1")] == [
        '"true"',
        '"12"',
        '"1e5"',
        '"a b"',
        '""',
        "A-1",
    ]


@pytest.mark.parametrize("text", ["a=", "[#a b| 1 2", '{"open', "a=1 b", "[^ 1]"])
def test_text_that_is_no_notation_is_refused(text: str) -> None:
    with pytest.raises(NotationError):
        Reader(text).fields()


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "{'a': 1}", "[", "text", "", "5", "[]", "{}"])
def test_what_cannot_be_written_otherwise_is_no_json_to_us(text: str) -> None:
    assert parse(text) is None


@thorough
@given(st.lists(st.lists(st.sampled_from([f"{n}: same line of text {n % 5}" for n in range(12)] + ["", "  7|x"]))))
def test_references_to_lines_read_back(texts: list[list[str]]) -> None:
    index = LineIndex()
    for number, lines in enumerate(texts):
        text = "\n".join(lines)
        referred = index.refer(text)
        if referred is not None and index.expand(referred[0]) == text:
            assert len(referred[0]) < len(text)
        index.add(f"bash#{number}", text, literal=referred[1] if referred else None)


def test_numbers_and_truth_values_are_told_apart() -> None:
    assert not same(json.loads("1"), json.loads("1.0"))
    assert not same(json.loads("1"), json.loads("true"))
