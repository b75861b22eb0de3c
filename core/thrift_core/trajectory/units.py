"""Which messages belong together: a tool call and its results are kept or dropped as one, batches included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from thrift_core.messages import Message
from thrift_core.trajectory.entry import Entry


@dataclass(slots=True)
class Units:
    """Follows a conversation and marks in its entries where units begin and which of them are complete.

    A unit is a call message with all its results right behind it, or any other message alone. It is clean if each of
    its calls has an id of its own and exactly one result, and no id in it has been seen astray.
    """

    _waiting: set[str] = field(default_factory=set[str])
    _start: int = 0
    _names: dict[str, str] = field(default_factory=dict[str, str])
    _asked: set[str] = field(default_factory=set[str])
    _reused: bool = False
    _astray: set[str] = field(default_factory=set[str])

    @property
    def reuses_an_id(self) -> bool:
        """Whether results are still missing, of calls of which one has an id that was used before."""
        return bool(self._waiting) and self._reused

    def may_drop(self, entry: Entry) -> bool:
        """Say whether an entry can go with its unit: none of its calls' ids is also used where it is not answered."""
        ids = [call.id for call in entry.message.tool_calls]
        return entry.is_clean and self._astray.isdisjoint(ids) and self._waiting.isdisjoint(ids)

    def tool_of(self, message: Message) -> str:
        """Return the name of the tool that a message is a result of, `tool` if nobody says, empty for no result."""
        if message.role != "tool":
            return ""
        return message.name or self._names.get(message.tool_call_id or "", "") or "tool"

    def add(self, entries: Sequence[Entry]) -> bool:
        """Take in the last entry; return whether it names a call that is not the one just before it."""
        index, entry = len(entries) - 1, entries[-1]
        message = entry.message
        if message.role == "tool":
            return self._add_result(entries, index, entry)
        is_cut_off = bool(self._waiting)
        self._astray |= self._waiting
        self._waiting = set()
        entry.unit_start = self._start = index
        ids = [call.id for call in message.tool_calls]
        known = {name for name in ids if name is not None}
        self._names.update((call.id, call.name) for call in message.tool_calls if call.id is not None)
        if len(known) < len(ids):
            self._astray |= known
            is_known = not known.isdisjoint(self._asked)
            self._asked |= known
            return is_cut_off or is_known
        self._reused = not known.isdisjoint(self._asked)
        self._asked |= known
        self._waiting = known
        # An instruction given in between holds from there on, so it is never dropped.
        entry.is_clean = not message.opaque and not ids and message.role != "system"
        return is_cut_off

    def _add_result(self, entries: Sequence[Entry], index: int, entry: Entry) -> bool:
        answered = entry.message.tool_call_id
        if answered is None or answered not in self._waiting:
            entry.unit_start = index
            if answered is not None:
                self._astray.add(answered)
            return True
        self._waiting.discard(answered)
        entry.unit_start = self._start
        if not self._waiting:
            unit = entries[self._start : index + 1]
            is_clean = all(not part.message.opaque for part in unit) and not self._is_astray(unit)
            for part in unit:
                part.is_clean = is_clean
        return False

    def _is_astray(self, unit: Sequence[Entry]) -> bool:
        return any(call.id in self._astray for call in unit[0].message.tool_calls)
