"""The `recall` tool: gives back what was cut, whole or by a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thrift_core.recall.store import RecallStore

RECALL = "recall"
_AROUND = 1


def recall_schema() -> dict[str, Any]:
    """Return the tool's definition as a JSON schema, as short as it can be: it is sent with every call.

    It must be offered from the first call on, for a tool list that changes makes providers forget the cached prefix.
    """
    return {
        "type": "function",
        "function": {
            "name": RECALL,
            "description": "Full text of a result marked: cut, recall <id>",
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "query": {"type": "string"}},
                "required": ["id"],
            },
        },
    }


def recall(store: RecallStore, arguments: Mapping[str, Any]) -> str:
    """Answer a call of the tool.

    Args:
        store: where what was cut is kept.
        arguments: `id`, the handle that stands in the cut text; optionally `query`, words to look for.

    Returns:
        the text byte for byte; with a query, the lines that hold any of its words and one line around each. An unknown
        id is answered in words, for a model to read; nothing is raised.
    """
    handle = str(arguments.get("id", "")).strip().rstrip(":")
    text = store.get(handle) if handle else None
    if text is None:
        return f"Nothing is kept under the id {handle!r}. Ids stand in cut results, after the word recall."
    query = str(arguments.get("query") or "").split()
    return _matching(text, query) if query else text


def _matching(text: str, words: list[str]) -> str:
    lines = text.split("\n")
    wanted = [word.casefold() for word in words]
    hits = {at for at, line in enumerate(lines) if any(word in line.casefold() for word in wanted)}
    if not hits:
        return text
    shown = sorted({near for at in hits for near in range(at - _AROUND, at + _AROUND + 1) if 0 <= near < len(lines)})
    return "\n".join(lines[at] for at in shown)
