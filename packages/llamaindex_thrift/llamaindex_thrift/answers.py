"""Answers of a LlamaIndex LLM as the cache keeps them, and as the app gets them again."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.types import Model
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.serving import FreshIds, pieces, provenance

from llamaindex_thrift.view import field_of

R = TypeVar("R")
_VERSION = 1
# Of a message's further arguments: what the blocks say already, and what is true of one call only.
_OF_ONE_CALL = frozenset({"function_call", "id", "response_id", "tool_calls", "usage"})
_STOPPED = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason")
# Where it stands in the payloads of OpenAI, Gemini, Anthropic's and Bedrock's streams, and the Responses API.
_AROUND = ("choices", "candidates", "message", "response", "delta", "messageStop")
_DEEPEST = 3


class NotKept(Exception):
    """The answer has something in it that could not be brought back as it was."""


def chat_payload(response: ChatResponse, streamed: str = "") -> str:
    """Return a chat answer as JSON.

    What was thought on the way is left out: it is signed for one conversation.

    Args:
        response: the answer; of a stream, its last piece.
        streamed: all that was streamed; some clients keep only the last piece of it in the response.

    Raises:
        NotKept: it has blocks other than text, thinking and tool calls, log probabilities, or calls of tools behind
            thoughts, which the provider wants back together.
    """
    if response.logprobs:
        raise NotKept("log probabilities")
    message = response.message
    blocks = [saved for block in message.blocks if (saved := _saved(block)) is not None]
    if len("".join(block.get("text", "") for block in blocks)) < len(streamed):
        blocks = [{"text": streamed}, *(block for block in blocks if "text" not in block)]
    has_calls = any("call" in block for block in blocks)
    if has_calls and any(isinstance(block, ThinkingBlock) for block in message.blocks):
        raise NotKept("tool calls behind thoughts")
    more = message.additional_kwargs
    if not has_calls and (more.get("tool_calls") or more.get("function_call")):
        raise NotKept("tool calls in a client's own form")
    kept = {name: value for name, value in more.items() if name not in _OF_ONE_CALL}
    return _json({"v": _VERSION, "blocks": blocks, "more": kept})


def completion_payload(text: str) -> str:
    """Return a completion as JSON."""
    return _json({"v": _VERSION, "blocks": [{"text": text}], "more": {}})


def replayed_chat(hit: Hit) -> ChatResponse:
    """Return a stored answer as a new one: tool calls under new ids, no usage, and where it comes from.

    Raises:
        ValueError, TypeError, KeyError: nothing that we wrote.
    """
    blocks, more = _read(hit.answer)
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=more)
    return ChatResponse(message=message, raw=_raw(hit), additional_kwargs=_about(hit))


def replayed_completion(hit: Hit) -> CompletionResponse:
    """Return a stored completion; raises as `replayed_chat` does."""
    blocks, _ = _read(hit.answer)
    text = "".join(block.text for block in blocks if isinstance(block, TextBlock))
    return CompletionResponse(text=text, raw=_raw(hit), additional_kwargs=_about(hit))


def chat_pieces(response: ChatResponse) -> Iterator[ChatResponse]:
    """Yield an answer as a stream of it would come: a word at a time, then the tool calls."""
    message = response.message
    so_far = ""
    for piece in pieces(message.content or ""):
        so_far += piece
        partial = ChatMessage(role=message.role, content=so_far, additional_kwargs=dict(message.additional_kwargs))
        yield response.model_copy(update={"message": partial, "delta": piece})
    yield response.model_copy(update={"delta": ""})


def completion_pieces(response: CompletionResponse) -> Iterator[CompletionResponse]:
    """Yield a completion as a stream of it would come."""
    so_far = ""
    for piece in pieces(response.text):
        so_far += piece
        yield response.model_copy(update={"text": so_far, "delta": piece})


def replayed_stream(pieces_of: Iterator[R]) -> Generator[R, None, None]:
    """Yield the pieces of a stored answer as a stream, which apps close."""
    yield from pieces_of


async def areplayed_stream(pieces_of: Iterator[R]) -> AsyncGenerator[R, None]:
    """Do what `replayed_stream` does."""
    for piece in pieces_of:
        yield piece


def object_payload(output_cls: type[Model], predicted: Model) -> str:
    """Return an object as JSON.

    Raises:
        NotKept: it would come back as another one.
    """
    payload = predicted.model_dump_json()
    if output_cls.model_validate_json(payload) != predicted:
        raise NotKept(f"an object of {output_cls.__name__} that is not the same when it is read again")
    return payload


def object_of(output_cls: type[Model], hit: Hit) -> Model:
    """Return a stored object; raises what pydantic raises where it is none of the class."""
    return output_cls.model_validate_json(hit.answer.payload)


def finish_reason(raw: object, depth: int = 0) -> str | None:
    """Return why the model stopped, in its provider's words, from the payload that a response carries."""
    if raw is None or isinstance(raw, str | bytes | int | float):
        return None
    found = next((value for name in _STOPPED if (value := field_of(raw, name))), None)
    if found is not None:
        return str(getattr(found, "name", found))
    if field_of(raw, "status") == "incomplete":
        return "incomplete"
    if depth == _DEEPEST:
        return None
    inside = (_first(field_of(raw, name)) for name in _AROUND)
    return next((reason for part in inside if (reason := finish_reason(part, depth + 1))), None)


def _first(value: object) -> object:
    return value[0] if isinstance(value, list | tuple) and value else value


def _saved(block: object) -> dict[str, Any] | None:
    if isinstance(block, TextBlock):
        return {"text": block.text}
    if isinstance(block, ToolCallBlock):
        return {"call": {"id": block.tool_call_id, "name": block.tool_name, "arguments": block.tool_kwargs}}
    if isinstance(block, ThinkingBlock):
        return None
    raise NotKept(f"a block of type {type(block).__name__}")


def _read(answer: CachedAnswer) -> tuple[list[TextBlock | ToolCallBlock], dict[str, Any]]:
    value = json.loads(answer.payload)
    if value["v"] != _VERSION:
        raise ValueError(f"an answer of version {value['v']!r} is not known")
    ids = FreshIds()
    blocks = [
        TextBlock(text=block["text"]) if "text" in block else _called(block["call"], ids) for block in value["blocks"]
    ]
    return blocks, dict(value["more"])


def _called(call: Mapping[str, Any], ids: FreshIds) -> ToolCallBlock:
    fresh = ids.of(call["id"]) if call["id"] else None
    return ToolCallBlock(tool_call_id=fresh, tool_name=call["name"], tool_kwargs=call["arguments"])


def _about(hit: Hit) -> dict[str, Any]:
    # Under the names that LlamaIndex's own clients and its counters of tokens use.
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "thrift": provenance(hit)}


def _raw(hit: Hit) -> dict[str, Any]:
    """Return a payload with no usage; an agent's output has nothing else to tell where an answer comes from."""
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return {"model": hit.answer.model, "usage": usage, "thrift": provenance(hit)}


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NotKept(f"not plain JSON: {error}") from error
