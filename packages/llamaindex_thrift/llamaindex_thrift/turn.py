"""One call of the app, from its messages to the answer it gets: one request, and one more for each recall."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from llama_index_instrumentation.dispatcher import active_instrument_tags
from thrift_core.accounting.attribution import attribute, from_metadata
from thrift_core.accounting.prediction import predicting
from thrift_core.accounting.reading import read_usage
from thrift_core.caching.provider_rules import rules_for
from thrift_core.levers import LeverName
from thrift_core.messages import CacheBreakpoint, Request, tool_name
from thrift_core.plan import Plan
from thrift_core.recall.scope import nothing_to_recall, recall_within
from thrift_core.thrift import Thrift

from llamaindex_thrift.breakpoints import cache_key, marked, marker_of
from llamaindex_thrift.edits import edited
from llamaindex_thrift.recall import Recalls
from llamaindex_thrift.summaries import Summaries
from llamaindex_thrift.usage import Response, reported_usage
from llamaindex_thrift.view import message_view, provider_of, request_view, tool_calls, tools_of
from llamaindex_thrift.views import Views

# The keyword argument by which a call says that our recall tool is among its tools.
OFFERED = "thrift_recall"
_PART = "llamaindex"
# More recalls than this in one step are no use; the app then gets the model's next one to deal with.
_MOST_RECALLS = 8
_NOT_NOW = "Not run yet: ask again after reading what was recalled."
# What voids provider caches, see `thrift_core.caching.provider_rules`.
_PARAMETERS = ("tool_choice", "thinking", "response_format")


class Turn:
    """Prepares the requests of one call, and answers what the model recalls in between.

    Nothing that fails here reaches the app: what is not understood is sent as it came.

    Args:
        llm: the wrapped LLM.
        thrift: the levers.
        recalls: what was recalled in this LLM's conversations.
        messages: as the app gave them; never changed.
        kwargs: the call's keyword arguments, likewise.
        skip: levers that cannot work on this kind of call.
        summaries: has summaries written that the levers want; None where nobody does.
        views: remembers the views of messages that were seen before.
    """

    def __init__(
        self,
        llm: LLM,
        thrift: Thrift,
        recalls: Recalls,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        *,
        skip: Collection[LeverName] = (),
        summaries: Summaries | None = None,
        views: Views | None = None,
    ) -> None:
        self._llm = llm
        self._thrift = thrift
        self._recalls = recalls
        self._given = list(messages)
        self._kwargs = {name: value for name, value in kwargs.items() if name != OFFERED}
        self._tool_names = {str(tool["function"]["name"]) for tool in thrift.tools} if kwargs.get(OFFERED) else set()
        self._skip: set[LeverName] = set(skip)
        if thrift.tools and not self._tool_names:
            self._skip.update(thrift.needing_tools)
        self._is_idle = is_idle(thrift) or keeps_history(llm)
        self._messages = self._given
        self._seen: Request | None = None
        self._recalled: list[ChatMessage] = []
        self._plan: Plan | None = None
        self._rounds = 0
        self._held: ChatResponse | None = None
        self._reported: Mapping[str, Any] | None = None
        self._summaries = summaries
        self._view = message_view if views is None else views.of
        self._sent: tuple[list[ChatMessage], dict[str, Any]] = [], {}

    def prepare(self) -> tuple[list[ChatMessage], dict[str, Any]]:
        """Return the messages and keyword arguments to send now."""
        as_it_came = list(self._messages), dict(self._kwargs)
        self._plan = self._held = self._reported = None
        if self._is_idle:
            return as_it_came
        guard = self._thrift.guard
        request = guard.run(_PART, self._request)
        if request is None:
            return as_it_came
        with attribute(**asdict(from_metadata(active_instrument_tags.get()))):
            plan = self._thrift.plan(request, skip=self._skips(request))
        applied = guard.run(_PART, lambda: self._applied(request, plan))
        if applied is None:
            self._thrift.withdraw(plan)
            return list(self._messages), dict(self._kwargs)
        self._plan = plan
        # Clients append to what they are given.
        self._sent = list(applied[0]), dict(applied[1])
        return applied

    async def aprepare(self) -> tuple[list[ChatMessage], dict[str, Any]]:
        """Do what `prepare` does, off the event loop."""
        return self.prepare() if self._is_idle else await asyncio.to_thread(self.prepare)

    def predicted(self) -> AbstractContextManager[None]:
        """Return a block in which calls are noted with what the planner predicts of what was prepared last."""
        advice = None if self._plan is None else self._plan.advice
        return predicting(None if advice is None or not advice.predicted.input_tokens else advice.predicted.cache_read)

    @property
    def changed(self) -> bool:
        """Whether what was prepared last says anything else than what the app gave."""
        return self._plan is not None and bool(self._plan.applied)

    def forwards(self, chunk: ChatResponse) -> bool:
        """Take in a piece of a stream; False where the app must not see it, since it recalls something."""
        self._reported = reported_usage(chunk) or self._reported
        self._held = chunk if self._is_recall(chunk) else None
        return self._held is None

    def ended(self) -> bool:
        """Return whether a stream ended with a recall; if it did, it is answered, and the next request can be made."""
        self.observe(None)
        return self._held is not None and self.answer(self._held)

    def observe(self, response: Response | None) -> None:
        """Tell the levers what was billed."""
        plan = self._plan
        if plan is not None and plan.steps:
            self._thrift.guard.run(_PART, lambda: self._learn(plan, response))
            if self._summaries is None:
                self._thrift.withdraw(plan)
            else:
                self._summaries.start(plan, *self._sent)

    def asks(self, response: ChatResponse) -> bool:
        """Return whether an answer is for us and not for the app."""
        self.observe(response)
        return self._is_recall(response)

    def answer(self, response: ChatResponse) -> bool:
        """Answer a recall, so that the next request can be made; False where that fails."""
        exchange = self._thrift.guard.run(_PART, lambda: self._exchange(response))
        if exchange is None:
            return False
        self._rounds += 1
        self._messages = [*self._messages, *exchange]
        self._recalled += exchange
        if self._seen is not None:
            self._recalls.note(self._seen.messages, self._recalled)
        return True

    def _request(self) -> Request:
        settings = vars(self._llm)
        request = request_view(self._messages, self._kwargs, settings, view=self._view)
        if self._seen is None:
            self._seen = request
            self._recalled = list(self._recalls.after(request.messages))
            self._messages = self._recalls.woven_in(request.messages, self._given)
            if len(self._messages) != len(self._given):
                request = replace(request, messages=tuple(map(self._view, self._messages)))
        given = {name: self._kwargs[name] for name in _PARAMETERS if self._kwargs.get(name) is not None}
        provider = provider_of(settings, self._llm.class_name())
        return replace(request, provider=provider, parameters=given)

    def _skips(self, request: Request) -> set[LeverName]:
        """Return the levers to leave out: also the planner, where its breakpoints could not be sent."""
        if marker_of(self._llm, self._messages, self._kwargs) is not None:
            return self._skip
        rules = rules_for(request.provider, request.model)
        return self._skip if rules is None or rules.style == "automatic" else {*self._skip, "planner"}

    def _applied(self, request: Request, plan: Plan) -> tuple[list[ChatMessage], dict[str, Any]]:
        messages = list(self._messages)
        for step in plan.applied:
            messages = edited(messages, step.edits)
        if len(messages) != len(plan.request.messages):
            raise ValueError(f"{len(plan.request.messages)} messages were planned, {len(messages)} came out")
        kwargs = dict(self._kwargs)
        if plan.request.tools is not request.tools:
            kwargs.update(_in_order(kwargs, plan.request))
        kwargs.update(cache_key(self._llm, plan.advice, kwargs))
        breakpoints = [edit for step in plan.applied for edit in step.edits if isinstance(edit, CacheBreakpoint)]
        marker = marker_of(self._llm, self._messages, self._kwargs)
        return marked(messages, kwargs, breakpoints, marker) if breakpoints and marker else (messages, kwargs)

    def _learn(self, plan: Plan, response: Response | None) -> None:
        payload = self._reported if response is None else reported_usage(response)
        if payload is not None:
            self._thrift.observe(plan, read_usage(payload, provider=plan.request.provider).usage)

    def _is_recall(self, response: ChatResponse) -> bool:
        if not self._tool_names or self._rounds >= _MOST_RECALLS:
            return False
        return any(call.name in self._tool_names for call in tool_calls(response.message))

    def _exchange(self, response: ChatResponse) -> list[ChatMessage]:
        """Return the model's message and an answer to each call in it; other calls than recalls it has to repeat."""
        if not isinstance(self._llm, FunctionCallingLLM):
            raise TypeError(f"{type(self._llm).__name__} does not say what its answers call")
        calls = self._llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        return [
            response.message,
            *(
                ChatMessage(
                    role=MessageRole.TOOL,
                    content=self._recall(call.tool_kwargs) if call.tool_name in self._tool_names else _NOT_NOW,
                    additional_kwargs={"tool_call_id": call.tool_id},
                )
                for call in calls
            ),
        ]

    def _recall(self, arguments: Mapping[str, Any]) -> str:
        """Give back what was cut from this very conversation, and nothing else that the store may hold."""
        found = recall_within(tuple(map(message_view, self._messages)), self._thrift.recall, arguments)
        return nothing_to_recall(arguments) if found is None else found


def is_idle(thrift: Thrift) -> bool:
    """Return whether no lever that edits requests is on or in shadow."""
    return all(mode == "off" for name, mode in thrift.modes.items() if name != "cache")


def _in_order(kwargs: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return the tools as an argument in the planned order, nothing where there are others than the view shows."""
    given = kwargs.get("tools")
    listed = given.get("tools") if isinstance(given, Mapping) else given
    ours = list(request.tools)
    if not isinstance(listed, list) or len(listed) != len(ours) or not all(map(tool_name, tools_of(kwargs))):
        return {}
    return {"tools": {**given, "tools": ours} if isinstance(given, Mapping) else ours}


def keeps_history(llm: LLM) -> bool:
    """Return whether the provider keeps the conversation, so that what is sent is not what it reads."""
    return bool(getattr(llm, "track_previous_responses", False) or getattr(llm, "_previous_response_id", None))
