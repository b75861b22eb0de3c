"""What an answer of a LlamaIndex LLM says of its own price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from thrift_core.accounting.meter import Answer

from llamaindex_thrift.view import field_of, message_view

Response = ChatResponse | CompletionResponse
# Each integration keeps its provider's payload in `raw` as it came: a dictionary, a client's object, or the last event
# of a stream. These are the names under which the usage stands in it...
_USAGES = ("usage", "usage_metadata", "usageMetadata", "token_usage", "tokenUsage", "usage_info")
# ...and what may stand around it: OpenAI Responses events, Mistral's and Bedrock's stream events, Anthropic's first
# event, Cohere's last one, Groq's last chunk.
_AROUND = ("response", "data", "metadata", "message", "meta", "result", "x_groq")
_KEPT = ("model", "model_version", "modelVersion", "model_name", "service_tier", "serviceTier", "speed")
_DEEPEST = 2


def answer_of(response: Response | None, reported: Mapping[str, Any] | None = None, streamed: str = "") -> Answer:
    """Return what a response says about the call that it ended.

    Args:
        response: the response, for a stream the last one that came; None if none did.
        reported: the usage that an earlier part of the stream reported, for streams that do not end with it.
        streamed: all that was streamed; some clients keep only the last piece of it in the response.
    """
    if response is None:
        return Answer(payload=reported, text=streamed)
    if isinstance(response, ChatResponse):
        message = message_view(response.message)
        text, calls = message.text, message.tool_calls
    else:
        text, calls = response.text, ()
    return Answer(
        payload=reported_usage(response) or reported,
        text=max(text, streamed, key=len),
        tool_calls=calls,
        model=_model(response.raw),
    )


def reported_usage(response: Response) -> Mapping[str, Any] | None:
    """Return the parts of a response that a bill is read from, None if it reports no usage.

    The provider's own payload is read first. LlamaIndex's integrations also copy the counts into `additional_kwargs`,
    mostly without cached and reasoning tokens, so those are read only where there is no payload.
    """
    return _in_payload(response.raw) or _in_kwargs(response)


def _in_payload(raw: object, depth: int = 0) -> Mapping[str, Any] | None:
    if raw is None or isinstance(raw, str | bytes | int | float):
        return None
    for key in _USAGES:
        usage = field_of(raw, key)
        if usage and not isinstance(usage, str | bytes | int | float):
            kept = {name: value for name in _KEPT if (value := field_of(raw, name)) is not None}
            return {**kept, "usage": _readable(usage)}
    if field_of(raw, "billed_units") is not None:
        return {"meta": _readable(raw)}
    if depth == _DEEPEST:
        return None
    return next((found for key in _AROUND if (found := _in_payload(field_of(raw, key), depth + 1))), None)


def _in_kwargs(response: Response) -> Mapping[str, Any] | None:
    places: list[Mapping[str, Any]] = [response.additional_kwargs]
    if isinstance(response, ChatResponse):
        places.append(response.message.additional_kwargs)
    for place in places:
        if usage := place.get("usage"):
            return {"usage": _readable(usage)}
        counts = {key: value for key, value in place.items() if "token" in key and type(value) is int}
        if any(counts.values()):  # some integrations write zeros where nothing was reported
            return {"usage": counts}
    return None


def _model(raw: object) -> str | None:
    model = next((value for key in ("model", "model_version") if isinstance(value := field_of(raw, key), str)), None)
    return model or None


def _readable(value: object) -> object:
    """Return a plain object's attributes; mappings and pydantic objects are read as they are."""
    if isinstance(value, Mapping) or hasattr(value, "model_dump"):
        return value
    return vars(value) if hasattr(value, "__dict__") else value
