"""One message of a conversation, with what is sent in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thrift_core.messages import Message

Count = Callable[[str], int]
State = Literal["raw", "short", "stub", "block", "dropped"]
# What providers add around a message, about; the same on both sides of every comparison made here.
_FRAME_TOKENS = 4
NEEDS_NOTHING = 1 << 60


class NotKept(Exception):
    """What was to be cut could not be put into the recall store, so it is not cut."""


@dataclass(slots=True)
class Entry:
    """One message as the summarizer keeps it.

    Attributes:
        message: as the application has it.
        tool: for a tool message, the tool's name.
        raw_tokens: its tokens as it is.
        text_tokens: the part of `raw_tokens` that is its text.
        tokens: its tokens as sent; 0 once it is dropped.
        state: `raw` (as it is), `short` (loses nothing), `stub` or `block` (the rest can be recalled) or `dropped`.
        text: what is sent instead of its text, unless `raw` or `dropped`.
        how: why, in words.
        name: for a tool message, the name that later results refer to it by.
        refers_to: the names of earlier results that its text cannot be read without.
        earliest_needed: the oldest message that this one's tool calls take a value from.
        is_clean: whether it may be dropped with its unit: no call of it is unanswered, no result without its call.
        is_kept_whole: whether a stub for it was found to be too long.
        unit_start: the index of the first message of its unit (a message, or a call with its results).
    """

    message: Message
    tool: str
    raw_tokens: int
    tokens: int
    text_tokens: int = 0
    state: State = "raw"
    text: str = ""
    how: str = ""
    name: str = ""
    refers_to: frozenset[str] = frozenset()
    earliest_needed: int = NEEDS_NOTHING
    is_clean: bool = False
    unit_start: int = 0
    is_kept_whole: bool = False

    @property
    def is_readable(self) -> bool:
        """Whether all that the message said is in the request."""
        return self.state in ("raw", "short")

    @property
    def sent_text(self) -> str:
        """The text that is sent."""
        return "" if self.state == "dropped" else self.message.text if self.state == "raw" else self.text


def entry_of(message: Message, tool: str, count: Count) -> Entry:
    """Return the entry of a message that is sent as it is: its text, its calls' names and arguments, and a frame."""
    text_tokens = count(message.text) if message.text else 0
    calls = sum(count(call.name) + count(call.arguments) for call in message.tool_calls)
    tokens = text_tokens + calls + _FRAME_TOKENS
    return Entry(message, tool, tokens, tokens, text_tokens)
