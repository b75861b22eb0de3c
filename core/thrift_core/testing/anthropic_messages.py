"""Anthropic's messages API.

Shapes after the Anthropic API reference (platform.claude.com/docs, "Messages" and "Streaming messages"). Its prompt
cache is not modelled: without a `usage_override` nothing is read from or written to a cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from thrift_core.messages import Message, Opaque, Role, ToolCall
from thrift_core.testing.bill import TokenUse
from thrift_core.testing.chat import ApiError, ChatRequest, Reply
from thrift_core.testing.dialect import Generation, count_in, event
from thrift_core.testing.json_values import Json, as_limit, as_list, as_mapping, as_text
from thrift_core.testing.openai_chat import argument_pieces, words

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_CHOICES = {"any": "required", "auto": "auto", "none": "none"}


class AnthropicMessages:
    """`POST /v1/messages`."""

    path = "/v1/messages"

    def read(self, body: Mapping[str, Any], api_key: str) -> ChatRequest:
        """Read a messages request."""
        limit = as_limit(body.get("max_tokens"))
        if limit is None:
            raise ApiError(400, "max_tokens: Field required", param="max_tokens")
        choice = as_mapping(body.get("tool_choice"))
        return ChatRequest(
            api="messages",
            model=as_text(body.get("model")),
            messages=tuple(_messages(body)),
            tools=tuple(as_mapping(tool) for tool in as_list(body.get("tools"))),
            tool_choice=as_text(choice.get("name")) or _CHOICES.get(as_text(choice.get("type")), "auto"),
            may_call_in_parallel=choice.get("disable_parallel_tool_use") is not True,
            max_output_tokens=limit,
            stop=tuple(as_text(text) for text in as_list(body.get("stop_sequences"))),
            is_stream=body.get("stream") is True,
            wants_stream_usage=True,
            api_key=api_key,
            service_tier=as_text(body.get("service_tier")) or None,
            body=body,
        )

    def body(self, generation: Generation) -> Json:
        """Return a `message` object."""
        message = _frame(generation, _usage(generation))
        reason = _stop_reason(generation)
        return {**message, "content": _blocks(generation.reply), "stop_reason": reason, **generation.reply.extra}

    def events(self, generation: Generation) -> Iterator[bytes]:
        """Yield the typed events of a streamed message; both usage events carry the whole block."""
        for data in _events(generation):
            yield event(data, data["type"])

    def use(self, usage: Mapping[str, Any]) -> TokenUse:
        """Read `input_tokens`, which here leave out cache reads and writes, and `output_tokens`."""
        read, written = count_in(usage, "cache_read_input_tokens"), count_in(usage, "cache_creation_input_tokens")
        return TokenUse(
            input_tokens=count_in(usage, "input_tokens") + read + written,
            cached_tokens=read,
            cache_write_tokens=written,
            output_tokens=count_in(usage, "output_tokens"),
        )

    def error(self, error: ApiError) -> Json:
        """Return an error in Anthropic's format."""
        kind = _ERRORS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": "req_local"}


def _messages(body: Mapping[str, Any]) -> Iterator[Message]:
    system = body.get("system")
    text = as_text(system) or "\n\n".join(as_text(as_mapping(block).get("text")) for block in as_list(system))
    if text:
        yield Message("system", text)
    for raw in as_list(body.get("messages")):
        message = as_mapping(raw)
        role: Role = "assistant" if message.get("role") == "assistant" else "user"
        content = message.get("content")
        if isinstance(content, str):
            yield Message(role, content)
        else:
            yield from _from_blocks(role, [as_mapping(block) for block in as_list(content)])


def _from_blocks(role: Role, blocks: list[Mapping[str, Any]]) -> Iterator[Message]:
    """Yield tool results as messages of their own, then what is left, as the other APIs have it."""
    for block in blocks:
        if block.get("type") == "tool_result":
            yield Message("tool", _text(block.get("content")), (), as_text(block.get("tool_use_id")))
    rest = [block for block in blocks if block.get("type") != "tool_result"]
    if rest:
        calls = tuple(
            ToolCall(as_text(block.get("name")), json.dumps(block.get("input")), as_text(block.get("id")))
            for block in rest
            if block.get("type") == "tool_use"
        )
        opaque = tuple(
            Opaque(as_text(block.get("type")), block) for block in rest if block.get("type") not in ("text", "tool_use")
        )
        yield Message(role, _text(rest), calls, opaque=opaque)


def _text(content: object) -> str:
    return as_text(content) or "".join(as_text(as_mapping(block).get("text")) for block in as_list(content))


def _frame(generation: Generation, usage: Mapping[str, Any]) -> Json:
    return {
        "id": f"msg_{generation.id}",
        "type": "message",
        "role": "assistant",
        "model": generation.request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _blocks(reply: Reply) -> list[Json]:
    text: list[Json] = [{"type": "text", "text": reply.text}] if reply.text or not reply.tool_calls else []
    return text + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments or "{}")}
        for call in reply.tool_calls
    ]


def _stop_reason(generation: Generation) -> str:
    reason = generation.finish_reasons[0]
    return _STOP_REASONS.get(reason, reason)


def _events(generation: Generation) -> Iterator[Json]:
    usage = _usage(generation)
    first = usage if generation.reply.usage_override is not None else {**usage, "output_tokens": 1}
    yield {"type": "message_start", "message": {**_frame(generation, first), **generation.reply.extra}}
    calls = iter(generation.reply.tool_calls)
    for index, block in enumerate(_blocks(generation.reply)):
        is_text = block["type"] == "text"
        opened: Json = {"type": "text", "text": ""} if is_text else {**block, "input": {}}
        deltas = _text_deltas(block["text"]) if is_text else _input_deltas(next(calls))
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": _stop_reason(generation), "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": usage}
    yield {"type": "message_stop"}


def _text_deltas(text: str) -> list[Json]:
    return [{"type": "text_delta", "text": word} for word in words(text)]


def _input_deltas(call: ToolCall) -> list[Json]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in argument_pieces(call.arguments)]


def _usage(generation: Generation) -> Mapping[str, Any]:
    if generation.reply.usage_override is not None:
        return generation.reply.usage_override
    use = generation.use
    return {
        "input_tokens": use.input_tokens - use.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": use.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": use.output_tokens,
        "service_tier": "standard",
    }
