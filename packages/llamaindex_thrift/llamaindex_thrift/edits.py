"""Applies the core's edits to LlamaIndex's own messages; whatever they do not name passes through untouched."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage, ContentBlock, MessageRole, TextBlock, ToolCallBlock
from thrift_core.messages import AppendBlock, DropSpan, Edit, Message, ReplaceText, Role

_ROLES: dict[Role, MessageRole] = {
    "system": MessageRole.SYSTEM,
    "user": MessageRole.USER,
    "assistant": MessageRole.ASSISTANT,
    "tool": MessageRole.TOOL,
}


def edited(messages: Sequence[ChatMessage], edits: Sequence[Edit]) -> list[ChatMessage]:
    """Return the messages with the edits applied, as `thrift_core.messages.apply_edits` does to the view.

    Edited messages are copies with the arguments, calls and opaque blocks of the originals, which stay as they are.
    Cache breakpoints are not for messages in general but for one provider's: see `breakpoints`.
    """
    out: list[ChatMessage | None] = list(messages)
    for edit in edits:
        if isinstance(edit, ReplaceText):
            original = messages[edit.index]
            out[edit.index] = with_blocks(original, _with_text(original.blocks, edit.text))
        elif isinstance(edit, DropSpan):
            out[edit.start : edit.stop] = [None] * (edit.stop - edit.start)
    added = [native(edit.message) for edit in edits if isinstance(edit, AppendBlock)]
    return [message for message in out if message is not None] + added


def with_blocks(message: ChatMessage, blocks: list[ContentBlock]) -> ChatMessage:
    """Return a copy of a message with other blocks; what clients write into the copy does not reach the original."""
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": dict(message.additional_kwargs)})


def native(message: Message) -> ChatMessage:
    """Return a LlamaIndex message for one that a lever made itself."""
    answers = {} if message.tool_call_id is None else {"tool_call_id": message.tool_call_id}
    return ChatMessage(role=_ROLES[message.role], content=message.text, additional_kwargs=answers)


def _with_text(blocks: Sequence[ContentBlock], text: str) -> list[ContentBlock]:
    """Return blocks that say `text`, in the place of the first text block, with all other blocks as they were."""
    out: list[ContentBlock] = []
    is_placed = False
    for block in blocks:
        if not isinstance(block, TextBlock):
            out.append(block)
        elif not is_placed:
            out.append(block.model_copy(update={"text": text}))
            is_placed = True
    if not is_placed and text:
        # After thinking, before calls: the order that providers ask for.
        calls = (at for at, block in enumerate(out) if isinstance(block, ToolCallBlock))
        out.insert(next(calls, len(out)), TextBlock(text=text))
    return out
