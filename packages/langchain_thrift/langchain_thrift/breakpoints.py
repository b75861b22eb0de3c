"""Writes prompt-cache markers the way each provider's LangChain client takes them; originals stay as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import BaseTool
from thrift_core.caching.provider_rules import LifetimeName

from langchain_thrift.tool_schemas import Tool

Block = str | dict[Any, Any]
# Keys by which an app, or another middleware, marks a request itself.
_MARKS = frozenset({"cache_control", "cachePoint", "cache_point", "prompt_cache_breakpoint"})
_MARKING_SETTINGS = frozenset({"cache_control", "prompt_cache_options"})
_REFUSALS = ("cache_control", "cachepoint", "cache point", "prompt_cache")
# Blocks that carry a marker through to the provider's API; what the clients convert on the way may lose it.
_MARKABLE = frozenset({"text", "document", "image", "file", "tool_result", "search_result"})


class Marker(Protocol):
    """Writes markers for one client."""

    def message(self, message: BaseMessage, ttl: LifetimeName) -> BaseMessage | None:
        """Return a copy of the message with a marker at its end, None where it can carry none."""
        ...

    def tools(self, tools: Sequence[Tool], ttl: LifetimeName) -> list[Tool] | None:
        """Return the tools with a marker behind the last, None where it can carry none."""
        ...


@dataclass(frozen=True, slots=True)
class AnthropicMarker:
    """`cache_control` on the last content block, and on the last tool."""

    def message(self, message: BaseMessage, ttl: LifetimeName) -> BaseMessage | None:
        """Mark the last block; calls of an assistant message carry none, for the client leaves it out there."""
        if isinstance(message, AIMessage) and message.tool_calls:
            return None
        return _with_key(message, "cache_control", _control(ttl))

    def tools(self, tools: Sequence[Tool], ttl: LifetimeName) -> list[Tool] | None:
        """Mark the last tool, in its `extras` or in its definition."""
        last = tools[-1]
        if isinstance(last, BaseTool):
            extras = last.extras or {}
            if "provider_tool_definition" in extras:
                return None
            return [*tools[:-1], last.model_copy(update={"extras": {**extras, "cache_control": _control(ttl)}})]
        if "function" in last:
            return None
        return [*tools[:-1], {**last, "cache_control": _control(ttl)}]


@dataclass(frozen=True, slots=True)
class BedrockMarker:
    """A `cachePoint` block behind the content, and behind the tools."""

    def message(self, message: BaseMessage, ttl: LifetimeName) -> BaseMessage | None:
        """Add the block; the client puts the calls of an assistant message behind it, so such a message takes none."""
        if isinstance(message, AIMessage) and message.tool_calls:
            return None
        blocks = _blocks(message)
        if not blocks or not _is_markable(blocks[-1]):
            return None
        return message.model_copy(update={"content": [*blocks, _cache_point(ttl)]})

    def tools(self, tools: Sequence[Tool], ttl: LifetimeName) -> list[Tool] | None:
        """Add the block to the tools."""
        return [*tools, _cache_point(ttl)]


@dataclass(frozen=True, slots=True)
class OpenAIMarker:
    """`prompt_cache_breakpoint` on the last text block, for the models that take explicit breakpoints."""

    def message(self, message: BaseMessage, ttl: LifetimeName) -> BaseMessage | None:
        """Mark the last text block; OpenAI's breakpoints have one lifetime."""
        if isinstance(message, AIMessage):
            return None
        return _with_key(message, "prompt_cache_breakpoint", {"mode": "explicit"}, kinds=frozenset({"text"}))

    def tools(self, tools: Sequence[Tool], ttl: LifetimeName) -> list[Tool] | None:
        """Mark nothing: tools take no breakpoint."""
        return None


# By the name of a client's class or of one it is derived from, so that no client has to be installed.
_MARKERS: dict[str, Marker] = {
    "ChatAnthropic": AnthropicMarker(),
    "ChatAnthropicVertex": AnthropicMarker(),
    "ChatBedrockConverse": BedrockMarker(),
}


def marker_for(model: BaseChatModel) -> Marker | None:
    """Return what writes markers for a model's client, None for a client that takes none."""
    if is_official_openai(model):
        return OpenAIMarker()
    return next((_MARKERS[kind.__name__] for kind in type(model).__mro__ if kind.__name__ in _MARKERS), None)


def is_official_openai(model: BaseChatModel) -> bool:
    """Say whether a model is asked at OpenAI itself: servers that only speak its protocol may refuse new fields."""
    names = {kind.__name__ for kind in type(model).__mro__}
    if "ChatOpenAI" not in names or "AzureChatOpenAI" in names:
        return False
    url = getattr(model, "openai_api_base", None) or os.environ.get("OPENAI_BASE_URL")
    host = urlsplit(url).hostname or "" if isinstance(url, str) else "api.openai.com"
    return host == "openai.com" or host.endswith(".openai.com")


def is_marked(messages: Sequence[BaseMessage], tools: Sequence[Tool], settings: Mapping[str, Any]) -> bool:
    """Say whether somebody else has placed markers in a request."""
    if any(settings.get(key) for key in _MARKING_SETTINGS):
        return True
    carriers = [(tool.extras or {}) if isinstance(tool, BaseTool) else tool for tool in tools]
    blocks = [block for message in messages if isinstance(message.content, list) for block in message.content]
    return any(isinstance(block, dict) and not _MARKS.isdisjoint(block) for block in (*carriers, *blocks))


def is_refusal(error: BaseException) -> bool:
    """Say whether a provider's error is about markers, such as that there are too many."""
    text = str(error).lower()
    return any(word in text for word in _REFUSALS)


def _with_key(
    message: BaseMessage, key: str, value: Mapping[str, Any], kinds: frozenset[str] = _MARKABLE
) -> BaseMessage | None:
    blocks = _blocks(message)
    for index in range(len(blocks) - 1, -1, -1):
        if _is_markable(blocks[index], kinds):
            marked = {**_as_dict(blocks[index]), key: dict(value)}
            return message.model_copy(update={"content": [*blocks[:index], marked, *blocks[index + 1 :]]})
    return None


def _blocks(message: BaseMessage) -> list[Block]:
    return [message.content] if isinstance(message.content, str) else list(message.content)


def _as_dict(block: Block) -> dict[Any, Any]:
    return {"type": "text", "text": block} if isinstance(block, str) else block


def _is_markable(block: Block, kinds: frozenset[str] = _MARKABLE) -> bool:
    found = _as_dict(block)
    # Providers refuse an empty text block, and with it the request.
    return found.get("type") in kinds and (found.get("type") != "text" or bool(str(found.get("text") or "").strip()))


def _control(ttl: LifetimeName) -> dict[str, str]:
    return {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}


def _cache_point(ttl: LifetimeName) -> dict[str, Any]:
    return {"cachePoint": {"type": "default"} if ttl == "5m" else {"type": "default", "ttl": ttl}}
