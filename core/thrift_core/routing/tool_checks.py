"""Checks the tool calls of a draft before anything runs: name, arguments by schema, arguments by context."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from thrift_core.messages import Message, ToolCall
from thrift_core.routing.json_schema import problems

_WORDS = re.compile(r"[^\W_]+")
_MAX_CONTEXT = 60_000


def call_problems(calls: Sequence[ToolCall], tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with the calls by name and schema; an empty list if nothing is.

    Example:
        >>> call_problems([ToolCall("fetch", '{"n": 1}')], [{"name": "fetch", "parameters": {"required": ["id"]}}])
        ['fetch: id is missing']
    """
    schemas = tool_schemas(tools)
    found: list[str] = []
    for call in calls:
        if call.name not in schemas:
            found.append(f"there is no tool {call.name!r}")
            continue
        arguments = read_arguments(call.arguments)
        if arguments is None:
            found.append(f"{call.name}: the arguments are no JSON object")
            continue
        found += [f"{call.name}: {problem}" for problem in problems(arguments, schemas[call.name])]
    return found


def tool_schemas(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return each tool's schema of arguments by its name; reads OpenAI's shapes, nested and flat, and Anthropic's."""
    found: dict[str, Mapping[str, Any]] = {}
    for tool in tools:
        inner = tool.get("function")
        definition = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else tool
        name = definition.get("name")
        if isinstance(name, str):
            schema: object = definition.get("parameters") or definition.get("input_schema")
            found[name] = cast("Mapping[str, Any]", schema) if isinstance(schema, Mapping) else {}
    return found


def read_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call; None if they are no JSON object. An empty text is an empty object."""
    try:
        value: object = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def grounded_share(call: ToolCall, tools: Sequence[Mapping[str, Any]], messages: Sequence[Message]) -> float:
    """Return the share of a call's argument words that stand in the conversation, 1 where there are none.

    What the schema itself lists (enums, constants, defaults) is grounded, and so are booleans. Words are compared
    without case; numbers by value.

    Example:
        >>> asked = [Message("user", "Cancel order A-17 of Ann")]
        >>> grounded_share(ToolCall("cancel", '{"order": "A-17"}'), [], asked)
        1.0
        >>> grounded_share(ToolCall("cancel", '{"order": "B-99"}'), [], asked)
        0.0
    """
    arguments = read_arguments(call.arguments)
    if not arguments:
        return 1.0
    context = _context_words(messages)
    listed = set(_listed_values(tool_schemas(tools).get(call.name, {})))
    words = [word for value in _leaves(arguments) if value not in listed for word in _words_of(value)]
    return sum(word in context for word in words) / len(words) if words else 1.0


def _context_words(messages: Sequence[Message]) -> set[str]:
    words: set[str] = set()
    room = _MAX_CONTEXT
    for message in reversed(messages):
        texts = [message.text, *(call.arguments for call in message.tool_calls)]
        for text in texts:
            words.update(_words_of(text[:room]))
            room -= len(text)
        if room <= 0:
            break
    return words


def _words_of(text: str) -> list[str]:
    found: list[str] = _WORDS.findall(text.casefold())
    return [word.lstrip("0") or "0" if word.isdigit() else word for word in found]


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in cast("Mapping[str, object]", value).values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        is_whole = isinstance(value, int) or (math.isfinite(value) and value.is_integer())
        yield str(int(value)) if is_whole else str(value)


def _listed_values(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        rules = cast("Mapping[str, object]", schema)
        for keyword, item in rules.items():
            if keyword in ("enum", "const", "default", "examples"):
                yield from _leaves(item)
            else:
                yield from _listed_values(item)
    elif isinstance(schema, list):
        for item in cast("list[object]", schema):
            yield from _listed_values(item)
