"""A chat model's request as the cache compares it: everything that decides the answer, nothing that does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from pydantic import BaseModel, SecretStr
from thrift_core.messages import Request

from langchain_thrift.view import message_view

# Fields of a model that say how it is reached, watched and counted, not what it answers.
NOT_DECIDING = frozenset(
    {
        "async_client",
        "cache",
        "callback_manager",
        "callbacks",
        "client",
        "custom_get_token_ids",
        "default_request_timeout",
        "disable_streaming",
        "http_async_client",
        "http_client",
        "max_retries",
        "metadata",
        "name",
        "profile",
        "rate_limiter",
        "request_timeout",
        "root_async_client",
        "root_client",
        "stream_chunk_timeout",
        "stream_usage",
        "streaming",
        "tags",
        "timeout",
        "verbose",
    }
)
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_SCALARS = (str, int, float, bytes, Decimal)


def cache_request(
    model: BaseChatModel, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: Mapping[str, Any]
) -> Request:
    """Return what is asked of a model, for the key of a cache.

    A value that cannot be compared is passed on as it is; the cache refuses the request that has one.

    Args:
        model: the model that would answer.
        messages: what it would be sent.
        stop: texts that end the answer.
        kwargs: what is bound to the call: tools, response format, parameters.
    """
    about = model._get_ls_params(stop=None if stop is None else list(stop), **kwargs)
    given = {name: plain(value) for name, value in kwargs.items() if not _is_about_tracing(name)}
    tools = given.pop("tools", None) or ()
    if not all(isinstance(tool, Mapping) for tool in tools):
        given, tools = {**given, "tools": tools}, ()
    return Request(
        messages=tuple(message_view(message) for message in messages),
        model=about.get("ls_model_name"),
        provider=about.get("ls_provider"),
        tools=tuple(tools),
        max_output_tokens=next((given[name] for name in _LIMITS if type(given.get(name)) is int), None),
        parameters={
            **given,
            "stop": list(stop or ()),
            "thrift_settings": settings_of(model),
            "thrift_asides": asides(messages),
        },
    )


def settings_of(model: BaseChatModel) -> dict[str, Any]:
    """Return the settings of a model that decide what it answers, as plain values; secrets are left out."""
    kind = type(model)
    if model.is_lc_serializable():
        found: Mapping[str, Any] = dumpd(model).get("kwargs") or {}
        settings = {name: without_addresses(value) for name, value in found.items()}
    else:
        fields = {name: getattr(model, name, None) for name in kind.model_fields}
        given = {**fields, **model._identifying_params}
        settings = {name: plain(value) for name, value in given.items() if _is_plain(plain(value))}
    kept = {name: value for name, value in settings.items() if name not in NOT_DECIDING}
    return {**kept, "thrift_kind": f"{kind.__module__}.{kind.__qualname__}"}


def asides(messages: Sequence[BaseMessage]) -> list[list[Any]]:
    """Return, message for message, what clients may send beside what the view has."""
    return [_aside(message) for message in messages]


def without_addresses(value: Any) -> Any:
    """Return what LangChain wrote of a setting, without the place in memory of an object it could not write."""
    if isinstance(value, Mapping):
        is_object = value.get("type") == "not_implemented"
        return {name: without_addresses(item) for name, item in value.items() if not (is_object and name == "repr")}
    return [without_addresses(item) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Return a value as plain ones; what has no plain form comes back as it is."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, SecretStr):
        return "a secret"
    if isinstance(value, type) and issubclass(value, BaseModel):
        return [f"{value.__module__}.{value.__qualname__}", value.model_json_schema()]
    if isinstance(value, BaseModel):
        return [f"{type(value).__module__}.{type(value).__qualname__}", plain(value.model_dump())]
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, _SCALARS)


def _is_about_tracing(name: str) -> bool:
    return name.startswith("ls_") or name == "structured_output_format"


def _aside(message: BaseMessage) -> list[Any]:
    kind = str(getattr(message, "role", None) if message.type == "chat" else message.type)
    extra = plain(message.additional_kwargs)
    if isinstance(message, AIMessage):
        # The view has the calls already; here they have random ids.
        extra = {name: value for name, value in extra.items() if name not in ("tool_calls", "function_call")}
    return [
        kind.removesuffix("MessageChunk").lower(),
        extra,
        message.status if isinstance(message, ToolMessage) else None,
    ]
