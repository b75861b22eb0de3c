"""What users of other history tools complain about, each as a test on real agents.

The issues are those of langchain, langchainjs, deepagents, deer-flow, langmem and others on summarization and context.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langchain_thrift.middleware import ThriftMiddleware
from langchain_thrift.view import message_view
from langgraph.checkpoint.memory import InMemorySaver
from thrift_core.demo.rates import RATES
from thrift_core.messages import ToolCall, unpaired_calls
from thrift_core.testing import ChatRequest, LocalProvider, Reply
from thrift_core.thrift import Thrift

from tests.langchain.agents import (
    POLICY,
    TASK,
    TOOLS,
    Scripted,
    asked,
    call,
    lean,
    planning,
    reads_log,
    results,
    stub_ids,
)

MODES = pytest.mark.parametrize("mode", ["append_only", "rewrite"])


def is_valid(request: Sequence[BaseMessage]) -> bool:
    """Say whether a provider takes a request: results after their calls, all calls answered, a question to answer."""
    views = [message_view(message) for message in request]
    return unpaired_calls(views) == (frozenset(), frozenset()) and any(view.role == "user" for view in views)


def threads(mode: Any, others: Sequence[Any] = (), *, is_first: bool = True, questions: int = 5) -> Scripted:
    """Let an agent answer several questions in one thread and return its model."""
    ours = ThriftMiddleware(lean(mode))
    middleware = [ours, *others] if is_first else [*others, ours]
    model = Scripted(brain=reads_log(3))
    graph = create_agent(
        model, TOOLS, system_prompt=POLICY, middleware=middleware, checkpointer=InMemorySaver()
    )  # fmt: skip
    for number in range(questions):
        question = f"Question {number}: {TASK}"
        graph.invoke({"messages": [("user", question)]}, {"configurable": {"thread_id": "one"}})
    return model


def summarizing() -> SummarizationMiddleware:
    return SummarizationMiddleware(
        model=Scripted(brain=lambda _: AIMessage("They asked about the log.")),
        trigger=("messages", 12),
        keep=("messages", 5),
    )


def clearing() -> ContextEditingMiddleware:
    return ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=100, keep=2)])


@MODES
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("other", [summarizing, clearing, ModelRetryMiddleware])
def test_no_result_is_orphaned_beside_langchains_own_history_tools(mode: Any, is_first: bool, other: Any) -> None:
    # langchain 34282, 38352, 33245; deepagents 270
    model = threads(mode, [other()], is_first=is_first)
    assert all(is_valid(request) for request in model.requests)


@MODES
def test_the_task_is_always_there_however_long_the_thread(mode: Any) -> None:
    # x2a-convertor 237, sourcelens 61, deepagentsjs 846: the task, or what was pasted with it, was dropped.
    model = threads(mode, questions=8)
    pasted = f"Question 0: {TASK}"
    assert all(any(message.text == pasted for message in request) for request in model.requests)
    for request in model.requests:
        newest = [message.text for message in request if isinstance(message, HumanMessage)][-1]
        assert newest.startswith("Question")


@MODES
def test_a_thread_with_an_old_task_far_back_is_never_answered_with_a_placeholder(mode: Any) -> None:
    # langchain 39261: with no question in the last 4,000 tokens the summary was a literal excuse.
    model = threads(mode, questions=4)
    texts = [message.text for request in model.requests for message in request]
    assert not any("too long to summarize" in text for text in texts)
    assert all(len(results(request)) >= 1 for request in model.requests[1:])


@MODES
def test_the_users_stream_holds_the_agents_own_words_alone(mode: Any) -> None:
    # langchainjs 9455 and 11238, deepagentsjs 629, deer-flow 2503: tokens of the summary reached the interface.
    graph = create_agent(
        Scripted(brain=reads_log(answer="All is fine.")),
        TOOLS,
        system_prompt=POLICY,
        middleware=[ThriftMiddleware(lean(mode))],
    )
    chunks = graph.stream({"messages": [("user", TASK)]}, stream_mode="messages")
    told = "".join(chunk.text for chunk, _ in chunks if chunk.type == "AIMessageChunk")
    assert told == "All is fine."


@MODES
def test_the_bill_is_never_higher_than_without(mode: Any) -> None:
    # deepagents 5319, eino 1132, OpenHands 7588: shortening broke the cached prefix and made the bill higher.
    def brain(request: ChatRequest) -> Reply:
        done = sum(len(message.tool_calls) for message in request.messages)
        step = ToolCall("read_log", f'{{"part": {done + 1}}}')
        return Reply(text="Done.") if done >= 12 else Reply(tool_calls=(step,))

    def bill(middleware: Sequence[Any]) -> Decimal:
        with LocalProvider(brain, RATES) as provider, httpx.Client() as client:
            model = ChatOpenAI(model="gpt-5-mini", base_url=provider.base_url, api_key="key", http_client=client)
            graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=middleware)
            graph.invoke({"messages": [("user", TASK)]}, {"recursion_limit": 100})
            assert provider.bill.cost_usd is not None
            return provider.bill.cost_usd

    assert bill([ThriftMiddleware(lean(mode, is_planning=True))]) <= bill([]) * Decimal("1.005")


@MODES
def test_the_state_keeps_every_message_with_its_id(mode: Any) -> None:
    # deer-flow 1430 and 3026: history was lost; deepagents 2874: it was kept twice.
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "one"}}
    graph = create_agent(
        Scripted(brain=reads_log(4)),
        TOOLS,
        system_prompt=POLICY,
        middleware=[ThriftMiddleware(lean(mode))],
        checkpointer=saver,
    )
    seen: dict[str, str] = {}
    for _ in range(3):
        graph.invoke({"messages": [("user", TASK)]}, config)
        messages = graph.get_state(config).values["messages"]
        now = {message.id: message.text for message in messages}
        assert len(now) == len(messages)
        assert now.items() >= seen.items()
        seen = now


@pytest.mark.parametrize("is_reported", [True, False])
def test_calls_are_counted_when_streaming_and_tools_and_system_prompt_count(is_reported: bool) -> None:
    # deer-flow 1602: no usage when streaming; langchain 34664: tools and system prompt were not counted.
    thrift = lean(is_planning=True)
    with LocalProvider(lambda _: Reply(text="Done."), RATES) as provider, httpx.Client() as client:
        model = ChatOpenAI(
            model="gpt-5-mini", base_url=provider.base_url, api_key="key", http_client=client, stream_usage=is_reported
        )
        graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[ThriftMiddleware(thrift)])
        list(graph.stream({"messages": [("user", TASK)]}, stream_mode="messages"))
        billed = provider.bill.cost_usd
    total = thrift.ledger.total()
    assert billed is not None
    assert total.estimated_calls == (not is_reported)
    assert total.cost_usd == billed if is_reported else abs(total.cost_usd - billed) < billed * Decimal("0.02")


def test_a_picture_is_not_counted_by_the_length_of_its_bytes() -> None:
    # cohub 122, senpi 233, OmniRoute 8401: base64 was counted as text, and set off a summary of next to nothing.
    data = base64.b64encode(bytes(900_000)).decode()
    picture: list[Any] = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
    model = Scripted(brain=lambda _: AIMessage("A cat."), provider="openai", model_name="gpt-5-mini")
    graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[ThriftMiddleware(planning())])
    state = graph.invoke({"messages": [HumanMessage([{"type": "text", "text": "What is this?"}, *picture])]})
    predicted = state["messages"][-1].response_metadata["thrift"]["predicted_input"]
    assert 2000 < sum(predicted.values()) < 6000


@MODES
def test_asking_again_changes_nothing_more(mode: Any) -> None:
    # deer-flow 2622 and 2638: summaries of summaries, again and again.
    state = create_agent(Scripted(brain=reads_log()), TOOLS).invoke({"messages": [("user", TASK)]})
    sent = []
    thrift = lean(mode)
    for _ in range(4):
        model = Scripted(brain=lambda _: AIMessage("Done."))
        graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[ThriftMiddleware(thrift)])
        graph.invoke({"messages": state["messages"][:-1]})
        sent.append([message.text for message in model.requests[0]])
    assert sent == [sent[0]] * 4


@MODES
def test_messages_with_thinking_are_neither_dropped_nor_changed_nor_moved(mode: Any) -> None:
    # langmem 118 and 156, langchain 34794; and Claude refuses a request where what a thought was bound to has changed.
    thought = [{"type": "thinking", "thinking": "hmm", "signature": "s"}, {"type": "text", "text": "Let me see."}]

    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        done = asked(messages)
        return AIMessage(thought, tool_calls=[call(done + 1)]) if done < 8 else AIMessage("Done.")

    model = Scripted(brain=brain)
    graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[ThriftMiddleware(lean(mode))])
    graph.invoke({"messages": [("user", TASK)]})
    assert [message.content for message in model.requests[-1] if isinstance(message, AIMessage)] == [thought] * 8
    assert stub_ids(model.requests[-1]) == []
    for earlier, later in zip(model.requests, model.requests[1:], strict=False):
        assert [message.content for message in later[: len(earlier)]] == [message.content for message in earlier]


def test_agents_that_share_one_middleware_do_not_mix_their_threads() -> None:
    # deepagents 5470: sub-agents wrote over each other's offloaded results.
    middleware = ThriftMiddleware(lean("rewrite"))
    sent = []
    for first in ("one", "two"):
        model = Scripted(brain=reads_log(4, answer=first))
        graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[middleware])
        state = graph.invoke({"messages": [("user", f"{TASK} ({first})")]})
        assert state["messages"][-1].text == first
        sent.append(model.requests)
    for one, two in zip(*sent, strict=True):
        assert [message.text for message in one[2:]] == [message.text for message in two[2:]]


def test_a_middleware_with_nothing_on_sends_what_it_was_given() -> None:
    given: list[Any] = []

    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        given.append(list(messages))
        return AIMessage("Done.")

    question, answer = HumanMessage("Hi", id="1"), ToolMessage("late", tool_call_id="nobody", id="2")
    graph = create_agent(Scripted(brain=brain), TOOLS, middleware=[ThriftMiddleware(Thrift())])
    graph.invoke({"messages": [question, answer]})
    assert given == [[question, answer]]
