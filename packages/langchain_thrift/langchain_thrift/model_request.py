"""A middleware's model request as the levers see it, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain.agents.middleware.types import ModelRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, BaseMessage, SystemMessage
from thrift_core.messages import Message, Opaque, Request

from langchain_thrift.tool_schemas import ToolSchemas
from langchain_thrift.views import Views

# What decides, beside messages and tools, whether a provider finds its cached prefix again.
_PARAMETERS = ("thinking", "reasoning_effort", "temperature")


def messages_of(request: ModelRequest[Any]) -> list[BaseMessage]:
    """Return what is sent: the system message, if there is one, and the conversation."""
    conversation: list[BaseMessage] = list(request.messages)
    return conversation if request.system_message is None else [request.system_message, *conversation]


def request_of(
    request: ModelRequest[Any],
    messages: Sequence[BaseMessage],
    *,
    views: Views,
    schemas: ToolSchemas,
    pinned: frozenset[int] = frozenset(),
) -> Request:
    """Return the view of a model request.

    Args:
        request: the request.
        messages: its messages, see `messages_of`.
        views: remembers the views of messages.
        schemas: remembers the tools' definitions.
        pinned: positions of messages that levers may not touch.
    """
    params = _params(request.model, request.model_settings)
    limit = params.get("ls_max_tokens")
    return Request(
        messages=tuple(
            _pinned(views.of(message)) if index in pinned else views.of(message)
            for index, message in enumerate(messages)
        ),
        model=params.get("ls_model_name"),
        provider=params.get("ls_provider"),
        tools=tuple(schemas.of(tool) for tool in request.tools),
        max_output_tokens=limit if type(limit) is int and limit > 0 else None,
        parameters=_parameters(request),
    )


def split(request: ModelRequest[Any], messages: Sequence[BaseMessage]) -> tuple[SystemMessage | None, list[AnyMessage]]:
    """Return the system message and the conversation, as a request keeps them."""
    conversation = cast("list[AnyMessage]", list(messages))
    first = conversation[0] if conversation else None
    if request.system_message is not None and isinstance(first, SystemMessage):
        return first, conversation[1:]
    return None, conversation


def _pinned(message: Message) -> Message:
    return Message(
        message.role,
        message.text,
        message.tool_calls,
        message.tool_call_id,
        message.name,
        (*message.opaque, Opaque("pinned")),
    )


def _params(model: BaseChatModel, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    # What LangChain's own tracing goes by; there is no public name for it.
    return model._get_ls_params(**settings)


def _parameters(request: ModelRequest[Any]) -> dict[str, Any]:
    found = {name: request.model_settings.get(name, getattr(request.model, name, None)) for name in _PARAMETERS}
    found["tool_choice"] = request.tool_choice
    if request.response_format is not None:
        schema = getattr(request.response_format, "schema", request.response_format)
        found["response_format"] = (
            schema if isinstance(schema, Mapping) else getattr(schema, "__qualname__", str(schema))
        )
    return {name: value for name, value in found.items() if value is not None}
