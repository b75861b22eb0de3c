"""Edits change what they name in copies of LlamaIndex's messages, and nothing else."""

from __future__ import annotations

import copy
import pickle
from random import Random
from typing import get_args

import pytest
from llama_index.core.base.llms.types import CacheControl as Control
from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llamaindex_thrift.edits import edited, native
from llamaindex_thrift.view import message_view
from thrift_core.messages import AppendBlock, DropSpan, Message, ReplaceText, apply_edits, unpaired_calls
from thrift_core.trajectory.summarizer import SummarizerMode

from tests.core.trajectory.fuzzer import draw_history
from tests.core.trajectory.histories import SCHEMES, requests, summarizer
from tests.llamaindex.native_histories import PIXEL, native_history

MODES = get_args(SummarizerMode)


def replaced(message: ChatMessage, text: str) -> ChatMessage:
    (out,) = edited([message], [ReplaceText(index=0, text=text, reason="")])
    return out


def test_text_is_replaced_where_it_stood_and_all_else_stays() -> None:
    thinking = ThinkingBlock(content="hm", additional_information={"signature": "s1gned"})
    picture = ImageBlock(image=PIXEL)
    point = CachePoint(cache_control=Control(type="ephemeral"))
    call = ToolCallBlock(tool_call_id="1", tool_name="f", tool_kwargs={"a": 1})
    blocks = [thinking, TextBlock(text="long "), picture, TextBlock(text="text"), point, call]
    more = {"tool_call_id": "7", "vendor": {"x": 1}}
    out = replaced(ChatMessage(role="assistant", blocks=blocks, additional_kwargs=more), "short")
    assert out.blocks == [thinking, TextBlock(text="short"), picture, point, call]
    assert out.blocks[0] is thinking
    assert (out.role, out.additional_kwargs) == (MessageRole.ASSISTANT, more)


def test_text_for_a_message_without_any_stands_before_its_calls() -> None:
    call = ToolCallBlock(tool_call_id="1", tool_name="f")
    thinking = ThinkingBlock(content="hm")
    assert replaced(ChatMessage(role="assistant", blocks=[thinking, call]), "now").blocks == [
        thinking,
        TextBlock(text="now"),
        call,
    ]
    assert replaced(ChatMessage(role="assistant", blocks=[call]), "").blocks == [call]
    assert replaced(ChatMessage(role="tool", blocks=[]), "now").blocks == [TextBlock(text="now")]


def test_what_a_client_writes_into_an_edited_message_does_not_reach_the_original() -> None:
    message = ChatMessage(role="user", content="long", additional_kwargs={})
    replaced(message, "short").additional_kwargs["cache_control"] = {"type": "ephemeral"}
    assert message.additional_kwargs == {}
    assert message.content == "long"


def test_messages_that_no_edit_names_are_the_same_objects() -> None:
    messages = [ChatMessage(role="user", content=str(number)) for number in range(5)]
    out = edited(messages, [DropSpan(start=1, stop=3, reason=""), ReplaceText(index=4, text="x", reason="")])
    assert out[0] is messages[0]
    assert out[1] is messages[3]
    assert out[2].content == "x"
    assert len(out) == 3


@pytest.mark.parametrize(
    "message",
    [
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "Hello"),
        Message("tool", "3", tool_call_id="1"),
    ],
)
def test_a_levers_own_message_says_the_same_in_llamaindex(message: Message) -> None:
    assert message_view(native(message)) == message
    assert message_view(edited([], [AppendBlock(message=message, reason="")])[0]) == message


def check_one(seed: int) -> bool:
    """Check one history; False if its edits do not fit it, so that `Thrift` would pass the summarizer over."""
    random = Random(seed)
    messages = native_history(draw_history(random, longest=random.choice((4, 8, 12, 40))), random)
    before = pickle.dumps(messages)
    summary = summarizer(random.choice(MODES))
    pricing = random.choice(SCHEMES)
    views = [message_view(message) for message in messages]
    for history in requests(views) if random.random() < 0.2 else [views]:
        edits = summary.plan(history, pricing)
        try:
            planned = apply_edits(history, edits)
        except ValueError:
            return False
        out = tuple(map(message_view, edited(messages[: len(history)], edits)))
        assert out == planned
        # The very blocks that nobody may touch.
        assert [id(b.value) for m in planned for b in m.opaque] == [id(b.value) for m in out for b in m.opaque]
        open_calls, orphans = unpaired_calls(out)
        assert open_calls <= unpaired_calls(history)[0]
        assert orphans <= unpaired_calls(history)[1]
        assert any(m.role == "user" for m in out) == any(m.role == "user" for m in history)
    assert pickle.dumps(messages) == before
    return True


def test_six_hundred_histories_stay_valid_and_as_the_app_has_them() -> None:
    assert all(check_one(seed) for seed in range(600))


@pytest.mark.soak
def test_over_twenty_thousand_histories_stay_valid_and_as_the_app_has_them() -> None:
    assert all(check_one(seed) for seed in range(600, 21_000))


def test_the_histories_are_edited_and_cut_often_enough_to_mean_something() -> None:
    kinds = {ReplaceText: 0, DropSpan: 0}
    for seed in range(60):
        random = Random(seed)
        messages = native_history(draw_history(random), random)
        for edit in summarizer("rewrite").plan([message_view(message) for message in messages], SCHEMES[0]):
            kinds[type(edit)] += 1
    assert kinds[ReplaceText] > 300
    assert kinds[DropSpan] > 1


def test_editing_a_copy_of_the_messages_gives_the_same() -> None:
    random = Random(1)
    messages = native_history(draw_history(random), random)
    edits = summarizer().plan([message_view(message) for message in messages], SCHEMES[0])
    assert edited(copy.deepcopy(messages), edits) == edited(messages, edits)
