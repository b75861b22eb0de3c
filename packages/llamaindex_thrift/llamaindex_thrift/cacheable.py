"""A LlamaIndex call as the cache compares it: everything that decides the answer, as plain values."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from inspect import isclass, isfunction, ismethod
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import CachePoint, ChatMessage, TextBlock, ToolCallBlock
from pydantic import AnyUrl, BaseModel, SecretStr
from thrift_core.messages import Message, Opaque, Request

from llamaindex_thrift.view import message_view, provider_of, request_view

# Settings of an LLM that say how a call travels or who is told of it, and never what comes back. Its API key is not
# among them: two customers with keys of their own share nothing, even where nobody says whom a call is for.
_NO_PART = frozenset(
    {
        "async_http_client",
        "callback_manager",
        "http_client",
        "max_retries",
        "rate_limiter",
        "request_timeout",
        "reuse_client",
        "thrift_recall",
        "timeout",
        "tools",  # a field of the request of their own
        "verbose",
    }
)
# Short-lived passes, which change by the hour, and the objects that fetch them.
_PASS = re.compile(r"(?:^|_)(?:access|ad|auth|bearer|id|session)_token$|token_provider|credentials?$")
# What the view of a message shows already.
_SEEN = frozenset({"call_id", "function_call", "name", "tool_call_id", "tool_calls"})
_tokens: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def cacheable_request(
    llm: BaseLLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any], *, kind: str, **more: Any
) -> Request:
    """Return a call as the cache compares it.

    Args:
        llm: the LLM that would answer; its settings count.
        messages: as the app gave them.
        kwargs: the call's keyword arguments.
        kind: `chat`, `complete` or `structured`.
        **more: what else decides the answer.

    Raises:
        OSError: a file that a message shows cannot be read.
    """
    settings = vars(llm)
    extras = [plain(_unseen(message)) for message in messages]
    return replace(
        request_view(messages, kwargs, settings),
        messages=tuple(map(_message, messages)),
        provider=provider_of(settings, llm.class_name()),
        parameters={
            **settings_of(llm),
            **_plain_settings(kwargs),
            "thrift_call": [kind, plain(more)],
            # Beside the question and not with it: it has to be equal, the question may be put otherwise.
            "thrift_messages": extras if any(extras) else [],
        },
    )


def settings_of(llm: BaseLLM) -> dict[str, Any]:
    """Return an LLM's settings and the name of its class, as plain values.

    Of what it keeps private only names count, such as a model's, and the LLMs that it calls in turn: the rest is
    mostly clients and counters, which change from call to call.
    """
    private = getattr(llm, "__pydantic_private__", None) or {}
    telling = {name: value for name, value in private.items() if isinstance(value, str) or _is_llms(value)}
    return {**_plain_settings(telling), **_plain_settings(vars(llm)), "thrift_llm": _name(type(llm))}


def _is_llms(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_llms, value))
    return isinstance(value, BaseLLM)


def _plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: plain(value)
        for name, value in settings.items()
        if value is not None and name not in _NO_PART and not _PASS.search(name)
    }


def _message(message: ChatMessage) -> Message:
    view = message_view(message)
    blocks = [
        Opaque(block.block_type, [place, _block(block)])
        for place, block in enumerate(message.blocks)
        if not isinstance(block, TextBlock | ToolCallBlock | CachePoint)
    ]
    return replace(view, opaque=tuple(blocks)) if blocks or view.opaque else view


def _block(block: BaseModel) -> dict[str, Any]:
    """Return a block that is no text; a file is what it holds, not what it is called."""
    values = dict(vars(block))
    path = values.pop("path", None)
    if path is not None:
        values["thrift_file"] = blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    return {name: plain(value) for name, value in values.items()}


def _unseen(message: ChatMessage) -> dict[str, Any]:
    unseen = {name: value for name, value in message.additional_kwargs.items() if name not in _SEEN}
    texts = sum(isinstance(block, TextBlock) for block in message.blocks)
    return {**unseen, "thrift_texts": texts} if texts > 1 else unseen


def plain(value: object) -> Any:  # noqa: PLR0911 - one line for each kind of value
    """Return a value as the core can compare it; an object that says nothing of itself is only equal to itself."""
    if value is None or isinstance(value, bool | int | float | Decimal | bytes):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str | Path | AnyUrl):
        return str(value)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(repr(plain(item)) for item in value)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if isinstance(value, BaseLLM):
        return settings_of(value)
    return _plain_object(value)


def _plain_object(value: object) -> Any:
    if isclass(value):
        return [_name(value), value.model_json_schema() if issubclass(value, BaseModel) else None]
    if isinstance(value, BaseModel):
        return [_name(type(value)), {name: plain(item) for name, item in vars(value).items()}]
    if ismethod(value):
        return [plain(value.__self__), value.__name__]
    if isfunction(value) and "<" not in value.__qualname__:
        return _name(value)
    try:
        return _tokens.setdefault(value, secrets.token_hex(8))
    except TypeError:
        return value  # the core says that it cannot be compared


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
