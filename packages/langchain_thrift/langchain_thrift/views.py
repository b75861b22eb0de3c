"""Views of messages that are seen again at every step, each worked out once."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage
from thrift_core.messages import Message

from langchain_thrift.view import message_view


@dataclass(frozen=True, slots=True)
class _Known:
    message: weakref.ref[BaseMessage]
    content: object
    calls: object
    view: Message

    def says(self, content: object, calls: object) -> bool:
        return self.content is content and self.calls is calls


@dataclass(slots=True)
class Views:
    """Remembers the views of messages as long as the messages live.

    The core compares a history with what it saw before; views that are the same objects are compared at once. A
    message whose text or calls were replaced since is looked at anew; one made of blocks always is, for blocks can be
    changed in their place.
    """

    _known: dict[int, _Known] = field(default_factory=dict[int, _Known])

    def of(self, message: BaseMessage) -> Message:
        """Return a message as the levers see it."""
        key, calls = id(message), getattr(message, "tool_calls", None)
        known = self._known.get(key)
        if known is not None and known.message() is message and known.says(message.content, calls):
            return known.view
        view = message_view(message)
        if isinstance(message.content, str):
            forget = weakref.ref(message, lambda _: self._known.pop(key, None))
            self._known[key] = _Known(forget, message.content, calls, view)
        return view
