"""The trajectory summarizer: keeps an agent's history lean in dollars, not in tokens."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from thrift_core.errors import ConfigurationError
from thrift_core.messages import Edit, Message, Request
from thrift_core.prices import Pricing
from thrift_core.recall.store import MemoryRecallStore, RecallStore
from thrift_core.recall.tool import recall, recall_schema
from thrift_core.tokens import TokenCounter, default_counter
from thrift_core.trajectory import llm_summary
from thrift_core.trajectory.bill import MINIMUM_CACHED, Bill
from thrift_core.trajectory.edits import edits_of
from thrift_core.trajectory.llm_summary import Summaries
from thrift_core.trajectory.rates import Rates
from thrift_core.trajectory.summary_task import LlmSummary, SummaryPrices, SummaryTask
from thrift_core.trajectory.thread import Thread

SummarizerMode = Literal["append_only", "rewrite"]
_MODES: tuple[SummarizerMode, ...] = ("append_only", "rewrite")
# Conversations whose state is kept; one that is forgotten is worked out anew from its messages.
_MOST_THREADS = 64


class TrajectorySummarizer:
    """Shortens a growing conversation, each message once, and only where that lowers the bill at cached prices.

    It calls no model. What it answers depends on the messages, the prices and the settings alone: the same history gets
    the same edits after a restart, and a message that was shortened keeps the same bytes from call to call.

    In the mode `append_only` a message is shortened when it is first sent and never changed again, so that provider
    caches and signed thinking blocks stay valid; and nothing is lost: tool results are written in a compact notation,
    as differences from earlier ones, or with repeated lines as references, each proved to read back the same.

    The mode `rewrite` also cuts what was sent before: results that were read once become a stub with their facts, and
    turns that later ones no longer draw on become a block. Each cut must pay at the prices given, rewriting the cache
    included. What was cut can be recalled, so the `recall` tool must be offered to the model from the first call on.

    Args:
        mode: `append_only` or `rewrite`.
        store: where what is cut is kept; in memory by default. Only `rewrite` cuts.
        counter: counts tokens; by default exact where tiktoken's files are at hand, else an estimate.
        minimum_cached: the shortest prefix in tokens that the provider caches.

    Raises:
        ConfigurationError: an unknown mode, or a minimum that is negative.

    Example:
        >>> TrajectorySummarizer().plan([Message("user", "Hello")])
        []
    """

    def __init__(
        self,
        *,
        mode: SummarizerMode = "append_only",
        store: RecallStore | None = None,
        counter: TokenCounter | None = None,
        minimum_cached: int = MINIMUM_CACHED,
    ) -> None:
        if mode not in _MODES:
            raise ConfigurationError(f"mode={mode!r}: give one of {', '.join(_MODES)}")
        if minimum_cached < 0:
            raise ConfigurationError(f"minimum_cached={minimum_cached!r}: give 0 or more tokens")
        self.mode: SummarizerMode = mode
        self.store: RecallStore = store if store is not None else MemoryRecallStore()
        self._given_counter = counter
        self._minimum_cached = minimum_cached
        self._threads: OrderedDict[tuple[object, ...], list[Thread]] = OrderedDict()
        self._tools: tuple[Sequence[Mapping[str, Any]], int] = ((), 0)
        self._faults: list[Exception] = []
        self._summary: LlmSummary | None = None
        self._asked: OrderedDict[str, Thread] = OrderedDict()
        self._notes: dict[str, str] = {}
        self._lock = threading.Lock()

    def plan(
        self, messages: Sequence[Message], pricing: Pricing | None = None, *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[Edit]:
        """Return the edits that turn the conversation as it is into what should be sent at this call.

        Give the whole conversation at each call, as the application has it: all edits come back each time. Messages
        that were shortened before they came here are left as they are; nothing that was sent is cut after them.

        Args:
            messages: the conversation up to this call.
            pricing: what the model's tokens cost; without it the dearest common cache prices are assumed.
            tools: the tool definitions sent along, which count towards the cached prefix.

        Returns:
            edits for `thrift_core.messages.apply_edits`. An edit's `saved_usd` is what it saves on this call.
        """
        return self._plan(messages, pricing, tools, None)[0]

    def _plan(
        self,
        messages: Sequence[Message],
        pricing: Pricing | None,
        tools: Sequence[Mapping[str, Any]],
        summary_prices: SummaryPrices | None,
    ) -> tuple[list[Edit], SummaryTask | None]:
        with self._lock:
            thread = self._thread(messages, Rates.of(pricing), self._tool_tokens(tools), summary_prices)
            if thread.is_inside_a_call:
                return edits_of(thread.without_cuts(), pricing), None
            thread.call()
            self._faults += thread.faults
            thread.faults.clear()
            return edits_of(thread, pricing), self._task(thread)

    def _task(self, thread: Thread) -> SummaryTask | None:
        state = thread.summaries
        if state is None or state.wanted is None or state.asked is not None:
            return None
        state.asked = state.wanted
        self._asked[state.asked.key] = thread
        while len(self._asked) > _MOST_THREADS:
            self._asked.popitem(last=False)
        return state.asked

    def summarize_with(self, summary: LlmSummary) -> None:
        """Let a model write summaries of old steps, for whoever runs it: see `LlmSummary`.

        Raises:
            ConfigurationError: nothing sent may be changed in this mode, or another model was named before.
        """
        if self.mode != "rewrite":
            raise ConfigurationError("summaries by a model replace what was sent: give a summarizer of mode='rewrite'")
        if self._summary is not None and self._summary != summary:
            raise ConfigurationError(f"summaries are written by {self._summary.model!r} already, not {summary.model!r}")
        self._summary = summary

    def decision(self, request: Request, pricing: Pricing | None) -> tuple[Sequence[Edit], SummaryTask | None]:
        """Return what `decide` does, and a summary that would pay: whoever runs the model answers with `summarized`."""
        summary = self._summary
        prices = None if summary is None else summary.prices_beside(pricing, request.model, request.provider)
        return self._plan(request.messages, pricing, request.tools, prices)

    def withdraw(self, task: SummaryTask) -> None:
        """Take back a task that nobody will work on; it may be set again."""
        with self._lock:
            thread = self._asked.pop(task.key, None)
            if thread is not None and thread.summaries is not None and thread.summaries.asked is task:
                thread.summaries.asked = None

    def summarized(self, task: SummaryTask, text: str | None) -> str | None:
        """Take in the answer to a task, None where the model failed; it is used at the next call, if it still pays.

        Returns:
            why it is not used, None if it may be.
        """
        with self._lock:
            thread = self._asked.pop(task.key, None)
            return "the task is not known" if thread is None else llm_summary.answered(thread, task, text)

    def faults(self) -> Sequence[Exception]:
        """Return what went wrong since this was asked last: texts that could not be kept, and so were not cut."""
        with self._lock:
            found, self._faults = self._faults, []
        return found

    def prepare(self) -> None:
        """Load the token counter; otherwise the first decision does."""
        self.counter.count("")

    def decide(self, request: Request, pricing: Pricing | None) -> Sequence[Edit]:
        """Return the edits for a request; what makes the summarizer a lever of `Thrift`."""
        return self.plan(request.messages, pricing, tools=request.tools)

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools to offer from the first call on: `recall` where something may be cut."""
        return [recall_schema()] if self.mode == "rewrite" else []

    def recall(self, arguments: Mapping[str, Any]) -> str:
        """Answer a call of the `recall` tool."""
        return recall(self.store, arguments)

    @cached_property
    def counter(self) -> TokenCounter:
        """What counts the tokens."""
        return self._given_counter if self._given_counter is not None else default_counter()

    def _thread(
        self, messages: Sequence[Message], rates: Rates, tool_tokens: int, summary_prices: SummaryPrices | None
    ) -> Thread:
        """Return the thread that these messages continue, or a new one, with all messages taken in."""
        key = (messages[0] if messages else None, rates, tool_tokens, summary_prices)
        known = self._threads.setdefault(key, [])
        self._threads.move_to_end(key)
        while len(self._threads) > _MOST_THREADS:
            self._threads.popitem(last=False)
        thread = max((thread for thread in known if thread.is_prefix_of(messages)), key=len, default=None)
        if thread is None:
            thread = self._new_thread(rates, tool_tokens, summary_prices)
            known.append(thread)
            del known[:-_MOST_THREADS]
        thread.advance(messages[len(thread) :])
        return thread

    def _new_thread(self, rates: Rates, tool_tokens: int, prices: SummaryPrices | None) -> Thread:
        is_cutting = self.mode == "rewrite"
        bill = Bill(rates, tool_tokens, self._minimum_cached)
        summaries = None
        if self._summary is not None and prices is not None:
            summaries = Summaries(self._summary, prices, notes=self._notes)
        return Thread(self.counter.count, bill, self.store if is_cutting else None, summaries)

    def _tool_tokens(self, tools: Sequence[Mapping[str, Any]]) -> int:
        known, tokens = self._tools
        if tools is not known and tools != known:
            tokens = self.counter.count(json.dumps(list(tools), default=repr)) if tools else 0
            self._tools = (tools, tokens)
        return tokens
