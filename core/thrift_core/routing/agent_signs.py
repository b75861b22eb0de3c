"""Signs in a conversation that an agent is stuck: the same call again and again, tools that keep failing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import cast

from thrift_core.messages import Message

_FAILED = re.compile(
    r"\s*(?:<tool_use_error>|\W{0,3}(?:tool |api |http |validation |value |type |key )?(?:error|exception|traceback)\b"
    r"|traceback \(most recent|\w*(?:Error|Exception)\b\s*[:(]|(?:invalid|unknown|missing) (?:argument|parameter|tool)"
    r"|fatal:|permission denied|command not found|no such file)",
    re.IGNORECASE,
)
_FLAGS = ("error", "is_error", "isError")


def repeated_calls(messages: Sequence[Message]) -> int:
    """Return how often the last tool call stands in a row, with the same arguments and the same answer.

    Example:
        >>> from thrift_core.messages import ToolCall
        >>> ask, answer = Message("assistant", "", (ToolCall("look", "{}"),)), Message("tool", "nothing")
        >>> repeated_calls([Message("user", "find it"), ask, answer, ask, answer])
        2
    """
    turns: list[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]] = []
    answers: list[str] = []
    for message in reversed(messages):
        if message.role == "tool":
            answers.append(message.text)
        elif message.role == "assistant" and message.tool_calls:
            asked = tuple(sorted((call.name, _canonical(call.arguments)) for call in message.tool_calls))
            turns.append((asked, tuple(answers)))
            answers = []
            if turns[-1] != turns[0]:
                return len(turns) - 1
        else:
            break
    return len(turns)


def failed_results(messages: Sequence[Message]) -> int:
    """Return how many tool results in a row, counted from the last, say that the call failed."""
    failed = 0
    for message in reversed(messages):
        if message.role == "assistant" and message.tool_calls:
            continue
        if message.role != "tool" or not _says_failure(message.text):
            break
        failed += 1
    return failed


def _says_failure(text: str) -> bool:
    start = text[:400]
    if _FAILED.match(start):
        return True
    if not start.lstrip().startswith("{"):
        return False
    try:
        value: object = json.loads(text)
    except ValueError:
        return False
    if not isinstance(value, dict):
        return False
    told = cast("dict[str, object]", value)
    return any(told.get(name) for name in _FLAGS) or told.get("status") in ("error", "failed")


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments
