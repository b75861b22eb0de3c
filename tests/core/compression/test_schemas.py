"""Tool definitions: fewer tokens, the same values accepted, nothing said about them lost."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.compression.schema_forms import equivalent
from thrift_core.compression.schemas import minified_schema, minified_tool

PYDANTIC = {
    "$defs": {
        "Address": {
            "title": "Address",
            "type": "object",
            "description": "Where to send it.",
            "properties": {
                "street": {"title": "Street", "type": "string"},
                "zip": {"title": "Zip", "anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            },
            "required": ["street"],
        },
        "Unused": {"type": "string"},
    },
    "title": "ship",
    "type": "object",
    "properties": {
        "title": {"title": "Title", "type": "string", "description": "of   the\n      parcel"},
        "to": {"$ref": "#/$defs/Address"},
        "kind": {"title": "Kind", "anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}], "default": None},
    },
    "required": ["to"],
}


def test_titles_nullable_unions_and_definitions_used_once_are_written_short():
    short = minified_schema(PYDANTIC)
    assert short == {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "of the\nparcel"},
            "to": {
                "type": "object",
                "description": "Where to send it.",
                "properties": {"street": {"type": "string"}, "zip": {"type": ["string", "null"]}},
                "required": ["street"],
            },
            "kind": {"type": ["string", "null"], "enum": ["a", "b", None]},
        },
        "required": ["to"],
    }


def test_a_provider_without_lists_of_types_keeps_its_unions():
    tool = {"name": "ship", "parameters": PYDANTIC}
    short = minified_tool(tool, provider="google")
    assert short["parameters"]["properties"]["kind"]["anyOf"][1] == {"type": "null"}


def test_a_definition_that_holds_itself_stays():
    tree = {
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        "$ref": "#/$defs/Node",
    }
    assert minified_schema(tree) == tree


def test_a_signature_before_the_description_goes_if_the_schema_says_the_same():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    tool = {"name": "f", "description": "f(a: int, b: dict[str, int] = {}) -> str\nDoes it.", "parameters": schema}
    assert minified_tool(tool)["description"] == "Does it."
    other = {**tool, "description": "f(a: int, c: str) -> str\nDoes it."}
    assert minified_tool(other)["description"] == other["description"]


def test_the_definition_given_is_not_changed():
    before = json.dumps(PYDANTIC)
    minified_tool({"type": "function", "function": {"name": "ship", "parameters": PYDANTIC}})
    assert json.dumps(PYDANTIC) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "string"}, {"type": ["string", "null"]}),
        ({"type": "object", "required": ["a"]}, {"type": "object"}),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array"}),
        ({"type": "object", "additionalProperties": False}, {"type": "object"}),
        ({"type": "string", "description": "said"}, {"type": "string"}),
        ({"type": "integer", "default": 3}, {"type": "integer"}),
        ({"properties": {"a": {"minimum": 1}}}, {"properties": {"a": {"minimum": 2}}}),
        ({"allOf": [{"type": "string"}, {"minLength": 2}]}, {"type": "string"}),
    ],
)
def test_schemas_that_differ_in_what_they_accept_or_say_are_not_equivalent(one, other):
    assert not equivalent(one, other)


LEAVES = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "boolean", "array"])},
    optional={
        "title": st.just("T"),
        "description": st.sampled_from(["a  b", "c\n   d"]),
        "minLength": st.integers(0, 3),
        "default": st.sampled_from([None, "x"]),
        "enum": st.just(["x", "y"]),
    },
)
SCHEMAS = st.recursive(
    st.one_of(
        LEAVES,
        st.just({"$ref": "#/$defs/D"}),
        LEAVES.map(lambda leaf: {"anyOf": [leaf, {"type": "null"}], "title": "U"}),
    ),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["a", "title", "items", "$ref"]), inner, max_size=3).map(
            lambda fields: {"type": "object", "properties": fields, "required": sorted(fields)[:1], "title": "O"}
        ),
        inner.map(lambda item: {"type": "array", "items": item}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
        inner.map(lambda item: {"allOf": [item], "description": "all of it"}),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(schema=SCHEMAS, definition=LEAVES)
def test_any_schema_is_equivalent_to_its_short_form_which_is_no_longer(schema, definition):
    whole = {**schema, "$defs": {"D": definition}}
    short = minified_schema(whole)
    assert equivalent(whole, short)
    assert minified_schema(short) == short
    assert len(json.dumps(short)) <= len(json.dumps(whole))
