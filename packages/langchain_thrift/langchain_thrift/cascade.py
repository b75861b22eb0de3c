"""Tiers of chat models behind one chat model: the cheap one answers what it can, a stronger one the rest."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun, Callbacks
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.load.serializable import SerializedConstructor
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import Field, PrivateAttr, SkipValidation
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.routing import CascadeRouter, RouterSettings
from thrift_core.routing.cascade_run import CascadeRun
from thrift_core.routing.driving import adrive, adrive_stream, drive, drive_stream
from thrift_core.routing.waiting import Waiting
from thrift_core.routing.waves import Wave
from thrift_core.thrift import Thrift

from langchain_thrift.cascade_call import CascadeCall, Shared
from langchain_thrift.cascade_tiers import Bound, Given, Offer, models_of, tier_of, with_form, with_tools
from langchain_thrift.costs import CostCallbackHandler
from langchain_thrift.tier_runs import noting, outer_run

_wave: ContextVar[Wave | None] = ContextVar("thrift_wave", default=None)
# Where the tiers are of several providers.
_PROVIDER = "thrift"


class CascadeChatModel(BaseChatModel):
    """A chat model that asks the cheapest of several that will do.

    Each request goes to the cheapest tier that is expected to answer it right; what that tier says is judged before
    anybody sees it, and goes to a stronger tier where it will not do. Whatever a chat model can do works, with every
    tier in its own way: tools and structured output are bound to each of them.

    - What was streamed is never taken back. A tier that may still be overruled is held back until it is judged; one
      that answers in any case is passed on as it comes, but for tool calls, which are checked first.
    - A tool call that does not fit its schema never gets out, nor does structured output that is not of the declared
      type: another tier is asked, and if there is none, `CascadeExhausted` is raised.
    - A tier that fails is replaced by an equal or a stronger one, apart from any question of quality. If nobody
      answers, the last tier's own error is raised, so that `with_fallbacks` and retries work as ever.
    - Each call of each tier is in the ledger, under the task of the request. `response_metadata["thrift"]` says which
      tier answered, why, and what each call cost.

    A conversation stays with its tier unless moving saves more than the prompt cache that is lost by it. It is told by
    `thread_id` in the run's `config`, or `run` in its metadata or an `attribute` block.

    Callbacks and streams see one run of one model. Cost handlers and LangSmith also see a child run for each call of a
    tier, tagged `nostream` and `thrift:tier:NAME`.

    Args:
        tiers: chat models, or names as `init_chat_model` takes them, cheapest first; in a list, or by name.
        router: decides; a `CascadeRouter`, or what one takes as its policy: a certificate or the path of one. None:
            careful rules that were not calibrated.
        ledger: where calls and savings are recorded; `thrift.ledger` or a new one in memory if none is given.
        thrift: levers that work on the request of each tier.
        budgets: limits that hold: `BudgetExceeded` is raised before a call that could pass one.
        feature: the feature of calls that name none.
        side_effects: names of tools that act on the world, whose calls need more confidence. Tools whose `metadata`
            has `side_effects` or MCP's `destructiveHint` are among them anyway.
        timeout_seconds: longest wait for a tier; None: as long as its client waits.
        hedge_seconds: after so long the strongest tier is asked as well; see `Waiting`.
        router_settings: see `RouterSettings`; only where `router` is no `CascadeRouter`.
        **settings: settings of tiers that are given by name.

    Raises:
        ConfigurationError: a tier is no chat model, tiers are not cheapest first, `router` is for other tiers.

    Example:
        >>> from langchain_core.language_models.fake_chat_models import FakeListChatModel
        >>> small, large = FakeListChatModel(responses=["Pain."]), FakeListChatModel(responses=["Le pain."])
        >>> model = CascadeChatModel({"small": small, "large": large})
        >>> model.invoke("Translate 'bread' into French").text
        'Pain.'
    """

    tiers: SkipValidation[dict[str, BaseChatModel]] = Field(exclude=True, repr=False)
    router: SkipValidation[CascadeRouter] = Field(exclude=True, repr=False)
    ledger: SkipValidation[Ledger] = Field(exclude=True, repr=False)
    budgets: SkipValidation[Budgets | None] = Field(default=None, exclude=True, repr=False)
    feature: str | None = None
    side_effects: frozenset[str] = Field(default=frozenset(), exclude=True)
    timeout_seconds: float | None = None
    hedge_seconds: float | None = None
    _costs: CostCallbackHandler = PrivateAttr()
    _waiting: Waiting = PrivateAttr()
    _offer: Offer = PrivateAttr(default=Offer())

    def __init__(
        self,
        tiers: Given,
        router: CascadeRouter | Any | str | Path | None = None,
        *,
        ledger: Ledger | None = None,
        thrift: Thrift | None = None,
        budgets: Budgets | None = None,
        feature: str | None = None,
        side_effects: Collection[str] = (),
        timeout_seconds: float | None = None,
        hedge_seconds: float | None = None,
        router_settings: RouterSettings | None = None,
        **settings: Any,
    ) -> None:
        ours = {name: settings.pop(name) for name in tuple(settings) if name in BaseChatModel.model_fields}
        models = models_of(tiers, settings)
        if thrift is not None:
            models = {name: _levered(model, thrift) for name, model in models.items()}
        if ledger is None:
            ledger = thrift.ledger if thrift is not None else getattr(router, "ledger", None) or Ledger()
        fields: dict[str, Any] = {
            "tiers": models,
            "router": _router(router, models, ledger, router_settings),
            "ledger": ledger,
            "budgets": budgets,
            "feature": feature,
            "side_effects": frozenset(side_effects),
            "timeout_seconds": timeout_seconds,
            "hedge_seconds": hedge_seconds,
        }
        super().__init__(**ours, **fields)
        self._waiting = Waiting(timeout_seconds=timeout_seconds, hedge_seconds=hedge_seconds)
        self._costs = CostCallbackHandler(ledger, budgets, feature=feature)

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return where the class is found."""
        return ["langchain_thrift", "cascade"]

    def to_json(self) -> SerializedConstructor:
        """Return the tiers as LangChain writes them; what is read routes by rules.

        LangChain's `load` reads classes of other packages only where they are named:
        `load(..., allowed_objects=[CascadeChatModel, ChatOpenAI], valid_namespaces=["langchain_thrift"])`. Its "all"
        means those that it knows, so `is_lc_serializable` stays False.
        """
        names = ("tiers", "feature", "timeout_seconds", "hedge_seconds")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {"lc": 1, "type": "constructor", "id": self.lc_id(), "kwargs": given}

    @property
    def _llm_type(self) -> str:
        return "thrift-cascade"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "tiers": {name: dict(model._identifying_params) for name, model in self.tiers.items()},
            "policy": self.router.policy_name,
        }

    @property
    def _strongest(self) -> BaseChatModel:
        return next(reversed(self.tiers.values()))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        handed_on = self._handed_on(kwargs)
        abouts = [dict(model._get_ls_params(stop=stop, **handed_on)) for model in self.tiers.values()]
        providers = {about.get("ls_provider") for about in abouts}
        # A name that is no model's has no price anywhere: the calls of the tiers are what was billed.
        name = kwargs.get("model") or ">".join(self.tiers)
        return {
            **abouts[-1],
            "ls_provider": (providers.pop() if len(providers) == 1 else None) or _PROVIDER,
            "ls_model_name": name,
        }

    def _resolve_model_profile(self) -> Any:
        """Return the strongest tier's profile, without what another tier cannot do."""
        profiles: list[Mapping[str, Any]] = [model.profile or {} for model in self.tiers.values()]
        found = dict(profiles[-1])
        for name, value in found.items():
            if isinstance(value, bool):
                found[name] = all(profile.get(name, False) for profile in profiles)
        return found or None

    def get_num_tokens(self, text: str) -> int:
        """Return how many tokens the strongest tier counts in a text."""
        return self._strongest.get_num_tokens(text)

    def get_token_ids(self, text: str) -> list[int]:
        """Return a text as the strongest tier's tokens."""
        return self._strongest.get_token_ids(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return how many tokens the strongest tier counts in messages."""
        return self._strongest.get_num_tokens_from_messages(messages, tools)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> CascadeChatModel:
        """Return a cascade of copies of the models, with the same router and ledger."""
        other = self.model_copy()
        other.tiers = {name: copy.deepcopy(model, memo) for name, model in self.tiers.items()}
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the tiers; a router and a ledger hold locks and files, so another process starts with new ones."""
        return type(self), (self.tiers,)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to every tier, to each in its own way."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        offer = with_tools(self.tiers.values(), tools, kwargs)
        return self._offering(offer).bind(tools=list(offer.tools), **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Ask every tier for answers of a form, each in its own way; what comes back is of the declared type.

        Raises:
            ConfigurationError: a tier's `with_structured_output` gives something that a cascade cannot look into.
        """
        offer = with_form(self.tiers.values(), schema, kwargs, self._offer)
        form = {"kwargs": kwargs, "schema": _json_schema(schema)}
        asking = self._offering(offer).bind(ls_structured_output_format=form, response_format=form["schema"])
        reading = _reader({name: bound.parser for name, bound in zip(self.tiers, offer.tiers, strict=True)})
        if not include_raw:
            return cast("Runnable[LanguageModelInput, Any]", asking | reading)
        parsed = RunnablePassthrough.assign(
            parsed=RunnableLambda(lambda found: found["raw"]) | reading, parsing_error=lambda _: None
        )
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asking) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    # LangChain tells `_stream` neither its run nor who listens to it: noted where a call begins.

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answer each of several conversations."""
        return super().generate(messages, stop, noting(callbacks, self), **kwargs)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Do what `generate` does."""
        return await super().agenerate(messages, stop, noting(callbacks, self), **kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Answer piece by piece."""
        yield from super().stream(input, self._noted(config), **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Do what `stream` does."""
        async for chunk in super().astream(input, self._noted(config), **kwargs):
            yield chunk

    def batch(self, inputs: list[LanguageModelInput], *args: Any, **kwargs: Any) -> list[AIMessage]:
        """Answer several requests, in waves: first all that the cheap tier is asked for, then all that go up."""
        with _in_waves():
            return super().batch(inputs, *args, **kwargs)

    async def abatch(self, inputs: list[LanguageModelInput], *args: Any, **kwargs: Any) -> list[AIMessage]:
        """Do what `batch` does."""
        with _in_waves():
            return await super().abatch(inputs, *args, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs)
        with call.attributed():
            run = self._run(call)
            try:
                drive(run, call, self._waiting)
            finally:
                call.leave()
        return call.told(run)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs)
        with call.attributed():
            run = self._run(call)
            try:
                await adrive(run, call, self._waiting)
            finally:
                await call.aleave()
        return call.told(run)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs)
        with call.attributed():
            run = self._run(call)
        with closing(drive_stream(run, call, self._waiting)) as chunks:
            yield from chunks

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs)
        with call.attributed():
            run = self._run(call)
        async with aclosing(adrive_stream(run, call, self._waiting)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None, run_manager: Any, kwargs: dict[str, Any]
    ) -> CascadeCall:
        bound = self._offer.tiers or tuple(map(Bound, self.tiers.values()))
        shared = Shared(tuple(self.tiers), bound, self._offer, self._costs)
        wave = _wave.get() if self._waiting.is_plain else None
        return CascadeCall(shared, outer_run(self, run_manager), messages, stop=stop, kwargs=kwargs, wave=wave)

    def _run(self, call: CascadeCall) -> CascadeRun[ChatResult]:
        acting = self.side_effects | self._offer.side_effects
        return CascadeRun(self.router, call.request, thread=call.thread, side_effects=acting)

    def _noted(self, config: RunnableConfig | None) -> RunnableConfig:
        given = ensure_config(config)
        return {**given, "callbacks": noting(given.get("callbacks"), self)}

    def _handed_on(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in kwargs.items() if name not in self._offer.replaced}

    def _offering(self, offer: Offer) -> CascadeChatModel:
        other = self.model_copy()
        other._offer = offer
        return other


def _router(
    given: Any, models: Mapping[str, BaseChatModel], ledger: Ledger, settings: RouterSettings | None
) -> CascadeRouter:
    if not isinstance(given, CascadeRouter):
        tiers = [tier_of(name, model) for name, model in models.items()]
        return CascadeRouter(tiers, policy=given, settings=settings, ledger=ledger)
    if settings is not None:
        raise ConfigurationError("router_settings belong to the router; give them to the CascadeRouter")
    names = [tier.name for tier in given.tiers]
    if names != list(models):
        raise ConfigurationError(f"the router routes between {', '.join(names)}; the tiers are {', '.join(models)}")
    return given


def _levered(model: BaseChatModel, thrift: Thrift) -> BaseChatModel:
    from langchain_thrift.chat_model import ThriftChatModel  # noqa: PLC0415 - only who uses levers loads them

    return ThriftChatModel(model, thrift)


def _reader(parsers: Mapping[str, Runnable[Any, Any] | None]) -> RunnableLambda[Any, Any]:
    """Return a step that reads a message with the parser of the tier that answered."""

    def parser_for(message: AIMessage) -> Runnable[Any, Any]:
        told = message.response_metadata.get("thrift") or {}
        return parsers.get(str(told.get("tier"))) or next(parser for parser in parsers.values() if parser is not None)

    # A lambda that returns a runnable runs it on the same input, with the same config.
    return RunnableLambda(parser_for, name="parser of the tier")


def _json_schema(schema: dict[str, Any] | type) -> dict[str, Any]:
    try:
        return convert_to_json_schema(schema)
    except Exception:  # only for tracers and cache keys
        return {"title": repr(schema)}


@contextmanager
def _in_waves() -> Generator[None]:
    token = _wave.set(Wave())
    try:
        yield
    finally:
        _wave.reset(token)
