"""What the levers make of a chat model's request: the messages and keyword arguments to send instead."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from thrift_core.caching.provider_rules import rules_for
from thrift_core.levers import LEVER_ORDER, LeverName
from thrift_core.messages import CacheBreakpoint, Request, tool_name
from thrift_core.plan import Plan
from thrift_core.thrift import Thrift

from langchain_thrift.breakpoints import Marker, is_marked, is_official_openai, is_refusal, marker_for
from langchain_thrift.edits import planned
from langchain_thrift.tool_schemas import Tool, tools_as_planned
from langchain_thrift.views import Views

logger = logging.getLogger("thrift")
# What decides, beside messages and tools, whether a provider finds its cached prefix again.
_PARAMETERS = ("thinking", "reasoning_effort", "temperature", "tool_choice", "response_format")
_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Sending:
    """A request as it is sent.

    Attributes:
        messages: the messages.
        kwargs: the keyword arguments, without `stop`.
        plan: what the levers decided; None where they were not asked.
        is_marked: our prompt-cache markers are in it.
    """

    messages: list[BaseMessage]
    kwargs: dict[str, Any]
    plan: Plan | None = None
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    messages: list[BaseMessage]
    kwargs: Mapping[str, Any]
    view: Request
    marker: Marker | None
    is_theirs: bool
    skip: tuple[LeverName, ...]


class ChatPlanning:
    """Asks the levers what to send to one chat model. Whatever fails, the request is sent as it came.

    Args:
        thrift: the levers.
        model: the model that answers.
    """

    def __init__(self, thrift: Thrift, model: BaseChatModel) -> None:
        self._thrift = thrift
        self._model = model
        self._views = Views()
        self._is_refused = False
        self._is_idle = all(thrift.modes[lever] == "off" for lever in LEVER_ORDER)

    def sending(self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: dict[str, Any]) -> Sending:
        """Return the request to send."""
        seen = self._look(messages, stop, kwargs)
        if seen is None:
            return Sending(list(messages), kwargs)
        return self._applied(seen, self._thrift.plan(seen.view, skip=seen.skip))

    async def asending(
        self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: dict[str, Any]
    ) -> Sending:
        """Do what `sending` does, off the event loop."""
        seen = self._look(messages, stop, kwargs)
        if seen is None:
            return Sending(list(messages), kwargs)
        return self._applied(seen, await self._thrift.aplan(seen.view, skip=seen.skip))

    def without_marks(self, sent: Sending, error: Exception) -> bool:
        """Return whether a provider refused our markers; from then on none are placed."""
        if not sent.is_marked or not is_refusal(error):
            return False
        self._is_refused = True
        self._thrift.ledger.count_fault("planner", "markers refused")
        logger.warning("prompt-cache markers were refused and are left out from now on: %s", error)
        return True

    def _look(
        self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: Mapping[str, Any]
    ) -> _Seen | None:
        if self._is_idle:
            return None
        return self._thrift.guard.run("view", lambda: self._seen(messages, stop, kwargs))

    def _seen(self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: Mapping[str, Any]) -> _Seen:
        tools = _tools(kwargs)
        about = self._model._get_ls_params(stop=None if stop is None else list(stop), **kwargs)
        limit = next((kwargs[name] for name in _LIMITS if type(kwargs.get(name)) is int), about.get("ls_max_tokens"))
        view = Request(
            messages=tuple(self._views.of(message) for message in messages),
            model=about.get("ls_model_name"),
            provider=about.get("ls_provider"),
            tools=tuple(tool for tool in tools if isinstance(tool, Mapping)),
            max_output_tokens=limit if type(limit) is int and limit > 0 else None,
            parameters=self._parameters(kwargs),
        )
        is_theirs = is_marked(messages, tools, kwargs)
        marker = None if is_theirs or self._is_refused else marker_for(self._model)
        skip = tuple(self._skipped(view, has_marker=marker is not None, is_theirs=is_theirs))
        return _Seen(list(messages), kwargs, view, marker, is_theirs, skip)

    def _parameters(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: kwargs.get(name, getattr(self._model, name, None)) for name in _PARAMETERS}
        return {name: value for name, value in found.items() if isinstance(value, str | int | float | Mapping)}

    def _skipped(self, view: Request, *, has_marker: bool, is_theirs: bool) -> Generator[LeverName]:
        offered = {tool_name(tool) for tool in view.tools}
        if not all(tool_name(tool) in offered for tool in self._thrift.tools):
            yield from self._thrift.needing_tools
        rules = rules_for(view.provider, view.model)
        takes_markers = rules is not None and rules.style != "automatic"
        if is_theirs or (takes_markers and not has_marker):
            yield "planner"

    def _applied(self, seen: _Seen, plan: Plan) -> Sending:
        if plan.summary is not None:
            self._thrift.withdraw(plan)  # nobody here would run the model that writes it
        as_it_came = Sending(seen.messages, dict(seen.kwargs), plan)
        return self._thrift.guard.run("apply", lambda: self._edited(seen, plan)) or as_it_came

    def _edited(self, seen: _Seen, plan: Plan) -> Sending:
        marker = seen.marker

        def mark(message: BaseMessage, edit: CacheBreakpoint) -> BaseMessage:
            return (marker.message(message, edit.ttl) if marker is not None else None) or message

        messages = planned(seen.messages, plan, mark=mark)
        if len(messages) != len(plan.request.messages):
            raise ValueError(f"{len(plan.request.messages)} messages were planned, {len(messages)} would be sent")
        kwargs = dict(seen.kwargs)
        given = _tools(kwargs)
        marks = [edit for step in plan.applied for edit in step.edits if isinstance(edit, CacheBreakpoint)]
        if given and not seen.is_theirs:
            ordered = tools_as_planned(given, seen.view.tools, plan.request.tools)
            at_tools = next((edit for edit in marks if edit.index < 0), None)
            marked = marker.tools(ordered, at_tools.ttl) if at_tools is not None and marker is not None else None
            kwargs["tools"] = marked or ordered
        key = plan.advice.hints.prompt_cache_key if plan.advice is not None else None
        if key is not None and marker is not None and is_official_openai(self._model):
            kwargs.setdefault("prompt_cache_key", key)
        return Sending(messages, kwargs, plan, is_marked=bool(marks) and marker is not None)


def _tools(kwargs: Mapping[str, Any]) -> list[Tool]:
    """Return the tools that are sent, as their definitions; none where they are given in another form."""
    tools = kwargs.get("tools")
    is_plain = isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)
    return list(tools) if is_plain and tools else []
