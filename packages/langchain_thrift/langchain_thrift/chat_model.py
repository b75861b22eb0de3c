"""thrift around one chat model: a drop-in wherever a LangChain app holds a chat model."""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field, PrivateAttr, SkipValidation
from thrift_core.accounting.budgets import Budgets
from thrift_core.caching.semantic.serving import Serving
from thrift_core.errors import ConfigurationError, MissingExtra
from thrift_core.thrift import Thrift

from langchain_thrift.answers import chunks_of
from langchain_thrift.chat_plan import ChatPlanning, Sending
from langchain_thrift.passage import Levers, Passage, streamed
from langchain_thrift.rewrapping import rewrapped
from langchain_thrift.runs import RunHandler, with_handler

# What LangChain does with a model by these fields it does with the wrapper.
_SHARED = (
    "cache",
    "custom_get_token_ids",
    "disable_streaming",
    "metadata",
    "name",
    "output_version",
    "tags",
    "verbose",
)


class ThriftChatModel(BaseChatModel):
    """A chat model that answers as another one would, only cheaper.

    Wraps one chat model and hands everything on to it: streaming, tools, structured output, media, callbacks, settings
    that are bound to a call. On the way, a request that was answered before is answered from the cache if that is on;
    otherwise thrift's levers shorten what is sent and mark what the provider shall cache. Every call is counted in the
    ledger of `thrift`.

    An answer from the cache comes as the model's own would: streamed if that is asked for, with ids of its own. Its
    usage is zero, and `response_metadata["thrift"]["cache"]` says where it comes from. Whom a call is for, and so who
    shares answers with whom, is read from the run's `metadata` and tags and from enclosing `thrift_core.attribute`
    blocks: `config={"metadata": {"tenant": "acme", "user": "ann"}}`.

    Whatever fails inside thrift is logged once and counted in the ledger, and the request goes out as it was.

    Args:
        model: the chat model that answers, or its name as `init_chat_model` takes it, such as "openai:gpt-4.1-mini".
        thrift: the levers; `Thrift.safe()` if none are given.
        budgets: limits that hold: `BudgetExceeded` is raised before a call that could pass one.
        feature: the feature of calls that name none.
        **settings: settings of the model, where it is given by its name.

    Raises:
        ConfigurationError: `model` is no chat model or `thrift` no Thrift; settings beside a model object.

    Example:
        >>> from langchain_core.language_models.fake_chat_models import FakeListChatModel
        >>> model = ThriftChatModel(FakeListChatModel(responses=["Paris", "Rome"]), Thrift(cache="on"))
        >>> model.invoke("What is the capital of France?").text
        'Paris'
    """

    wrapped: BaseChatModel = Field(alias="model", exclude=True, repr=False)
    thrift: SkipValidation[Thrift] = Field(exclude=True, repr=False)
    budgets: SkipValidation[Budgets | None] = Field(default=None, exclude=True, repr=False)
    feature: str | None = None
    _runs: RunHandler = PrivateAttr()
    _levers: Levers = PrivateAttr()

    def __init__(
        self,
        model: BaseChatModel | str | None = None,
        thrift: Thrift | None = None,
        *,
        budgets: Budgets | None = None,
        feature: str | None = None,
        **settings: Any,
    ) -> None:
        given = model if model is not None else settings.pop("wrapped", None)
        ours: dict[str, Any] = {}
        if not isinstance(given, str):
            ours = {name: settings.pop(name) for name in tuple(settings) if name in BaseChatModel.model_fields}
        inner = _chat_model(given, settings)
        if thrift is not None and not isinstance(thrift, Thrift):
            raise ConfigurationError(f"thrift={thrift!r}: give a Thrift, such as Thrift.safe(), or None for that one")
        shared = {name: getattr(inner, name) for name in _SHARED if getattr(inner, name, None) is not None}
        fields = {**shared, "callbacks": inner.callbacks, **ours}
        levers = thrift if thrift is not None else Thrift.safe()
        super().__init__(**{**fields, "model": inner, "thrift": levers, "budgets": budgets, "feature": feature})
        self._runs = RunHandler(self.thrift.ledger, budgets, feature=feature)
        self.callbacks = with_handler(self.callbacks, self._runs)
        cache = self.thrift.cache
        serving = None if cache is None else Serving(cache, self.thrift.ledger)
        self._levers = Levers(self.thrift, inner, ChatPlanning(self.thrift, inner), serving)

    # What the wrapped model says of itself.

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True; see `to_json`."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The wrapped model's settings that are secret, and where LangChain finds them."""
        return self.wrapped.lc_secrets

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Return the wrapped model as LangChain writes it; levers are no data, so what is read is wrapped anew."""
        return self.wrapped.to_json()

    @property
    def _llm_type(self) -> str:
        return self.wrapped._llm_type

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return dict(self.wrapped._identifying_params)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return self.wrapped._get_ls_params(stop=stop, **kwargs)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.wrapped._get_invocation_params(stop=stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        return self.wrapped._get_llm_string(stop=stop, **kwargs)

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return self.wrapped._combine_llm_outputs(llm_outputs)

    def _resolve_model_profile(self) -> Any:
        return self.wrapped.profile

    def _should_stream(self, **kwargs: Any) -> bool:
        return not self._streaming_disabled(**_call(kwargs)) and self.wrapped._should_stream(**kwargs)

    def _should_use_protocol_streaming(self, **kwargs: Any) -> bool:
        return super()._should_use_protocol_streaming(**kwargs) and self.wrapped._should_use_protocol_streaming(
            **kwargs
        )

    def get_num_tokens(self, text: str) -> int:
        """Return how many tokens the wrapped model counts in a text."""
        return self.wrapped.get_num_tokens(text)

    def get_token_ids(self, text: str) -> list[int]:
        """Return a text as the wrapped model's tokens."""
        return self.wrapped.get_token_ids(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return how many tokens the wrapped model counts in messages."""
        return self.wrapped.get_num_tokens_from_messages(messages, tools)

    def __getattr__(self, name: str) -> Any:
        """Return the wrapped model's attribute, such as `model_name`, where there is none here."""
        wrapped = self.__dict__.get("wrapped")
        if name.startswith("_") or wrapped is None:
            return getattr(super(), "__getattr__")(name)  # noqa: B009 - where pydantic keeps private attributes
        return getattr(wrapped, name)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> ThriftChatModel:
        """Return a wrapper of a copy of the model, with the same levers."""
        return self._around(copy.deepcopy(self.wrapped, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the wrapped model; levers hold locks and files, so another process starts with `Thrift.safe()`."""
        return type(self), (self.wrapped,)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model, as the wrapped one does."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return cast(
            "Runnable[LanguageModelInput, AIMessage]", rewrapped(self.wrapped.bind_tools(tools, **kwargs), self._around)
        )

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Ask for answers of a form, as the wrapped model does; those that come as tool calls are cached as well."""

        def around(model: BaseChatModel) -> ThriftChatModel:
            return self._around(model, is_structured=True)

        bare = self.wrapped.with_structured_output(schema, include_raw=include_raw, **kwargs)
        return cast("Runnable[LanguageModelInput, Any]", rewrapped(bare, around))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._passage(messages, stop, run_manager, kwargs)
        answer = call.served()
        if answer is not None:
            return ChatResult(generations=[ChatGeneration(message=answer)])
        with call:
            sent = call.sending()
            self._wait()
            try:
                result = self.wrapped._generate(**self._arguments(self.wrapped._generate, sent, stop, run_manager))
            except Exception as error:
                bare = call.bare(sent, error)
                if bare is None:
                    raise
                result = self.wrapped._generate(**self._arguments(self.wrapped._generate, bare, stop, run_manager))
            call.finish(result)
        return result

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._passage(messages, stop, run_manager, kwargs)
        answer = await call.aserved()
        if answer is not None:
            return ChatResult(generations=[ChatGeneration(message=answer)])
        with call:
            sent = await call.asending()
            await self._await_turn()
            ask = self.wrapped._agenerate
            try:
                result = await ask(**self._arguments(ask, sent, stop, run_manager))
            except Exception as error:
                bare = call.bare(sent, error)
                if bare is None:
                    raise
                result = await ask(**self._arguments(ask, bare, stop, run_manager))
            await call.afinish(result)
        return result

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._passage(messages, stop, run_manager, kwargs)
        answer = call.served()
        if answer is not None:
            yield from chunks_of(answer)
            return
        with call:
            sent = call.sending()
            self._wait()
            chunks: list[ChatGenerationChunk] = []
            try:
                for chunk in self._chunks(sent, stop, run_manager):
                    chunks.append(_kept(chunk))
                    yield chunk
            except Exception as error:
                bare = None if chunks else call.bare(sent, error)
                if bare is None:
                    raise
                for chunk in self._chunks(bare, stop, run_manager):
                    chunks.append(_kept(chunk))
                    yield chunk
            if (result := streamed(chunks)) is not None:
                call.finish(result)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._passage(messages, stop, run_manager, kwargs)
        answer = await call.aserved()
        if answer is not None:
            for chunk in chunks_of(answer):
                yield chunk
            return
        with call:
            sent = await call.asending()
            await self._await_turn()
            chunks: list[ChatGenerationChunk] = []
            try:
                async with aclosing(self._achunks(sent, stop, run_manager)) as stream:
                    async for chunk in stream:
                        chunks.append(_kept(chunk))
                        yield chunk
            except Exception as error:
                bare = None if chunks else call.bare(sent, error)
                if bare is None:
                    raise
                async with aclosing(self._achunks(bare, stop, run_manager)) as stream:
                    async for chunk in stream:
                        chunks.append(_kept(chunk))
                        yield chunk
            if (result := streamed(chunks)) is not None:
                await call.afinish(result)

    def _passage(
        self, messages: list[BaseMessage], stop: list[str] | None, run_manager: Any, kwargs: dict[str, Any]
    ) -> Passage:
        return Passage(self._levers, self._runs.run_of(run_manager), messages, stop, kwargs)

    def _chunks(self, sent: Sending, stop: list[str] | None, run_manager: Any) -> Generator[ChatGenerationChunk]:
        ask = self.wrapped._stream
        # Closed with us: a stream that is dropped half way must let go of its connection.
        stream = cast("Generator[ChatGenerationChunk]", ask(**self._arguments(ask, sent, stop, run_manager)))
        with closing(stream):
            yield from stream

    async def _achunks(
        self, sent: Sending, stop: list[str] | None, run_manager: Any
    ) -> AsyncGenerator[ChatGenerationChunk]:
        ask = self.wrapped._astream
        stream = cast("AsyncGenerator[ChatGenerationChunk]", ask(**self._arguments(ask, sent, stop, run_manager)))
        async with aclosing(stream):
            async for chunk in stream:
                yield chunk

    def _wait(self) -> None:
        # Here and not in LangChain's own place: an answer from the cache has nothing to wait for.
        if self.wrapped.rate_limiter is not None:
            self.wrapped.rate_limiter.acquire(blocking=True)

    async def _await_turn(self) -> None:
        if self.wrapped.rate_limiter is not None:
            await self.wrapped.rate_limiter.aacquire(blocking=True)

    @staticmethod
    def _arguments(
        method: Callable[..., Any], sent: Sending, stop: list[str] | None, run_manager: Any
    ) -> dict[str, Any]:
        """Return what to call a method of the wrapped model with; old ones do not take a run manager."""
        given = {"messages": sent.messages, "stop": stop, **sent.kwargs}
        takes = inspect.signature(method).parameters
        return {**given, "run_manager": run_manager} if "run_manager" in takes else given

    def _around(self, model: BaseChatModel, *, is_structured: bool = False) -> ThriftChatModel:
        """Return a wrapper of a model that has the same levers and settings."""
        if model is self.wrapped:
            other = self.model_copy()
        else:
            ours = {name: getattr(self, name) for name in BaseChatModel.model_fields if name in self.model_fields_set}
            other = type(self)(model, self.thrift, budgets=self.budgets, feature=self.feature, **ours)
        other._levers = replace(other._levers, is_structured=is_structured)
        return other


def _kept(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    # A copy: LangChain writes ids and metadata into the chunks that it is given.
    return ChatGenerationChunk(message=chunk.message.model_copy(), generation_info=chunk.generation_info)


def _call(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in ("async_api", "run_manager")}


def _chat_model(given: object, settings: dict[str, Any]) -> BaseChatModel:
    if isinstance(given, str):
        return _named(given, settings)
    if not isinstance(given, BaseChatModel):
        raise ConfigurationError(
            f"model={given!r}: give a chat model, such as ChatOpenAI(model='gpt-4.1-mini'), or its name as "
            "init_chat_model takes it; tools and other bindings are bound to the wrapper"
        )
    if settings:
        raise ConfigurationError(
            f"{', '.join(settings)}: settings belong to the model that is wrapped; give them to {type(given).__name__}"
        )
    return given


def _named(name: str, settings: dict[str, Any]) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtra("ThriftChatModel of a model's name", "langchain-thrift[agents]") from error
    model: BaseChatModel = init_chat_model(name, **settings)
    return model
