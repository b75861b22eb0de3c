"""A brain that answers what LangChain's standard tests ask: it fills whatever form it is given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, Reply


def standard(request: ChatRequest) -> Reply:
    """Call a tool where one must or should be called, fill a form where one is asked for, else say something."""
    if request.tools and _shall_call(request):
        name, schema = _chosen(request)
        return Reply(tool_calls=(ToolCall(name, json.dumps(_filled(schema, request.question), ensure_ascii=False)),))
    kind = request.response_format.get("type")
    if kind == "json_schema":
        form = request.response_format.get("json_schema") or request.response_format
        return Reply(text=json.dumps(_filled(form["schema"], request.question)))
    if kind == "json_object":
        return Reply(text=json.dumps({"setup": "Why do cats purr?", "punchline": "They have no keyboard."}))
    return Reply(text="Hello, thank you for asking. It is a fine day.")


def _shall_call(request: ChatRequest) -> bool:
    if request.tool_choice == "none":
        return False
    return request.tool_choice != "auto" or request.messages[-1].role == "user"


def _chosen(request: ChatRequest) -> tuple[str, Mapping[str, Any]]:
    for tool, name in zip(request.tools, request.tool_names, strict=True):
        if request.tool_choice in ("auto", "required", name):
            function = tool.get("function", tool)
            return name, function.get("parameters") or function.get("input_schema") or {}
    raise AssertionError(f"no tool is called {request.tool_choice}")


def _filled(schema: Mapping[str, Any], question: str) -> Any:
    kind = schema.get("type")
    if "properties" in schema or kind == "object":
        return {name: _filled(inner, question) for name, inner in schema.get("properties", {}).items()}
    if kind in ("integer", "number"):
        found = re.search(r"\d+", question)
        return int(found[0]) if found else 1
    if kind == "array":
        return []
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], question)
    quoted = re.search(r"'([^']+)'", question)
    return quoted[1] if quoted else "San Francisco"
