"""What the demo's scripted model can see: nothing but the text of the request it was sent.

A real model that loses a value from its context asks again or goes wrong. So does this one: every value it uses is read
from tool results as they stand in the request, whatever has been done to them on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest
from thrift_core.trajectory.blocks import HEAD as BLOCK
from thrift_core.trajectory.read_back import ReadBack
from thrift_core.trajectory.view_once import HEAD as STUB

# A model that has asked for the same thing three times and still cannot read it says so.
_MOST_ASKS = 3
_POINTER = re.compile(r"recall\W+(?:id\W+)?([\w:-]{4,})", re.IGNORECASE)


class NeedError(Exception):
    """The next step is to call these tools."""

    def __init__(self, calls: list[ToolCall]) -> None:
        super().__init__(", ".join(call.name for call in calls))
        self.calls = calls


class StuckError(Exception):
    """A value cannot be had; the model says so to the user."""


@dataclass(frozen=True, slots=True)
class _Seen:
    call: ToolCall
    text: str


class Sight:
    """Tool calls and their results as the request shows them.

    Args:
        request: the request as the model got it.
    """

    def __init__(self, request: ChatRequest) -> None:
        self.task = next((message.text for message in request.messages if message.role == "user"), "")
        self.system = request.system
        self._can_recall = "recall" in request.tool_names
        self._seen = list(_seen(request))

    def look(self, name: str, **arguments: str) -> Shown:
        """Return the result of a call; if it was not made yet, making it is the next step."""
        return self.look_at([(name, arguments)])[0]

    def look_at(self, wanted: list[tuple[str, dict[str, str]]]) -> list[Shown]:
        """Return the results of several calls; those not made yet are the next step, all at once."""
        calls = [ToolCall(name, json.dumps(arguments)) for name, arguments in wanted]
        missing = [call for call in calls if not self._results(call)]
        if missing:
            raise NeedError(missing)
        return [Shown(self, call, self._texts(call)) for call in calls]

    def rule(self, pattern: str) -> str:
        """Return the first group of a pattern in the system prompt."""
        found = re.search(pattern, self.system)
        if found is None:
            raise StuckError("I cannot find the rule that applies here.")
        return found[1]

    def ask_again(self, call: ToolCall, what: str) -> NeedError:
        """Return the step that brings back a value that can no longer be read.

        Raises:
            StuckError: it was asked for often enough.
        """
        results = self._results(call)
        recalls = [seen for seen in self._seen if seen.call.name == "recall"]
        if len(results) >= _MOST_ASKS or len(recalls) >= 3 * _MOST_ASKS:
            raise StuckError(f"I could not read {what} in what {call.name} shows.")
        if self._can_recall and (pointer := self._pointer(results)):
            recall = ToolCall("recall", json.dumps({"id": pointer, "query": what}))
            if not self._results(recall):
                return NeedError([recall])
        return NeedError([call])

    def _results(self, call: ToolCall) -> list[_Seen]:
        wanted = _parsed(call.arguments)
        return [seen for seen in self._seen if seen.call.name == call.name and _parsed(seen.call.arguments) == wanted]

    def _texts(self, call: ToolCall) -> list[str]:
        """Return the result's texts, newest first, with what was recalled for it."""
        results = self._results(call)
        pointer = self._pointer(results)
        recalled = [
            seen
            for seen in self._seen
            if pointer and seen.call.name == "recall" and _as_object(seen.call.arguments).get("id") == pointer
        ]
        return [seen.text for seen in reversed(results + recalled)]

    def _pointer(self, results: list[_Seen]) -> str | None:
        """Return the id by which a result can be recalled: the one it names, otherwise that of its call."""
        for seen in reversed(results):
            if found := _POINTER.search(seen.text):
                return found[1]
        return results[-1].call.id if results else None


class Shown:
    """One tool's result, read as a careful reader would: JSON, tables or `name: value` lines."""

    def __init__(self, sight: Sight, call: ToolCall, texts: list[str]) -> None:
        self._sight = sight
        self._call = call
        self._texts = texts

    def value(self, name: str) -> Any:
        """Return a value by its field's name; nested fields are found by their last name."""
        for text in self._texts:
            for data in _objects(text):
                if (found := _find(data, name)) is not _NOTHING:
                    return found
            if text.startswith(STUB):
                # What stands for a cut result: facts parted by blanks.
                if fact := re.search(rf'(?<!\S){re.escape(name)}=("[^"]*"|\S+)', text):
                    return _scalar(fact[1].strip('"'))
                continue
            if line := re.search(rf"(?m)\b{re.escape(name)}\b[\"']?\s*[:=]\s*[\"']?([^\n\"',;|}}]*)", text):
                return _scalar(line[1].strip())
        raise self._sight.ask_again(self._call, name)

    def rows(self, name: str, *fields: str) -> list[dict[str, Any]]:
        """Return a list of records by its field's name; each has at least the fields asked for."""
        for text in self._texts:
            for data in _objects(text):
                found = _find(data, name)
                if isinstance(found, list | dict) and _has(rows := _records(found), fields):
                    return rows
            if (rows := _table(text)) and _has(rows, fields):
                return rows
        raise self._sight.ask_again(self._call, name)


class _Nothing:
    pass


_NOTHING = _Nothing()


def _seen(request: ChatRequest) -> Iterator[_Seen]:
    calls = {call.id: call for message in request.messages for call in message.tool_calls}
    # A model that is told the notation once reads it from then on: what a result refers to must stand before it.
    reading = ReadBack()
    for message in request.messages:
        if message.text.startswith(BLOCK):
            reading = ReadBack()
        if message.role == "tool" and (call := calls.get(message.tool_call_id)) is not None:
            yield _Seen(call, reading.text(call.name, message.text))


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _as_object(arguments: str) -> dict[str, Any]:
    parsed = _parsed(arguments)
    return parsed if isinstance(parsed, dict) else {}


def _objects(text: str) -> Iterator[Any]:
    """Yield the JSON objects and arrays in a text, the whole of it first."""
    decoder = json.JSONDecoder()
    position = 0
    while (
        start := min((at for at in (text.find("{", position), text.find("[", position)) if at >= 0), default=-1)
    ) >= 0:
        try:
            data, position = decoder.raw_decode(text, start)
        except ValueError:
            position = start + 1
        else:
            yield data


def _find(data: Any, name: str) -> Any:
    """Return the value of a field, nearest to the top first."""
    level = [data]
    while level:
        for item in level:
            if isinstance(item, dict) and name in item:
                return item[name]
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            if isinstance(child, dict | list)
        ]
    return _NOTHING


def _records(found: Any) -> list[dict[str, Any]]:
    """Return records from a list of objects, or from columns with rows."""
    if isinstance(found, dict) and isinstance(found.get("columns"), list) and isinstance(found.get("rows"), list):
        return [dict(zip(found["columns"], row, strict=False)) for row in found["rows"]]
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _has(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> bool:
    return all(field in row for row in rows for field in fields)


def _table(text: str) -> list[dict[str, Any]]:
    """Return the rows of the first table with a header line, cells parted by bars, tabs or commas."""
    lines = text.splitlines()
    for at, header in enumerate(lines[:-1]):
        for mark in ("|", "\t", ","):
            names = [cell.strip().strip('"') for cell in header.split(mark)]
            if len(names) < 2 or not all(re.fullmatch(r"\w+", name) for name in names):
                continue
            rows = [[_scalar(cell.strip()) for cell in line.split(mark)] for line in lines[at + 1 :]]
            return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]
    return []


def _scalar(text: str) -> Any:
    return {"null": None, "none": None, "true": True, "false": False, "": None}.get(text.lower(), text)
