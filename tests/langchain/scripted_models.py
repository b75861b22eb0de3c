"""Chat models that say what a test tells them, with usage, tool calls, streams, delays and errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field


@dataclass
class Says:
    """What a model says: text and calls, after some time; with an error it breaks off after so many pieces."""

    text: str = ""
    calls: Sequence[dict[str, Any]] = ()
    seconds: float = 0.0
    error: Exception | None = None
    breaks_after: int = 0
    tokens: int = 10


@dataclass
class Log:
    """What models were asked, in order."""

    asked: list[tuple[str, str]] = field(default_factory=list)


class ScriptedModel(BaseChatModel):
    """A model of a known price; `says` gets the messages and returns what to say."""

    model_name: str
    says: Callable[[list[BaseMessage]], Says] = Field(exclude=True)
    log: Any = Field(default_factory=Log, exclude=True)
    piece: int = 3
    provider: str = "openai"
    input_tokens: int = 100

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": self.provider, "ls_model_name": self.model_name, "ls_model_type": "chat"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _now(self, messages: list[BaseMessage]) -> Says:
        self.log.asked.append((self.model_name, messages[-1].text))
        return self.says(messages)

    def _usage(self, says: Says) -> Any:
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": says.tokens,
            "total_tokens": self.input_tokens + says.tokens,
        }

    def _result(self, says: Says) -> ChatResult:
        if says.error is not None:
            raise says.error
        about = {"model_name": self.model_name, "finish_reason": "stop"}
        message = AIMessage(
            says.text, tool_calls=list(says.calls), usage_metadata=self._usage(says), response_metadata=about
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _chunks(self, says: Says) -> Iterator[ChatGenerationChunk]:
        pieces = [says.text[at : at + self.piece] for at in range(0, len(says.text), self.piece)]
        for place, piece in enumerate(pieces):
            if says.error is not None and place >= says.breaks_after:
                raise says.error
            yield ChatGenerationChunk(message=AIMessageChunk(piece))
        if says.error is not None:
            raise says.error
        for index, call in enumerate(says.calls):
            shown: Any = {**call, "args": call["args"], "index": index, "type": "tool_call_chunk"}
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[shown]))
        about = {"model_name": self.model_name, "finish_reason": "stop"}
        last = AIMessageChunk("", usage_metadata=self._usage(says), response_metadata=about, chunk_position="last")
        yield ChatGenerationChunk(message=last)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        says = self._now(messages)
        if says.seconds:
            time.sleep(says.seconds)
        return self._result(says)

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        says = self._now(messages)
        if says.seconds:
            await asyncio.sleep(says.seconds)
        return self._result(says)

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        says = self._now(messages)
        if says.seconds:
            time.sleep(says.seconds)
        yield from self._chunks(says)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        says = self._now(messages)
        if says.seconds:
            await asyncio.sleep(says.seconds)
        for chunk in self._chunks(says):
            yield chunk


def scripted(
    name: str, says: Says | str | Callable[[list[BaseMessage]], Says], log: Log | None = None
) -> ScriptedModel:
    """Return a model that always says the same, or what a function of the messages returns."""
    fixed = Says(says) if isinstance(says, str) else says
    answer = fixed if callable(fixed) else lambda _: fixed
    return ScriptedModel(model_name=name, says=answer, log=log or Log())
