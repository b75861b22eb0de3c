"""A chat model's answer as the router judges it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langsmith import tracing_context
from thrift_core.accounting.reading import read_usage
from thrift_core.accounting.usage import Usage
from thrift_core.routing import Draft
from thrift_core.routing.json_schema import problems

from langchain_thrift.view import is_replayed, tool_calls

_FINISH = ("finish_reason", "stop_reason", "stopReason", "done_reason")


def draft_of(result: ChatResult, *, parser: Runnable[Any, Any] | None = None, known: frozenset[str] | None) -> Draft:
    """Return a result as the router judges it.

    Args:
        result: what a tier answered.
        parser: reads the form that was asked for; None where none was.
        known: the tools whose calls can be checked; None for all.
    """
    made = result.generations[0]
    message = made.message
    about = {**(result.llm_output or {}), **(made.generation_info or {}), **message.response_metadata}
    calls = tool_calls(message)
    if known is not None:
        calls = tuple(call for call in calls if call.name in known)
    text = message.text or (" ".join(call.arguments for call in calls) if parser is not None else "")
    return Draft(
        text=text,
        tool_calls=() if parser is not None else calls,
        finish_reason=next((str(about[key]) for key in _FINISH if about.get(key)), None),
        logprobs=_logprobs(about.get("logprobs")),
        structured=None if parser is None else _form(message, parser),
        refusal=bool(message.additional_kwargs.get("refusal")),
        usage=_usage(message),
    )


def fits(text: str, schema: Mapping[str, Any]) -> bool:
    """Return whether a text is JSON of a schema."""
    try:
        return not problems(json.loads(text), schema)
    except (ValueError, RecursionError):
        return False


def _form(message: Any, parser: Runnable[Any, Any]) -> Literal["ok", "invalid"]:
    try:
        # Nobody is told: a draft that is thrown away must not show up among an app's events.
        with tracing_context(enabled=False):
            parsed = parser.invoke(message, {"callbacks": []})
    except Exception:  # whatever a parser throws, the form is not kept
        return "invalid"
    return "invalid" if parsed is None else "ok"


def _usage(message: Any) -> Usage | None:
    if not isinstance(message, AIMessage) or message.usage_metadata is None:
        return None
    if is_replayed(message):
        return Usage()
    try:
        return read_usage(message.usage_metadata, api_flavor="standard").usage
    except ValueError:  # an answer whose usage cannot be read is still an answer
        return None


def _logprobs(told: Any) -> tuple[float, ...] | None:
    listed = told.get("content") if isinstance(told, Mapping) else None
    if not isinstance(listed, list):
        return None
    return tuple(float(token["logprob"]) for token in listed if isinstance(token, Mapping) and "logprob" in token)


def with_metadata(result: ChatResult, facts: dict[str, Any]) -> ChatResult:
    """Return a result whose message says what was decided; a copy, for cached answers are one object for all."""
    made = result.generations[0]
    message = made.message
    told = message.response_metadata.get("thrift")
    noted = {**(told if isinstance(told, Mapping) else {}), **facts}
    # As LangChain does with a model's result: what stands beside the message belongs in it.
    beside = result.llm_output if len(result.generations) == 1 else None
    about = {**(beside or {}), **(made.generation_info or {}), **message.response_metadata, "thrift": noted}
    marked = message.model_copy(update={"response_metadata": about})
    first = ChatGeneration(message=marked, generation_info=made.generation_info)
    return ChatResult(generations=[first, *result.generations[1:]], llm_output=result.llm_output)
