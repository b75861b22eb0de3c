"""Tool definitions without waste: the lossless form against the JSON that clients send, blanks in it or not."""

# Frameworks are imported when their tools are asked for: not all are installed.
# ruff: noqa: PLC0415
from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from thrift_core.compression.schemas import minified_tools, tool_tokens
from thrift_core.errors import ConfigurationError

from benchmarks.records import Options, Record, stem

Tools = list[dict[str, Any]]


def schemas(files: Sequence[Path], options: Options, count: Callable[[str], int]) -> Iterator[Record]:
    """Yield two records for each set of tools: against `json.dumps`, and against the same JSON without blanks.

    Args:
        files: data files; lists of functions, and the `.tools.json` beside them, are read.
        options: of the command line.
        count: counts tokens.
    """
    for data, tools in {**_read(files, options), **demo_tools()}.items():
        after = tool_tokens(minified_tools(tools), count)
        for baseline, before in (
            ("as-json-dumps", sum(count(json.dumps(tool)) for tool in tools)),
            ("as-compact-json", tool_tokens(tools, count)),
        ):
            yield {
                "benchmark": "compression",
                "part": "schemas",
                "data": data,
                "system": "thrift",
                "mode": "lossless",
                "n": len(tools),
                "what": baseline,
                "saved_pct": round(100 * (1 - after / before), 4),
            }


def _read(files: Sequence[Path], options: Options) -> dict[str, Tools]:
    found: dict[str, Tools] = {}
    for folder in dict.fromkeys(path.parent for path in files):
        for path in sorted(folder.glob("*.tools.json")):
            found[path.name] = json.loads(path.read_text(encoding="utf-8"))
    for file in files:
        if "functions" in stem(file):
            values = [json.loads(row["text"]) for row in options.rows(file)]
            found[stem(file)] = [tool for value in values for tool in (value if isinstance(value, list) else [value])]
    return found


def demo_tools() -> dict[str, Tools]:
    """Return the demo shop's tools as LangChain, pydantic and LlamaIndex write them, as far as these are installed."""
    if not importlib.util.find_spec("langchain_thrift"):
        return {}
    from langchain_core.tools import StructuredTool
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from langchain_thrift.demo.shop_data import Shop
    from langchain_thrift.demo.shop_tools import shop_tools

    tools = [tool for tool in shop_tools(Shop()) if isinstance(tool, StructuredTool)]
    found = {
        "shop-langchain": [convert_to_openai_tool(tool) for tool in tools],
        "shop-pydantic": [
            {
                "name": tool.name,
                "description": tool.description,
                "parameters": _pydantic_schema(tool.tool_call_schema),
            }
            for tool in tools
        ],
    }
    if importlib.util.find_spec("llama_index"):
        from llama_index.core.tools import FunctionTool

        functions = [tool.func for tool in tools if tool.func is not None]
        found["shop-llamaindex"] = [FunctionTool.from_defaults(work).metadata.to_openai_tool() for work in functions]
    return found


def _pydantic_schema(model: Any) -> dict[str, Any]:
    if isinstance(model, dict):
        return model
    if not hasattr(model, "model_json_schema"):
        raise ConfigurationError(f"{model!r} is no pydantic model")
    schema: dict[str, Any] = model.model_json_schema()
    return schema
