"""The `recall` tool for LangChain agents: gives back what was cut from the conversation that asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain.tools import ToolRuntime
from langchain_core.messages import BaseMessage
from langchain_core.tools import StructuredTool
from thrift_core.recall.scope import nothing_to_recall, recall_within
from thrift_core.thrift import Thrift

from langchain_thrift.ingest import Originals
from langchain_thrift.view import message_view


class RecallTool(StructuredTool):
    """A tool of a `Thrift`, answered from its recall store.

    A conversation is given back only what stands in its own messages, whoever else uses the same store.
    """


def recall_tools(thrift: Thrift, originals: Originals | None = None) -> list[RecallTool]:
    """Return the tools that a `Thrift` wants offered to the model from the first call on.

    Args:
        thrift: whose levers cut, and keep what they cut.
        originals: where the texts of compacted results are; by default where the levers keep what they cut.
    """
    originals = originals or Originals(thrift.store)
    return [_tool(thrift, definition["function"], originals) for definition in thrift.tools]


def recalled(
    thrift: Thrift, arguments: Mapping[str, Any], messages: Sequence[BaseMessage], originals: Originals
) -> str | None:
    """Answer a call of the tool, None where it asks for what was not cut from these messages. Never raises.

    Args:
        thrift: whose store it is.
        arguments: what the model gave: `id`, and optionally `query`.
        messages: the conversation as the state has it.
        originals: restores compacted results.
    """

    def answer() -> str | None:
        views = [message_view(message) for message in originals.restored(messages)]
        return recall_within(views, thrift.recall, arguments)

    return thrift.guard.run("recall", answer)


def messages_in(state: Any) -> list[BaseMessage]:
    """Return the messages of an agent's state, whatever form it has."""
    if isinstance(state, list):
        return state
    found = state.get("messages", ()) if isinstance(state, Mapping) else getattr(state, "messages", ())
    return list(found)


def _tool(thrift: Thrift, function: Mapping[str, Any], originals: Originals) -> RecallTool:
    def answer(*, runtime: ToolRuntime, **arguments: Any) -> str:
        found = recalled(thrift, arguments, messages_in(runtime.state), originals)
        return found if found is not None else nothing_to_recall(arguments)

    return RecallTool(
        name=function["name"], description=function["description"], args_schema=function["parameters"], func=answer
    )
