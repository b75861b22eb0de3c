"""All of thrift for `create_agent`, as one middleware."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.prediction import predicting
from thrift_core.accounting.reading import read_usage
from thrift_core.accounting.usage import Usage
from thrift_core.caching.provider_rules import rules_for
from thrift_core.caching.semantic.serving import Serving
from thrift_core.errors import ConfigurationError, MissingExtra
from thrift_core.levers import LeverName
from thrift_core.messages import CacheBreakpoint, Request
from thrift_core.plan import Plan
from thrift_core.recall.store import RecallStore
from thrift_core.thrift import Thrift

from langchain_thrift.attribution import attributed
from langchain_thrift.breakpoints import Marker, is_marked, is_official_openai, is_refusal, marker_for
from langchain_thrift.costs import CostCallbackHandler
from langchain_thrift.counting import counting
from langchain_thrift.edits import planned
from langchain_thrift.ingest import Originals
from langchain_thrift.tool_schemas import Tool, ToolSchemas, tools_as_planned
from langchain_thrift.views import Views

try:
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
        ToolCallRequest,
    )
    from langgraph.types import Command

    from langchain_thrift.agent_cache import AgentPassage
    from langchain_thrift.agent_cascade import AgentCascade
    from langchain_thrift.model_request import messages_of, request_of, split
    from langchain_thrift.recall import RecallTool, messages_in, recall_tools, recalled
    from langchain_thrift.summaries import Summaries
except ImportError as error:
    raise MissingExtra("ThriftMiddleware", "langchain-thrift[agents]") from error

if TYPE_CHECKING:
    from thrift_core.routing import CascadeRouter

logger = logging.getLogger("thrift")
ToolResult = ToolMessage | Command[Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A model request with its view, and what cannot be done to it."""

    request: ModelRequest[Any]
    messages: list[BaseMessage]
    view: Request
    marker: Marker | None
    is_marked: bool
    skip: tuple[LeverName, ...]


class ThriftMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Cuts an agent's bill: lean history, warm prompt caches, every call counted and held to budgets.

    What the levers change is changed in the request alone: the agent's state keeps every message as it was. Whatever
    goes wrong in a lever leaves the request as it was. Works with `invoke`, `ainvoke` and all stream modes, with
    checkpointers and interrupts, and beside other middleware; put it last, so that it sees what is really sent.

    With a cache among the levers, a request that was answered before is answered without a model call; after a tool's
    message only the very same one, and none with a response format. Whom a run is for, and so who shares answers with
    whom, is read from its metadata, tags and `configurable`, from the agent's context and from enclosing
    `thrift_core.attribute` blocks.

    With `tiers`, each model call goes to the cheapest of them that is expected to do, whatever model the agent was made
    with, as in a `CascadeChatModel`: an answer that will not do goes up before anybody sees it, and a tool call that
    does not fit its schema never runs.

    Args:
        thrift: the levers that are on; lossless ones by default, or `Thrift.balanced()` with a `summary_model`.
        budgets: limits that hold: `BudgetExceeded` ends the run before a call that could pass one.
        persist: also write tool results compactly into the agent's state as they come in, for smaller checkpoints.
            Their originals are kept in the recall store of the levers, or in the store given here; the model is sent
            the same as without.
        feature: the feature that calls are attributed to which name none.
        summary_model: a cheap model that may summarize old steps of a long task, in the background and only where that
            pays by the prices known, its own call included. What was summarized can be recalled.
        tiers: chat models to route between, cheapest first, by name or in a list; the last stands for the agent's own.
        router: decides; a `CascadeRouter`, or a certificate or the path of one. None: rules that were not calibrated.
        side_effects: names of tools that act on the world, whose calls need more confidence.
        name: tells two of these in one agent apart where their settings do not.

    Raises:
        ConfigurationError: `persist=True`, and no lever has a recall store; a `summary_model`, and no lever takes
            summaries; or a `router` without `tiers`, or tiers that no `CascadeChatModel` can be made of.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models.fake_chat_models import FakeListChatModel
        >>> agent = create_agent(FakeListChatModel(responses=["Hello"]), middleware=[ThriftMiddleware()])
        >>> agent.invoke({"messages": [("user", "Hi")]})["messages"][-1].text
        'Hello'
    """

    def __init__(
        self,
        thrift: Thrift | None = None,
        *,
        budgets: Budgets | None = None,
        persist: bool | RecallStore = False,
        feature: str | None = None,
        summary_model: BaseChatModel | None = None,
        tiers: Mapping[str, BaseChatModel] | Sequence[BaseChatModel | str] | None = None,
        router: CascadeRouter | Any | str | Path | None = None,
        side_effects: Collection[str] = (),
        name: str | None = None,
    ) -> None:
        super().__init__()
        default = Thrift.safe if summary_model is None else Thrift.balanced
        self.thrift = thrift if thrift is not None else default()
        store = self.thrift.store if isinstance(persist, bool) else persist
        if persist is True and store is None:
            raise ConfigurationError(
                "persist=True needs a lever with a recall store; give persist=SQLiteRecallStore(...)"
            )
        self._is_persisting = persist is not False
        self._originals = Originals(store)
        self._views, self._schemas = Views(), ToolSchemas()
        self._costs = CostCallbackHandler(self.thrift.ledger, budgets, feature=feature)
        cache = self.thrift.cache
        self._serving = None if cache is None else Serving(cache, self.thrift.ledger)
        self._whom = Attribution(feature=feature)
        self.summaries = None if summary_model is None else Summaries(summary_model, self.thrift, self._costs)
        self._cascade = AgentCascade.of(
            tiers, router, ledger=self.thrift.ledger, budgets=None, side_effects=side_effects
        )
        self._refused: set[type] = set()
        self._warned: set[str] = set()
        self._name = name or _name(self.thrift, is_persisting=self._is_persisting, has_budgets=budgets is not None)
        if self._cascade is not None and name is None:
            self._name += "_cascade"
        self.tools: Sequence[Any] = recall_tools(self.thrift, self._originals)

    @property
    def name(self) -> str:
        """The middleware's name, which says what is switched on."""
        return self._name

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Answer from the cache, or send the request as the levers want it."""
        passage = self._passage(request)
        with attributed():
            served = passage.served()
        if served is not None:
            return served
        with passage:
            response = self._ask(request, handler)
            passage.finish(response)
        return response

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`."""
        passage = self._passage(request)
        with attributed():
            served = await passage.aserved()
        if served is not None:
            return served
        with passage:
            response = await self._aask(request, handler)
            await passage.afinish(response)
        return response

    def _passage(self, request: ModelRequest[Any]) -> AgentPassage:
        return AgentPassage(self._serving, self._routed(request), self._schemas, self._whom)

    def _routed(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        return request if self._cascade is None else self._cascade.routed(request)

    def _planned(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        return request if self._cascade is None else self._cascade.planned(request)

    def _ask(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        request = self._planned(request)
        with attributed():
            seen = self._look(request)
            plan = None if seen is None else self.thrift.plan(seen.view, skip=seen.skip)
            sent = self._sent(seen, plan) or request
        with counting(self._costs), predicting(_cache_read(plan)):
            try:
                response = handler(self._routed(sent))
            except Exception as error:
                if not self._is_refused(sent, request, error):
                    raise
                response = handler(self._routed(self._sent(seen, plan, is_marking=False) or request))
        return self._observed(plan, sent, response)

    async def _aask(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        request = self._planned(request)
        with attributed():
            seen = self._look(request)
            plan = None if seen is None else await self.thrift.aplan(seen.view, skip=seen.skip)
            sent = self._sent(seen, plan) or request
        with counting(self._costs), predicting(_cache_read(plan)):
            try:
                response = await handler(self._routed(sent))
            except Exception as error:
                if not self._is_refused(sent, request, error):
                    raise
                response = await handler(self._routed(self._sent(seen, plan, is_marking=False) or request))
        return self._observed(plan, sent, response)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]) -> ToolResult:
        """Answer `recall`, and compact what other tools say where that is asked for."""
        answer = self._recalled(request)
        return answer if answer is not None else self._ingested(request, handler(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """As `wrap_tool_call`, with the store kept off the event loop."""
        if isinstance(request.tool, RecallTool):
            answer = await asyncio.to_thread(self._recalled, request)
            return answer if answer is not None else await handler(request)
        result = await handler(request)
        return await asyncio.to_thread(self._ingested, request, result) if self._is_persisting else result

    def _look(self, request: ModelRequest[Any]) -> _Seen | None:
        return self.thrift.guard.run("view", lambda: self._seen(request))

    def _seen(self, request: ModelRequest[Any]) -> _Seen:
        messages = messages_of(request)
        pinned = self._foreign(request, messages)
        messages = self._originals.restored(messages)
        view = request_of(request, messages, views=self._views, schemas=self._schemas, pinned=pinned)
        is_theirs = is_marked(messages, request.tools, request.model_settings)
        is_mixed = self._cascade is not None and self._cascade.is_mixed
        is_unmarked = is_theirs or is_mixed or type(request.model) in self._refused
        marker = None if is_unmarked else marker_for(request.model)
        skip = tuple(self._skipped(request, view, has_marker=marker is not None, is_marked=is_theirs))
        return _Seen(request, messages, view, marker, is_theirs, skip)

    def _foreign(self, request: ModelRequest[Any], messages: Sequence[BaseMessage]) -> frozenset[int]:
        """Return the messages that another middleware wrote for this request alone, if anything may be cut.

        What is cut can be recalled only from what the state has, so these are sent as they are.
        """
        if not self.tools:
            return frozenset()
        kept = messages_in(request.state)
        known = {id(message) for message in kept} | {id(request.system_message)}
        if all(id(message) in known for message in messages):
            return frozenset()
        said = [message.content for message in kept]
        return frozenset(
            index for index, message in enumerate(messages) if id(message) not in known and message.content not in said
        )

    def _skipped(
        self, request: ModelRequest[Any], view: Request, *, has_marker: bool, is_marked: bool
    ) -> Generator[LeverName]:
        if self.tools and not any(isinstance(tool, RecallTool) for tool in request.tools):
            self._warn("the tool `recall` is not offered to the model, so nothing is cut from its history")
            yield from self.thrift.needing_tools
        if self.thrift.modes["planner"] == "off":
            return
        if is_marked:
            self._warn("the request carries prompt-cache markers of somebody else, so thrift places none")
            yield "planner"
        elif _takes_markers(view) and not has_marker:
            yield "planner"

    def _sent(self, seen: _Seen | None, plan: Plan | None, *, is_marking: bool = True) -> ModelRequest[Any] | None:
        if seen is None or plan is None:
            return None
        marker = seen.marker if is_marking else None
        return self.thrift.guard.run("apply", lambda: _applied(seen, plan, marker))

    def _is_refused(self, sent: ModelRequest[Any], given: ModelRequest[Any], error: Exception) -> bool:
        """Say whether the provider refused our markers, as where somebody after us placed too many of their own."""
        if sent is given or not is_refusal(error):
            return False
        self._refused.add(type(given.model))
        self.thrift.ledger.count_fault("planner", "markers refused")
        self._warn(f"prompt-cache markers were refused and are left out from now on: {error}")
        return True

    def _observed(self, plan: Plan | None, sent: ModelRequest[Any], response: ModelResponse[Any]) -> ModelResponse[Any]:
        if plan is None or not plan.steps:
            return response
        if self.summaries is None:
            self.thrift.withdraw(plan)
        else:
            with attributed():
                self.summaries.start(plan, sent)
        return self.thrift.guard.run("observe", lambda: self._with_prediction(plan, response)) or response

    def _with_prediction(self, plan: Plan, response: ModelResponse[Any]) -> ModelResponse[Any]:
        """Tell the levers what was billed, and put what was predicted beside it."""
        found = ((n, message) for n, message in enumerate(response.result) if isinstance(message, AIMessage))
        at, message = next(found, (-1, None))
        if message is None:
            return response
        usage = _billed(message)
        is_other = self._cascade is not None and not self._cascade.is_strongest(response)
        if usage is not None and not is_other:
            self.thrift.observe(plan, usage)
        if is_other or plan.advice is None or not plan.advice.predicted.input_tokens:
            return response
        earlier = message.response_metadata.get("thrift") or {}
        predicted = {**earlier, "predicted_input": asdict(plan.advice.predicted)}
        told = {**message.response_metadata, "thrift": predicted}
        # A copy: a cached answer is one object for all who get it.
        noted = message.model_copy(update={"response_metadata": told})
        return replace(response, result=[*response.result[:at], noted, *response.result[at + 1 :]])

    def _recalled(self, request: ToolCallRequest) -> ToolMessage | None:
        if not self.tools or not isinstance(request.tool, RecallTool):
            return None
        call = request.tool_call
        text = recalled(self.thrift, call["args"], messages_in(request.state), self._originals)
        return None if text is None else ToolMessage(text, tool_call_id=call["id"], name=call["name"])

    def _ingested(self, request: ToolCallRequest, result: ToolResult) -> ToolResult:
        is_final = request.tool is not None and request.tool.return_direct
        if not self._is_persisting or not isinstance(result, ToolMessage) or isinstance(request.tool, RecallTool):
            return result
        if is_final:
            return result
        return self.thrift.guard.run("ingest", lambda: self._originals.compacted(result)) or result

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s: %s", self.name, text)


def _applied(seen: _Seen, plan: Plan, marker: Marker | None) -> ModelRequest[Any]:
    """Return the request as planned."""

    def mark(message: BaseMessage, edit: CacheBreakpoint) -> BaseMessage:
        return (marker.message(message, edit.ttl) if marker is not None else None) or message

    messages = planned(seen.messages, plan, mark=mark)
    if len(messages) != len(plan.request.messages):
        raise ValueError(f"{len(plan.request.messages)} messages were planned, {len(messages)} would be sent")
    system, conversation = split(seen.request, messages)
    settings = dict(seen.request.model_settings)
    key = plan.advice.hints.prompt_cache_key if plan.advice is not None else None
    if key is not None and marker is not None and is_official_openai(seen.request.model):
        settings.setdefault("prompt_cache_key", key)
    return seen.request.override(
        system_message=system, messages=conversation, tools=_tools(seen, plan, marker), model_settings=settings
    )


def _tools(seen: _Seen, plan: Plan, marker: Marker | None) -> list[Tool]:
    if seen.is_marked:
        # Whoever marks the tools has marked the last of them, so they stay in their order.
        return seen.request.tools
    tools = tools_as_planned(seen.request.tools, seen.view.tools, plan.request.tools)
    edits = [edit for step in plan.applied for edit in step.edits]
    mark = next((edit for edit in edits if isinstance(edit, CacheBreakpoint) and edit.index < 0), None)
    if mark is None or marker is None or not tools:
        return tools
    return marker.tools(tools, mark.ttl) or tools


def _billed(message: AIMessage) -> Usage | None:
    usage = message.usage_metadata
    # LangChain's own LLM caches leave the token counts of the first call on the answer, at a cost of 0.
    if usage is None or usage.get("total_cost") == 0:
        return None
    return read_usage(usage, api_flavor="standard").usage


def _cache_read(plan: Plan | None) -> int | None:
    advice = None if plan is None else plan.advice
    return None if advice is None or not advice.predicted.input_tokens else advice.predicted.cache_read


def _takes_markers(view: Request) -> bool:
    rules = rules_for(view.provider, view.model)
    return rules is not None and rules.style != "automatic"


def _name(thrift: Thrift, *, is_persisting: bool, has_budgets: bool) -> str:
    parts = [f"{lever}-{mode}" if mode != "on" else lever for lever, mode in thrift.modes.items() if mode != "off"]
    parts += ["recall"] * bool(thrift.tools) + ["persist"] * is_persisting + ["budgets"] * has_budgets
    return "_".join(["ThriftMiddleware", *parts])
