"""OpenAI's responses API.

Shapes after the OpenAI API reference (developers.openai.com/api/reference, "Responses"). Stored responses, background
work and built-in tools are not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from thrift_core.messages import Message, Opaque, Role, ToolCall
from thrift_core.testing.bill import TokenUse
from thrift_core.testing.chat import ApiError, ChatRequest
from thrift_core.testing.dialect import Generation, count_in, event, openai_error
from thrift_core.testing.json_values import Json, as_limit, as_list, as_mapping, as_text
from thrift_core.testing.openai_chat import argument_pieces, check_tool_answers, words

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class OpenAIResponses:
    """`POST /v1/responses`."""

    path = "/v1/responses"

    def read(self, body: Mapping[str, Any], api_key: str) -> ChatRequest:
        """Read a responses request."""
        messages = tuple(_messages(body))
        check_tool_answers(messages)
        choice = body.get("tool_choice")
        return ChatRequest(
            api="responses",
            model=as_text(body.get("model")),
            messages=messages,
            tools=tuple(as_mapping(tool) for tool in as_list(body.get("tools"))),
            tool_choice=as_text(choice) or as_text(as_mapping(choice).get("name")) or "auto",
            may_call_in_parallel=body.get("parallel_tool_calls") is not False,
            max_output_tokens=as_limit(body.get("max_output_tokens")),
            is_stream=body.get("stream") is True,
            wants_stream_usage=True,
            api_key=api_key,
            cache_key=as_text(body.get("prompt_cache_key")) or None,
            service_tier=as_text(body.get("service_tier")) or None,
            response_format=_response_format(body),
            body=body,
        )

    def body(self, generation: Generation) -> Json:
        """Return a finished `response` object."""
        return _response(generation, "completed", _items(generation), _usage(generation))

    def events(self, generation: Generation) -> Iterator[bytes]:
        """Yield the typed events of a streamed response."""
        numbers = count()
        for data in _events(generation):
            yield event({**data, "sequence_number": next(numbers)}, data["type"])

    def use(self, usage: Mapping[str, Any]) -> TokenUse:
        """Read `input_tokens`, `output_tokens` and their details."""
        return TokenUse(
            input_tokens=count_in(usage, "input_tokens"),
            cached_tokens=count_in(usage.get("input_tokens_details"), "cached_tokens"),
            cache_write_tokens=count_in(usage.get("input_tokens_details"), "cache_write_tokens"),
            output_tokens=count_in(usage, "output_tokens"),
            reasoning_tokens=count_in(usage.get("output_tokens_details"), "reasoning_tokens"),
        )

    def error(self, error: ApiError) -> Json:
        """Return an error in OpenAI's format."""
        return openai_error(error)


def _response_format(body: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = as_mapping(as_mapping(body.get("text")).get("format"))
    return {} if wanted.get("type") == "text" else wanted


def _messages(body: Mapping[str, Any]) -> Iterator[Message]:
    if instructions := as_text(body.get("instructions")):
        yield Message("system", instructions)
    given = body.get("input")
    if isinstance(given, str):
        yield Message("user", given)
    calls: list[ToolCall] = []
    for raw in as_list(given):
        item = as_mapping(raw)
        if item.get("type") == "function_call":
            # Calls of one turn are items of their own here; they belong to one assistant message.
            name, arguments = as_text(item.get("name")), as_text(item.get("arguments"))
            calls.append(ToolCall(name, arguments, as_text(item.get("call_id"))))
            continue
        if calls:
            yield Message("assistant", "", tuple(calls))
            calls = []
        if (message := _message(item)) is not None:
            yield message
    if calls:
        yield Message("assistant", "", tuple(calls))


def _message(item: Mapping[str, Any]) -> Message | None:
    if item.get("type") == "function_call_output":
        return Message("tool", _text(item.get("output")), (), as_text(item.get("call_id")))
    role = _ROLES.get(as_text(item.get("role")))
    if role is None:
        return None  # reasoning and other items carry nothing a brain reads
    content = item.get("content")
    parts = [as_mapping(part) for part in as_list(content)]
    opaque = tuple(
        Opaque(as_text(part.get("type")).removeprefix("input_"), part)
        for part in parts
        if part.get("type") not in ("input_text", "output_text", "text")
    )
    return Message(role, _text(content), opaque=opaque)


def _text(content: object) -> str:
    return as_text(content) or "".join(as_text(as_mapping(part).get("text")) for part in as_list(content))


def _items(generation: Generation) -> list[Json]:
    reply = generation.reply
    items: list[Json] = []
    if reply.text or not reply.tool_calls:
        items.append(_message_item(generation, "completed", [_text_part(reply.text)]))
    items.extend(_call_item(call, "completed", call.arguments) for call in reply.tool_calls)
    return items


def _message_item(generation: Generation, status: str, content: list[Json]) -> Json:
    return {"id": f"msg_{generation.id}", "type": "message", "status": status, "role": "assistant", "content": content}


def _text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(call: ToolCall, status: str, arguments: str) -> Json:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def _response(generation: Generation, status: str, output: list[Json], usage: Mapping[str, Any] | None) -> Json:
    request = generation.request
    is_cut = status == "completed" and "length" in generation.finish_reasons
    return {
        "id": f"resp_{generation.id}",
        "object": "response",
        "created_at": generation.created,
        "status": "incomplete" if is_cut else status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": request.body.get("instructions"),
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.body.get("metadata") or {},
        "model": request.model,
        "output": output,
        "parallel_tool_calls": request.may_call_in_parallel,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default" if request.service_tier in (None, "auto") else request.service_tier,
        "store": False,
        "temperature": request.body.get("temperature", 1.0),
        "text": {"format": dict(request.response_format) or {"type": "text"}},
        "tool_choice": request.body.get("tool_choice", "auto"),
        "tools": [dict(tool) for tool in request.tools],
        "top_p": request.body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": usage,
        **generation.reply.extra,
    }


def _events(generation: Generation) -> Iterator[Json]:
    started = _response(generation, "in_progress", [], None)
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    items = _items(generation)
    for index, item in enumerate(items):
        yield from _message_events(index, item) if item["type"] == "message" else _call_events(index, item)
    finished = _response(generation, "completed", items, _usage(generation))
    yield {"type": f"response.{finished['status']}", "response": finished}


def _message_events(index: int, item: Json) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    part = item["content"][0]
    opened: Json = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": index, "item": opened}
    yield {"type": "response.content_part.added", **place, "part": _text_part("")}
    for word in words(part["text"]):
        yield {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _call_events(index: int, item: Json) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": index}
    opened = {**item, "status": "in_progress", "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": index, "item": opened}
    for piece in argument_pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    done = {"type": "response.function_call_arguments.done", **place}
    yield {**done, "name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _usage(generation: Generation) -> Mapping[str, Any]:
    if generation.reply.usage_override is not None:
        return generation.reply.usage_override
    use = generation.use
    return {
        "input_tokens": use.input_tokens,
        "input_tokens_details": {"cached_tokens": use.cached_tokens},
        "output_tokens": use.output_tokens,
        "output_tokens_details": {"reasoning_tokens": use.reasoning_tokens},
        "total_tokens": use.input_tokens + use.output_tokens,
    }
