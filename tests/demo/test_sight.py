"""The scripted model reads nothing but the request, in whatever form the values stand there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_thrift.demo.sight import NeedError, Sight, StuckError
from thrift_core.messages import Message, ToolCall
from thrift_core.testing import ChatRequest

CALL = ToolCall("get_order", '{"order_id": "O-1"}', "call_1")
ORDER = {
    "order_id": "O-1",
    "customer": {"tier": "plus"},
    "lines": [{"sku": "A", "price": "1.00"}, {"sku": "B", "price": None}],
}


def sight(*results: str, tools: tuple[str, ...] = ("get_order",), extra: tuple[Message, ...] = ()) -> Sight:
    messages = [Message("system", "Returns within 30 days."), Message("user", "Where is it?")]
    for number, text in enumerate(results, start=1):
        call = ToolCall(CALL.name, CALL.arguments, f"call_{number}")
        messages += [Message("assistant", "", (call,)), Message("tool", text, (), call.id)]
    offered = tuple({"type": "function", "function": {"name": name}} for name in tools)
    return Sight(ChatRequest(api="chat", model="m", messages=(*messages, *extra), tools=offered))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ORDER),
        json.dumps(ORDER, indent=2),
        "Shortened: " + json.dumps(ORDER, separators=(",", ":")) + " (3 fields left out)",
        '{"tier": "plus", "lines": {"columns": ["sku", "price"], "rows": [["A", "1.00"], ["B", null]]}}',
        "tier: plus\n\nsku | price\nA | 1.00\nB | null",
        "tier = plus;\nsku,price\nA,1.00\nB,",
        "tier: plus\nsku\tprice\nA\t1.00\nB\tnull",
    ],
)
def test_values_are_read_in_any_lossless_form(text: str) -> None:
    shown = sight(text).look("get_order", order_id="O-1")
    assert shown.value("tier") == "plus"
    rows = shown.rows("lines", "sku", "price")
    assert [(row["sku"], row["price"]) for row in rows] == [("A", "1.00"), ("B", None)]


def test_what_was_not_asked_yet_is_the_next_step() -> None:
    with pytest.raises(NeedError) as need:
        sight().look("get_order", order_id="O-1")
    assert need.value.calls == [ToolCall("get_order", '{"order_id": "O-1"}')]


def test_only_what_is_missing_of_several_is_asked() -> None:
    wanted: Any = [("get_order", {"order_id": "O-1"}), ("get_order", {"order_id": "O-2"})]
    with pytest.raises(NeedError) as need:
        sight("{}").look_at(wanted)
    assert [call.arguments for call in need.value.calls] == ['{"order_id": "O-2"}']


@pytest.mark.parametrize("text", ["[cleared]", "{}", '{"lines": [{"sku": "A"}]}', "..."])
def test_a_value_that_is_gone_is_asked_for_again_but_not_for_ever(text: str) -> None:
    for times in (1, 2):
        with pytest.raises(NeedError) as need:
            sight(*[text] * times).look("get_order", order_id="O-1").rows("lines", "sku", "price")
        assert need.value.calls[0].name == "get_order"
    with pytest.raises(StuckError):
        sight(*[text] * 3).look("get_order", order_id="O-1").rows("lines", "sku", "price")


def test_where_results_can_be_recalled_they_are() -> None:
    cut = 'cut, recall id "r-17"'
    with pytest.raises(NeedError) as need:
        sight(cut, tools=("get_order", "recall")).look("get_order", order_id="O-1").value("tier")
    recall = need.value.calls[0]
    assert (recall.name, json.loads(recall.arguments)) == ("recall", {"id": "r-17", "query": "tier"})
    asked = Message("assistant", "", (ToolCall("recall", recall.arguments, "call_9"),))
    extra = (asked, Message("tool", json.dumps(ORDER), (), "call_9"))
    shown = sight(cut, tools=("get_order", "recall"), extra=extra).look("get_order", order_id="O-1")
    assert shown.value("tier") == "plus"


def test_a_later_result_wins_over_an_earlier_one() -> None:
    shown = sight('{"status": "processing"}', '{"status": "shipped"}').look("get_order", order_id="O-1")
    assert shown.value("status") == "shipped"


def test_rules_are_read_from_the_system_prompt() -> None:
    assert sight().rule(r"within (\d+) days") == "30"
    with pytest.raises(StuckError):
        sight().rule(r"fee of (\d+)")
