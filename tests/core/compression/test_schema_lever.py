"""Tool definitions are sent in fewer tokens where that pays, and the same ones in every call of a thread."""

from dataclasses import replace
from decimal import Decimal

import pytest
from thrift_core.accounting.ledger import Ledger
from thrift_core.compression.schema_lever import SchemaLever
from thrift_core.errors import ConfigurationError
from thrift_core.levers import Shadow
from thrift_core.messages import Message, ReplaceTools, Request, ToolCall
from thrift_core.prices import PriceBook
from thrift_core.thrift import Thrift

PRICING = PriceBook().pricing("claude-sonnet-4-5", "anthropic")


def tool(name):
    titled = {"title": "An argument of the tool", "anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    schema = {"type": "object", "title": f"{name} arguments", "properties": dict.fromkeys(("first", "second"), titled)}
    return {"type": "function", "function": {"name": name, "description": "Does it.", "parameters": schema}}


TOOLS = tuple(tool(f"tool_{number}") for number in range(30))
POLICY = Message("system", "Be brief and kind. " * 60)
ASKED = Request((POLICY, Message("user", "Do it.")), model="claude-sonnet-4-5", provider="anthropic", tools=TOOLS)
ANSWERED = replace(
    ASKED,
    messages=(
        *ASKED.messages,
        Message("assistant", "", (ToolCall("tool_1", "{}", "c1"),)),
        Message("tool", "done", tool_call_id="c1"),
    ),
)


def test_the_same_definitions_are_sent_at_every_call_of_a_thread_and_state_what_they_save():
    lever = SchemaLever()
    [first] = lever.decide(ASKED, PRICING)
    [later] = lever.decide(ANSWERED, PRICING)
    assert first.tools == later.tools
    assert first.saved_tokens == later.saved_tokens > 300
    assert first.saved_usd == first.saved_tokens * PRICING.input / 1_000_000
    assert later.saved_usd == later.saved_tokens * PRICING.cache_read / 1_000_000
    assert TOOLS[0]["function"]["parameters"]["title"] == "tool_0 arguments"


def test_a_thread_is_not_brought_below_the_length_from_which_providers_cache():
    few = replace(ASKED, messages=(Message("user", "x " * 600), Message("user", "Do it.")), tools=TOOLS[:10])
    assert SchemaLever().decide(few, PRICING) == []
    assert SchemaLever().decide(few, replace(PRICING, cache_read=PRICING.input)) != []
    alone = replace(ASKED, messages=(Message("user", "Do it."),), tools=TOOLS[:2])
    assert SchemaLever().decide(alone, PRICING) != []


def test_without_tools_or_with_nothing_to_gain_nothing_is_proposed():
    assert SchemaLever().decide(replace(ASKED, tools=()), PRICING) == []
    lean = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    assert SchemaLever().decide(replace(ASKED, tools=(lean,)), PRICING) == []


def test_thrift_sends_and_books_them_and_in_shadow_books_alone():
    ledger = Ledger()
    plan = Thrift(schemas="on", ledger=ledger).plan(ASKED)
    assert plan.request.tools != TOOLS
    assert [saving.lever for saving in ledger.savings()] == ["schemas"]
    assert Thrift(schemas="shadow").plan(ASKED).request.tools == TOOLS


@pytest.mark.parametrize("tools", [TOOLS[:3], tuple(tool(f"other_{number}") for number in range(30))])
def test_a_lever_that_offers_other_tools_is_passed_over(tools):
    class Swapping:
        def decide(self, request, pricing):
            return [ReplaceTools(tools=tools, reason="swap", saved_usd=Decimal(1))]

    ledger = Ledger()
    assert Thrift(schemas=Swapping(), ledger=ledger).plan(ASKED).request is ASKED
    assert ledger.faults() == {("schemas", "ValueError"): 1}
    assert Thrift(schemas=Shadow(Swapping())).plan(ASKED).request is ASKED


def test_a_negative_minimum_is_refused():
    with pytest.raises(ConfigurationError, match="give 0 or more tokens"):
        SchemaLever(minimum_cached=-1)
