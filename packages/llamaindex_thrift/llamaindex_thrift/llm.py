"""thrift around one LLM: a drop-in wherever a LlamaIndex app holds an LLM."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.tools import BaseTool
from llama_index.core.types import Model
from pydantic import Field, PrivateAttr
from thrift_core.caching.semantic.serving import Serving
from thrift_core.errors import ConfigurationError
from thrift_core.levers import LeverName
from thrift_core.messages import Request
from thrift_core.thrift import Thrift

from llamaindex_thrift.answers import (
    areplayed_stream,
    chat_pieces,
    completion_pieces,
    object_of,
    object_payload,
    replayed_chat,
    replayed_completion,
    replayed_stream,
)
from llamaindex_thrift.cacheable import cacheable_request
from llamaindex_thrift.cached_call import CachedCall, Kept
from llamaindex_thrift.recall import Recalls, recall_tools
from llamaindex_thrift.spans import Gate
from llamaindex_thrift.summaries import Summaries
from llamaindex_thrift.turn import OFFERED, Turn, is_idle, keeps_history
from llamaindex_thrift.views import Views

logger = logging.getLogger("thrift")
# What prompts are built with; the wrapper has the wrapped LLM's, and what is set on one is set on both.
_SHARED = (
    "callback_manager",
    "rate_limiter",
    "system_prompt",
    "messages_to_prompt",
    "completion_to_prompt",
    "output_parser",
    "pydantic_program_mode",
    "query_wrapper_prompt",
)
# A completion's prompt and a structured prediction are not messages that could carry a breakpoint.
_UNMARKED: tuple[LeverName, ...] = ("planner",)


class ThriftLLM(FunctionCallingLLM):
    """An LLM that sends what another one would, only cheaper.

    Wraps one LLM and hands everything on to it: chat and completion, streaming or not, async or not, tools, structured
    output, callbacks, rate limits. On the way, thrift's levers shorten what is sent and mark what the provider shall
    cache. An agent's own history is never changed, so the messages of a running agent shrink as well as those of one
    that is resumed; and what was cut the model can recall, without the app's doing.

    With `Thrift(cache=...)` a call that was answered before, or whose question asks the same, is answered from the
    cache, streamed or not, and where it comes from stands in `response.additional_kwargs["thrift"]` and `response.raw`.
    Answers are shared only where tenant, user and feature are equal, as `attribute` blocks or LlamaIndex's
    `instrument_tags` name them, with the LLM's settings, its API key among them.

    Whatever fails inside thrift is logged once and counted in the ledger, and the request goes out as it was.

    Args:
        llm: the LLM that answers.
        thrift: the levers; `Thrift.safe()` if none are given, or `Thrift.balanced()` with a `summary_llm`.
        summary_llm: a cheap LLM that may summarize old steps of a long task, in the background and only where that pays
            by the prices known, its own call included. What was summarized can be recalled.

    Raises:
        ConfigurationError: `llm` or `summary_llm` is no LLM, `thrift` no Thrift, or its levers take no summaries.

    Example:
        >>> from llama_index.core.llms import MockLLM
        >>> ThriftLLM(MockLLM()).complete("Hello").text
        'Hello'
    """

    llm: LLM = Field(description="The LLM that answers.", exclude=True, repr=False)
    _thrift: Thrift = PrivateAttr()
    _serving: Serving | None = PrivateAttr(default=None)
    _recalls: Recalls = PrivateAttr(default_factory=Recalls)
    _has_warned: bool = PrivateAttr(default=False)
    _summaries: Summaries | None = PrivateAttr(default=None)
    _views: Views = PrivateAttr(default_factory=Views)

    def __init__(self, llm: LLM, thrift: Thrift | None = None, *, summary_llm: LLM | None = None) -> None:
        if not isinstance(llm, LLM):
            raise ConfigurationError(f"llm={llm!r}: give a LlamaIndex LLM, such as OpenAI(model='gpt-5-mini')")
        if thrift is not None and not isinstance(thrift, Thrift):
            raise ConfigurationError(f"thrift={thrift!r}: give a Thrift, such as Thrift.safe(), or None for that one")
        super().__init__(llm=llm, **{name: getattr(llm, name) for name in _SHARED})
        if summary_llm is not None and not isinstance(summary_llm, LLM):
            raise ConfigurationError(f"summary_llm={summary_llm!r}: give a LlamaIndex LLM, or None for no summaries")
        default = Thrift.safe if summary_llm is None else Thrift.balanced
        self._thrift = thrift if thrift is not None else default()
        self._summaries = None if summary_llm is None else Summaries(summary_llm, self._thrift)
        self._serving = None if self._thrift.cache is None else Serving(self._thrift.cache, self._thrift.ledger)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows the class by."""
        return "ThriftLLM"

    @property
    def thrift(self) -> Thrift:
        """The levers."""
        return self._thrift

    @property
    def summaries(self) -> Summaries | None:
        """What has summaries written; None without a `summary_llm`."""
        return self._summaries

    @property
    def metadata(self) -> LLMMetadata:
        """What the wrapped LLM can do."""
        return self.llm.metadata

    def to_payload(self) -> dict[str, Any]:
        """Return what the wrapped LLM tells of itself to observers; no credentials are in it."""
        return self.llm.to_payload()

    def convert_chat_messages(self, messages: Sequence[ChatMessage]) -> list[Any]:
        """Return messages in the wrapped LLM's format."""
        return self.llm.convert_chat_messages(messages)

    def __getattr__(self, name: str) -> Any:
        """Return the wrapped LLM's attribute, such as `model`, where there is none here."""
        llm = self.__dict__.get("llm")
        if name.startswith("_") or llm is None:
            return getattr(super(), "__getattr__")(name)  # noqa: B009 - where pydantic keeps private attributes
        return getattr(llm, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute here, on the wrapped LLM, or, where both have it, on both."""
        is_ours = name.startswith("_") or name in type(self).model_fields
        if is_ours:
            super().__setattr__(name, value)
        # A cost handler stops calls at a gate of its own, which it puts before the wrapped LLM as well.
        if not is_ours or (name in _SHARED and not isinstance(value, Gate)):
            setattr(self.llm, name, value)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> ThriftLLM:
        """Return a wrapper of a copy of the LLM, with the same levers."""
        summary_llm = None if self._summaries is None else self._summaries.llm
        return type(self)(copy.deepcopy(self.llm, memo), self._thrift, summary_llm=summary_llm)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the wrapped LLM; levers hold locks and files, so another process starts with `Thrift.safe()`."""
        return type(self), (self.llm,)

    # LlamaIndex's callbacks are left to the wrapped LLM, or every call would be told of twice.

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        with self._asked("chat", messages, kwargs) as asked:
            if (served := asked.served(replayed_chat)) is not None:
                return served
            turn = self._turn(messages, kwargs)
            while True:
                sent, params = turn.prepare()
                with turn.predicted():
                    response = self.llm.chat(sent, **params)
                asked.saw(response)
                asked.billed()
                if not (turn.asks(response) and turn.answer(response)):
                    asked.finish()
                    return response

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Do what `chat` does."""
        with await self._aasked("chat", messages, kwargs) as asked:
            if (served := asked.served(replayed_chat)) is not None:
                return served
            turn = self._turn(messages, kwargs)
            while True:
                sent, params = await turn.aprepare()
                with turn.predicted():
                    response = await self.llm.achat(sent, **params)
                asked.saw(response)
                asked.billed()
                if not (turn.asks(response) and await asyncio.to_thread(turn.answer, response)):
                    await asked.afinish()
                    return response

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece."""
        asked = self._asked("chat", messages, kwargs)
        if (served := asked.served(replayed_chat)) is not None:
            return replayed_stream(chat_pieces(served))
        turn = self._turn(messages, kwargs)
        with asked.unless_streamed():
            sent, params = turn.prepare()
            with turn.predicted():
                stream = self.llm.stream_chat(sent, **params)
            return self._followed(turn, stream, asked)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Do what `stream_chat` does."""
        asked = await self._aasked("chat", messages, kwargs)
        if (served := asked.served(replayed_chat)) is not None:
            return areplayed_stream(chat_pieces(served))
        turn = self._turn(messages, kwargs)
        with asked.unless_streamed():
            sent, params = await turn.aprepare()
            with turn.predicted():
                stream = await self.llm.astream_chat(sent, **params)
            return self._afollowed(turn, stream, asked)

    def _followed(self, turn: Turn, stream: ChatResponseGen, asked: CachedCall) -> Generator[ChatResponse, None, None]:
        with asked:
            while True:
                with closing(stream):
                    for chunk in stream:
                        asked.saw(chunk)
                        if turn.forwards(chunk):
                            yield chunk
                asked.billed()
                if not turn.ended():
                    asked.finish()
                    return
                asked.next_round()
                sent, params = turn.prepare()
                with turn.predicted():
                    stream = self.llm.stream_chat(sent, **params)

    async def _afollowed(
        self, turn: Turn, stream: ChatResponseAsyncGen, asked: CachedCall
    ) -> AsyncGenerator[ChatResponse, None]:
        with asked:
            while True:
                async with aclosing(stream):
                    async for chunk in stream:
                        asked.saw(chunk)
                        if turn.forwards(chunk):
                            yield chunk
                asked.billed()
                if not await asyncio.to_thread(turn.ended):
                    await asked.afinish()
                    return
                asked.next_round()
                sent, params = await turn.aprepare()
                with turn.predicted():
                    stream = await self.llm.astream_chat(sent, **params)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete a prompt."""
        with self._asked("complete", prompt, kwargs, formatted=formatted) as asked:
            if (served := asked.served(replayed_completion)) is not None:
                return served
            turn = self._completion(prompt, kwargs)
            response = self.llm.complete(_prompt(turn, prompt), formatted=formatted, **kwargs)
            turn.observe(response)
            asked.saw(response)
            asked.billed()
            asked.finish()
            return response

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Do what `complete` does."""
        with await self._aasked("complete", prompt, kwargs, formatted=formatted) as asked:
            if (served := asked.served(replayed_completion)) is not None:
                return served
            turn = self._completion(prompt, kwargs)
            sent = await asyncio.to_thread(_prompt, turn, prompt)
            response = await self.llm.acomplete(sent, formatted=formatted, **kwargs)
            turn.observe(response)
            asked.saw(response)
            asked.billed()
            await asked.afinish()
            return response

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Complete a prompt piece by piece."""
        asked = self._asked("complete", prompt, kwargs, formatted=formatted)
        if (served := asked.served(replayed_completion)) is not None:
            return replayed_stream(completion_pieces(served))
        with asked.unless_streamed():
            sent = _prompt(self._completion(prompt, kwargs), prompt)
            stream = self.llm.stream_complete(sent, formatted=formatted, **kwargs)
            return asked.following(stream) if asked.is_followed else stream

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Do what `stream_complete` does."""
        asked = await self._aasked("complete", prompt, kwargs, formatted=formatted)
        if (served := asked.served(replayed_completion)) is not None:
            return areplayed_stream(completion_pieces(served))
        with asked.unless_streamed():
            sent = await asyncio.to_thread(_prompt, self._completion(prompt, kwargs), prompt)
            stream = await self.llm.astream_complete(sent, formatted=formatted, **kwargs)
            return asked.afollowing(stream) if asked.is_followed else stream

    # Structured output is the wrapped LLM's own, for providers differ in how they do it.

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Return an answer as an object of a class."""
        asking = partial(self._predicted, output_cls, prompt, llm_kwargs, prompt_args)
        with CachedCall.begin(self._caching, asking) as asked:
            if (served := asked.served(lambda hit: object_of(output_cls, hit))) is not None:
                return served
            sent, arguments = self._shortened(prompt, prompt_args)
            predicted: Model = self.llm.structured_predict(output_cls, sent, llm_kwargs, **arguments)
            asked.keep(lambda: Kept(payload=object_payload(output_cls, predicted)))
            return predicted

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Do what `structured_predict` does."""
        asking = partial(self._predicted, output_cls, prompt, llm_kwargs, prompt_args)
        with await CachedCall.abegin(self._caching, asking) as asked:
            if (served := asked.served(lambda hit: object_of(output_cls, hit))) is not None:
                return served
            sent, arguments = await asyncio.to_thread(self._shortened, prompt, prompt_args)
            predicted: Model = await self.llm.astructured_predict(output_cls, sent, llm_kwargs, **arguments)
            await asked.akeep(lambda: Kept(payload=object_payload(output_cls, predicted)))
            return predicted

    # A stream of objects is the wrapped LLM's: what it yields on the way is of classes that it makes for it.

    def stream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        """Return an answer as objects of a class, each more complete than the one before."""
        prompt, prompt_args = self._shortened(prompt, prompt_args)
        return self.llm.stream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    async def astream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        """Do what `stream_structured_predict` does."""
        prompt, prompt_args = await asyncio.to_thread(self._shortened, prompt, prompt_args)
        return await self.llm.astream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls that a response asks for."""
        inner = self._function_calling()
        return inner.get_tool_calls_from_response(response, error_on_no_tool_call=error_on_no_tool_call, **kwargs)

    def _prepare_chat_with_tools(  # noqa: PLR0917 - LlamaIndex's signature
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        inner = self._function_calling()
        # Where the answer has to be a call of the app's own tools, nothing can be recalled.
        ours = [] if tool_required or not tools else self._recall_tools(tools, kwargs)
        prepared = inner._prepare_chat_with_tools_compat(
            [*tools, *ours],
            user_msg=user_msg,
            chat_history=None if chat_history is None else list(chat_history),  # clients append to it
            verbose=verbose,
            allow_parallel_tool_calls=allow_parallel_tool_calls,
            tool_required=tool_required,
            **kwargs,
        )
        return {**prepared, OFFERED: True} if ours else prepared

    def _validate_chat_with_tools_response(
        self, response: ChatResponse, tools: Sequence[BaseTool], allow_parallel_tool_calls: bool = False, **kwargs: Any
    ) -> ChatResponse:
        inner = self._function_calling()
        return inner._validate_chat_with_tools_response(
            response, tools, allow_parallel_tool_calls=allow_parallel_tool_calls, **kwargs
        )

    def _recall_tools(self, tools: Sequence[BaseTool], kwargs: dict[str, Any]) -> list[BaseTool]:
        is_strict = kwargs.get("strict")
        ours = recall_tools(
            self._thrift, is_strict=bool(getattr(self.llm, "strict", False) if is_strict is None else is_strict)
        )
        taken = {tool.metadata.name for tool in tools} & {tool.metadata.name for tool in ours}
        if taken and not self._has_warned:
            self._has_warned = True
            logger.warning("the app has a tool of its own named %s, so nothing is cut from its history", *taken)
        return [] if taken else ours

    def _function_calling(self) -> FunctionCallingLLM:
        if not isinstance(self.llm, FunctionCallingLLM):
            raise TypeError(f"{self.llm.class_name()} does not call functions; wrap an LLM that does")
        return self.llm

    def _asked(
        self, kind: str, messages: Sequence[ChatMessage] | str, kwargs: dict[str, Any], **more: Any
    ) -> CachedCall:
        return CachedCall.begin(self._caching, partial(self._compared, kind, messages, kwargs, more))

    async def _aasked(
        self, kind: str, messages: Sequence[ChatMessage] | str, kwargs: dict[str, Any], **more: Any
    ) -> CachedCall:
        return await CachedCall.abegin(self._caching, partial(self._compared, kind, messages, kwargs, more))

    @property
    def _caching(self) -> Serving | None:
        # Where the provider keeps the conversation, the messages are not all that it answers to.
        return None if keeps_history(self.llm) else self._serving

    def _compared(
        self, kind: str, messages: Sequence[ChatMessage] | str, kwargs: dict[str, Any], more: dict[str, Any]
    ) -> Request:
        asked = [ChatMessage(role=MessageRole.USER, content=messages)] if isinstance(messages, str) else messages
        return cacheable_request(self.llm, asked, kwargs, kind=kind, **more)

    def _predicted(
        self, output_cls: type[Model], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None, args: dict[str, Any]
    ) -> Request:
        messages = prompt.format_messages(llm=self.llm, **args)
        parser = prompt.output_parser
        return cacheable_request(
            self.llm, messages, llm_kwargs or {}, kind="structured", output_cls=output_cls, output_parser=parser
        )

    def _turn(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> Turn:
        return Turn(
            self.llm, self._thrift, self._recalls, messages, kwargs, summaries=self._summaries, views=self._views
        )

    def _completion(self, prompt: str, kwargs: dict[str, Any]) -> Turn:
        messages = [ChatMessage(role=MessageRole.USER, content=prompt)]
        return Turn(self.llm, self._thrift, self._recalls, messages, kwargs, skip=_UNMARKED)

    def _shortened(self, prompt: PromptTemplate, prompt_args: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return a prompt for structured output and its arguments, as they are or shortened."""
        if prompt.output_parser is not None or is_idle(self._thrift):
            return prompt, prompt_args
        messages = prompt.format_messages(llm=self.llm, **prompt_args)
        turn = Turn(self.llm, self._thrift, self._recalls, messages, {}, skip=_UNMARKED)
        sent, _ = turn.prepare()
        return (ChatPromptTemplate(message_templates=sent), {}) if turn.changed else (prompt, prompt_args)


def _prompt(turn: Turn, prompt: str) -> str:
    """Return what is completed: the prompt as it is, unless the levers made it another single message."""
    sent, _ = turn.prepare()
    return sent[0].content or prompt if turn.changed and len(sent) == 1 else prompt
