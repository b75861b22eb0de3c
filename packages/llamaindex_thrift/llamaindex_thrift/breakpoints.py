"""Passes the planner's decisions on to provider caches, each client in its own way, and nothing where one has no way.

What the clients make of a `CachePoint` was read in llama-index-llms-anthropic 0.12.3 and
llama-index-llms-bedrock-converse 0.15.5. OpenAI's and Google's clients have no way to send one; OpenAI's takes a key
for requests that share a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import LLM
from thrift_core.caching.advice import CacheAdvice
from thrift_core.messages import CacheBreakpoint
from thrift_core.providers import provider_id

from llamaindex_thrift.edits import with_blocks
from llamaindex_thrift.view import api_url

_TOOL_ROLES = (MessageRole.TOOL, MessageRole.FUNCTION)
_OPENAIS_CLIENTS = frozenset({"openai_llm", "openai_responses_llm", "azure_openai_llm"})
_KEY = "prompt_cache_key"
_TTL = Literal["5m", "1h"]


@dataclass(slots=True)
class Marked:
    """A request that is being marked.

    Attributes:
        messages: what is sent; ours to change as a list, not the messages in it.
        kwargs: the call's keyword arguments; likewise.
        behind: what comes after the message of that index.
    """

    messages: list[ChatMessage]
    kwargs: dict[str, Any]
    behind: dict[int, ChatMessage] = field(default_factory=dict[int, ChatMessage])


Marker = Callable[[Marked, int, _TTL], None]


def marker_of(llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Marker | None:
    """Return what puts breakpoints into requests of this LLM.

    None where its client cannot carry them, and where the app places its own, of which providers allow only a few.
    """
    marker = _MARKERS.get(llm.class_name())
    settings: Mapping[str, Any] = getattr(llm, "additional_kwargs", None) or {}
    has_own = getattr(llm, "cache_idx", None) is not None or "extra_body" in settings
    if marker is None or has_own or "cache_control" in (kwargs.keys() | settings.keys()):
        return None
    return None if _are_marked(messages) or _tools_are_marked(kwargs) else marker


def marked(
    messages: Sequence[ChatMessage], kwargs: Mapping[str, Any], breakpoints: Sequence[CacheBreakpoint], marker: Marker
) -> tuple[list[ChatMessage], dict[str, Any]]:
    """Return a request with its breakpoints; those that the client cannot carry where they are meant are left out.

    Args:
        messages: what is about to be sent; copied where marked.
        kwargs: the call's keyword arguments; likewise.
        breakpoints: where breakpoints go; their indices refer to `messages`.
        marker: what puts them there.
    """
    request = Marked(list(messages), dict(kwargs))
    for edit in breakpoints:
        marker(request, edit.index, edit.ttl)
    out: list[ChatMessage] = []
    for index, message in enumerate(request.messages):
        out.append(message)
        if index in request.behind:
            out.append(request.behind[index])
    return out, request.kwargs


def cache_key(llm: LLM, advice: CacheAdvice | None, kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Return the argument that keeps requests with a common prefix together at OpenAI, empty for others.

    Only for OpenAI's and Azure's own addresses: others that speak their protocol may refuse what they do not know.
    """
    settings = vars(llm)
    own: Mapping[str, Any] = settings.get("additional_kwargs") or {}
    key = None if advice is None else advice.hints.prompt_cache_key
    if key is None or _KEY in kwargs or _KEY in own or llm.class_name() not in _OPENAIS_CLIENTS:
        return {}
    url = api_url(settings)
    is_theirs = url is not None and provider_id(url) in ("openai", "azure")
    return {_KEY: key} if is_theirs and llm.metadata.is_chat_model else {}


def _mark_for_anthropic(request: Marked, index: int, ttl: _TTL) -> None:
    control = {"type": "ephemeral", "ttl": ttl}
    if index < 0:
        tools = request.kwargs.get("tools")
        if isinstance(tools, list) and tools and isinstance(tools[-1], Mapping):
            request.kwargs["tools"] = [*tools[:-1], {**tools[-1], "cache_control": control}]
    elif request.messages[index].role == MessageRole.SYSTEM:
        _mark_anthropics_system(request, control)
    elif _can_be_marked(request.messages[index]):
        _append_point(request, index, CachePoint(cache_control=CacheControl(type="ephemeral", ttl=ttl)))


def _mark_anthropics_system(request: Marked, control: Mapping[str, str]) -> None:
    """Send the system prompt as a marked block; the client itself only sends a bare text, which cannot be marked."""
    texts = [
        block.text
        for message in request.messages
        if message.role == MessageRole.SYSTEM
        for block in message.blocks
        if isinstance(block, TextBlock)
    ]
    given = request.kwargs.get("extra_body") or {}
    if "system" not in given and any(texts):
        block = {"type": "text", "text": "\n".join(texts), "cache_control": control}
        request.kwargs["extra_body"] = {**given, "system": [block]}


def _mark_for_bedrock(request: Marked, index: int, ttl: _TTL) -> None:
    point = CachePoint(cache_control=CacheControl(type="default"))
    if index < 0:
        tools = request.kwargs.get("tools")
        if isinstance(tools, Mapping) and isinstance(tools.get("tools"), list):
            request.kwargs["tools"] = {**tools, "tools": [*tools["tools"], {"cachePoint": {"type": "default"}}]}
    elif request.messages[index].role in _TOOL_ROLES:
        # Not inside the result, where Bedrock takes no cache point: a user message joins it in the same turn.
        request.behind[index] = ChatMessage(role=MessageRole.USER, content=[point])
    elif _can_be_marked(request.messages[index]):
        _append_point(request, index, point)


_MARKERS: dict[str, Marker] = {"Anthropic_LLM": _mark_for_anthropic, "Bedrock_Converse_LLM": _mark_for_bedrock}


def _append_point(request: Marked, index: int, point: CachePoint) -> None:
    message = request.messages[index]
    request.messages[index] = with_blocks(message, [*message.blocks, point])


def _can_be_marked(message: ChatMessage) -> bool:
    """Return whether a point may follow the last block: clients skip empty texts, and no provider marks thinking."""
    sent: list[ContentBlock] = [
        block for block in message.blocks if not (isinstance(block, TextBlock) and not block.text)
    ]
    return bool(sent) and isinstance(sent[-1], TextBlock | ImageBlock | DocumentBlock | ToolCallBlock)


def _are_marked(messages: Sequence[ChatMessage]) -> bool:
    return any(
        "cache_control" in message.additional_kwargs or any(isinstance(block, CachePoint) for block in message.blocks)
        for message in messages
    )


def _tools_are_marked(kwargs: Mapping[str, Any]) -> bool:
    tools = kwargs.get("tools")
    listed = tools.get("tools") if isinstance(tools, Mapping) else tools
    return isinstance(listed, list) and any(
        isinstance(tool, Mapping) and ("cache_control" in tool or "cachePoint" in tool) for tool in listed
    )
