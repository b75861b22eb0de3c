"""The other levers of a wrapped chat model, the forms that an answer has, and what is left alone where in doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from langchain.chat_models import init_chat_model
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from langchain_thrift import ThriftChatModel, ThriftMiddleware
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic import CacheSettings, SemanticCache
from thrift_core.errors import BudgetExceeded
from thrift_core.messages import Edit, ReplaceText, Request
from thrift_core.prices import Pricing
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.testing import ApiError, ChatRequest, LocalProvider, Reply
from thrift_core.thrift import Thrift

from tests.langchain.agents import POLICY, lean, planning

QUESTION = "How do I reset my password?"
ANSWER = "Open Settings, choose Security and press Reset."
TOOL = {
    "name": "find_order",
    "description": "Find an order.",
    "input_schema": {"type": "object", "properties": {"number": {"type": "integer"}}},
}


def says(request: ChatRequest) -> Reply:
    return Reply(text=ANSWER)


@contextmanager
def anthropic(brain: Callable[[ChatRequest], Reply] = says) -> Iterator[tuple[LocalProvider, ChatAnthropic]]:
    with LocalProvider(brain) as provider:
        yield (
            provider,
            ChatAnthropic(model_name="claude-sonnet-4-6", base_url=provider.root_url, api_key="key", max_retries=0),
        )


@contextmanager
def openai(**settings: Any) -> Iterator[tuple[LocalProvider, ChatOpenAI]]:
    with LocalProvider(says) as provider:
        given = {"model": "gpt-4.1-mini", "base_url": provider.base_url, "api_key": "key", "max_retries": 0}
        yield provider, ChatOpenAI(**{**given, **settings})


def on(**others: Any) -> Thrift:
    ledger = Ledger()
    cache = SemanticCache(settings=CacheSettings(checked_share=0.0), ledger=ledger)
    return Thrift(cache=cache, ledger=ledger, timeout_seconds=20, **others)


def marks(value: Any) -> int:
    """Return how many prompt-cache markers are in a request."""
    if isinstance(value, Mapping):
        return ("cache_control" in value) + sum(map(marks, value.values()))
    return sum(map(marks, value)) if isinstance(value, list) else 0


def conversation(turns: int = 1) -> list[Any]:
    earlier = [message for n in range(turns - 1) for message in (HumanMessage(f"What is {n}?"), AIMessage("A number."))]
    return [SystemMessage(POLICY), *earlier, HumanMessage(QUESTION)]


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_prompt_cache_markers_are_placed_and_the_apps_messages_stay_as_they_are(how: str) -> None:
    with anthropic() as (provider, inner):
        model = ThriftChatModel(inner, planning()).bind_tools([TOOL])
        given = conversation()
        for _ in range(2):
            list(model.stream(given)) if how == "stream" else model.invoke(given)
        assert all(1 <= marks(request.body) <= 4 for request in provider.requests)
    assert given == conversation()


async def test_async_calls_are_planned_as_well() -> None:
    with anthropic() as (provider, inner):
        model = ThriftChatModel(inner, planning())
        await model.ainvoke(conversation())
        _ = [chunk async for chunk in model.astream(conversation(2))]
        assert all(marks(request.body) for request in provider.requests)


def test_markers_of_the_apps_own_are_left_alone() -> None:
    block = {"type": "text", "text": POLICY, "cache_control": {"type": "ephemeral"}}
    with anthropic() as (provider, inner):
        ThriftChatModel(inner, planning()).invoke([SystemMessage([block]), HumanMessage(QUESTION)])
        assert [marks(request.body) for request in provider.requests] == [1]


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_markers_that_a_provider_refuses_are_left_out_from_then_on(how: str, caplog: pytest.LogCaptureFixture) -> None:
    def refuses(request: ChatRequest) -> Reply:
        if marks(request.body):
            raise ApiError(400, "cache_control is not supported here.")
        return Reply(text=ANSWER)

    with anthropic(refuses) as (provider, inner):
        model = ThriftChatModel(inner, planning())
        for _ in range(2):
            given = conversation()
            text = "".join(c.text for c in model.stream(given)) if how == "stream" else model.invoke(given).text
            assert text == ANSWER
        assert [bool(marks(request.body)) for request in provider.requests] == [False, False]
    assert model.thrift.ledger.faults() == {("planner", "markers refused"): 1}
    assert sum("refused" in record.message for record in caplog.records) == 1


async def test_refused_markers_are_left_out_of_async_calls_as_well() -> None:
    def refuses(request: ChatRequest) -> Reply:
        if marks(request.body):
            raise ApiError(400, "cache_control is not supported here.")
        return Reply(text=ANSWER)

    with anthropic(refuses) as (_, inner):
        assert (await ThriftChatModel(inner, planning()).ainvoke(conversation())).text == ANSWER
        chunks = [chunk.text async for chunk in ThriftChatModel(inner, planning()).astream(conversation())]
        assert "".join(chunks) == ANSWER


class Shortens:
    """A compressor that says less."""

    def decide(self, request: Request, pricing: Pricing | None) -> Sequence[Edit]:
        last = len(request.messages) - 1
        return [ReplaceText(reason="shorter", saved_tokens=5, index=last, text="Reset password?")]


def test_a_compressor_changes_what_is_sent_and_not_what_the_cache_compares() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on(compressor=Shortens()))
        assert model.invoke(QUESTION).text == ANSWER
        hit = model.invoke(QUESTION)
        assert [request.question for request in provider.requests] == ["Reset password?"]
    assert hit.response_metadata["thrift"]["cache"]["question"] == QUESTION
    assert [saving.lever for saving in model.thrift.ledger.savings()] == ["compressor", "cache"]


def history(results: int) -> list[Any]:
    lines = "\n".join(f"part {n}: parcels were packed and moved without a remark" for n in range(400))
    messages: list[Any] = [HumanMessage("Check the log.")]
    for n in range(results):
        call = {"name": "read_log", "args": {"part": n}, "id": f"c{n}", "type": "tool_call"}
        messages += [AIMessage("", tool_calls=[call]), ToolMessage(f"{n}\n{lines}", tool_call_id=f"c{n}")]
    return messages


def test_what_is_cut_can_be_recalled_or_is_not_cut() -> None:
    recall = {"name": "recall", "description": "Recall.", "input_schema": {"type": "object", "properties": {}}}
    read_log = {**TOOL, "name": "read_log"}
    with anthropic() as (provider, inner):
        thrift = lean("rewrite", store=MemoryRecallStore())
        model = ThriftChatModel(inner, thrift)
        for tools in ([read_log], [read_log, recall]):
            for results in range(1, 12):
                model.bind_tools(tools).invoke(history(results))
        sent = [sum(len(message.text) for message in request.messages) for request in provider.requests]
    without, with_recall = sent[:11], sent[11:]
    full = [sum(len(message.text) for message in history(results)) for results in range(1, 12)]
    assert without == full
    assert with_recall[-1] < full[-1]


def test_a_lever_that_fails_leaves_the_request_as_it_was() -> None:
    class Broken:
        def decide(self, request: Request, pricing: Pricing | None) -> Sequence[Edit]:
            raise RuntimeError("broken")

    with openai() as (provider, inner):
        model = ThriftChatModel(inner, Thrift(compressor=Broken()))
        assert model.invoke(QUESTION).text == ANSWER
        assert [request.question for request in provider.requests] == [QUESTION]


def test_a_budget_stops_a_call_before_it_goes_out() -> None:
    with openai() as (provider, inner):
        budgets = Budgets(Budget(limit_tokens=10))
        model = ThriftChatModel(inner, Thrift.safe(), budgets=budgets)
        with pytest.raises(BudgetExceeded):
            model.invoke(QUESTION)
        assert not provider.requests


@pytest.mark.parametrize("settings", [{"use_responses_api": True}, {"output_version": "v1"}])
async def test_answers_made_of_blocks_are_kept_too(settings: dict[str, Any]) -> None:
    with openai(**settings) as (provider, inner):
        model = ThriftChatModel(inner, on())
        first = model.invoke(QUESTION)
        for again in (model.invoke(QUESTION), await model.ainvoke(QUESTION)):
            assert again.text == first.text == ANSWER
            assert [block["type"] for block in again.content_blocks] == ["text"]
            assert not [block for block in again.content if isinstance(block, dict) and "id" in block]
        whole: Any = None
        for chunk in model.stream(QUESTION):
            assert isinstance(chunk, AIMessageChunk)
            whole = chunk if whole is None else whole + chunk
        assert whole.text == ANSWER
        assert len(provider.requests) == 1


def test_the_events_of_a_replay_are_those_of_a_model() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        for _ in range(2):
            stream: Any = model.stream_events(QUESTION, version="v3")
            assert_valid_event_stream(list(stream))
            assert stream.output.text == ANSWER
        assert len(provider.requests) == 1


def test_where_nobody_says_whom_a_call_is_for_the_cache_is_left_alone() -> None:
    model = ThriftChatModel(FakeListChatModel(responses=["One.", "Two.", "Three."]), on())
    message = [HumanMessage(QUESTION)]
    assert [model._generate(message).generations[0].text for _ in range(2)] == ["One.", "Two."]
    model.callbacks = None
    assert "".join(chunk.text for chunk in model.stream(QUESTION)) == "Three."
    cache = model.thrift.cache
    assert cache is not None
    assert cache.stats().lookups == 0


def test_what_init_chat_model_makes_can_be_wrapped() -> None:
    with LocalProvider(says) as provider:
        made = init_chat_model("openai:gpt-4.1-mini", base_url=provider.base_url, api_key="key")
        by_name = ThriftChatModel("openai:gpt-4.1-mini", on(), base_url=provider.base_url, api_key="key")
        for model in (ThriftChatModel(made, by_name.thrift), by_name):
            assert model.invoke(QUESTION).text == ANSWER
        assert len(provider.requests) == 1


def test_a_wrapped_model_in_an_agent_with_the_middleware_is_counted_once() -> None:
    from langchain.agents import create_agent

    with openai(stream_usage=True) as (provider, inner):
        thrift = on(planner="on")
        graph = create_agent(ThriftChatModel(inner, thrift), [], middleware=[ThriftMiddleware(thrift)])
        for _ in range(2):
            state = graph.invoke({"messages": [HumanMessage(QUESTION)]})
            assert state["messages"][-1].text == ANSWER
        assert len(provider.requests) == 1
    assert [call.outcome for call in thrift.ledger.calls()] == ["ok", "cache_hit"]
    assert len(list(thrift.ledger.savings())) == 1
