"""Has an LLM write the summaries that a plan wants, while the agent goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms.llm import LLM
from llama_index_instrumentation.dispatcher import active_instrument_tags, instrument_tags
from llama_index_instrumentation.span import active_span_id
from thrift_core.background import Background
from thrift_core.plan import Plan
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summary_task import FEATURE, LlmSummary, SummaryTask

from llamaindex_thrift.costs import is_tracked, track_costs
from llamaindex_thrift.view import provider_of, tool_calls


class Summaries:
    """Runs the LLM that writes summaries, out of sight of the app: its tokens are counted, and never streamed.

    Args:
        llm: the LLM.
        thrift: whose plans want summaries; its ledger counts the calls, unless `track_costs` does where the app's own
            call is made.
    """

    def __init__(self, llm: LLM, thrift: Thrift) -> None:
        self._llm = llm
        self._thrift = thrift
        self._background = Background()
        model = getattr(llm, "model", None)
        provider = provider_of(vars(llm), llm.class_name())
        thrift.summarize_with(LlmSummary(model=model if isinstance(model, str) else None, provider=provider))

    @property
    def llm(self) -> LLM:
        """The LLM that writes them."""
        return self._llm

    def start(self, plan: Plan, sent: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> None:
        """Have the summary written that a plan wants, if it wants one. Never raises, and waits for nothing.

        Args:
            plan: the plan.
            sent: the messages as they were sent: a summary by the same LLM reads them from the provider's cache.
            kwargs: the call's keyword arguments, tools among them.
        """
        task = plan.summary
        if task is None:
            return
        given, more = (list(sent), dict(kwargs)) if task.shares_prefix else ([], {})
        if not self._background.start(lambda: self._run(task, given, more), context=copy_context()):
            self._thrift.withdraw(plan)

    def wait(self, *, seconds: float) -> bool:
        """Wait until what was started is done, for some time at most; return whether it is."""
        return self._background.wait(seconds=seconds)

    def _run(self, task: SummaryTask, sent: list[ChatMessage], kwargs: dict[str, Any]) -> None:
        active_span_id.set(None)  # the app's own call has ended by then
        text: str | None = None
        try:
            with instrument_tags({**active_instrument_tags.get(), "feature": FEATURE, "lever": "summarizer"}):
                text = self._counted(task, sent, kwargs)
        except Exception as error:
            self._thrift.guard.note("summarizer", error)
        self._thrift.summarized(task, text)

    def _counted(self, task: SummaryTask, sent: list[ChatMessage], kwargs: dict[str, Any]) -> str | None:
        if is_tracked():
            return self._asked(task, sent, kwargs)
        with track_costs(self._thrift.ledger):
            return self._asked(task, sent, kwargs)

    def _asked(self, task: SummaryTask, sent: list[ChatMessage], kwargs: dict[str, Any]) -> str | None:
        asked = ChatMessage(role=MessageRole.USER, content=task.instruction.text)
        message = self._llm.chat([*sent, asked], **kwargs).message
        return None if tool_calls(message) else message.content
