"""Large tool sets: the same few tools throughout a thread, and a way to each of the others."""

import json

import pytest
from thrift_core.compression.tool_selection import FIND_TOOLS, FoundCall, find_tools_schema, select_tools
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message

THINGS = ("invoice", "shipment", "refund", "warehouse", "coupon", "supplier", "holiday", "printer", "lease", "badge")
ACTS = ("get", "list", "cancel", "update")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"{act}_{thing}",
            "description": f"{act.title()} one {thing} by its id.",
            "parameters": {"type": "object", "properties": {f"{thing}_id": {"type": "string"}}},
        },
    }
    for thing in THINGS
    for act in ACTS
]


def names(tools):
    return [tool["function"]["name"] for tool in tools]


def test_the_tools_that_the_thread_is_about_are_offered_with_find_tools_last():
    selection = select_tools(TOOLS, [Message("user", "My refund has not come. Can you look into the refund?")], most=4)
    assert names(selection.offered) == ["get_refund", "list_refund", "cancel_refund", "update_refund", FIND_TOOLS]
    assert len(selection.left_out) == len(TOOLS) - 4


def test_the_choice_does_not_change_as_the_thread_goes_on():
    start = [Message("system", "You help with coupons."), Message("user", "Cancel my coupon")]
    later = [*start, Message("assistant", "Which one?"), Message("user", "And what of the printer and the lease?")]
    assert select_tools(TOOLS, start, most=6) == select_tools(TOOLS, later, most=6)


def test_a_small_set_is_offered_whole_without_find_tools():
    assert select_tools(TOOLS[:5], [], most=10).offered == tuple(TOOLS[:5])


def test_tools_named_always_are_offered():
    selection = select_tools(TOOLS, [Message("user", "the lease")], most=4, always=["get_badge"])
    assert "get_badge" in names(selection.offered)


def test_every_tool_left_out_is_found_by_its_words_and_can_be_called():
    selection = select_tools(TOOLS, [Message("user", "the lease")], most=4)
    for tool in selection.left_out:
        name = tool["function"]["name"]
        answer = selection.answer({"query": name.replace("_", " ")})
        assert f'"name":"{name}"' in answer
        assert selection.answer({"name": name, "arguments": {"id": "7"}}) == FoundCall(name, '{"id": "7"}')


def test_what_is_not_there_is_answered_in_words():
    selection = select_tools(TOOLS, [Message("user", "the lease")], most=4)
    assert "cancel_badge" in selection.answer({"query": "zeppelin"})
    assert "There is no tool 'cancel_zeppelin'" in selection.answer({"name": "cancel_zeppelin"})
    assert isinstance(selection.answer({}), str)


def test_the_definition_is_short():
    assert len(json.dumps(find_tools_schema())) < 320


def test_offering_no_tool_at_all_is_refused():
    with pytest.raises(ConfigurationError, match="most=0"):
        select_tools(TOOLS, [], most=0)
