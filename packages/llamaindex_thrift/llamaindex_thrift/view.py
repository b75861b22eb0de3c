"""The read-only view of LlamaIndex messages that the levers see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from thrift_core.messages import Message, Opaque, Request, Role, ToolCall
from thrift_core.providers import provider_id

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_KINDS = {"document": "file"}
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample")
_URLS = ("api_base", "base_url", "azure_endpoint", "endpoint", "endpoint_url")
_ARGUMENTS = ("arguments", "args", "input", "parameters")


def message_view(message: ChatMessage) -> Message:
    """Return a message as the levers see it; blocks other than text and tool calls are opaque."""
    more = message.additional_kwargs
    return Message(
        role=_ROLES.get(str(getattr(message.role, "value", message.role)), "user"),
        text="".join(block.text for block in message.blocks if isinstance(block, TextBlock)),
        tool_calls=tool_calls(message),
        tool_call_id=_text(more.get("tool_call_id")) or _text(more.get("call_id")),
        name=_text(more.get("name")),
        opaque=tuple(
            Opaque(_KINDS.get(block.block_type, block.block_type), block)
            for block in message.blocks
            if not isinstance(block, TextBlock | ToolCallBlock)
        ),
    )


def request_view(
    messages: Sequence[ChatMessage] | str,
    params: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    *,
    view: Callable[[ChatMessage], Message] = message_view,
) -> Request:
    """Return a request as the levers see it.

    Args:
        messages: what is about to be sent; a text for a completion.
        params: the keyword arguments of the call.
        settings: the LLM's own settings, which the call adds to.
        view: how a message is looked at, such as one that remembers.
    """
    settings = settings or {}
    model = params.get("model") or settings.get("model") or settings.get("model_name")
    seen = (Message("user", messages),) if isinstance(messages, str) else tuple(map(view, messages))
    return Request(
        messages=seen,
        model=_text(model),
        tools=tools_of(params),
        max_output_tokens=_max_output_tokens(params, settings),
    )


def tools_of(params: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the tool definitions among the keyword arguments of a call; Bedrock's stand one level deeper."""
    tools = params.get("tools") or params.get("functions") or ()
    listed = tools.get("tools") or () if isinstance(tools, Mapping) else tools
    return tuple(tool for tool in listed if isinstance(tool, Mapping))


def provider_of(settings: Mapping[str, Any], class_name: object) -> str | None:
    """Return who bills the calls of an LLM: the address tells more than the client, which may be pointed at anybody.

    Args:
        settings: the LLM's own attributes.
        class_name: the name it reports for itself.
    """
    by_url = provider_id(url) if (url := api_url(settings)) is not None and "://" in url else None
    return by_url or (provider_id(class_name) if isinstance(class_name, str) else None)


def api_url(settings: Mapping[str, Any]) -> str | None:
    """Return the address that an LLM's settings name."""
    return next((url for name in _URLS if isinstance(url := settings.get(name), str)), None)


def tool_calls(message: ChatMessage) -> tuple[ToolCall, ...]:
    """Return the calls that a message asks for: its tool-call blocks, else what older clients put beside the blocks."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return tuple(ToolCall(block.tool_name, _json(block.tool_kwargs), block.tool_call_id) for block in blocks)
    native = message.additional_kwargs.get("tool_calls")
    if isinstance(native, Iterable) and not isinstance(native, str | bytes | Mapping):
        return tuple(call for item in native if (call := _native_call(item)) is not None)
    only = _native_call(message.additional_kwargs.get("function_call"))
    return () if only is None else (only,)


def field_of(value: object, name: str) -> Any:
    """Return what a dictionary or an object has under a name, None if nothing."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _native_call(call: object) -> ToolCall | None:
    """Return a provider's own tool call: an object or a dictionary, flat or with the function inside."""
    inside = field_of(call, "function") or call
    name = _text(field_of(inside, "name"))
    if name is None:
        return None
    arguments: object = next((value for key in _ARGUMENTS if (value := field_of(inside, key)) is not None), {})
    return ToolCall(name, _json(arguments), _text(field_of(call, "id")) or _text(field_of(call, "call_id")))


def _json(arguments: object) -> str:
    """Return arguments as the model wrote them, or as canonical JSON where the client has parsed them."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, sort_keys=True, default=str)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _max_output_tokens(params: Mapping[str, Any], settings: Mapping[str, Any]) -> int | None:
    """Return the limit on the answer; clients differ in which of several settings wins, so the largest counts."""
    more = settings.get("additional_kwargs")
    sources = (params, settings, more if isinstance(more, Mapping) else {})
    given = [source.get(name) for source in sources for name in _LIMITS]
    return max((limit for limit in given if type(limit) is int and limit > 0), default=None)
