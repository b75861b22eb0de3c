"""What others do with a long history, as policies for the replay: LangChain's own code, and keeping the last messages.

LangChain's tools see the conversation without its system message, as in `create_agent`, which sends that separately.
Settings: `trim_messages` keeps 1,500 tokens from a human turn on; `SummarizationMiddleware` fires at 20 messages and
keeps 10; `ClearToolUsesEdit` keeps three results from the first token on. The summary is written by a stand-in model
that repeats the first 150 words it is given: what it reads and writes is charged, at the same model's prices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents.middleware import ClearToolUsesEdit, SummarizationMiddleware
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatResult
from thrift_core.messages import Message

from benchmarks.trajectory_replay import Policy, Sent

_TRIM_TOKENS = 1500
_SUMMARY_WORDS = 150


def keep_last(count: int) -> Callable[[], Policy]:
    """Return a maker of the policy that sends the system message and the last so many others."""

    def policy(history: tuple[Message, ...]) -> Sent:
        system, rest = _split(history)
        return Sent([*system, *rest[-count:]])

    return lambda: policy


def langchain_trim() -> Policy:
    """Return `trim_messages`, starting on a human turn."""

    def policy(history: tuple[Message, ...]) -> Sent:
        system, rest = _split(history)
        native = [_native(message, str(index)) for index, message in enumerate(rest)]
        kept = trim_messages(
            native, max_tokens=_TRIM_TOKENS, token_counter=count_tokens_approximately, start_on="human"
        )
        return Sent([*system, *(rest[int(message.id or 0)] for message in kept)])

    return policy


def langchain_clear() -> Policy:
    """Return the edit of `ContextEditingMiddleware`: old tool results become `[cleared]`."""
    edit = ClearToolUsesEdit(trigger=0, keep=3)

    def policy(history: tuple[Message, ...]) -> Sent:
        system, rest = _split(history)
        native = [_native(message, str(index)) for index, message in enumerate(rest)]
        edit.apply(native, count_tokens=lambda messages: count_tokens_approximately(messages) + 1)
        return Sent([*system, *(_back(message, rest) for message in native)])

    return policy


def langchain_summary() -> Policy:
    """Return `SummarizationMiddleware`, whose summary replaces the state and so is built on at the next call."""
    model = StandIn()
    middleware: Any = SummarizationMiddleware(model, trigger=("messages", 20), keep=("messages", 10))
    state: list[AnyMessage] = []
    taken = 0

    def policy(history: tuple[Message, ...]) -> Sent:
        nonlocal state, taken
        system, rest = _split(history)
        state += [_native(message, str(index)) for index, message in enumerate(rest[taken:], taken)]
        taken = len(rest)
        model.read = model.written = ""
        update = middleware.before_model({"messages": state}, None)
        if update:
            state = [message for message in update["messages"] if not isinstance(message, RemoveMessage)]
        return Sent([*system, *(_back(message, rest) for message in state)], model.read, model.written)

    return policy


class StandIn(BaseChatModel):
    """A summarizing model that repeats the first words of what it is given, and notes what it read and wrote."""

    read: str = ""
    written: str = ""

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.read = "\n".join(str(message.text) for message in messages)
        body = self.read.rpartition("Messages to summarize:")[2]
        self.written = " ".join(body.split()[:_SUMMARY_WORDS])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.written))])


PEERS: dict[str, Callable[[], Policy]] = {
    "langchain-trim_messages": langchain_trim,
    "langchain-SummarizationMiddleware": langchain_summary,
    "langchain-ContextEditingMiddleware": langchain_clear,
    "keep-last-10": keep_last(10),
    "keep-last-20": keep_last(20),
}


def _split(history: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    system = [message for message in history if message.role == "system"]
    return system, [message for message in history if message.role != "system"]


def _native(message: Message, number: str) -> AnyMessage:
    if message.role == "assistant":
        calls = [{"name": call.name, "args": _arguments(call.arguments), "id": call.id} for call in message.tool_calls]
        return AIMessage(message.text, tool_calls=calls, id=number)
    if message.role == "tool":
        return ToolMessage(message.text, tool_call_id=message.tool_call_id or "", name=message.name, id=number)
    return HumanMessage(message.text, id=number)


def _arguments(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {"text": text}
    return parsed if isinstance(parsed, dict) else {"value": parsed}


def _back(message: BaseMessage, originals: Sequence[Message]) -> Message:
    """Return the recorded message that a native one came from, with its text where that was changed."""
    text = str(message.text)
    if not (message.id or "").isdecimal():
        return Message("user", text)
    original = originals[int(message.id or 0)]
    if text == original.text:
        return original
    return Message(original.role, text, original.tool_calls, original.tool_call_id, original.name)
