"""A model's answer as the cache keeps it, and back: a message of its own, which costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation
from pydantic import BaseModel
from thrift_core.accounting.counting import estimated
from thrift_core.accounting.reading import read_usage
from thrift_core.accounting.usage import Usage
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.serving import FreshIds, Serving, pieces, provenance
from thrift_core.messages import Request, ToolCall

from langchain_thrift.view import is_replayed, tool_calls

_VERSION = 1
_RAW_USAGE = ("token_usage", "usage", "usage_metadata")
# What says which call it was, when and at what price: none of it is true of the next one.
_OF_ONE_CALL = frozenset({*_RAW_USAGE, "id", "request_id", "headers", "created", "created_at", "thrift"})
_FINISH = ("finish_reason", "stop_reason", "stopReason", "done_reason", "incomplete_details", "status")
_FREE = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "total_cost": 0}
_CALL_BLOCKS = frozenset({"tool_use", "tool_call", "function_call"})
_TEXT_BLOCKS = frozenset({"text", "output_text"})


def written(
    generations: Sequence[Generation],
    serving: Serving,
    *,
    request: Request | None = None,
    is_structured: bool = False,
) -> CachedAnswer | None:
    """Return an answer as the cache keeps it; None where it came from a cache.

    Args:
        generations: the answer, one generation as a rule.
        serving: knows prices.
        request: what was asked; its tokens are counted where the provider reported no usage.
        is_structured: tool calls in it are the form of the answer, and act on nothing.

    Raises:
        TypeError, ValueError: it has no form as JSON.
    """
    messages = [made.message for made in generations if isinstance(made, ChatGeneration)]
    answers = [message for message in messages if isinstance(message, AIMessage)]
    if any(map(is_replayed, answers)):
        return None
    calls = tuple(call for message in answers for call in tool_calls(message))
    text = "\n".join(made.text for made in generations)
    known = about(generations)
    # The usage of all generations stands with each of them.
    provider = None if request is None else request.provider
    usage = _usage(answers[0], provider) if answers else None
    if usage is None:
        usage = Usage() if request is None else estimated(request, text, calls)
    model = known.get("model_name") or known.get("model") or (None if request is None else request.model)
    finish = finish_of(known)
    if is_structured and calls:
        text, calls, finish = _said(calls), (), None
    return CachedAnswer(
        payload=json.dumps({"v": _VERSION, "generations": [_written(made) for made in generations]}, allow_nan=False),
        text=text,
        finish_reason=finish,
        tool_calls=calls,
        model=model if isinstance(model, str) else None,
        usage=usage,
        cost_usd=serving.cost_of(usage, model=model, provider=provider, service_tier=known.get("service_tier")),
    )


def read(payload: str, hit: Hit) -> list[Generation]:
    """Return the generations of a stored answer, with fresh ids, no usage and where they come from.

    Raises:
        ValueError, TypeError, KeyError: the payload is nothing that `written` wrote.
    """
    body = json.loads(payload)
    if body["v"] != _VERSION or not body["generations"]:
        raise ValueError(f"a payload of version {body['v']!r} with {len(body['generations'])} generations")
    ids = FreshIds()
    return [_read(stored, hit, ids) for stored in body["generations"]]


def read_message(payload: str, hit: Hit) -> AIMessage:
    """Return the message of a stored answer with one generation, as `read` does."""
    made = read(payload, hit)
    if len(made) != 1 or not isinstance(made[0], ChatGeneration) or not isinstance(made[0].message, AIMessage):
        raise ValueError("the stored answer is not one message")
    return made[0].message


def chunks_of(message: AIMessage) -> Iterator[ChatGenerationChunk]:
    """Yield a message the way a model streams it; joined, the chunks say what the message does."""
    for content in _content_pieces(message.content):
        yield ChatGenerationChunk(message=AIMessageChunk(content=content))
    calls: list[Any] = [
        {"type": "tool_call_chunk", "name": call.name, "args": call.arguments, "id": call.id, "index": index}
        for index, call in enumerate(tool_calls(message))
    ]
    for call in calls:
        yield ChatGenerationChunk(message=AIMessageChunk(content=_nothing(message.content), tool_call_chunks=[call]))
    last = AIMessageChunk(
        content=_nothing(message.content),
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        name=message.name,
        chunk_position="last",
    )
    # Set on a copy: what is not in the type of `usage_metadata` is dropped by its constructor.
    usage = {"usage_metadata": message.usage_metadata}
    yield ChatGenerationChunk(message=last.model_copy(update=usage))


def is_whole(chunk: ChatGenerationChunk) -> bool:
    """Return whether a stream, joined to one chunk, came to its end: one that broke off must not be kept."""
    position = getattr(chunk.message, "chunk_position", None)
    return position == "last" or finish_of(about([chunk])) is not None


def _written(made: Generation) -> dict[str, Any]:
    if not isinstance(made, ChatGeneration):
        return {"text": made.text, "info": made.generation_info}
    return message_form(made)


def message_form(made: ChatGeneration) -> dict[str, Any]:
    """Return a message as plain values, without what is true of its own call alone."""
    message = made.message
    if not isinstance(message, AIMessage):
        raise TypeError(f"a {type(message).__name__} is not a model's answer")
    return {
        "message": {
            "content": _without_places(message.content),
            "tool_calls": message.tool_calls,
            "invalid_tool_calls": message.invalid_tool_calls,
            "additional_kwargs": {name: _plain(value) for name, value in message.additional_kwargs.items()},
            "response_metadata": {name: value for name, value in about([made]).items() if name not in _OF_ONE_CALL},
            "name": message.name,
        }
    }


def _without_places(content: str | list[str | dict[Any, Any]]) -> Any:
    # Where a block stands is written into it by streams alone, for the joining of their chunks.
    if isinstance(content, str):
        return content
    return [
        {key: value for key, value in block.items() if key != "index"} if isinstance(block, dict) else block
        for block in content
    ]


def _plain(value: Any) -> Any:
    # Structured output is kept as an object beside the text; LangChain's parsers take a dictionary as well.
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value


def _read(stored: Mapping[str, Any], hit: Hit, ids: FreshIds) -> Generation:
    if "message" not in stored:
        return Generation(text=stored["text"], generation_info=stored["info"])
    return ChatGeneration(message=message_from(stored, hit, ids))


def message_from(stored: Mapping[str, Any], hit: Hit, ids: FreshIds | None = None) -> AIMessage:
    """Return the message that `message_form` wrote, with fresh ids, no usage and where it comes from."""
    ids = ids or FreshIds()
    kept: Mapping[str, Any] = stored["message"]
    extra = dict(kept["additional_kwargs"])
    if isinstance(extra.get("tool_calls"), list):
        extra["tool_calls"] = [_fresh(call, ids) for call in extra["tool_calls"]]
    message = AIMessage(
        content=_fresh_content(kept["content"], ids),
        tool_calls=[_fresh(call, ids) for call in kept["tool_calls"]],
        invalid_tool_calls=[_fresh(call, ids) for call in kept["invalid_tool_calls"]],
        additional_kwargs=extra,
        response_metadata={**kept["response_metadata"], "thrift": provenance(hit)},
        name=kept["name"],
    )
    return message.model_copy(update={"usage_metadata": dict(_FREE)})


def _fresh(call: Mapping[str, Any], ids: FreshIds) -> dict[str, Any]:
    changed = {key: ids.of(call[key]) for key in ("id", "call_id") if isinstance(call.get(key), str)}
    return {**call, **changed}


def _fresh_content(content: Any, ids: FreshIds) -> Any:
    if not isinstance(content, list):
        return content
    fresh: list[Any] = []
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind in _CALL_BLOCKS:
            fresh.append(_fresh(block, ids))
        elif kind in _TEXT_BLOCKS:
            # A provider that keeps its answers would take the id for the turn that was kept.
            fresh.append({key: value for key, value in block.items() if key != "id"})
        elif kind != "reasoning" or not block.get("id"):
            fresh.append(block)
    return fresh


def _content_pieces(content: str | list[str | dict[Any, Any]]) -> Iterator[Any]:
    if isinstance(content, str):
        yield from pieces(content)
        return
    for index, block in enumerate(content):
        if isinstance(block, str):
            yield from ([piece] for piece in pieces(block))
        elif block.get("type") in _TEXT_BLOCKS and isinstance(block.get("text"), str):
            rest = {key: value for key, value in block.items() if key not in ("type", "text", "index")}
            for at, piece in enumerate(pieces(block["text"])):
                yield [{"type": block["type"], "text": piece, "index": index, **({} if at else rest)}]
        else:
            yield [{**block, "index": index}]


def _nothing(content: str | list[str | dict[Any, Any]]) -> Any:
    return "" if isinstance(content, str) else []


def about(generations: Sequence[Generation]) -> dict[str, Any]:
    """Return what is known of an answer beside what it says."""
    made = generations[0]
    info = dict(made.generation_info or {})
    return {**info, **made.message.response_metadata} if isinstance(made, ChatGeneration) else info


def finish_of(known: Mapping[str, Any]) -> str | None:
    """Return why a model stopped, in the provider's words; None where it does not say."""
    for key in _FINISH:
        value = known.get(key)
        if isinstance(value, Mapping):
            value = value.get("reason")
        if isinstance(value, str) and value and value != "completed":
            return value
    return "stop" if known.get("status") == "completed" else None


def _usage(message: AIMessage, provider: str | None) -> Usage | None:
    known = message.response_metadata
    raw = next((known[key] for key in _RAW_USAGE if isinstance(known.get(key), Mapping) and known[key]), None)
    model = known.get("model_name") or known.get("model")
    for source in (None if raw is None else {"model": model, "usage": raw}, message.usage_metadata):
        if source is not None:
            try:
                return read_usage(source, provider=provider).usage
            except ValueError:  # as the meter does: the next source may be readable
                continue
    return None


def _said(calls: Sequence[ToolCall]) -> str:
    return "\n".join(call.arguments for call in calls)
