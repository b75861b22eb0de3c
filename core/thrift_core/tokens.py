"""Counts the tokens of a request as the provider will bill them: text, tools, framing and media.

OpenAI's framing is known and used for every provider, because the others publish none; what differs is said where it is
counted. A call's real usage comes back with its answer: these counts are for what must be known before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from thrift_core.media_tokens import image_size, image_tokens, media_tokens
from thrift_core.messages import Message, Opaque, Request
from thrift_core.token_counters import EstimatedCounter, TiktokenCounter, TokenCounter, default_counter

__all__ = [
    "EstimatedCounter",
    "TiktokenCounter",
    "TokenCounter",
    "count_message",
    "count_request",
    "count_tools",
    "default_counter",
    "image_size",
    "image_tokens",
]

# https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb: each message is
# put between marks, with its role; a name costs one more; the answer is primed with `<|start|>assistant<|message|>`.
_PER_MESSAGE = 3
_PER_NAME = 1
_PER_ROLE = 1
_PRIMING = 3
# A call inside a message is put between marks too; how many is not documented, three is what is seen.
_PER_TOOL_CALL = 3
# The same notebook, section 7: what a tool definition costs beside its words, by the generation of the model.
_PER_TOOL = 7
_PER_TOOL_BEFORE_GPT_4O = 10
_PER_PROPERTIES = 3
_PER_PROPERTY = 3
_PER_ENUM = -3
_PER_ENUM_ITEM = 3
_TOOLS_END = 12
# Anthropic adds a system prompt where there are tools:
# https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview#pricing (tool choice auto, Claude 4)
_ANTHROPIC_TOOL_PROMPT = 346
_BEFORE_GPT_4O = re.compile(r"gpt-3\.5|gpt-4($|-(?!o))")
_MEDIA = frozenset({"image", "audio", "video", "file", "document"})
_MEDIA_TYPES = {
    "image_url": "image",
    "input_image": "image",
    "input_audio": "audio",
    "input_file": "file",
    "media": "file",
    "pdf": "file",
}
# What a thinking block keeps its words in; the rest of it is signatures, which are not billed as text.
_THOUGHTS = ("thinking", "reasoning", "text", "summary", "content")
_MAX_DEPTH = 12


def count_message(
    message: Message, counter: TokenCounter | None = None, provider: str | None = None, *, model: str | None = None
) -> int:
    """Return the tokens of one message in a conversation, its frame included.

    Ids of calls are not counted: the provider replaces them. A thinking block counts its words, an image what the
    provider's rule says, and any other block that is not understood the words in it; base 64 is never counted.

    Args:
        message: the message.
        counter: what counts the text; None: the default for the model.
        provider: whose rules count the media, as genai-prices spells it; None: OpenAI's.
        model: the model's name, because OpenAI counts images by model.
    """
    counter = counter or default_counter(model)
    tokens = _PER_MESSAGE + _PER_ROLE + counter.count(message.text)
    if message.name:
        tokens += _PER_NAME + counter.count(message.name)
    for call in message.tool_calls:
        tokens += _PER_TOOL_CALL + counter.count(call.name) + counter.count(call.arguments)
    return tokens + sum(_count_opaque(block, counter, provider, model) for block in message.opaque)


def count_request(request: Request, counter: TokenCounter | None = None) -> int:
    """Return the tokens that a request sends: messages, tools, the schema of the answer, framing.

    Args:
        request: the request; its provider and model decide the rules.
        counter: what counts the text; None: the default for the model.
    """
    counter = counter or default_counter(request.model)
    messages = sum(
        count_message(message, counter, request.provider, model=request.model) for message in request.messages
    )
    tools = count_tools(request.tools, counter, provider=request.provider, model=request.model)
    schema = _mapping(request.parameters.get("response_format"))
    answer = _count_json(schema, counter) if schema else 0
    return messages + tools + answer + _PRIMING


def count_tools(
    tools: Sequence[Mapping[str, Any]],
    counter: TokenCounter | None = None,
    *,
    provider: str | None = None,
    model: str | None = None,
) -> int:
    """Return the tokens of tool definitions.

    OpenAI shows its models a short form of the schema, and its published formula is used for it, carried on into nested
    objects and lists where the formula stops. Anthropic and others are counted as the JSON that is sent.

    Args:
        tools: the definitions, in OpenAI's shape (nested or flat) or Anthropic's.
        counter: what counts the text; None: the default for the model.
        provider: whose rule holds; None: OpenAI's.
        model: the model's name; models before GPT-4o cost more for each tool.
    """
    if not tools:
        return 0
    counter = counter or default_counter(model)
    if provider == "anthropic":
        return _ANTHROPIC_TOOL_PROMPT + sum(_count_json(tool, counter) for tool in tools)
    if provider in {"google", "aws"}:
        return sum(_count_json(tool, counter) for tool in tools)
    per_tool = _PER_TOOL_BEFORE_GPT_4O if _BEFORE_GPT_4O.match(model or "") else _PER_TOOL
    return _TOOLS_END + sum(_count_function(tool, counter, per_tool) for tool in tools)


def _count_function(tool: Mapping[str, Any], counter: TokenCounter, per_tool: int) -> int:
    function = _mapping(tool.get("function")) or tool
    parameters = _mapping(function.get("parameters")) or _mapping(function.get("input_schema")) or {}
    if "name" not in function:
        return _count_json(tool, counter)
    line = f"{function['name']}:{_sentence(function.get('description'))}"
    return per_tool + counter.count(line) + _count_properties(parameters, counter)


def _count_properties(schema: Mapping[str, Any], counter: TokenCounter, depth: int = 0) -> int:
    properties = _mapping(schema.get("properties"))
    if not properties or depth > _MAX_DEPTH:
        return 0
    tokens = _PER_PROPERTIES
    for name, value in properties.items():
        field = _mapping(value) or {}
        tokens += _PER_PROPERTY
        if isinstance(items := field.get("enum"), list):
            words = [str(item) for item in cast("list[object]", items)]
            tokens += _PER_ENUM + sum(_PER_ENUM_ITEM + counter.count(word) for word in words)
        tokens += counter.count(f"{name}:{field.get('type', 'any')}:{_sentence(field.get('description'))}")
        tokens += _count_properties(_mapping(field.get("items")) or field, counter, depth + 1)
    return tokens


def _sentence(description: object) -> str:
    return description.removesuffix(".") if isinstance(description, str) else ""


def _count_json(value: object, counter: TokenCounter) -> int:
    return counter.count(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def _count_opaque(block: Opaque, counter: TokenCounter, provider: str | None, model: str | None) -> int:
    kind = _MEDIA_TYPES.get(block.kind, block.kind)
    if kind in _MEDIA:
        return media_tokens(kind, block.value, provider=provider, model=model)
    value = block.value
    if kind in {"thinking", "reasoning"} and (fields := _mapping(value)) is not None:
        value = [fields[key] for key in _THOUGHTS if key in fields]
    return sum(counter.count(text) for text in _words(value))


def _words(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the text in a block of unknown make, without what only carries bytes or signs."""
    if isinstance(value, str):
        if not _is_encoded(value):
            yield value
    elif depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            for key, item in cast("Mapping[str, object]", value).items():
                if key not in {"type", "id", "signature", "index"}:
                    yield from _words(item, depth + 1)
        elif isinstance(value, list | tuple):
            for item in cast("Sequence[object]", value):
                yield from _words(item, depth + 1)


def _is_encoded(text: str) -> bool:
    return text.startswith("data:") or (len(text) > 256 and not any(mark in text[:256] for mark in " \n\t"))


def _mapping(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None
