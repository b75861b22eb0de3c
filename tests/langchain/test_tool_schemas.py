"""Tools are sent in fewer tokens and go on working."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_thrift import ThriftChatModel, ThriftMiddleware
from thrift_core.accounting.ledger import Ledger
from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, LocalProvider, Reply
from thrift_core.thrift import Thrift

POLICY = "Be brief and kind, and look things up before you answer. " * 120


@tool
def find_orders(customer: str | None = None, city: str | None = None, most: int = 10) -> str:
    """Find orders by customer or city.

    At most so many are returned.
    """
    return f"orders of {customer}"


def says(request: ChatRequest) -> Reply:
    if any(message.role == "tool" for message in request.messages):
        return Reply(text="done")
    return Reply(tool_calls=(ToolCall("find_orders", '{"customer": "Ann"}', "c1"),))


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with LocalProvider(says) as running:
        yield running


def openai(provider: LocalProvider) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4.1-mini", base_url=provider.base_url, api_key="key", max_retries=0)


def sent_tools(provider: LocalProvider) -> list[Any]:
    return [request.body["tools"] for request in provider.requests]


def size(tools: Any) -> int:
    return len(json.dumps(tools))


def test_an_agents_tools_are_sent_shorter_in_every_call_and_are_run(provider: LocalProvider) -> None:
    ledger = Ledger()
    middleware = ThriftMiddleware(Thrift(schemas="on", ledger=ledger))
    agent = create_agent(openai(provider), [find_orders], system_prompt=POLICY, middleware=[middleware])
    answer = agent.invoke({"messages": [("user", "Where is Ann's order?")]})
    assert answer["messages"][-2].content == "orders of Ann"
    bare = create_agent(openai(provider), [find_orders], system_prompt=POLICY)
    bare.invoke({"messages": [("user", "Where is Ann's order?")]})
    first, second, as_given, _ = sent_tools(provider)
    assert first == second
    assert size(first) < 0.85 * size(as_given)
    assert [saving.lever for saving in ledger.savings()] == ["schemas", "schemas"]


def test_a_wrapped_models_tools_are_sent_shorter(provider: LocalProvider) -> None:
    model = ThriftChatModel(openai(provider), Thrift(schemas="on")).bind_tools([find_orders])
    answer = model.invoke([("system", POLICY), ("user", "Where is Ann's order?")])
    assert answer.tool_calls[0]["args"] == {"customer": "Ann"}
    openai(provider).bind_tools([find_orders]).invoke("Where is Ann's order?")
    shorter, as_given = sent_tools(provider)
    assert size(shorter) < 0.85 * size(as_given)


def test_what_a_tool_says_to_one_provider_alone_goes_with_it() -> None:
    deferred = find_orders.model_copy(update={"extras": {"defer_loading": True}})
    with LocalProvider(lambda request: Reply(text="done")) as provider:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", base_url=provider.root_url, api_key="key", max_retries=0)
        agent = create_agent(
            model, [deferred], system_prompt=POLICY, middleware=[ThriftMiddleware(Thrift(schemas="on"))]
        )
        agent.invoke({"messages": [("user", "Where is Ann's order?")]})
        assert sent_tools(provider)[0][0]["defer_loading"] is True
