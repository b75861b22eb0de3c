"""How often the same tool call has been made in a row, as a line of text that any store can keep."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable

from thrift_core.messages import ToolCall


def signature(tool_call: ToolCall | str) -> str:
    """Return 16 hex digits that are equal for equal tool calls, `name(arguments)` or a `ToolCall`.

    Arguments that are JSON are equal whatever the order of their keys and their spacing.
    """
    if isinstance(tool_call, ToolCall):
        name, arguments = tool_call.name, tool_call.arguments
    else:
        name, _, arguments = tool_call.partition("(")
        arguments = arguments.removesuffix(")")
    try:
        arguments = json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        arguments = arguments.strip()
    return hashlib.sha256(f"{name}\0{arguments}".encode(errors="backslashreplace")).hexdigest()[:16]


def lengthened(streaks: str, signatures: Iterable[str]) -> str:
    """Return the streaks after an answer with these tool calls; those it does not ask for again are over.

    Example:
        >>> lengthened("a=2 b=1", ["a", "c"])
        'a=3 c=1'
    """
    asked = Counter(signatures)
    if not asked:
        return streaks
    before = _read(streaks)
    return " ".join(f"{name}={before.get(name, 0) + times}" for name, times in sorted(asked.items()))


def longest(streaks: str) -> int:
    """Return how often the most repeated tool call has been made in a row."""
    return max(_read(streaks).values(), default=0)


def _read(streaks: str) -> dict[str, int]:
    pairs = (pair.partition("=") for pair in streaks.split())
    return {name: int(count) for name, _, count in pairs}
