"""A conversation made lean, as a runnable: messages, a prompt value or a state in, the same out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, PrivateAttr, SkipValidation
from thrift_core.accounting.ledger import Ledger
from thrift_core.messages import Request, tool_name
from thrift_core.recall.store import RecallStore
from thrift_core.thrift import Thrift
from thrift_core.trajectory import summarizer as core

from langchain_thrift.attribution import attributed
from langchain_thrift.conversation import Conversation, like, messages_in
from langchain_thrift.edits import planned
from langchain_thrift.tool_schemas import Tool, ToolSchemas
from langchain_thrift.view import message_view


class TrajectorySummarizer(RunnableSerializable[Any, Any]):
    """Shortens a growing conversation, each message once, and only where that lowers the bill at cached prices.

    Put it before the model in a chain. Takes a list of messages, a prompt value or a dictionary with `messages`, and
    returns the same kind; messages that are shortened are copies. It calls no model. Whatever goes wrong in it, the
    conversation comes out as it went in.

    In an agent, use `ThriftMiddleware`, which knows the model, its tools and the system prompt by itself. What the mode
    `rewrite` cuts can be recalled only if the `recall` tool is offered to the model, see `recall_tools`; and whether a
    cut pays can be told only with `system` and `tools` given, where the conversation comes without them.

    Attributes:
        mode: `append_only` (nothing that was sent before is changed, and nothing lost) or `rewrite`.
        model: the model that the conversation goes to, for its prices.
        provider: its provider.
        system: the system prompt that the model is sent before the conversation.
        tools: the tools that it is offered.
        store: where what is cut is kept; in memory by default.
        ledger: where savings are booked; in memory by default.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> TrajectorySummarizer().invoke([HumanMessage("Hello")])[0].text
        'Hello'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    mode: core.SummarizerMode = "append_only"
    model: str | None = None
    provider: str | None = None
    system: str | None = None
    tools: Sequence[SkipValidation[Tool]] = ()
    store: SkipValidation[RecallStore | None] = None
    ledger: Ledger | None = None
    _thrift: Thrift = PrivateAttr()
    _schemas: ToolSchemas = PrivateAttr(default_factory=ToolSchemas)

    def model_post_init(self, context: Any, /) -> None:
        """Make the lever."""
        super().model_post_init(context)
        lever = core.TrajectorySummarizer(mode=self.mode, store=self.store)
        self._thrift = Thrift(summarizer=lever, ledger=self.ledger)

    @property
    def thrift(self) -> Thrift:
        """The levers, with their ledger, their recall store and the tools that they want offered."""
        return self._thrift

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Return the conversation as it should be sent."""
        return self._call_with_config(self._lean, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """As `invoke`, with the work kept off the event loop."""
        return await self._acall_with_config(self._alean, input, config)

    async def _alean(self, given: Conversation) -> Conversation:
        return await asyncio.to_thread(self._lean, given)

    def _lean(self, given: Conversation) -> Conversation:
        messages = messages_in(given)
        lean = self._shortened(messages)
        return given if lean is None else like(given, lean)

    def _shortened(self, messages: Sequence[BaseMessage]) -> list[BaseMessage] | None:
        guard = self._thrift.guard
        before = [] if self.system is None else [SystemMessage(self.system)]
        sent: list[BaseMessage] = [*before, *messages]
        request = guard.run("view", lambda: self._request(sent))
        if request is None:
            return None
        with attributed():
            plan = self._thrift.plan(request)
        # The system prompt is never edited, so what comes after it is the conversation.
        return guard.run("apply", lambda: planned(sent, plan)[len(before) :]) if plan.applied else None

    def _request(self, messages: Sequence[BaseMessage]) -> Request:
        views = tuple(message_view(message) for message in messages)
        offered = tuple(self._schemas.of(tool) for tool in self.tools)
        names = {tool_name(schema) for schema in offered}
        missing = (schema for schema in self._thrift.tools if tool_name(schema) not in names)
        return Request(views, model=self.model, provider=self.provider, tools=(*offered, *missing))
