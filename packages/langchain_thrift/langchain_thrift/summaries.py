"""Has a chat model write the summaries that a plan wants, while the agent goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from langchain.agents.middleware.types import ModelRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langgraph.constants import TAG_NOSTREAM
from thrift_core.accounting.attribution import current_attribution
from thrift_core.background import Background
from thrift_core.plan import Plan
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summary_task import FEATURE, LlmSummary, SummaryTask

from langchain_thrift.costs import CostCallbackHandler
from langchain_thrift.counting import counting


class Summaries:
    """Runs the model that writes summaries, out of sight of the app: its tokens are counted, and never streamed.

    Args:
        model: the model.
        thrift: whose plans want summaries.
        costs: counts the model's calls, under a feature of their own.
    """

    def __init__(self, model: BaseChatModel, thrift: Thrift, costs: CostCallbackHandler) -> None:
        self._model = model
        self._thrift = thrift
        self._costs = costs
        self._background = Background()
        params: Mapping[str, Any] = model._get_ls_params()
        thrift.summarize_with(LlmSummary(model=params.get("ls_model_name"), provider=params.get("ls_provider")))

    def start(self, plan: Plan, sent: ModelRequest[Any]) -> None:
        """Have the summary written that a plan wants, if it wants one. Never raises, and waits for nothing.

        Args:
            plan: the plan.
            sent: the request as it was sent: a summary by the same model reads it from the provider's cache.
        """
        task = plan.summary
        if task is None:
            return
        # With a response format, what binds the model is not what the agent binds, and the cache would be missed.
        is_possible = not task.shares_prefix or sent.response_format is None
        if not is_possible or not self._background.start(lambda: self._run(task, sent), context=copy_context()):
            self._thrift.withdraw(plan)

    def wait(self, *, seconds: float) -> bool:
        """Wait until what was started is done, for some time at most; return whether it is."""
        return self._background.wait(seconds=seconds)

    def _run(self, task: SummaryTask, sent: ModelRequest[Any]) -> None:
        # Callbacks, stream writers and tags of the agent's run hang on this: none of it is for what is said here.
        var_child_runnable_config.set(None)
        text: str | None = None
        try:
            with counting(self._costs):
                text = self._asked(task, sent)
        except Exception as error:
            self._thrift.guard.note("summarizer", error)
        self._thrift.summarized(task, text)

    def _asked(self, task: SummaryTask, sent: ModelRequest[Any]) -> str | None:
        messages: list[BaseMessage] = [HumanMessage(task.instruction.text)]
        model: Any = self._model
        if task.shares_prefix:
            before = [] if sent.system_message is None else [sent.system_message]
            messages = [*before, *sent.messages, *messages]
            settings = dict(sent.model_settings)
            model = model.bind_tools(sent.tools, **settings) if sent.tools else model.bind(**settings)
        answer: AIMessage = model.invoke(messages, config=_config())
        return None if answer.tool_calls else str(answer.text)


def _config() -> RunnableConfig:
    whom = current_attribution()
    named = {"user": whom.user, "tenant": whom.tenant, "task": whom.task, "run": whom.run}
    metadata = {name: value for name, value in named.items() if value is not None}
    return {
        "run_name": "ThriftSummary",
        "tags": [TAG_NOSTREAM],
        "metadata": {**metadata, "feature": FEATURE, "lever": "summarizer", "lc_source": FEATURE},
        "callbacks": [],
    }
