"""Chat models as the tiers of a cascade, and what is bound to each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from thrift_core.errors import ConfigurationError, MissingExtra
from thrift_core.providers import provider_id
from thrift_core.routing import Tier
from thrift_core.routing.tier import CAPABILITIES

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool
Given = Sequence[BaseChatModel | str] | Mapping[str, BaseChatModel | str]
# Told to tracers by `generate` and `stream`, which take it out before a model is called.
_TRACED = ("ls_structured_output_format", "structured_output_format")
# What a model's profile says, by the capability that it speaks of.
_PROFILE = {"tools": "tool_calling", "structured_output": "structured_output", "images": "image_inputs"}


@dataclass(frozen=True, slots=True)
class Bound:
    """What is bound to one tier's model.

    Attributes:
        model: the chat model.
        kwargs: what it is called with.
        parser: reads the declared type from its message; None where no form was asked for.
    """

    model: BaseChatModel
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parser: Runnable[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a cascade's caller has bound to all of its tiers.

    Attributes:
        tiers: what became of it in each tier; empty where nothing was bound.
        tools: the tools as OpenAI describes them.
        has_foreign: there are tools of a provider's own, whose calls cannot be checked.
        side_effects: tools that say of themselves that they act on the world.
        is_structured: answers have to have a form.
        form: the JSON schema of answers without tool calls, where one was bound together with tools.
        replaced: keyword arguments of the cascade that stand for what is bound, and are not handed on.
    """

    tiers: tuple[Bound, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    has_foreign: bool = False
    side_effects: frozenset[str] = frozenset()
    is_structured: bool = False
    form: Mapping[str, Any] | None = None
    replaced: frozenset[str] = frozenset()


def models_of(given: Given, settings: dict[str, Any]) -> dict[str, BaseChatModel]:
    """Return chat models by the names of their tiers.

    Args:
        given: models, or names as `init_chat_model` takes them, cheapest first; by name, or in a row.
        settings: settings of the models that are given by name.

    Raises:
        ConfigurationError: there is none, or one is no chat model; settings beside model objects alone.
    """
    if isinstance(given, Mapping):
        pairs = [(name, _model(model, settings)) for name, model in given.items()]
    elif isinstance(given, Sequence) and not isinstance(given, str):
        models = [_model(model, settings) for model in given]
        pairs = list(zip(_names(models), models, strict=True))
    else:
        raise ConfigurationError(f"tiers={given!r}: give chat models, cheapest first, in a list or by name")
    if not pairs:
        raise ConfigurationError("tiers: a cascade needs at least one chat model; got none")
    listed: Iterable[BaseChatModel | str] = given.values() if isinstance(given, Mapping) else given
    if settings and not any(isinstance(model, str) for model in listed):
        raise ConfigurationError(f"{', '.join(settings)}: settings belong to the models of the tiers; give them there")
    return dict(pairs)


def tier_of(name: str, model: BaseChatModel) -> Tier:
    """Return a chat model as the router sees it: its model, its provider, what LangChain knows of its limits."""
    about = model._get_ls_params()
    provider = about.get("ls_provider")
    profile: Mapping[str, Any] = model.profile or {}
    lacking = {capability for capability, known in _PROFILE.items() if profile.get(known) is False}
    return Tier(
        name,
        about.get("ls_model_name") or name,
        provider=None if provider is None else provider_id(provider) or provider,
        context_limit=profile.get("max_input_tokens") or None,
        max_output_tokens=profile.get("max_output_tokens") or None,
        capabilities=CAPABILITIES - lacking,
    )


def with_tools(models: Iterable[BaseChatModel], tools: Sequence[Tool], kwargs: dict[str, Any]) -> Offer:
    """Return tools as each tier's model wants them."""
    described = [_described(tool) for tool in tools]
    return Offer(
        tiers=tuple(_bound(model.bind_tools(tools, **kwargs)) for model in models),
        tools=tuple(tool for tool in described if tool is not None),
        has_foreign=None in described,
        side_effects=frozenset(name for tool in tools if (name := _acting(tool))),
        form=_form(kwargs.get("response_format")),
        replaced=frozenset({"tools", *kwargs}),
    )


def with_form(
    models: Iterable[BaseChatModel], schema: dict[str, Any] | type, kwargs: dict[str, Any], offered: Offer
) -> Offer:
    """Return a form of answers as each tier's model is asked for it."""
    tiers = []
    for model in models:
        bare = model.with_structured_output(schema, **kwargs)
        if not isinstance(bare, RunnableSequence):
            raise ConfigurationError(
                f"with_structured_output of {type(model).__name__} gives a {type(bare).__name__}, of which a cascade "
                "cannot tell the model from the parser"
            )
        first, *rest = bare.steps
        parser = rest[0] if len(rest) == 1 else RunnableSequence(*rest)
        tiers.append(replace(_bound(first), parser=parser))
    return replace(offered, tiers=tuple(tiers), is_structured=True, replaced=frozenset({"response_format"}))


def _bound(runnable: Any) -> Bound:
    kwargs: dict[str, Any] = {}
    while isinstance(runnable, RunnableBindingBase):
        kwargs = {**runnable.kwargs, **kwargs}
        runnable = runnable.bound
    if not isinstance(runnable, BaseChatModel):
        raise ConfigurationError(f"a tier with tools bound is a {type(runnable).__name__} and no chat model any more")
    return Bound(runnable, {name: value for name, value in kwargs.items() if name not in _TRACED})


def _form(response_format: object) -> Mapping[str, Any] | None:
    """Return the schema of OpenAI's `response_format`, as agents bind it for models with structured output."""
    described = response_format.get("json_schema") if isinstance(response_format, Mapping) else None
    schema = described.get("schema") if isinstance(described, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def _described(tool: Tool) -> dict[str, Any] | None:
    """Return a tool as OpenAI describes it; None for a provider's own, of which there is no schema."""
    try:
        described = convert_to_openai_tool(tool)
    except Exception:  # a tool that only its own provider understands
        return None
    return described if described.get("type") == "function" else None


def _acting(tool: Tool) -> str | None:
    """Return the name of a tool that says it acts on the world: by `side_effects`, or by MCP's `destructiveHint`."""
    if not isinstance(tool, BaseTool):
        return None
    told = tool.metadata or {}
    return tool.name if told.get("side_effects") or told.get("destructiveHint") else None


def _model(given: object, settings: dict[str, Any]) -> BaseChatModel:
    if isinstance(given, BaseChatModel):
        return given
    if not isinstance(given, str):
        raise ConfigurationError(
            f"{given!r} is no tier: give a chat model, or its name as init_chat_model takes it; tools and other "
            "bindings are bound to the cascade"
        )
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtra("a tier by a model's name", "langchain-thrift[agents]") from error
    model: BaseChatModel = init_chat_model(given, **settings)
    return model


def _names(models: list[BaseChatModel]) -> list[str]:
    """Return each model's own name; numbered where a name comes up again."""
    names: list[str] = []
    for model in models:
        name = model._get_ls_params().get("ls_model_name") or type(model).__name__
        again = sum(other.partition("#")[0] == name for other in names)
        names.append(f"{name}#{again + 1}" if again else name)
    return names
