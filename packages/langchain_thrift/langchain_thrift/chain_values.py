"""What chains take and give, as a cache compares, keeps and replays it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGeneration
from langchain_core.prompt_values import PromptValue
from pydantic import BaseModel
from thrift_core.caching.semantic.answer import Hit
from thrift_core.caching.semantic.serving import pieces
from thrift_core.messages import Message, Request

from langchain_thrift.answers import chunks_of, message_form, message_from
from langchain_thrift.cache_view import asides, plain
from langchain_thrift.view import message_view

Question = str | Callable[[Any], tuple[str, Any]] | None
_QUESTION_KEYS = ("question", "input", "query")
_KIND = "thrift_kind"


def chain_request(name: str, given: Any, question: Question, kwargs: Mapping[str, Any]) -> Request:
    """Return what a chain is asked.

    Args:
        name: tells chains apart that share a cache.
        given: the chain's input.
        question: the key of the question in a dictionary, or a function that returns the question and all else that
            decides the answer; None finds it.
        kwargs: what else the chain is called with.
    """
    parameters: dict[str, Any] = {"thrift_chain": name, **({"kwargs": plain(kwargs)} if kwargs else {})}
    history, asked, rest = _parts(given, question)
    parameters |= {"rest": _comparable(rest), "thrift_asides": asides(history)}
    last = Message("user", asked) if asked is not None else None
    views = tuple(message_view(message) for message in history)
    # Where there is no question, everything has to be the same.
    return Request(messages=(*views, last) if last else views or (Message("system"),), parameters=parameters)


def kept(value: Any) -> str:
    """Return a chain's output as JSON.

    Raises:
        TypeError, ValueError: it has no form as JSON from which just the same would come back.
    """
    return json.dumps({"v": 1, "value": _kept(value)}, allow_nan=False)


def given_back(payload: str, hit: Hit, returns: type[BaseModel] | None) -> Any:
    """Return the output that `kept` wrote.

    Raises:
        ValueError, TypeError, KeyError: it wrote something else.
    """
    body = json.loads(payload)
    if body["v"] != 1:
        raise ValueError(f"a payload of version {body['v']!r}")
    value = _given_back(body["value"], hit)
    return value if returns is None else returns.model_validate(value)


def replayed(value: Any) -> Iterator[Any]:
    """Yield an output the way a chain streams it."""
    if isinstance(value, str):
        yield from pieces(value)
    elif isinstance(value, AIMessage):
        for chunk in chunks_of(value):
            yield chunk.message
    else:
        yield value


def joined(chunks: Sequence[Any]) -> Any:
    """Return what the pieces of a stream are together.

    Raises:
        TypeError: that cannot be told: some chains stream what is new, others all that there is so far.
    """
    first = chunks[0] if chunks else None
    if all(isinstance(chunk, str) for chunk in chunks):
        return "".join(chunks)
    if isinstance(first, AIMessageChunk) and all(isinstance(chunk, AIMessageChunk) for chunk in chunks):
        return message_chunk_to_message(add_ai_message_chunks(first, *chunks[1:]))
    if len(chunks) == 1:
        return first
    if chunks and all(isinstance(chunk, dict) for chunk in chunks):
        names = dict.fromkeys(name for chunk in chunks for name in chunk)
        return {name: joined([chunk[name] for chunk in chunks if name in chunk]) for name in names}
    raise TypeError(f"{len(chunks)} pieces that begin with a {type(first).__name__} cannot be joined")


def text_of_output(value: Any) -> str:
    """Return an output in plain, for comparisons."""
    if isinstance(value, AIMessage):
        return value.text
    return value if isinstance(value, str) else json.dumps(_kept(value), sort_keys=True)


def _parts(given: Any, question: Question) -> tuple[Sequence[BaseMessage], str | None, Any]:
    """Return the messages before the question, the question if there is one, and everything else."""
    if callable(question):
        asked, rest = question(given)
        return (), asked, rest
    if isinstance(given, str):
        return (), given, None
    if isinstance(given, PromptValue):
        given = given.to_messages()
    if isinstance(given, BaseMessage):
        given = [given]
    if _are_messages(given):
        return given, None, None
    if isinstance(given, Mapping):
        return _mapping_parts(cast("Mapping[str, Any]", given), question)
    return (), None, given


def _mapping_parts(given: Mapping[str, Any], key: str | None) -> tuple[Sequence[BaseMessage], str | None, Any]:
    if key is None:
        present = [name for name in _QUESTION_KEYS if isinstance(given.get(name), str)]
        key = present[0] if len(present) == 1 else None
    if key is None and _are_messages(given.get("messages")):
        return given["messages"], None, {name: value for name, value in given.items() if name != "messages"}
    if key is None or not isinstance(given.get(key), str):
        return (), None, given
    histories = [name for name, value in given.items() if _are_messages(value)]
    history = given[histories[0]] if len(histories) == 1 else ()
    used = {key, *(histories if history else ())}
    return history, given[key], {name: value for name, value in given.items() if name not in used}


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, BaseMessage) for each in value)


def _comparable(value: Any) -> Any:
    """Return a value as plain ones; messages in it without their ids."""
    if isinstance(value, BaseMessage):
        view = message_view(value)
        calls = [[call.name, call.arguments] for call in view.tool_calls]
        return [view.role, view.text, calls, [plain(block.value) for block in view.opaque], asides([value])]
    if isinstance(value, Mapping):
        return {str(name): _comparable(item) for name, item in value.items()}
    return [_comparable(item) for item in value] if isinstance(value, list | tuple) else plain(value)


def _kept(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, BaseModel):
        return _kept_object(value)
    if isinstance(value, list):
        return [_kept(item) for item in value]
    if isinstance(value, dict) and _KIND not in value and all(isinstance(name, str) for name in value):
        return {name: _kept(item) for name, item in value.items()}
    raise TypeError(f"a {type(value).__name__} would not come back as it is")


def _kept_object(value: BaseModel) -> dict[str, Any]:
    if isinstance(value, Document):
        return {_KIND: "document", "text": value.page_content, "metadata": _kept(value.metadata), "id": value.id}
    if isinstance(value, AIMessage):
        return {_KIND: "message", **message_form(ChatGeneration(message=value))}
    raise TypeError(f"a {type(value).__name__} would not come back as it is: give `returns` to keep answers of a class")


def _given_back(stored: Any, hit: Hit) -> Any:
    if isinstance(stored, list):
        return [_given_back(item, hit) for item in stored]
    if not isinstance(stored, dict):
        return stored
    match stored.get(_KIND):
        case None:
            return {name: _given_back(item, hit) for name, item in stored.items()}
        case "document":
            return Document(stored["text"], metadata=_given_back(stored["metadata"], hit), id=stored["id"])
        case "message":
            return message_from(stored, hit)
        case kind:
            raise ValueError(f"a stored value of kind {kind!r}")
