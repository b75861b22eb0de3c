"""OpenAI's chat completions API.

Shapes after the OpenAI API reference (developers.openai.com/api/reference, "Chat completions") and recorded traffic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from thrift_core.messages import Message, Opaque, Role, ToolCall
from thrift_core.testing.bill import TokenUse
from thrift_core.testing.chat import ApiError, ChatRequest
from thrift_core.testing.dialect import Generation, count_in, event, openai_error
from thrift_core.testing.json_values import Json, as_limit, as_list, as_mapping, as_text

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_WORD = re.compile(r"\s*\S+|\s+$")
_ARGUMENT_CHARACTERS = 16


class OpenAIChat:
    """`POST /v1/chat/completions`."""

    path = "/v1/chat/completions"

    def read(self, body: Mapping[str, Any], api_key: str) -> ChatRequest:
        """Read a chat completions request."""
        stream_options = as_mapping(body.get("stream_options"))
        if stream_options and body.get("stream") is not True:
            raise ApiError(
                400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
            )
        messages = tuple(_message(raw, index) for index, raw in enumerate(as_list(body.get("messages"))))
        check_tool_answers(messages)
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        stop = body.get("stop")
        return ChatRequest(
            api="chat",
            model=as_text(body.get("model")),
            messages=messages,
            tools=tuple(as_mapping(tool) for tool in as_list(body.get("tools"))),
            tool_choice=_tool_choice(body.get("tool_choice")),
            may_call_in_parallel=body.get("parallel_tool_calls") is not False,
            max_output_tokens=as_limit(limit),
            stop=(stop,) if isinstance(stop, str) else tuple(as_text(text) for text in as_list(stop)),
            is_stream=body.get("stream") is True,
            wants_stream_usage=stream_options.get("include_usage") is True,
            choices=as_limit(body.get("n")) or 1,
            api_key=api_key,
            cache_key=as_text(body.get("prompt_cache_key")) or None,
            service_tier=as_text(body.get("service_tier")) or None,
            response_format=as_mapping(body.get("response_format")),
            body=body,
        )

    def body(self, generation: Generation) -> Json:
        """Return a `chat.completion` object."""
        choices = [_choice(generation, index) for index in range(len(generation.replies))]
        frame = _frame(generation, "chat.completion")
        return {**frame, "choices": choices, "usage": _usage(generation), **generation.reply.extra}

    def events(self, generation: Generation) -> Iterator[bytes]:
        """Yield `chat.completion.chunk` objects and `[DONE]`."""
        frame = {**_frame(generation, "chat.completion.chunk"), **generation.reply.extra}
        with_usage = generation.request.wants_stream_usage
        if with_usage:
            frame["usage"] = None
        for index in range(len(generation.replies)):
            for delta, finish_reason in _deltas(generation, index):
                choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
                yield event({**frame, "choices": [choice]})
        if with_usage:
            yield event({**frame, "choices": [], "usage": _usage(generation)})
        yield b"data: [DONE]\n\n"

    def use(self, usage: Mapping[str, Any]) -> TokenUse:
        """Read `prompt_tokens`, `completion_tokens` and their details."""
        return TokenUse(
            input_tokens=count_in(usage, "prompt_tokens"),
            cached_tokens=count_in(usage.get("prompt_tokens_details"), "cached_tokens"),
            cache_write_tokens=count_in(usage.get("prompt_tokens_details"), "cache_write_tokens"),
            output_tokens=count_in(usage, "completion_tokens"),
            reasoning_tokens=count_in(usage.get("completion_tokens_details"), "reasoning_tokens"),
        )

    def error(self, error: ApiError) -> Json:
        """Return an error in OpenAI's format."""
        return openai_error(error)


def check_tool_answers(messages: tuple[Message, ...]) -> None:
    """Refuse tool results without their call and calls without their results, in OpenAI's words."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise ApiError(
                    400,
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    param=f"messages.[{index}].role",
                )
            waiting.discard(message.tool_call_id or "")
            continue
        _check_none_waiting(waiting, index)
        waiting = {call.id or "" for call in message.tool_calls}
    _check_none_waiting(waiting, len(messages))


def _check_none_waiting(waiting: set[str], index: int) -> None:
    if waiting:
        raise ApiError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(sorted(waiting)),
            param=f"messages.[{index}].role",
        )


def _message(raw: object, index: int) -> Message:
    message = as_mapping(raw)
    role = _ROLES.get(as_text(message.get("role")))
    if role is None:
        raise ApiError(
            400,
            f"Invalid value: {message.get('role')!r}. Supported values are: 'system', 'assistant', 'user', "
            "'function', 'tool', and 'developer'.",
            code="invalid_value",
            param=f"messages[{index}].role",
        )
    text, opaque = _content(message.get("content"))
    return Message(
        role,
        text,
        tuple(_tool_call(call) for call in as_list(message.get("tool_calls"))),
        as_text(message.get("tool_call_id")) or None,
        as_text(message.get("name")) or None,
        opaque,
    )


def _content(content: object) -> tuple[str, tuple[Opaque, ...]]:
    if isinstance(content, str):
        return content, ()
    parts = [as_mapping(part) for part in as_list(content)]
    text = "".join(as_text(part.get("text")) for part in parts)
    return text, tuple(
        Opaque(as_text(part.get("type")).removesuffix("_url").removeprefix("input_"), part)
        for part in parts
        if part.get("type") not in ("text", "refusal")
    )


def _tool_call(raw: object) -> ToolCall:
    call = as_mapping(raw)
    function = as_mapping(call.get("function"))
    return ToolCall(as_text(function.get("name")), as_text(function.get("arguments")), as_text(call.get("id")))


def _tool_choice(choice: object) -> str:
    return as_text(choice) or as_text(as_mapping(as_mapping(choice).get("function")).get("name")) or "auto"


def _frame(generation: Generation, kind: str) -> Json:
    tier = generation.request.service_tier
    return {
        "id": f"chatcmpl-{generation.id}",
        "object": kind,
        "created": generation.created,
        "model": generation.request.model,
        "service_tier": "default" if tier in (None, "auto") else tier,
        "system_fingerprint": generation.fingerprint,
    }


def _choice(generation: Generation, index: int) -> Json:
    reply = generation.replies[index]
    message: Json = {"role": "assistant", "content": reply.text or None, "refusal": None, "annotations": []}
    if reply.tool_calls:
        message["tool_calls"] = [_call_body(call) for call in reply.tool_calls]
    else:
        message["content"] = reply.text
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": generation.finish_reasons[index],
    }


def _call_body(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _deltas(generation: Generation, index: int) -> Iterator[tuple[Json, str | None]]:
    reply = generation.replies[index]
    yield {"role": "assistant", "content": None if reply.tool_calls and not reply.text else "", "refusal": None}, None
    for word in words(reply.text):
        yield {"content": word}, None
    for position, call in enumerate(reply.tool_calls):
        yield {"tool_calls": [{"index": position, **_call_body(ToolCall(call.name, "", call.id))}]}, None
        for piece in argument_pieces(call.arguments):
            yield {"tool_calls": [{"index": position, "function": {"arguments": piece}}]}, None
    yield {}, generation.finish_reasons[index]


def words(text: str) -> list[str]:
    """Return the text in the pieces it is streamed in; joined they are the text."""
    return _WORD.findall(text)


def argument_pieces(arguments: str) -> list[str]:
    """Return a tool call's arguments in the pieces they are streamed in."""
    return [arguments[at : at + _ARGUMENT_CHARACTERS] for at in range(0, len(arguments), _ARGUMENT_CHARACTERS)]


def _usage(generation: Generation) -> Mapping[str, Any]:
    if generation.reply.usage_override is not None:
        return generation.reply.usage_override
    use = generation.use
    return {
        "prompt_tokens": use.input_tokens,
        "completion_tokens": use.output_tokens,
        "total_tokens": use.input_tokens + use.output_tokens,
        "prompt_tokens_details": {"cached_tokens": use.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": use.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
