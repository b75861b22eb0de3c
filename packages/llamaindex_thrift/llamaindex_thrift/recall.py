"""The `recall` tool inside an LLM: offered beside the app's own tools, answered before the app sees the call.

An agent keeps its history as it was; only what is sent is cut. So it is the LLM, not the agent, that knows what was cut
from which conversation, and that can give it back: the model asks, is answered, and goes on, all within one call of the
app. What was recalled stays in later requests of the same conversation, at the same place, so that the provider's
cached prefix holds.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import BaseTool, FunctionTool, ToolMetadata
from pydantic import BaseModel
from thrift_core.messages import Message
from thrift_core.thrift import Thrift

# How many steps with recalls are remembered; what is forgotten can be recalled again.
_MOST_KEPT = 256


class _Arguments(BaseModel):
    id: str
    query: str = ""


@dataclass
class _AsDefined(ToolMetadata):
    """A tool's definition, word for word: it is sent with every call, and LlamaIndex's own would be twice as long."""

    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def get_parameters_dict(self) -> dict[str, Any]:
        return copy.deepcopy(dict(self.parameters))  # clients write into it


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What was recalled after certain messages."""

    after: tuple[Message, ...]
    messages: tuple[ChatMessage, ...]


def recall_tools(thrift: Thrift, *, is_strict: bool = False) -> list[BaseTool]:
    """Return the tools that thrift's levers need offered, none where they need none.

    Args:
        thrift: the levers.
        is_strict: whether every argument must be required, as OpenAI's strict mode asks.
    """
    return [_tool(definition["function"], is_strict) for definition in thrift.tools]


class Recalls:
    """What was recalled in each conversation. Safe to share between threads."""

    def __init__(self) -> None:
        self._exchanges: list[_Exchange] = []
        self._lock = threading.Lock()

    def after(self, views: Sequence[Message]) -> tuple[ChatMessage, ...]:
        """Return what was recalled after these messages of an app."""
        seen = tuple(views)
        return next((one.messages for one in self._exchanges if one.after == seen), ())

    def note(self, views: Sequence[Message], messages: Sequence[ChatMessage]) -> None:
        """Keep what was recalled after these messages of an app, instead of what was kept for them before."""
        exchange = _Exchange(tuple(views), tuple(messages))
        with self._lock:
            others = [other for other in self._exchanges if other.after != exchange.after]
            self._exchanges = [*others, exchange][-_MOST_KEPT:]

    def woven_in(self, views: Sequence[Message], messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Return an app's messages with what was recalled between and after them.

        Args:
            views: the messages as the levers see them.
            messages: the messages.
        """
        seen = tuple(views)
        ours = {len(one.after): one.messages for one in self._exchanges if seen[: len(one.after)] == one.after}
        out = list(ours.get(0, ()))
        for at, message in enumerate(messages, start=1):
            out += [message, *ours.get(at, ())]
        return out


def _tool(definition: Mapping[str, Any], is_strict: bool) -> BaseTool:
    parameters = copy.deepcopy(dict(definition["parameters"]))
    if is_strict:
        parameters["required"] = list(parameters["properties"])
    metadata = _AsDefined(
        name=definition["name"],
        description=definition["description"],
        fn_schema=_Arguments,
        parameters=parameters,
    )
    return FunctionTool(fn=_not_here, metadata=metadata)


def _not_here(id: str, query: str = "") -> str:  # noqa: A002 - the tool's own name for it
    return f"{id} can only be recalled by the model that was shown it."
