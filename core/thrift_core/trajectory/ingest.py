"""Shortens one tool result by itself, for applications that keep it that way."""

from __future__ import annotations

from thrift_core.tokens import TokenCounter
from thrift_core.trajectory.results import Results


def compacted(tool: str, text: str, counter: TokenCounter) -> str | None:
    """Return a tool's result in the compact notation, or None where that is no shorter.

    Other than what the summarizer sends, it refers to no other result and explains itself, so that it can still be read
    when the messages around it are gone. It was proved to read back as the same value.

    Args:
        tool: the tool's name.
        text: its result.
        counter: counts tokens.

    Example:
        >>> from thrift_core.tokens import EstimatedCounter
        >>> rows = ", ".join('{"sku": "SKU-%d", "warehouse": "Rotterdam"}' % n for n in range(9))
        >>> compacted("list_stock", f"[{rows}]", EstimatedCounter())[:41]
        '§(JSON; [#columns| row; row]; ^ as above)'
    """
    shortened = Results(counter.count).shorten(tool, text, counter.count(text))
    if shortened is None or shortened.refers_to or len(shortened.text) >= len(text):
        return None
    return shortened.text
