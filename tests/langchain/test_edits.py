"""Edits on LangChain's own messages: valid requests, ids kept, originals untouched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_thrift.edits import edited, native, planned
from langchain_thrift.view import message_view
from thrift_core.messages import (
    AppendBlock,
    CacheBreakpoint,
    DropSpan,
    Edit,
    Message,
    ReplaceText,
    Request,
    apply_edits,
    unpaired_calls,
)
from thrift_core.plan import Plan, Step
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summarizer import SummarizerMode

from tests.langchain.agents import lean
from tests.langchain.histories import IMAGE, THINKING, draw_history


def test_a_replaced_text_keeps_everything_else() -> None:
    content: list[Any] = [THINKING, {"type": "text", "text": "long", "extras": 1}, IMAGE, "and more"]
    calls: list[Any] = [{"name": "f", "args": {}, "id": "c1", "type": "tool_call"}]
    original = AIMessage(content, tool_calls=calls, id="m", response_metadata={"a": 1}, additional_kwargs={"b": 2})
    before = original.model_copy(deep=True)
    short = edited([original], [ReplaceText(reason="", index=0, text="short")])[0]
    assert original == before
    assert short.content == [THINKING, {"type": "text", "text": "short", "extras": 1}, IMAGE]
    assert (short.id, short.response_metadata, short.additional_kwargs) == ("m", {"a": 1}, {"b": 2})
    assert short.tool_calls == original.tool_calls  # type: ignore[attr-defined]


def test_an_artifact_and_a_status_stay() -> None:
    original = ToolMessage("long", tool_call_id="c", artifact=[1], status="error", name="f", id="m")
    short = edited([original], [ReplaceText(reason="", index=0, text="short")])[0]
    assert short == original.model_copy(update={"content": "short"})


def test_text_is_put_before_other_blocks_where_there_was_none() -> None:
    assert edited([HumanMessage([IMAGE])], [ReplaceText(reason="", index=0, text="x")])[0].content == ["x", IMAGE]
    assert edited([HumanMessage([IMAGE])], [ReplaceText(reason="", index=0, text="")])[0].content == [IMAGE]


def test_messages_are_dropped_and_added() -> None:
    messages: list[BaseMessage] = [SystemMessage("s"), HumanMessage("a"), AIMessage("b"), HumanMessage("c")]
    edits: list[Edit] = [
        DropSpan(reason="", start=1, stop=3),
        AppendBlock(reason="", message=Message("user", "d")),
        CacheBreakpoint(reason="", index=0),
    ]
    assert [message.text for message in edited(messages, edits)] == ["s", "c", "d"]
    assert len(messages) == 4


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_a_levers_own_message_comes_out_in_its_role(role: Any) -> None:
    message = Message(role, "text", tool_call_id="c" if role == "tool" else None)
    assert message_view(native(message)) == message


def test_each_steps_edits_refer_to_what_the_step_before_left() -> None:
    messages: list[BaseMessage] = [HumanMessage("a"), AIMessage("b"), HumanMessage("c")]
    first = Step("compressor", "on", (DropSpan(reason="", start=0, stop=2),))
    shadow = Step("summarizer", "shadow", (ReplaceText(reason="", index=2, text="never"),))
    last = Step("planner", "on", (CacheBreakpoint(reason="", index=0), CacheBreakpoint(reason="", index=-1)))
    marked: list[str] = []

    def mark(message: BaseMessage, edit: CacheBreakpoint) -> BaseMessage:
        marked.append(message.text)
        return message.model_copy(update={"content": "marked"})

    out = planned(messages, Plan(Request(()), (first, shadow, last)), mark=mark)
    assert ([message.text for message in out], marked) == (["marked"], ["c"])
    assert messages[2].text == "c"


def pairs_broken(before: Sequence[Message], after: Sequence[Message]) -> set[str]:
    open_before, orphans_before = unpaired_calls(before)
    open_after, orphans_after = unpaired_calls(after)
    return set((open_after - open_before) | (orphans_after - orphans_before))


def check(messages: list[BaseMessage], thrift: Thrift) -> int:
    """Send every request that a history tells of, and return how many were shortened."""
    shortened = 0
    before = [dumps(message) for message in messages]
    calls = [at for at, message in enumerate(messages) if at and isinstance(message, AIMessage)] + [len(messages)]
    for at in calls:
        given = messages[:at]
        views = tuple(message_view(message) for message in given)
        plan = thrift.plan(Request(views, model="claude-sonnet-4-6", provider="anthropic"))
        sent = planned(given, plan)
        seen = [message_view(message) for message in sent]
        # What the core planned is what the native messages say.
        assert seen == list(plan.request.messages)
        assert not pairs_broken(views, seen)
        if any(isinstance(message, HumanMessage) for message in given):
            assert any(isinstance(message, HumanMessage) for message in sent)
        known = [message.id for message in given]
        assert all(message.id in known for message in sent)
        assert [message for message in sent if isinstance(message, SystemMessage)] == [
            message for message in given if isinstance(message, SystemMessage)
        ]
        shortened += bool(plan.applied)
    assert [dumps(message) for message in messages] == before
    return shortened


def fuzz(seeds: range, mode: SummarizerMode) -> None:
    thrift = lean(mode)
    shortened = sum(check(draw_history(Random(seed)), thrift) for seed in seeds)
    assert thrift.ledger.faults() == {}
    assert shortened > len(seeds) / 10


@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
def test_no_history_of_messages_is_made_invalid(mode: SummarizerMode) -> None:
    fuzz(range(250), mode)


def test_an_instruction_given_in_between_is_never_dropped() -> None:
    check(draw_history(Random(2596)), lean("rewrite"))


@pytest.mark.soak
@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
@pytest.mark.parametrize("part", range(10))
def test_no_history_of_very_many_is_made_invalid(mode: SummarizerMode, part: int) -> None:
    fuzz(range(1000 * (part + 1), 1000 * (part + 2)), mode)


def test_the_check_finds_what_it_looks_for() -> None:
    class Careless(Thrift):
        """Drops the first result of a tool, and lets nobody check it."""

        def plan(self, request: Request, **_: Any) -> Plan:
            at = next((n for n, message in enumerate(request.messages) if message.role == "tool"), None)
            if at is None:
                return Plan(request)
            edits = (DropSpan(reason="", start=at, stop=at + 1),)
            kept = replace(request, messages=request.messages[:at] + request.messages[at + 1 :])
            with pytest.raises(ValueError, match="separate tool calls"):
                apply_edits(request.messages, edits)
            return Plan(kept, (Step("summarizer", "on", edits),))

    calls: list[Any] = [{"name": "f", "args": {}, "id": "c1"}]
    history = [HumanMessage("a"), AIMessage("", tool_calls=calls), ToolMessage("r", tool_call_id="c1"), AIMessage("b")]
    with pytest.raises(AssertionError):
        check(list(history), Careless())
