"""Applies the core's edits to LangChain's own messages; whatever they do not name passes through untouched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from thrift_core.messages import AppendBlock, CacheBreakpoint, DropSpan, Edit, Message, ReplaceText
from thrift_core.plan import Plan

from langchain_thrift.view import text_of

Content = str | list[str | dict[Any, Any]]
Mark = Callable[[BaseMessage, CacheBreakpoint], BaseMessage]


def planned(
    messages: Sequence[BaseMessage], plan: Plan, *, mark: Mark = lambda message, _: message
) -> list[BaseMessage]:
    """Return the messages as a plan wants them sent, each step's edits applied to what the step before left.

    Args:
        messages: what the plan was made for, in the same order as in its request.
        plan: the levers' answer.
        mark: writes a cache breakpoint at the end of a message; by default they are left out.
    """
    out = list(messages)
    for step in plan.applied:
        for edit in step.edits:
            if isinstance(edit, CacheBreakpoint) and edit.index >= 0:
                out[edit.index] = mark(out[edit.index], edit)
        out = edited(out, step.edits)
    return out


def edited(messages: Sequence[BaseMessage], edits: Sequence[Edit]) -> list[BaseMessage]:
    """Return the messages with the edits applied, as `thrift_core.messages.apply_edits` does to the view.

    Edited messages are copies with the id, metadata, calls and opaque blocks of the originals, which stay as they are.
    Cache breakpoints are not for messages in general but for one provider's: see `breakpoints`.
    """
    out: list[BaseMessage | None] = list(messages)
    for edit in edits:
        if isinstance(edit, ReplaceText):
            original = messages[edit.index]
            out[edit.index] = original.model_copy(update={"content": _with_text(original.content, edit.text)})
        elif isinstance(edit, DropSpan):
            out[edit.start : edit.stop] = [None] * (edit.stop - edit.start)
    added = [native(edit.message) for edit in edits if isinstance(edit, AppendBlock)]
    return [message for message in out if message is not None] + added


def native(message: Message) -> BaseMessage:
    """Return a LangChain message for one that a lever made itself."""
    match message.role:
        case "system":
            return SystemMessage(message.text)
        case "assistant":
            return AIMessage(message.text)
        case "tool":
            return ToolMessage(message.text, tool_call_id=message.tool_call_id or "", name=message.name)
        case _:
            return HumanMessage(message.text)


def _with_text(content: Content, text: str) -> Content:
    """Return content that says `text`, in the place of its first text block, with all other blocks as they were."""
    if isinstance(content, str):
        return text
    out: list[str | dict[Any, Any]] = []
    is_placed = False
    for block in content:
        if text_of(block) is None:
            out.append(block)
        elif not is_placed:
            out.append(text if isinstance(block, str) else {**block, "text": text})
            is_placed = True
    return out if is_placed or not text else [text, *out]
