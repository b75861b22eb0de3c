"""What the compressor is measured beside: plain minification, and the packages that are installed."""

# Peers are imported when they are asked for: not all are installed.
# ruff: noqa: PLC0415
from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from typing import Any

System = Callable[[str, str | None, float | None, bool], str]


def peers() -> dict[str, System]:
    """Return the peers that are installed, by name."""
    found: dict[str, System] = {"minify": minify}
    if importlib.util.find_spec("headroom"):
        found["headroom"] = headroom
    if importlib.util.find_spec("llmslim"):
        found["llmslim"] = llmslim
    return found


def minify(text: str, question: str | None, share: float | None, is_lossless: bool) -> str:
    """JSON without blanks; other text without blanks at line ends and without blank lines."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def headroom(text: str, question: str | None, share: float | None, is_lossless: bool) -> str:
    """headroom's `compress`, with the text as a tool's result, as an agent would send it."""
    compress = importlib.import_module("headroom").compress
    call = {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": question or "Read this."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": text},
    ]
    settings: dict[str, Any] = {"protect_recent": 0}
    if share is not None:
        settings["target_ratio"] = share
    result = compress(messages, model="gpt-4o", **settings)
    content = result.messages[-1]["content"]
    return content if isinstance(content, str) else json.dumps(content)


def llmslim(text: str, question: str | None, share: float | None, is_lossless: bool) -> str:
    """llmslim's `compress_documents`, without its cross-encoder."""
    from llmslim import compress_documents

    results = compress_documents([text], query=question or "", target_ratio=share or 0.5)
    return "\n".join(result.compressed_text for result in results)
