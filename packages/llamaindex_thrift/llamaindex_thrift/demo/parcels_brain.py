"""The scripted model of the parcels workload: it knows what to do next, and only uses what it can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from thrift_core.demo import reasoning_tokens
from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, Reply

from llamaindex_thrift.demo.parcels_data import Parcel, parcel

_PARCEL = re.compile(r"PX-\d+")
_HANDLE = re.compile(r"recall ([0-9a-f]{10,})")
_THINKING_TOKENS = 64


def parcels_brain(request: ChatRequest) -> Reply:
    """Do the next step of what the last user message asks for.

    The model would understand whatever notation it is shown, so it is told the values; but it names a value only if
    that value stands somewhere in the request, and else recalls what was cut, or says that it cannot see it.
    """
    reading = _Reading(request)
    for id_ in _PARCEL.findall(request.question):
        one = parcel(id_)
        step = reading.look(one, one.spot) if "driver" in request.question else reading.trace(one)
        if step is not None:
            return _reply(request, step)
    return Reply(
        text=report(request.question, reading.read), reasoning_tokens=reasoning_tokens(request.model, _THINKING_TOKENS)
    )


def report(question: str, read: Callable[[str], str]) -> str:
    """Return the answer to a question.

    Args:
        question: what the customer asks.
        read: returns a value as far as it can be read.
    """
    parcels = [parcel(id_) for id_ in _PARCEL.findall(question)]
    if "driver" in question:
        return " ".join(f"{one.id} was left {read(one.spot)}." for one in parcels)
    return " ".join(
        f"{one.id}: overdue, claim {read(one.claim)} at {read(one.depot)}."
        if one.is_overdue
        else f"{one.id}: delivered by {read(one.depot)}."
        for one in parcels
    )


class _Reading:
    """What a request shows, and what was called since its last user message."""

    def __init__(self, request: ChatRequest) -> None:
        self._messages = request.messages
        self._can_recall = "recall" in request.tool_names
        calls = [call.arguments for message in request.messages for call in message.tool_calls]
        self._text = "\n".join([*(message.text for message in request.messages), *calls])
        last = max((n for n, message in enumerate(request.messages) if message.role == "user"), default=0)
        self._called = [call for message in request.messages[last:] for call in message.tool_calls]

    def trace(self, one: Parcel) -> list[ToolCall] | None:
        """Return the next calls that tracing a parcel takes, None if it is traced."""
        if not self._has_called("get_parcel", one.id):
            return [_call(name, parcel_id=one.id) for name in ("get_parcel", "get_scans", "get_notes")]
        if (missing := self.look(one, one.depot)) is not None:
            return missing
        if one.depot in self._text and not self._has_called("get_depot", one.depot):
            return [_call("get_depot", depot_id=one.depot)]
        if one.is_overdue and not self._has_called("open_claim", one.id):
            return [_call("open_claim", parcel_id=one.id, depot_id=one.depot)]
        return None

    def look(self, one: Parcel, value: str) -> list[ToolCall] | None:
        """Return a recall if a value of a parcel cannot be read and something about the parcel was cut."""
        if value in self._text or not self._can_recall:
            return None
        left = [handle for handle in self._handles(one) if not self._has_called("recall", handle)]
        return [_call("recall", id=left[-1], query="left")] if left else None

    def read(self, value: str) -> str:
        """Return a value if it can be read."""
        return value if value in self._text else "(cannot see it)"

    def _has_called(self, name: str, value: str) -> bool:
        return any(call.name == name and value in call.arguments for call in self._called)

    def _handles(self, one: Parcel) -> list[str]:
        """Return the handles of what was cut and has to do with a parcel."""
        about = {call.id for message in self._messages for call in message.tool_calls if one.id in call.arguments}
        return [
            handle
            for message in self._messages
            if message.tool_call_id in about or (message.role != "tool" and one.id in message.text)
            for handle in _HANDLE.findall(message.text)
        ]


def _call(name: str, **arguments: str) -> ToolCall:
    return ToolCall(name, json.dumps(arguments))


def _reply(request: ChatRequest, calls: list[ToolCall]) -> Reply:
    return Reply(tool_calls=tuple(calls), reasoning_tokens=reasoning_tokens(request.model, _THINKING_TOKENS))
