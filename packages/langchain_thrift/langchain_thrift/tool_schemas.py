"""Tools as the levers see them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from thrift_core.caching.prefix import canonical_json
from thrift_core.messages import tool_name

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


def tools_as_planned(
    tools: Sequence[Tool], given: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> list[Tool]:
    """Return the tools as a plan wants them: in its order, and in its words where it has others.

    A tool whose definition the plan leaves as it is stays the very object; one with another definition becomes that.

    Args:
        tools: the tools as they were given.
        given: their definitions, as the levers saw them.
        wanted: the same tools, in another order or with other definitions.

    Raises:
        ValueError: they are other tools.
    """
    places: dict[Hashable, list[int]] = {}
    named: dict[str, int] = {}
    for index, schema in enumerate(given):
        places.setdefault(canonical_json(schema), []).append(index)
        named[tool_name(schema)] = index
    planned: list[Tool] = []
    for schema in wanted:
        same = places.get(canonical_json(schema))
        if same:
            planned.append(tools[same.pop(0)])
        elif (name := tool_name(schema)) and name in named:
            planned.append(_described(tools[named[name]], schema))
        else:
            raise ValueError("the planned tools are not the tools that were given")
    if len(planned) != len(tools):
        raise ValueError(f"{len(tools)} tools were given, {len(planned)} are planned")
    return planned


def _described(tool: Tool, schema: Mapping[str, Any]) -> Tool:
    # What a tool says to one provider alone, such as that it is to be loaded later, is in no definition.
    return tool if isinstance(tool, BaseTool) and tool.extras else dict(schema)
