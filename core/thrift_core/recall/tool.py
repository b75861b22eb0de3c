"""The `recall` tool: gives back what was cut, whole or by a query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from thrift_core.recall.store import RecallStore

RECALL = "recall"
_AROUND = 1
# A text of this length costs little more than an excerpt of it.
_SHORT_CHARACTERS = 400
# Of a longer line, such as JSON without line breaks, only what stands beside a word is shown.
_LONG_LINE = 600
_BESIDE = 200
_HEAD_CHARACTERS = 400


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
        the text byte for byte; with a query, what stands around each of its words: the lines, one more on either side,
        of long lines only the part around the word. Where none of the words is found, how long the text is and how it
        begins: the whole of it would cost what cutting it saved, and can be asked for without a query. An unknown id is
        answered in words, for a model to read; nothing is raised.
    """
    handle = str(arguments.get("id", "")).strip().rstrip(":")
    text = store.get(handle) if handle else None
    if text is None:
        return f"Nothing is kept under the id {handle!r}. Ids stand in cut results, after the word recall."
    words = str(arguments.get("query") or "").split()
    if not words:
        return text
    return _matching(text, words) or (text if len(text) <= _SHORT_CHARACTERS else _beginning(text, words))


def _matching(text: str, words: list[str]) -> str:
    """Return the lines around each place where one of the words stands, empty where none does."""
    lines = text.split("\n")
    pattern = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))), re.IGNORECASE)
    hits = {at for at, line in enumerate(lines) if pattern.search(line)}
    shown = sorted({near for at in hits for near in range(at - _AROUND, at + _AROUND + 1) if 0 <= near < len(lines)})
    return "\n".join(_excerpt(lines[at], pattern) for at in shown)


def _excerpt(line: str, pattern: re.Pattern[str]) -> str:
    """Return a line, if it is long only its parts around what was looked for, or its beginning."""
    if len(line) <= _LONG_LINE:
        return line
    parts: list[tuple[int, int]] = []
    for match in pattern.finditer(line):
        start, stop = max(0, match.start() - _BESIDE), min(len(line), match.end() + _BESIDE)
        if parts and start <= parts[-1][1]:
            parts[-1] = parts[-1][0], stop
        else:
            parts.append((start, stop))
    if not parts:
        return f"{line[:_BESIDE]}…"
    shown = "…".join(line[start:stop] for start, stop in parts)
    return f"{'…' if parts[0][0] else ''}{shown}{'…' if parts[-1][1] < len(line) else ''}"


def _beginning(text: str, words: list[str]) -> str:
    lines = text.count("\n") + 1
    return (
        f"None of these words is in the text: {' '.join(words)[:_BESIDE]}. It has {len(text)} characters in {lines} "
        f"line{'s' * (lines > 1)}; recall it without a query to read it all. It begins:\n{text[:_HEAD_CHARACTERS]}…"
    )
