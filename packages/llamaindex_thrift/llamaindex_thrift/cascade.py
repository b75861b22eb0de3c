"""Tiers of LLMs behind one LLM: the cheap one answers what it can, a stronger one the rest."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

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
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import BaseTool
from llama_index.core.types import Model
from llama_index_instrumentation.dispatcher import active_instrument_tags
from pydantic import Field, PrivateAttr, SkipValidation
from thrift_core.accounting.attribution import attribute, current_attribution, from_metadata, merged
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import CascadeExhausted, ConfigurationError
from thrift_core.messages import Request
from thrift_core.routing import CascadeRouter, RouterSettings, Tier
from thrift_core.routing.cascade_run import CascadeRun
from thrift_core.routing.driving import adrive, adrive_stream, drive, drive_stream
from thrift_core.routing.tier import CAPABILITIES
from thrift_core.routing.waiting import Waiting

from llamaindex_thrift.cascade_calls import OFFERED, ChatCall, CompletionCall, Offered, Predicted, PredictionCall
from llamaindex_thrift.view import provider_of

A = TypeVar("A")
# What prompts are built with; the cascade has the strongest LLM's.
_SHARED = (
    "callback_manager",
    "system_prompt",
    "messages_to_prompt",
    "completion_to_prompt",
    "output_parser",
    "pydantic_program_mode",
    "query_wrapper_prompt",
)
# What LlamaIndex says of an LLM that it knows nothing of.
_UNKNOWN_CONTEXT = LLMMetadata.model_fields["context_window"].default


class CascadeLLM(FunctionCallingLLM):
    """An LLM that asks the cheapest of several that will do.

    Each request goes to the cheapest tier that is expected to answer it right; what that tier says is judged before
    anybody sees it, and goes to a stronger tier where it will not do. Chat and completion, streamed or not, async or
    not, tools and structured prediction all work, with every tier in its own way, also inside a `FunctionAgent` and
    query engines.

    - What was streamed is never taken back. A tier that may still be overruled is held back until it is judged; one
      that answers in any case is passed on as it comes, but for tool calls, which are checked first.
    - A tool call that does not fit its schema never gets out, nor does a structured prediction that is not of its
      class: another tier is asked, and if there is none, `CascadeExhausted` is raised.
    - A tier that fails is replaced by an equal or a stronger one, apart from any question of quality. If nobody
      answers, the last tier's own error is raised.
    - `CostEventHandler` and `track_costs()` count each call of each tier, and the ledger says how it ended.
      `response.additional_kwargs["thrift"]` says which tier answered, why, and what each call used.

    A conversation stays with its tier unless moving saves more than the prompt cache that is lost by it. It is told by
    `run` or `thread_id` in LlamaIndex's `instrument_tags` or in an `attribute` block.

    Args:
        tiers: LLMs, cheapest first; in a list, or by name.
        router: decides; a `CascadeRouter`, or what one takes as its policy: a certificate or the path of one. None:
            careful rules that were not calibrated.
        ledger: where savings are booked and prices are from; the router's or a new one in memory if none is given.
        side_effects: names of tools that act on the world, whose calls need more confidence.
        timeout_seconds: longest wait for a tier; None: as long as its client waits.
        hedge_seconds: after so long the strongest tier is asked as well; see `Waiting`.
        router_settings: see `RouterSettings`; only where `router` is no `CascadeRouter`.

    Raises:
        ConfigurationError: a tier is no LLM, tiers are not cheapest first, `router` is for other tiers.

    Example:
        >>> from llama_index.core.llms import MockLLM
        >>> CascadeLLM({"small": MockLLM(), "large": MockLLM()}).complete("Say hello").text
        'Say hello'
    """

    tiers: SkipValidation[dict[str, LLM]] = Field(description="The LLMs that answer.", exclude=True, repr=False)
    _router: CascadeRouter = PrivateAttr()
    _ledger: Ledger = PrivateAttr()
    _waiting: Waiting = PrivateAttr()
    _side_effects: frozenset[str] = PrivateAttr(default=frozenset())

    def __init__(
        self,
        tiers: Sequence[LLM] | Mapping[str, LLM],
        router: CascadeRouter | Any | str | Path | None = None,
        *,
        ledger: Ledger | None = None,
        side_effects: Collection[str] = (),
        timeout_seconds: float | None = None,
        hedge_seconds: float | None = None,
        router_settings: RouterSettings | None = None,
    ) -> None:
        llms = _named(tiers)
        strongest = next(reversed(llms.values()))
        super().__init__(**{"tiers": llms, **{name: getattr(strongest, name) for name in _SHARED}})
        self._ledger = ledger if ledger is not None else getattr(router, "ledger", None) or Ledger()
        self._router = _routed(router, llms, self._ledger, router_settings)
        self._waiting = Waiting(timeout_seconds=timeout_seconds, hedge_seconds=hedge_seconds)
        self._side_effects = frozenset(side_effects)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows the class by."""
        return "CascadeLLM"

    @property
    def router(self) -> CascadeRouter:
        """What decides."""
        return self._router

    @property
    def ledger(self) -> Ledger:
        """Where savings are booked."""
        return self._ledger

    @property
    def metadata(self) -> LLMMetadata:
        """What the strongest LLM can do; functions are called only where all of them can."""
        everyone = [llm.metadata for llm in self.tiers.values()]
        update = {
            "is_function_calling_model": all(one.is_function_calling_model for one in everyone),
            "model_name": ">".join(self.tiers),
        }
        return everyone[-1].model_copy(update=update)

    def to_payload(self) -> dict[str, Any]:
        """Return what the tiers tell of themselves to observers; no credentials are in it."""
        return {
            "model": ">".join(self.tiers),
            "class_name": self.class_name(),
            "tiers": {name: llm.to_payload() for name, llm in self.tiers.items()},
        }

    def convert_chat_messages(self, messages: Sequence[ChatMessage]) -> list[Any]:
        """Return messages in the strongest LLM's format."""
        return self._strongest.convert_chat_messages(messages)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a callback manager is set on every tier as well."""
        super().__setattr__(name, value)
        if name == "callback_manager":
            for llm in self.tiers.values():
                llm.callback_manager = value

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> CascadeLLM:
        """Return a cascade of copies of the LLMs, with the same router and ledger."""
        llms = {name: copy.deepcopy(llm, memo) for name, llm in self.tiers.items()}
        other = type(self)(llms, self._router, ledger=self._ledger, side_effects=self._side_effects)
        other._waiting = self._waiting
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the LLMs; a router and a ledger hold locks and files, so another process starts with new ones."""
        return type(self), (self.tiers,)

    # LlamaIndex's callbacks are left to the tiers, or every call would be told of twice.

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        call = ChatCall(self._llms, messages, kwargs)
        run: CascadeRun[ChatResponse] = self._run(call.request)
        drive(run, call, self._waiting)
        return call.told(run)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Do what `chat` does."""
        call = ChatCall(self._llms, messages, kwargs)
        run: CascadeRun[ChatResponse] = self._run(call.request)
        await adrive(run, call, self._waiting)
        return call.told(run)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece."""
        call = ChatCall(self._llms, messages, kwargs)
        run: CascadeRun[ChatResponse] = self._run(call.request)
        return drive_stream(run, call, self._waiting)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Do what `stream_chat` does."""
        call = ChatCall(self._llms, messages, kwargs)
        run: CascadeRun[ChatResponse] = self._run(call.request)
        return adrive_stream(run, call, self._waiting)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete a prompt."""
        call = CompletionCall(self._llms, prompt, kwargs, is_formatted=formatted)
        run: CascadeRun[CompletionResponse] = self._run(call.request)
        drive(run, call, self._waiting)
        return call.told(run)

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Do what `complete` does."""
        call = CompletionCall(self._llms, prompt, kwargs, is_formatted=formatted)
        run: CascadeRun[CompletionResponse] = self._run(call.request)
        await adrive(run, call, self._waiting)
        return call.told(run)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Complete a prompt piece by piece."""
        call = CompletionCall(self._llms, prompt, kwargs, is_formatted=formatted)
        run: CascadeRun[CompletionResponse] = self._run(call.request)
        return drive_stream(run, call, self._waiting)

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Do what `stream_complete` does."""
        call = CompletionCall(self._llms, prompt, kwargs, is_formatted=formatted)
        run: CascadeRun[CompletionResponse] = self._run(call.request)
        return adrive_stream(run, call, self._waiting)

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Return an answer as an object of a class, whichever tier gives it."""
        call = self._prediction(output_cls, prompt, llm_kwargs, prompt_args)
        run: CascadeRun[Predicted] = self._run(call.request)
        try:
            return cast("Model", drive(run, call, self._waiting).value)
        except CascadeExhausted as error:
            raise error from call.last_error

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Do what `structured_predict` does."""
        call = self._prediction(output_cls, prompt, llm_kwargs, prompt_args)
        run: CascadeRun[Predicted] = self._run(call.request)
        try:
            return cast("Model", (await adrive(run, call, self._waiting)).value)
        except CascadeExhausted as error:
            raise error from call.last_error

    # Half an object cannot be judged, and a whole one is not taken back: it comes in one piece.

    def stream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        """Return an answer as an object of a class, once it is known to be one."""
        yield self.structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    async def astream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        """Do what `stream_structured_predict` does."""

        async def pieces() -> AsyncGenerator[Any, None]:
            yield await self.astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

        return pieces()

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls that a response asks for, as the tier reads them that gave it."""
        llm = self._answering(response)
        return llm.get_tool_calls_from_response(response, error_on_no_tool_call=error_on_no_tool_call, **kwargs)

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
        """Note what is offered; each tier that is asked prepares it for itself."""
        messages = list(chat_history or [])
        if user_msg is not None:
            said = user_msg if isinstance(user_msg, ChatMessage) else ChatMessage(user_msg, role=MessageRole.USER)
            messages.append(said)
        options = {
            "verbose": verbose,
            "allow_parallel_tool_calls": allow_parallel_tool_calls,
            "tool_required": tool_required,
            **kwargs,
        }
        return {"messages": messages, OFFERED: Offered(list(tools), options)}

    def _validate_chat_with_tools_response(
        self, response: ChatResponse, tools: Sequence[BaseTool], allow_parallel_tool_calls: bool = False, **kwargs: Any
    ) -> ChatResponse:
        llm = self._answering(response)
        return llm._validate_chat_with_tools_response(
            response, tools, allow_parallel_tool_calls=allow_parallel_tool_calls, **kwargs
        )

    @property
    def _llms(self) -> tuple[LLM, ...]:
        return tuple(self.tiers.values())

    @property
    def _strongest(self) -> LLM:
        return next(reversed(self.tiers.values()))

    def _answering(self, response: ChatResponse) -> FunctionCallingLLM:
        told = response.additional_kwargs.get("thrift")
        llm = self.tiers.get(told.get("tier", "")) if isinstance(told, Mapping) else None
        found = llm or self._strongest
        if not isinstance(found, FunctionCallingLLM):
            raise TypeError(f"{found.class_name()} does not call functions; make a cascade of LLMs that do")
        return found

    def _prediction(
        self, output_cls: type[Model], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None, args: dict[str, Any]
    ) -> PredictionCall:
        return PredictionCall(
            self._llms,
            prompt.format_messages(llm=self._strongest, **args),
            output_cls,
            predict=lambda llm: llm.structured_predict(output_cls, prompt, llm_kwargs, **args),
            apredict=lambda llm: llm.astructured_predict(output_cls, prompt, llm_kwargs, **args),
        )

    def _run(self, request: Request) -> CascadeRun[Any]:
        whom = merged(current_attribution(), from_metadata(active_instrument_tags.get()))
        with _attributed(whom):
            return CascadeRun(self._router, request, thread=_thread(whom), side_effects=self._side_effects)


def _attributed(whom: Attribution) -> AbstractContextManager[Attribution]:
    return attribute(**asdict(whom))


def _thread(whom: Attribution) -> str | None:
    """Return the key of the conversation, which is one user's of one tenant."""
    return None if whom.run is None else "\x1f".join((whom.tenant or "", whom.user or "", whom.run))


def _named(given: Sequence[LLM] | Mapping[str, LLM]) -> dict[str, LLM]:
    if isinstance(given, Mapping):
        named = dict(given)
    elif isinstance(given, Sequence) and not isinstance(given, str):
        named = {}
        for llm in given:
            name = _is_llm(llm).metadata.model_name
            again = sum(other.partition("#")[0] == name for other in named)
            named[f"{name}#{again + 1}" if again else name] = llm
    else:
        raise ConfigurationError(f"tiers={given!r}: give LLMs, cheapest first, in a list or by name")
    if not named:
        raise ConfigurationError("tiers: a cascade needs at least one LLM; got none")
    return {name: _is_llm(llm) for name, llm in named.items()}


def _is_llm(given: object) -> LLM:
    if not isinstance(given, LLM):
        raise ConfigurationError(f"{given!r} is no tier: give a LlamaIndex LLM, such as OpenAI(model='gpt-5-mini')")
    return given


def _routed(given: Any, llms: Mapping[str, LLM], ledger: Ledger, settings: RouterSettings | None) -> CascadeRouter:
    if not isinstance(given, CascadeRouter):
        tiers = [_tier(name, llm) for name, llm in llms.items()]
        return CascadeRouter(tiers, policy=given, settings=settings, ledger=ledger)
    if settings is not None:
        raise ConfigurationError("router_settings belong to the router; give them to the CascadeRouter")
    names = [tier.name for tier in given.tiers]
    if names != list(llms):
        raise ConfigurationError(f"the router routes between {', '.join(names)}; the tiers are {', '.join(llms)}")
    return given


def _tier(name: str, llm: LLM) -> Tier:
    about = llm.metadata
    window = about.context_window if about.context_window != _UNKNOWN_CONTEXT else None
    lacking = set() if about.is_function_calling_model else {"tools"}
    return Tier(
        name,
        about.model_name if about.model_name != "unknown" else name,
        provider=provider_of(vars(llm), llm.class_name()),
        context_limit=window if window and window > 0 else None,
        capabilities=CAPABILITIES - lacking,
    )
