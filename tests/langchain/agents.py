"""Agents to test the middleware on: a scripted chat model that streams, counts and remembers what it was sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.planner import PromptCachePlanner
from thrift_core.recall.store import RecallStore
from thrift_core.thrift import Thrift
from thrift_core.tokens import EstimatedCounter
from thrift_core.trajectory.summarizer import SummarizerMode, TrajectorySummarizer

Brain = Callable[[Sequence[BaseMessage]], AIMessage]
POLICY = "You look after orders. " * 500
TASK = "Please check parts 1 to 6 of the log."
COUNTER = EstimatedCounter()


class Scripted(BaseChatModel):
    """A chat model whose answers a function gives; it keeps what it was sent."""

    brain: Any
    model_name: str = "claude-sonnet-4-6"
    provider: str = "anthropic"
    requests: list[list[BaseMessage]] = Field(default_factory=list)
    settings: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": self.provider, "ls_model_name": self.model_name, "ls_model_type": "chat"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(item) for item in tools], **kwargs)

    def _answer(self, messages: list[BaseMessage], settings: dict[str, Any]) -> AIMessage:
        self.requests.append(list(messages))
        self.settings.append(settings)
        answer = self.brain(messages).model_copy()
        sent = sum(COUNTER.count(message.text) for message in messages)
        said = COUNTER.count(answer.text) + 1
        answer.usage_metadata = {"input_tokens": sent, "output_tokens": said, "total_tokens": sent + said}
        answer.response_metadata = {"model_name": self.model_name, "model_provider": self.provider}
        return answer

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages, kwargs)
        for word in re.findall(r"\S+\s*", answer.text):
            chunk = ChatGenerationChunk(message=AIMessageChunk(word))
            if run_manager is not None:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
        calls: Any = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": index}
            for index, call in enumerate(answer.tool_calls)
        ]
        last = AIMessageChunk(
            "",
            tool_call_chunks=calls,
            usage_metadata=answer.usage_metadata,
            response_metadata=answer.response_metadata,
        )
        yield ChatGenerationChunk(message=last)


_DONE = ("packed", "sorted", "weighed", "labelled", "moved")
_HOW = ("slowly", "quickly", "twice", "again", "at last", "at once", "together")


@tool
def read_log(part: int) -> str:
    """Return a part of the log."""
    hall = ["north", "south", "east", "west", "upper", "lower"][part % 6]
    lines = [f"somebody in the {hall} hall {_DONE[n % 5]} parcels {_HOW[n % 7]} without a remark" for n in range(60)]
    return "\n".join([f"LOG-{part:04d} begins", *lines, f"code K{part}77X{part} was set"])


@tool
def list_orders(customer: str) -> str:
    """Return a customer's orders."""
    orders = [
        {"order_id": f"A-{n:03d}", "customer": customer, "status": "delivered", "address": f"Harbour Street {n}"}
        for n in range(24)
    ]
    return json.dumps({"orders": orders})


TOOLS: list[BaseTool] = [read_log, list_orders]


def call(number: int, name: str = "read_log", **arguments: Any) -> ToolCall:
    """Return a call as a model asks for it."""
    return ToolCall(name=name, args=arguments or {"part": number}, id=f"call_{number}", type="tool_call")


def results(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """Return the tool results among messages."""
    return [message for message in messages if isinstance(message, ToolMessage)]


def stub_ids(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the ids of what was cut, as they stand in a request."""
    return [
        found
        for message in messages
        for found in re.findall(r"\u00a7(?:cut|earlier turns), recall (\w+)", message.text)
    ]


def asked(messages: Sequence[BaseMessage]) -> int:
    """Return how many calls were asked for since the last question."""
    last = max((at for at, message in enumerate(messages) if isinstance(message, HumanMessage)), default=0)
    return sum(len(message.tool_calls) for message in messages[last:] if isinstance(message, AIMessage))


def reads_log(parts: int = 6, *, answer: str = "All parts are fine.") -> Brain:
    """Return a brain that reads so many parts of the log, one at a time, then answers."""

    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        done = asked(messages)
        return AIMessage("", tool_calls=[call(done + 1)]) if done < parts else AIMessage(answer)

    return brain


def reads_and_recalls(parts: int = 6) -> Brain:
    """Return a brain that reads the log, recalls the first thing that was cut, and answers with what it got."""

    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        if asked(messages) < parts:
            return AIMessage("", tool_calls=[call(asked(messages) + 1)])
        if (last := results(messages)[-1]).name == "recall":
            return AIMessage(f"It says: {last.text}")
        ids = stub_ids(messages)
        return AIMessage("", tool_calls=[call(99, "recall", id=ids[0])]) if ids else AIMessage("Nothing was cut.")

    return brain


def lean(
    mode: SummarizerMode = "append_only", *, store: RecallStore | None = None, is_planning: bool = False
) -> Thrift:
    """Return levers with a counter that is quick and the same on every machine."""
    summarizer = TrajectorySummarizer(mode=mode, store=store, counter=COUNTER)
    return Thrift(
        summarizer=summarizer, planner=_planner() if is_planning else "off", ledger=Ledger(), timeout_seconds=20
    )


def planning() -> Thrift:
    """Return a planner alone."""
    return Thrift(planner=_planner(), ledger=Ledger(), timeout_seconds=20)


def _planner() -> PromptCachePlanner:
    # Ten seconds from one look at the clock to the next: longer than any answer takes.
    return PromptCachePlanner(counter=COUNTER, clock=count(0.0, 10.0).__next__)


def with_system(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return a conversation with the policy before it."""
    return [SystemMessage(POLICY), *messages]
