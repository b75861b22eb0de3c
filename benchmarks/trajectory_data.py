"""Recorded agent loops as the trajectory benchmark reads them."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thrift_core.messages import Message, ToolCall


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One recorded run.

    Attributes:
        id: its name in the file.
        task_id: the task; runs of one task are not independent.
        messages: the recording, from the system message to the end.
        tools: the tool schemas as JSON text, empty where the file has none.
    """

    id: str
    task_id: str
    messages: tuple[Message, ...]
    tools: str = ""

    @property
    def calls(self) -> list[int]:
        """The index of each assistant message: before each of them the model was called once."""
        return [i for i, message in enumerate(self.messages) if message.role == "assistant" and i > 0]


def load(path: Path) -> list[Trajectory]:
    """Read one file of runs, and the tool schemas beside it if there are any."""
    schemas = path.with_name(path.name.split(".")[0] + ".tools.json")
    tools = json.dumps(json.loads(schemas.read_text(encoding="utf-8"))) if schemas.exists() else ""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    return [
        Trajectory(str(row["id"]), str(row["task_id"]), tuple(map(_message, row["messages"])), tools) for row in rows
    ]


def part_of(task_id: str, seed: int = 0) -> str:
    """Return `tuned` or `unseen`: which half of a file a task belongs to, by a hash of its id."""
    digest = hashlib.sha256(f"{seed}:{task_id}".encode()).digest()
    return "tuned" if digest[0] % 2 == 0 else "unseen"


def joined(trajectories: Sequence[Trajectory], size: int = 10) -> list[Trajectory]:
    """Join runs, `size` at a time, into threads: the system message once, then one conversation after another."""
    return [_join(trajectories[i : i + size]) for i in range(0, len(trajectories) - size + 1, size)]


def _join(runs: Sequence[Trajectory]) -> Trajectory:
    first = runs[0]
    messages = [message for message in first.messages if message.role == "system"]
    for run in runs:
        messages.extend(_without_system(run.messages))
    return replace(first, id=f"{first.id}+{len(runs) - 1}", messages=tuple(messages))


def _without_system(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if message.role != "system"]


def _message(row: dict[str, Any]) -> Message:
    calls = tuple(
        ToolCall(call["function"]["name"], call["function"]["arguments"], call.get("id"))
        for call in row.get("tool_calls") or ()
    )
    return Message(row["role"], row.get("content") or "", calls, row.get("tool_call_id"), row.get("name"))
