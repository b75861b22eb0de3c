"""Views of messages that are seen again at every step, each worked out once."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from thrift_core.messages import Message

from llamaindex_thrift.view import message_view

# Where older clients keep calls, as objects of their own that may change in their place.
_CALLS_BESIDE = ("tool_calls", "function_call")
_IDS = ("tool_call_id", "call_id", "name")


@dataclass(frozen=True, slots=True)
class _Known:
    message: weakref.ref[ChatMessage]
    said: tuple[object, ...]
    view: Message


@dataclass(slots=True)
class Views:
    """Remembers the views of messages as long as the messages live.

    The core compares a history with what it saw before; views that are the same objects are compared at once. A
    message that says something else than when it was last seen is looked at anew.
    """

    _known: dict[int, _Known] = field(default_factory=dict[int, _Known])

    def of(self, message: ChatMessage) -> Message:
        """Return a message as the levers see it."""
        key, said = id(message), _said(message)
        known = self._known.get(key)
        if said is not None and known is not None and known.message() is message and known.said == said:
            return known.view
        view = message_view(message)
        if said is not None:
            self._known[key] = _Known(weakref.ref(message, lambda _: self._known.pop(key, None)), said, view)
        return view


def _said(message: ChatMessage) -> tuple[object, ...] | None:
    """Return what a message's view depends on, None where that can change unseen.

    Of other blocks than text and calls only which they are: the view holds the very blocks, and nothing of what is in
    them.
    """
    more = message.additional_kwargs
    if any(name in more for name in _CALLS_BESIDE):
        return None
    said: list[object] = [message.role, *map(more.get, _IDS)]
    for block in message.blocks:
        if isinstance(block, TextBlock):
            said.append(block.text)
        elif isinstance(block, ToolCallBlock):
            given = block.tool_kwargs
            if not isinstance(given, str) and any(isinstance(value, dict | list) for value in dict(given).values()):
                return None
            said.append((block.tool_name, block.tool_call_id, given if isinstance(given, str) else dict(given)))
        else:
            said.append(id(block))
    return tuple(said)
