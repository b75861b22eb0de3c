import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.messages import Message, Request, ToolCall
from thrift_core.routing.draft import Draft
from thrift_core.routing.draft_checks import draft_problem
from thrift_core.routing.json_schema import problems
from thrift_core.routing.tool_checks import call_problems, grounded_share

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
    },
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = ({"type": "function", "function": {"name": "weather", "parameters": WEATHER}},)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"city": 5},
        {"city": "x"},
        {"city": "Rome", "unit": "K"},
        {"city": "Rome", "days": 0},
        {"city": "Rome", "days": 1.5},
        {"city": "Rome", "days": True},
        {"city": "Rome", "days": "3"},
        {"city": "Rome", "wind": 1},
        ["Rome"],
        None,
    ],
)
def test_arguments_that_break_the_schema_are_found(value):
    assert problems(value, WEATHER)


@pytest.mark.parametrize(
    "value", [{"city": "Rome"}, {"city": "Rome", "unit": "F", "days": 14}, {"city": "Rm", "days": 2.0}]
)
def test_arguments_that_keep_the_schema_pass(value):
    assert problems(value, WEATHER) == []


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, 4),
        ({"oneOf": [{"minimum": 0}, {"maximum": 10}]}, 20, 5),
        ({"allOf": [{"type": "number"}, {"exclusiveMinimum": 0}]}, 0.5, 0),
        ({"not": {"const": "x"}}, "y", "x"),
        ({"type": ["string", "null"]}, None, 1),
        ({"type": "string", "nullable": True}, None, 1),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True}, [1, 2], [1, 1]),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, ["a", 1], [1]),
        ({"pattern": "^a+$"}, "aa", "ab"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 3, "3"),
        ({"type": "dict", "properties": {"x": {"type": "float"}}}, {"x": 1}, {"x": "1"}),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "1"}),
        ({"patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": False}, {"n_a": 1}, {"m": 1}),
        ({"multipleOf": 0.1}, 0.3, 0.25),
        ({"const": 1}, 1, True),
    ],
)
def test_each_keyword_is_understood(schema, good, bad):
    assert problems(good, schema) == []
    assert problems(bad, schema)


@pytest.mark.parametrize(
    "schema", [True, {}, None, 7, {"type": "quaternion"}, {"$ref": "http://elsewhere"}, {"format": "email"}]
)
def test_what_is_not_understood_accepts(schema):
    assert problems({"anything": [1, "two"]}, schema) == []


def test_a_schema_that_refers_to_itself_ends():
    loop = {"$ref": "#"}
    assert problems({"a": 1}, loop) == []
    tree = {"properties": {"left": {"$ref": "#"}}, "required": ["value"]}
    assert problems({"value": 1, "left": {"left": {"value": 2}}}, tree) == ["left.value is missing"]


def test_a_pattern_that_runs_away_is_cut_short():
    assert problems("a" * 60 + "!", {"pattern": "^(a+)+$"}) in ([], ["does not match ^(a+)+$"])


SIMPLE = st.sampled_from(["string", "integer", "number", "boolean", "null"])
VALUES = {
    "string": st.text(max_size=5),
    "integer": st.integers(),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "null": st.none(),
}


@settings(max_examples=60)
@given(st.dictionaries(st.text(min_size=1, max_size=4), SIMPLE, min_size=1, max_size=4), st.data())
def test_what_is_made_to_a_schema_passes_and_what_lacks_a_part_does_not(kinds, data):
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in kinds.items()},
        "required": list(kinds),
        "additionalProperties": False,
    }
    value = {name: data.draw(VALUES[kind]) for name, kind in kinds.items()}
    tools = [{"name": "f", "parameters": schema}]
    assert call_problems([ToolCall("f", json.dumps(value))], tools) == []
    del value[next(iter(value))]
    assert call_problems([ToolCall("f", json.dumps(value))], tools)


@given(st.text(max_size=60), st.text(max_size=8))
def test_any_text_as_arguments_is_judged_without_an_error(arguments, name):
    draft = Draft(tool_calls=(ToolCall(name, arguments),))
    found = draft_problem(draft, Request((), tools=TOOLS), frozenset())
    assert found is not None
    assert found.is_final


def test_a_call_of_an_unknown_tool_is_named():
    assert call_problems([ToolCall("rm", "{}")], TOOLS) == ["there is no tool 'rm'"]
    assert call_problems([ToolCall("weather", "not json")], TOOLS) == ["weather: the arguments are no JSON object"]


def test_tools_are_read_in_each_providers_shape():
    flat = {"name": "weather", "parameters": WEATHER}
    anthropic = {"name": "weather", "input_schema": WEATHER}
    for tool in (flat, anthropic, *TOOLS):
        assert call_problems([ToolCall("weather", "{}")], [tool]) == ["weather: city is missing"]


def test_arguments_are_looked_for_in_the_conversation():
    said = [Message("user", "Refund order #0042, 19.50 euros, to Zoë")]
    assert grounded_share(ToolCall("refund", '{"order": 42, "name": "ZOË"}'), [], said) == 1.0
    assert grounded_share(ToolCall("refund", '{"order": 43}'), [], said) == 0.0
    assert grounded_share(ToolCall("refund", "{}"), [], said) == 1.0


def test_what_the_schema_lists_needs_no_ground():
    assert grounded_share(ToolCall("weather", '{"unit": "F"}'), TOOLS, []) == 1.0


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        (Draft(""), "empty"),
        (Draft("no", refusal=True), "refused"),
        (Draft("half", finish_reason="length"), "cut off"),
        (Draft("{}", structured="invalid"), "form"),
        (Draft("", tool_calls=(ToolCall("weather", '{"city": "Atlantis"}'),)), "nowhere in the conversation"),
    ],
)
def test_what_rules_a_draft_out_is_said(draft, reason):
    request = Request((Message("user", "weather in Rome?"),), tools=TOOLS)
    found = draft_problem(draft, request, frozenset())
    assert found is not None
    assert reason in found.reason


def test_an_answer_cut_at_the_length_that_was_asked_for_is_whole():
    assert draft_problem(Draft("half", finish_reason="length"), Request((), max_output_tokens=5), frozenset()) is None
