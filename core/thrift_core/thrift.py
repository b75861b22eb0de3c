"""The `Thrift` object that every adapter takes: the levers in their order, each on, in shadow or off."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError
from thrift_core.guard import Guard
from thrift_core.messages import AppendBlock, Edit, Message, ReplaceText, Request, apply_edits
from thrift_core.prices import Pricing, Unpriced

if TYPE_CHECKING:
    from thrift_core.caching.advice import CacheAdvice
    from thrift_core.trajectory.recall_store import RecallStore
    from thrift_core.trajectory.summarizer import SummarizerMode

Mode = Literal["on", "shadow", "off"]
LeverName = Literal["compressor", "summarizer", "planner"]
# Loading a token encoding takes a second on a busy machine. A first request that went without the levers would be
# changed, and its cached prefix lost, at the second.
_PREPARING_SECONDS = 30.0
# The order is part of the design: new content is shortened first, then history, and breakpoints are placed on what is
# really sent.
LEVER_ORDER: tuple[LeverName, ...] = ("compressor", "summarizer", "planner")


class Lever(Protocol):
    """Decides on one request; a decision is a list of edits, empty for nothing to do.

    A lever answers for its own gain: it proposes an edit only where its prediction in dollars, over the calls to come,
    is in favour. `Thrift` does not overrule it from call to call, for taking an edit back breaks the provider's cached
    prefix, which costs more than the edit.
    """

    def decide(self, request: Request, pricing: Pricing | None) -> Sequence[Edit]:
        """Return edits that each state what they save.

        Args:
            request: what is about to be sent, after the levers before this one.
            pricing: what the model's tokens cost, or None where no price is known.
        """
        ...


@runtime_checkable
class ToolLever(Protocol):
    """A lever that needs tools offered to the model, from the first call on so that the tool list never changes."""

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """Their definitions, as JSON-schema dictionaries in OpenAI's form."""
        ...

    def recall(self, arguments: Mapping[str, Any]) -> str:
        """Answer a call of its tool."""
        ...


@runtime_checkable
class CanonicalLever(Protocol):
    """A lever that wants requests in a canonical form, such as tools in a stable order."""

    def canonical(self, request: Request) -> Request:
        """Return the request in that form."""
        ...


@runtime_checkable
class ObservingLever(Protocol):
    """A lever that learns from what was billed."""

    def observe(self, request: Request, usage: Usage) -> None:
        """Take in what a request was billed as."""
        ...


@runtime_checkable
class PreparedLever(Protocol):
    """A lever whose first decision would take long, for it has something to load."""

    def prepare(self) -> None:
        """Load it."""
        ...


@runtime_checkable
class AdvisingLever(Protocol):
    """A lever that says more about a request than its edits: what it will be billed as, what else may be sent."""

    def advise(self, request: Request, pricing: Pricing | None) -> CacheAdvice:
        """Decide, as `decide` does, and return the edits with the rest; asked in its place."""
        ...


@runtime_checkable
class StoringLever(Protocol):
    """A lever that keeps what it cuts."""

    @property
    def store(self) -> RecallStore:
        """Where it is kept."""
        ...


@dataclass(frozen=True, slots=True)
class Shadow:
    """A lever that is measured but not applied."""

    lever: Lever


Setting = Lever | Shadow | Mode


@dataclass(frozen=True, slots=True)
class Step:
    """What one lever did to one request.

    Attributes:
        lever: its name.
        mode: `on` or `shadow`.
        edits: what it proposed and was found valid.
        note: what came of it, in words.
    """

    lever: LeverName
    mode: Mode
    edits: tuple[Edit, ...] = ()
    note: str = ""

    @property
    def saved_tokens(self) -> int:
        """Tokens its edits take out of the request."""
        return sum(edit.saved_tokens for edit in self.edits)

    @property
    def saved_usd(self) -> Decimal:
        """Dollars its edits are predicted to save, cached prices included."""
        return sum((edit.saved_usd for edit in self.edits), Decimal(0))


@dataclass(frozen=True, slots=True)
class Plan:
    """A request as it should be sent, and how it came about.

    Attributes:
        request: the request with all applied edits.
        steps: what each lever that is on or in shadow did, in order. The indices of a step's edits refer to the
            request as the steps before it left it.
        advice: what the planner, where it is on, predicts that the request as it is sent will be billed as.
    """

    request: Request
    steps: tuple[Step, ...] = ()
    advice: CacheAdvice | None = None

    @property
    def applied(self) -> tuple[Step, ...]:
        """The steps that changed the request, in order."""
        return tuple(step for step in self.steps if step.mode == "on" and step.edits)

    def __str__(self) -> str:
        if not self.steps:
            return "no lever is on: the request is sent as it is"
        return "\n".join(_line(step) for step in self.steps)


class Thrift:
    """The levers that are on, and their settings.

    Each lever is given as `"on"` (with its default settings), `"shadow"` (measured, not applied), `"off"`, a lever
    object of your own settings, or `Shadow(lever)`.

    Args:
        compressor: shortens new content before it is first sent.
        summarizer: keeps an agent's history lean.
        planner: places prompt-cache breakpoints.
        ledger: where savings and faults are booked, and whose price book is used.
        timeout_seconds: how long any one lever may take before it is passed over.

    Raises:
        ConfigurationError: a setting is none of the above, or a lever has no default yet.

    Example:
        >>> Thrift.safe().modes
        {'compressor': 'off', 'summarizer': 'on', 'planner': 'on'}
        >>> print(Thrift(planner="shadow").explain(Request(messages=())))
        planner (shadow): nothing to do
    """

    def __init__(
        self,
        *,
        compressor: Setting = "off",
        summarizer: Setting = "off",
        planner: Setting = "off",
        ledger: Ledger | None = None,
        timeout_seconds: float = 1.0,
    ) -> None:
        if not timeout_seconds > 0:
            raise ConfigurationError(f"timeout_seconds must be more than 0; got {timeout_seconds!r}")
        self.ledger = ledger if ledger is not None else Ledger()
        given: dict[LeverName, Setting] = {"compressor": compressor, "summarizer": summarizer, "planner": planner}
        self._levers: dict[LeverName, tuple[Lever, Mode]] = {
            name: lever for name in LEVER_ORDER if (lever := _resolve(name, given[name])) is not None
        }
        self._guard = Guard(self.ledger, timeout_seconds=timeout_seconds)
        self._is_prepared = False

    @classmethod
    def safe(cls, *, ledger: Ledger | None = None) -> Thrift:
        """Return lossless levers only; the default everywhere."""
        return cls(summarizer="on", planner="on", ledger=ledger)

    @classmethod
    def balanced(cls, *, ledger: Ledger | None = None) -> Thrift:
        """Return lossless levers, and lossy ones where what is cut can be recalled: worth it in long threads."""
        return cls(summarizer=_summarizer("rewrite"), planner="on", ledger=ledger)

    @classmethod
    def frugal(cls, *, ledger: Ledger | None = None) -> Thrift:
        """Return every lever, at the settings that save most; so far those of `balanced`."""
        return cls.balanced(ledger=ledger)

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """Tools to offer to the model from the first call on, for levers that are on."""
        return [tool for lever in self._on() if isinstance(lever, ToolLever) for tool in lever.tools]

    def recall(self, arguments: Mapping[str, Any]) -> str:
        """Answer a call of the `recall` tool; in words for the model where that fails."""
        lever = next((lever for lever in self._on() if isinstance(lever, ToolLever)), None)
        answer = None if lever is None else self._guard.run("recall", lambda: lever.recall(arguments))
        return "Nothing can be recalled right now." if answer is None else answer

    def observe(self, plan: Plan, usage: Usage) -> None:
        """Tell the levers what a planned request was billed as. Never raises."""
        for lever in self._on():
            if isinstance(lever, ObservingLever):
                self._guard.run("observe", partial(lever.observe, plan.request, usage))

    @property
    def modes(self) -> dict[LeverName, Mode]:
        """What each lever is set to."""
        return {name: self._levers[name][1] if name in self._levers else "off" for name in LEVER_ORDER}

    @property
    def guard(self) -> Guard:
        """What an adapter runs its own part of the work in, so that it fails open and is counted likewise."""
        return self._guard

    @property
    def store(self) -> RecallStore | None:
        """Where the levers that are on keep what they cut; None where they cut nothing."""
        return next((lever.store for lever in self._on() if isinstance(lever, StoringLever)), None)

    def plan(self, request: Request, *, skip: Collection[LeverName] = ()) -> Plan:
        """Ask each lever in turn and book what it saves. Never raises: a lever that fails changes nothing.

        Args:
            request: what is about to be sent.
            skip: levers whose edits the adapter could not apply to this request.
        """
        plan = self._plan(request, skip)
        for step in plan.steps:
            if step.edits:
                self._book(step)
        return plan

    async def aplan(self, request: Request, *, skip: Collection[LeverName] = ()) -> Plan:
        """As `plan`, with the levers' work kept off the event loop."""
        if not self._levers:
            return Plan(request)
        import asyncio  # noqa: PLC0415 - a large import, which sync apps do without

        return await asyncio.to_thread(self.plan, request, skip=skip)

    def explain(self, request: Request) -> str:
        """Say what each lever would do to the request and why, without booking anything."""
        return str(self._plan(request))

    def _plan(self, request: Request, skip: Collection[LeverName] = ()) -> Plan:
        if not self._levers:
            return Plan(request)
        self._prepare()
        pricing = self._pricing(request)
        for lever in self._on():
            if isinstance(lever, CanonicalLever):
                request = self._guard.run("canonical", partial(lever.canonical, request)) or request
        plan = Plan(request)
        for name, (lever, mode) in self._levers.items():
            if name in skip:
                step = Step(name, mode, note="skipped: its edits cannot be applied here")
                plan = replace(plan, steps=(*plan.steps, step))
            else:
                plan = self._step(name, mode, lever, plan, pricing)
        return plan

    def _prepare(self) -> None:
        if self._is_prepared:
            return
        guard = Guard(self.ledger, timeout_seconds=_PREPARING_SECONDS)
        for name, (lever, _) in self._levers.items():
            if isinstance(lever, PreparedLever):
                guard.run(name, lever.prepare)
        self._is_prepared = True

    def _step(self, name: LeverName, mode: Mode, lever: Lever, plan: Plan, pricing: Pricing | None) -> Plan:
        decided = self._guard.run(name, lambda: _decide(lever, plan.request, pricing))
        if decided is None:
            return replace(plan, steps=(*plan.steps, Step(name, mode, note="failed, passed over")))
        edits, edited, advice = decided
        step = Step(name, mode, edits, note="" if edits else "nothing to do")
        plan = replace(plan, steps=(*plan.steps, step))
        return replace(plan, request=edited, advice=advice or plan.advice) if mode == "on" else plan

    def _on(self) -> list[Lever]:
        return [lever for lever, mode in self._levers.values() if mode == "on"]

    def _pricing(self, request: Request) -> Pricing | None:
        if request.model is None:
            return None
        pricing = self.ledger.prices.pricing(request.model, request.provider)
        return None if isinstance(pricing, Unpriced) else pricing

    def _book(self, step: Step) -> None:
        saving = Saving(
            lever=step.lever,
            tokens=step.saved_tokens,
            cost_usd=step.saved_usd,
            is_shadow=step.mode == "shadow",
            attribution=current_attribution(),
        )
        self._guard.run("ledger", lambda: self.ledger.book(saving))


def _summarizer(mode: SummarizerMode = "append_only") -> Lever:
    from thrift_core.trajectory.summarizer import TrajectorySummarizer  # noqa: PLC0415 - only who uses a lever loads it

    return TrajectorySummarizer(mode=mode)


def _planner() -> Lever:
    from thrift_core.caching.planner import PromptCachePlanner  # noqa: PLC0415 - as above

    return PromptCachePlanner()


# Levers with a default: one line each, added with the lever.
_DEFAULTS: dict[LeverName, Callable[[], Lever]] = {"summarizer": _summarizer, "planner": _planner}


def _resolve(name: LeverName, setting: object) -> tuple[Lever, Mode] | None:
    if setting == "off":
        return None
    if setting in ("on", "shadow"):
        if name not in _DEFAULTS:
            raise ConfigurationError(
                f"{name}={setting!r}: there is no default {name} yet; give a lever object or 'off'"
            )
        return _DEFAULTS[name](), setting
    mode: Mode = "shadow" if isinstance(setting, Shadow) else "on"
    lever: object = setting.lever if isinstance(setting, Shadow) else setting
    if not callable(getattr(lever, "decide", None)):
        raise ConfigurationError(
            f"{name}={setting!r}: give 'on', 'shadow', 'off', a lever (an object with a decide method) or Shadow(lever)"
        )
    return cast("Lever", lever), mode


def _decide(
    lever: Lever, request: Request, pricing: Pricing | None
) -> tuple[tuple[Edit, ...], Request, CacheAdvice | None]:
    """Return a lever's edits, the request with them applied and its advice; raise if the edits make no sense."""
    advice = lever.advise(request, pricing) if isinstance(lever, AdvisingLever) else None
    edits = tuple(advice.edits if advice is not None else lever.decide(request, pricing))
    for edit in edits:
        _check_edit(edit)
    messages = apply_edits(request.messages, edits)
    if request.messages and not messages:
        raise ValueError("the edits leave no message")
    return edits, replace(request, messages=messages), advice


def _check_edit(edit: object) -> None:
    # A lever may be anybody's: what it states is checked, whatever its annotations say.
    if not isinstance(edit, Edit):
        raise TypeError(f"a decision must be edits; got {type(edit).__name__}")
    if isinstance(edit, ReplaceText):
        _check_kind(edit, "text", str)
    elif isinstance(edit, AppendBlock):
        _check_kind(edit, "message", Message)
    for name, kind in (("reason", str), ("saved_tokens", int), ("saved_usd", Decimal)):
        _check_kind(edit, name, kind)
    if not edit.saved_usd.is_finite():
        raise ValueError(f"{type(edit).__name__} states saved_usd={edit.saved_usd}")


def _check_kind(edit: Edit, name: str, kind: type) -> None:
    value: object = getattr(edit, name)
    if not isinstance(value, kind):
        raise TypeError(f"{type(edit).__name__}.{name} must be {kind.__name__}; got {value!r}")


def _line(step: Step) -> str:
    what = step.note or f"{len(step.edits)} edits, {step.saved_tokens} tokens, ${step.saved_usd}"
    reasons = "".join(f"\n    {edit.reason}" for edit in step.edits)
    return f"{step.lever} ({step.mode}): {what}{reasons}"
