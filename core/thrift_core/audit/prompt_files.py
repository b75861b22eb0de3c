"""Reads prompts and tool definitions from files, as developers keep them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from thrift_core.errors import ThriftError


@dataclass(slots=True)
class PromptFiles:
    """What stands in front of every call.

    Attributes:
        prompts: the system prompts, by the name of their file.
        tools: the tool definitions, with the name of their file.
    """

    prompts: dict[str, str] = field(default_factory=dict[str, str])
    tools: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list[tuple[str, Mapping[str, Any]]])


def read_prompts(files: Iterable[Path]) -> PromptFiles:
    """Return the prompts and tools in files: plain text, a JSON list of tools, or a request with messages and tools.

    Raises:
        ThriftError: a file cannot be read.
    """
    found = PromptFiles()
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ThriftError(f"{file} cannot be read: {error}") from error
        _take(found, file.name, text)
    return found


def _take(found: PromptFiles, name: str, text: str) -> None:
    try:
        value: Any = json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        tools, messages = fields.get("tools"), fields.get("messages")
        if isinstance(system := fields.get("system"), str):
            found.prompts[name] = system
        if isinstance(messages, list):
            _take_messages(found, name, cast("list[object]", messages))
        if isinstance(tools, list):
            found.tools += [(name, tool) for tool in _mappings(cast("list[object]", tools))]
        if tools is not None or messages is not None:
            return
        value = [fields] if "name" in fields or "function" in fields else None
    if isinstance(value, list):
        items = list(_mappings(cast("list[object]", value)))
        if items and all("role" in item for item in items):
            _take_messages(found, name, cast("list[object]", items))
            return
        tools_found = [item for item in items if "name" in item or "function" in item]
        if tools_found:
            found.tools += [(name, tool) for tool in tools_found]
            return
    found.prompts[name] = text


def _take_messages(found: PromptFiles, name: str, messages: Iterable[object]) -> None:
    texts = [
        str(message.get("content") or "")
        for message in _mappings(messages)
        if message.get("role") in ("system", "developer")
    ]
    if texts:
        found.prompts[name] = "\n".join(texts)


def _mappings(items: Iterable[object]) -> Iterable[Mapping[str, Any]]:
    return [cast("Mapping[str, Any]", item) for item in items if isinstance(item, Mapping)]
