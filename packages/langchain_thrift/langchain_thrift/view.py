"""The read-only view of LangChain messages that the levers see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from thrift_core.messages import Message, Opaque, Request, Role, ToolCall

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
# Providers repeat a message's tool calls as content blocks; the view has them in `tool_calls` already.
_REPEATED_CALLS = frozenset({"tool_use", "tool_call", "tool_call_chunk", "function_call", "invalid_tool_call"})
_TEXT = frozenset({"text", "text-plain", "output_text", "input_text"})
_KINDS = {"image_url": "image", "input_image": "image", "input_audio": "audio", "reasoning": "thinking"}


def message_view(message: BaseMessage) -> Message:
    """Return a message as the levers see it; blocks other than text are opaque."""
    text, opaque = _split(message.content)
    kind = getattr(message, "role", message.type) if message.type == "chat" else message.type
    return Message(
        role=_ROLES.get(str(kind).removesuffix("MessageChunk").lower(), "user"),
        text=text,
        tool_calls=tool_calls(message),
        tool_call_id=message.tool_call_id if isinstance(message, ToolMessage) else None,
        name=message.name,
        opaque=opaque,
    )


def request_view(messages: Sequence[BaseMessage], params: Mapping[str, Any]) -> Request:
    """Return a request as the levers see it.

    Args:
        messages: what is about to be sent.
        params: the model's invocation parameters, as callbacks and middleware get them.
    """
    limit = next(
        (params[key] for key in ("max_tokens", "max_completion_tokens", "max_output_tokens") if params.get(key)), 0
    )
    tools = params.get("tools") or params.get("functions") or ()
    return Request(
        messages=tuple(message_view(message) for message in messages),
        model=params.get("model") or params.get("model_name"),
        tools=tuple(tool for tool in tools if isinstance(tool, Mapping)),
        max_output_tokens=limit if type(limit) is int and limit > 0 else None,
    )


def tool_calls(message: BaseMessage) -> tuple[ToolCall, ...]:
    """Return the calls a message asks for, with canonical JSON arguments; those that did not parse included."""
    if not isinstance(message, AIMessage):
        return ()
    calls = [
        ToolCall(call["name"], json.dumps(call["args"], sort_keys=True, ensure_ascii=False), call["id"])
        for call in message.tool_calls
    ]
    invalid = [ToolCall(call["name"] or "", call["args"] or "", call["id"]) for call in message.invalid_tool_calls]
    return tuple(calls + invalid)


def is_replayed(message: AIMessage) -> bool:
    """Return whether a cache answered, ours or one of LangChain's: such an answer is not kept again as a new one."""
    usage = message.usage_metadata
    told = message.response_metadata.get("thrift")
    return (usage is not None and usage.get("total_cost") == 0) or (isinstance(told, Mapping) and "cache" in told)


def text_of(block: str | dict[Any, Any]) -> str | None:
    """Return the text of a content block that levers may read and edit, None for a block of another kind."""
    if isinstance(block, str):
        return block
    text = block.get("text")
    return text if block.get("type") in _TEXT and isinstance(text, str) else None


def _split(content: str | list[str | dict[Any, Any]]) -> tuple[str, tuple[Opaque, ...]]:
    if isinstance(content, str):
        return content, ()
    texts: list[str] = []
    opaque: list[Opaque] = []
    for block in content:
        if (said := text_of(block)) is not None:
            texts.append(said)
        elif isinstance(block, dict) and (kind := str(block.get("type"))) not in _REPEATED_CALLS:
            opaque.append(Opaque(_KINDS.get(kind, kind), block))
    return "".join(texts), tuple(opaque)
