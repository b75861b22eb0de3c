"""Tools as the levers see them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from thrift_core.caching.prefix import canonical_json

Tool = BaseTool | dict[str, Any]
_MOST_TOOLS = 512


@dataclass(slots=True)
class ToolSchemas:
    """Tools as JSON-schema dictionaries, each worked out once."""

    _known: dict[int, tuple[Tool, Mapping[str, Any]]] = field(default_factory=dict[int, tuple[Tool, Mapping[str, Any]]])

    def of(self, tool: Tool) -> Mapping[str, Any]:
        """Return a tool's definition in OpenAI's form; a provider's own tools are returned as they are."""
        if not isinstance(tool, BaseTool):
            return tool
        known = self._known.get(id(tool))
        if known is not None and known[0] is tool:
            return known[1]
        if len(self._known) >= _MOST_TOOLS:
            self._known.clear()
        schema = convert_to_openai_tool(tool)
        self._known[id(tool)] = (tool, schema)
        return schema


def tools_in_order(
    tools: Sequence[Tool], given: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> list[Tool]:
    """Return the tools in the order of `wanted`, which is `given` in another order, with keys sorted.

    Raises:
        ValueError: it is something else.
    """
    places: dict[Hashable, list[int]] = {}
    for index, schema in enumerate(given):
        places.setdefault(canonical_json(schema), []).append(index)
    try:
        order = [places[canonical_json(schema)].pop(0) for schema in wanted]
    except (KeyError, IndexError) as error:
        raise ValueError("the planned tools are not the tools that were given") from error
    if len(order) != len(tools):
        raise ValueError(f"{len(tools)} tools were given, {len(order)} are planned")
    return [tools[index] for index in order]
