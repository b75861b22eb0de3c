"""The cache lever of the middleware, in agents of `create_agent`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_thrift import ThriftMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic import CacheSettings, SemanticCache
from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, Fault, LocalProvider, Reply
from thrift_core.thrift import Thrift

QUESTION = "How do I reset my password?"
ANSWER = "Open Settings, choose Security and press Reset."


@tool
def find_order(number: int) -> str:
    """Find an order."""
    return f"Order {number} is on its way."


class City(BaseModel):
    """A city."""

    name: str


def brain(request: ChatRequest) -> Reply:
    if "City" in request.tool_names:
        return Reply(tool_calls=(ToolCall("City", '{"name": "Paris"}'),))
    if request.response_format:
        return Reply(text='{"name": "Paris"}')
    if "order" in request.question and request.messages[-1].role == "user":
        return Reply(tool_calls=(ToolCall("find_order", '{"number": 7}'),))
    return Reply(text=ANSWER)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with LocalProvider(brain) as running:
        yield running


def on(**settings: Any) -> Thrift:
    ledger = Ledger()
    given = CacheSettings(**{"checked_share": 0.0, **settings})
    return Thrift(cache=SemanticCache(settings=given, ledger=ledger), ledger=ledger)


def agent(provider: LocalProvider, thrift: Thrift, *, feature: str | None = None, **options: Any) -> Any:
    model = ChatOpenAI(
        model="gpt-4.1-mini", base_url=provider.base_url, api_key="key", max_retries=0, stream_usage=True
    )
    middleware = [ThriftMiddleware(thrift, feature=feature)]
    return create_agent(model, [find_order], middleware=middleware, system_prompt="You help.", **options)


def ask(graph: Any, text: str = QUESTION, **options: Any) -> list[BaseMessage]:
    found: list[BaseMessage] = graph.invoke({"messages": [HumanMessage(text)]}, **options)["messages"]
    return found


def told(messages: Sequence[BaseMessage]) -> Any:
    return messages[-1].response_metadata.get("thrift", {}).get("cache")


def test_a_hit_answers_without_a_model_call_and_the_ledger_is_told(provider: LocalProvider) -> None:
    thrift = on()
    graph = agent(provider, thrift, feature="help")
    first, second = ask(graph), ask(graph, "Hi, how can I reset my password?")
    assert len(provider.requests) == 1
    assert (second[-1].text, told(second)["question"]) == (ANSWER, QUESTION)
    assert first[-1].id != second[-1].id
    called, hit = thrift.ledger.calls()
    (saving,) = thrift.ledger.savings()
    assert (called.outcome, hit.outcome, hit.cost_usd) == ("ok", "cache_hit", Decimal(0))
    assert (saving.call_id, saving.tokens, saving.cost_usd) == (hit.id, called.usage.total_tokens, called.cost_usd)
    assert {called.attribution.feature, hit.attribution.feature, saving.attribution.feature} == {"help"}


async def test_async_agents_hit_too_and_share_one_call(provider: LocalProvider) -> None:
    thrift = on()
    graph = agent(provider, thrift)
    provider.inject(Fault.slow(0.2))
    asked = [graph.ainvoke({"messages": [HumanMessage(QUESTION)]}) for _ in range(30)]
    states = await asyncio.gather(*asked)
    assert {state["messages"][-1].text for state in states} == {ANSWER}
    assert len(provider.requests) == 1
    assert len({state["messages"][-1].id for state in states}) == 30


def test_the_same_thread_keeps_both_turns(provider: LocalProvider) -> None:
    graph = agent(provider, on(isolate_by=()), checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t1"}}
    other: Any = {"configurable": {"thread_id": "t2"}}
    for _ in range(2):
        ask(graph, config=config)
    messages = ask(graph, config=config)
    assert [type(message).__name__ for message in messages] == ["HumanMessage", "AIMessage"] * 3
    assert len({message.id for message in messages}) == 6
    # Another thread with the same history is answered from the cache turn by turn.
    before = len(provider.requests)
    for _ in range(3):
        messages = ask(graph, config=other)
    assert len(provider.requests) == before
    assert len({message.id for message in messages}) == 6


def test_after_a_tool_message_only_the_very_same_request_matches(provider: LocalProvider) -> None:
    graph = agent(provider, on())
    first, second = ask(graph, "Where is order 7?"), ask(graph, "Where is order 7?")
    # The call of the tool is made anew; what is said of its result is not.
    assert len(provider.requests) == 3
    assert (told(first), told(second)["tier"]) == (None, "exact")
    ask(graph, "where is  order 7?")
    assert len(provider.requests) == 5


def test_streams_of_an_agent_carry_a_hit(provider: LocalProvider) -> None:
    graph = agent(provider, on())
    said: list[str] = []
    for _ in range(2):
        parts = graph.stream({"messages": [HumanMessage(QUESTION)]}, stream_mode="messages")
        said.append("".join(message.text for message, _ in parts if isinstance(message, AIMessage)))
    assert said == [ANSWER, ANSWER]
    assert len(provider.requests) == 1


@dataclass
class Context:
    user_id: str


def test_users_never_share_however_they_are_told(provider: LocalProvider) -> None:
    graph = agent(provider, on(), context_schema=Context)

    def in_block(name: str) -> list[BaseMessage]:
        with attribute(user=name):
            return ask(graph)

    ways = [
        lambda name: ask(graph, config={"metadata": {"user_id": name}}),
        lambda name: ask(graph, config={"configurable": {"user_id": name}}),
        lambda name: ask(graph, config={"tags": [f"user:{name}"]}),
        lambda name: ask(graph, context=Context(name)),
        in_block,
    ]
    for number, way in enumerate(ways):
        names = [f"{number} ann", f"{number} bob"]
        assert [told(way(name)) for name in names] == [None, None]
        assert all(told(again(name)) is not None for again in ways for name in names), number
    assert told(ask(graph)) is None
    assert len(provider.requests) == 11


def test_answers_with_a_response_format_go_to_the_model(provider: LocalProvider) -> None:
    for form in (ToolStrategy(City), ProviderStrategy(City)):
        graph = agent(provider, on(), response_format=form)
        before = len(provider.requests)
        for _ in range(2):
            state = graph.invoke({"messages": [HumanMessage("What is the capital of France?")]})
            assert state["structured_response"] == City(name="Paris")
        assert len(provider.requests) == before + 2


def test_a_failed_call_is_the_apps_and_leaves_nobody_waiting(provider: LocalProvider) -> None:
    graph = agent(provider, on())
    provider.inject(Fault.error(500))
    with pytest.raises(Exception, match="error"):
        ask(graph)
    assert told(ask(graph)) is None


def test_in_shadow_the_model_answers(provider: LocalProvider) -> None:
    thrift = on(mode="shadow")
    graph = agent(provider, thrift)
    assert [told(ask(graph)) for _ in range(2)] == [None, None]
    assert [saving.is_shadow for saving in thrift.ledger.savings()] == [True]


def test_other_levers_work_on_what_the_cache_does_not_answer(provider: LocalProvider) -> None:
    ledger = Ledger()
    thrift = Thrift(
        cache=SemanticCache(ledger=ledger), summarizer="on", planner="on", ledger=ledger, timeout_seconds=20
    )
    graph = agent(provider, thrift)
    ask(graph)
    assert told(ask(graph)) is not None
    assert thrift.modes == {"cache": "on", "schemas": "off", "compressor": "off", "summarizer": "on", "planner": "on"}


def test_an_agent_inside_a_chain_reads_the_chains_metadata(provider: LocalProvider) -> None:
    graph = agent(provider, on())
    chain = RunnableLambda(lambda text: ask(graph, text))
    config: Any = {"metadata": {"tenant": "acme"}}
    chain.invoke(QUESTION, config=config)
    assert told(chain.invoke(QUESTION, config=config)) is not None
    assert told(chain.invoke(QUESTION)) is None
