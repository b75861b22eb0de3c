"""`persist`: smaller checkpoints, the same requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langchain_thrift.ingest import Originals
from langchain_thrift.middleware import ThriftMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from thrift_core.errors import ConfigurationError
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.thrift import Thrift

from tests.langchain.agents import COUNTER, POLICY, TASK, TOOLS, Scripted, asked, call, lean, list_orders, results


def brain(messages: Sequence[BaseMessage]) -> AIMessage:
    done = asked(messages)
    if done < 4:
        return AIMessage("", tool_calls=[call(done + 1, "list_orders", customer=f"Ann {done}")])
    return AIMessage("All orders are fine.")


def run(middleware: Any, **settings: Any) -> tuple[dict[str, Any], Scripted]:
    model = Scripted(brain=brain)
    graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[middleware], **settings)
    return graph.invoke({"messages": [("user", TASK)]}, {"configurable": {"thread_id": "one"}}), model


def texts(requests: Sequence[Sequence[BaseMessage]]) -> list[list[str]]:
    return [[message.text for message in request] for request in requests]


@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
def test_the_state_is_smaller_and_the_model_is_sent_the_same(mode: Any) -> None:
    state, model = run(ThriftMiddleware(lean(mode)))
    small, other = run(ThriftMiddleware(lean(mode), persist=True))
    assert texts(other.requests) == texts(model.requests)
    before = sum(len(message.text) for message in results(state["messages"]))
    after = sum(len(message.text) for message in results(small["messages"]))
    assert after < 0.6 * before


async def test_it_works_in_async_runs() -> None:
    model = Scripted(brain=brain)
    middleware = ThriftMiddleware(lean(), persist=True)
    graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[middleware])
    state = await graph.ainvoke({"messages": [("user", TASK)]})
    assert all(message.text.startswith("\u00a7") for message in results(state["messages"]))


def test_a_restart_without_the_store_goes_on_with_what_the_checkpoint_has() -> None:
    saver = InMemorySaver()
    run(ThriftMiddleware(lean(), persist=True), checkpointer=saver)
    state, model = run(ThriftMiddleware(lean(), persist=True), checkpointer=saver)
    assert state["messages"][-1].text == "All orders are fine."
    assert len(results(model.requests[-1])) == 8


def test_a_restart_with_the_store_sends_what_was_sent_before() -> None:
    saver, store = InMemorySaver(), MemoryRecallStore()
    _, first = run(ThriftMiddleware(lean(store=store), persist=True), checkpointer=saver)
    _, second = run(ThriftMiddleware(lean(store=store)), checkpointer=saver)
    assert texts(second.requests)[0][: len(first.requests[-1])] == texts(first.requests)[-1]


def test_ids_artifacts_and_metadata_stay() -> None:
    message = ToolMessage(
        list_orders.invoke({"customer": "Ann"}),
        tool_call_id="c1",
        id="m1",
        name="list_orders",
        artifact={"rows": 24},
        additional_kwargs={"mine": 1},
        status="error",
    )
    originals = Originals(MemoryRecallStore(), COUNTER)
    short = originals.compacted(message)
    assert len(short.text) < len(message.text)
    assert (short.id, short.tool_call_id, short.artifact, short.status) == ("m1", "c1", {"rows": 24}, "error")
    assert short.additional_kwargs["mine"] == 1
    assert originals.restored([short])[0].text == message.text
    # A second time changes nothing.
    assert originals.compacted(short) is short


def test_pictures_short_results_and_what_is_no_data_stay_as_they_are() -> None:
    originals = Originals(MemoryRecallStore(), COUNTER)
    picture: list[Any] = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    for content in ("", "ok", '{"a": 1}', "word " * 400, picture):
        message = ToolMessage(content, tool_call_id="c1")
        assert originals.compacted(message) is message


def test_a_store_that_fails_leaves_the_result_as_it_was() -> None:
    class Full(MemoryRecallStore):
        def put(self, text: str) -> str:
            raise OSError("the disk is full")

    thrift = lean()
    state, _ = run(ThriftMiddleware(thrift, persist=Full()))
    assert all(message.text.startswith("{") for message in results(state["messages"]))
    assert thrift.ledger.faults() == {("ingest", "OSError"): 4}


def test_what_goes_straight_to_the_user_is_not_rewritten() -> None:
    @tool(return_direct=True)
    def list_all() -> str:
        """List all orders."""
        return str(list_orders.invoke({"customer": "Ann"}))

    model = Scripted(brain=lambda _: AIMessage("", tool_calls=[{"name": "list_all", "args": {}, "id": "c1"}]))
    graph = create_agent(model, [list_all], middleware=[ThriftMiddleware(lean(), persist=True)])
    assert graph.invoke({"messages": [("user", TASK)]})["messages"][-1].text == list_orders.invoke({"customer": "Ann"})


def test_what_was_recalled_is_not_rewritten() -> None:
    def recalls(messages: Sequence[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], ToolMessage) and messages[-1].name == "recall":
            return AIMessage("Done.")
        if not results(messages):
            return AIMessage("", tool_calls=[call(1, "list_orders", customer="Ann")])
        return AIMessage("", tool_calls=[call(2, "recall", id=handle)])

    store = MemoryRecallStore()
    text = str(list_orders.invoke({"customer": "Ann"}))
    handle = store.put(text)
    middleware = ThriftMiddleware(lean("rewrite", store=store), persist=True)
    graph = create_agent(Scripted(brain=recalls), TOOLS, system_prompt=POLICY, middleware=[middleware])
    messages = graph.invoke({"messages": [("user", TASK)]})["messages"]
    listed, recalled = results(messages)
    assert listed.text.startswith("\u00a7")
    assert recalled.text == text


def test_without_a_store_it_is_refused_at_construction() -> None:
    with pytest.raises(ConfigurationError, match="persist=SQLiteRecallStore"):
        ThriftMiddleware(Thrift(), persist=True)
    assert ThriftMiddleware(Thrift(), persist=MemoryRecallStore()).name == "ThriftMiddleware_persist"
