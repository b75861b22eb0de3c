"""A long task for an agent of either framework, with a cheap model at hand that can summarize its steps."""

from __future__ import annotations

import json

from thrift_core.messages import Message, ToolCall
from thrift_core.recall.store import RecallStore
from thrift_core.testing import Reply
from thrift_core.testing.chat import ApiError, ChatRequest
from thrift_core.thrift import Thrift
from thrift_core.tokens import EstimatedCounter
from thrift_core.trajectory.summarizer import TrajectorySummarizer

LARGE, SMALL = "gpt-5", "gpt-5-nano"
POLICY = "You look after a log. " * 300
PARTS = 36
TASK = f"Please read all {PARTS} parts of the log."
SAID = "The parts read so far hold rows and nothing else of note."
DONE = "All parts were read."


def part(number: int) -> str:
    """Return a part of the log, so full of names that no stub of facts pays."""
    return f"Part {number}: " + " ".join(f"row_{number}_{row}" for row in range(60))


def brain(request: ChatRequest) -> Reply:
    """Read one part after another; the small model summarizes."""
    if request.model == SMALL:
        return Reply(text=SAID)
    number = _next_part(request.messages)
    if number > int(next(message.text for message in request.messages if message.role == "user").split()[3]):
        return Reply(text=DONE)
    return Reply(tool_calls=(ToolCall("read_log", json.dumps({"part": number}), f"call_{number}"),))


def failing_brain(request: ChatRequest) -> Reply:
    """Read one part after another; the small model is out of order."""
    if request.model == SMALL:
        raise ApiError(400, "No such luck.")
    return brain(request)


def inventing_brain(request: ChatRequest) -> Reply:
    """Read one part after another; the small model makes things up."""
    return Reply(text="Invoice 99-481-X is due.") if request.model == SMALL else brain(request)


def levers(store: RecallStore | None = None) -> Thrift:
    """Return levers that may cut, with a counter that is quick."""
    return Thrift(summarizer=TrajectorySummarizer(mode="rewrite", counter=EstimatedCounter(), store=store))


def _next_part(messages: tuple[Message, ...]) -> int:
    calls = [call for message in messages for call in message.tool_calls]
    return json.loads(calls[-1].arguments)["part"] + 1 if calls else 1
