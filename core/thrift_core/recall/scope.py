"""Keeps recall to its conversation: nobody is given back what does not stand in their own messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from thrift_core.messages import ROLES, Message

Recall = Callable[[Mapping[str, Any]], str]


def recall_within(messages: Sequence[Message], recall: Recall, arguments: Mapping[str, Any]) -> str | None:
    """Answer a call of the `recall` tool, if what it gives back was cut from this conversation.

    A recall store may be shared by many users, and an id is a hash that a model can be talked into asking for. So the
    proof is the content: the application still has every message as it was, and only what can be found there again is
    served. That needs no register of who may recall what, and holds after a restart.

    Args:
        messages: the conversation as the application has it, nothing cut.
        recall: looks up and answers, such as `Thrift.recall`.
        arguments: what the model gave: `id`, and optionally `query`.

    Returns:
        the answer; None where nothing is kept under the id or it is not of this conversation, which look the same.
    """
    handle = arguments.get("id")
    if not isinstance(handle, str):
        return None
    whole = recall({"id": handle})
    if not is_from(whole, messages):
        return None
    return recall(arguments) if arguments.get("query") else whole


def nothing_to_recall(arguments: Mapping[str, Any]) -> str:
    """Return what to tell the model where `recall_within` has no answer."""
    return (
        f"Nothing was cut from this conversation under the id {arguments.get('id')!r}. "
        "Ids stand in cut results, after the word recall."
    )


def is_from(text: str, messages: Sequence[Message]) -> bool:
    """Say whether a recalled text is that of a message, or a transcript of nothing but these messages."""
    if any(text == message.text for message in messages):
        return True
    return _Known(messages).has_all(text)


class _Known:
    """What stands in a conversation, to check a transcript (see `blocks.transcript`) against."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._texts: set[object] = {message.text for message in messages}
        self._calls: set[object] = {(call.name, call.arguments) for message in messages for call in message.tool_calls}
        self._tools: set[object] = {call.name for message in messages for call in message.tool_calls}
        self._tools |= {"tool", *(message.name for message in messages if message.role == "tool")}

    def has_all(self, transcript: str) -> bool:
        lines = [line for line in transcript.split("\n") if line]
        try:
            return bool(lines) and all(self._has(json.loads(line)) for line in lines)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # no transcript of ours
            return False

    def _has(self, row: Any) -> bool:
        fields = cast("dict[str, Any]", row)
        return (
            fields.keys() <= {"role", "text", "calls", "tool"}
            and fields["role"] in ROLES
            and fields["text"] in self._texts
            and fields.get("tool", "tool") in self._tools
            and all(
                call.keys() == {"name", "arguments"} and (call["name"], call["arguments"]) in self._calls
                for call in fields.get("calls", ())
            )
        )
