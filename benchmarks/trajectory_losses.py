"""What later steps needed and a policy had cut: argument values, and facts in the agent's replies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from thrift_core.messages import Message

from benchmarks.trajectory_data import Trajectory

# Inside a command or a query only words that name something are values: paths, ids, numbers with a mark in them.
_NAMING = re.compile(r"[A-Za-z0-9][\w./:@-]{2,}\w")
_MARK = re.compile(r"[\d/_.@]")
_FACT = re.compile(r"[A-Za-z]*\d[\w.:/-]*\w|\d")
_MINIMUM = 4


@dataclass(slots=True)
class Losses:
    """Counts over all calls of a run.

    Attributes:
        values: argument values that had been seen before.
        lost: of those, the ones no longer in the request, nor one recall away.
        one_recall: of those, the ones no longer in the request that one recall would return.
        facts: facts in replies that had been seen before.
        facts_lost: of those, the ones no longer in the request, nor one recall away.
    """

    values: int = 0
    lost: int = 0
    one_recall: int = 0
    facts: int = 0
    facts_lost: int = 0


def find_losses(
    losses: Losses, run: Trajectory, at: int, sent: Sequence[Message], recallable: Sequence[str] = ()
) -> list[str]:
    """Add to the counts what the recorded answer at `at` used; return the lost argument values.

    Args:
        losses: counts to add to.
        run: the recording.
        at: the index of the assistant message that the request led to.
        sent: the request's messages.
        recallable: texts that one recall would return.
    """
    answer = run.messages[at]
    wanted = sorted({value for call in answer.tool_calls for value in argument_values(call.arguments)})
    facts = sorted(set(facts_of(answer.text)))
    if not wanted and not facts:
        return []
    before = _all_text(run.messages[:at]) + run.tools
    now = _all_text(sent) + run.tools
    missing: list[str] = []
    for value in wanted:
        if value not in before:
            continue
        losses.values += 1
        if value in now:
            continue
        if any(value in text for text in recallable):
            losses.one_recall += 1
        else:
            losses.lost += 1
        missing.append(value)
    plain_before, plain_now = before.replace(",", ""), now.replace(",", "")
    for fact in facts:
        if fact in plain_before:
            losses.facts += 1
            losses.facts_lost += fact not in plain_now and not any(fact in text for text in recallable)
    return missing


def argument_values(arguments: str) -> Iterator[str]:
    """Yield the values of at least four characters in a call's arguments: whole scalars, names inside longer text."""
    try:
        parsed = json.loads(arguments)
    except ValueError:
        parsed = arguments
    for text in _scalars(parsed):
        if len(text) >= _MINIMUM and not re.search(r"\s", text):
            yield text
        else:
            yield from (word for word in _NAMING.findall(text) if _MARK.search(word))


def facts_of(reply: str) -> Iterator[str]:
    """Yield the facts in a reply: words and numbers with a digit in them, at least three characters, no commas."""
    return (fact for fact in _FACT.findall(reply.replace(",", "")) if len(fact) >= 3)


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


@lru_cache(maxsize=4096)
def _message_text(message: Message) -> str:
    calls = "\n".join(f"{call.name}\n{call.arguments}" for call in message.tool_calls)
    return f"{message.text}\n{calls}\n{_unescaped(message.text)}"


def _all_text(messages: Sequence[Message]) -> str:
    return "\n".join(map(_message_text, messages))


def _unescaped(text: str) -> str:
    """Return the text with JSON escapes undone where it has any, so that a value matches however it is written."""
    if "\\" not in text:
        return ""
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")
