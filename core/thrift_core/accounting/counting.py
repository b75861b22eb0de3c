"""Counts requests before they are sent, and answers that nobody reported the usage of."""

from __future__ import annotations

from thrift_core.accounting.usage import Usage
from thrift_core.messages import Message, Request, ToolCall
from thrift_core.tokens import count_request, default_counter

_MOST_COUNTS = 50_000
_counts: dict[tuple[str | None, int, int], int] = {}


def counted(request: Request) -> int:
    """Return about how many input tokens a request has; texts that were counted before cost nothing."""
    return count_request(request, _RememberingCounter(request.model))


def estimated(request: Request, text: str, tool_calls: tuple[ToolCall, ...] = ()) -> Usage:
    """Return about what a call used that was answered so."""
    answer = Request((Message("assistant", text, tool_calls),), model=request.model)
    return Usage(input_tokens=counted(request), output_tokens=counted(answer))


class _RememberingCounter:
    """Counts each text once, so that a growing conversation costs only what is new."""

    def __init__(self, model: str | None) -> None:
        self._model = model

    def count(self, text: str) -> int:
        # Python keeps a string's hash with the string: asking again is cheap, and no text is kept alive here.
        key = (self._model, len(text), hash(text))
        count = _counts.get(key)
        if count is None:
            if len(_counts) >= _MOST_COUNTS:
                _counts.clear()
            count = _counts[key] = default_counter(self._model).count(text)
        return count
