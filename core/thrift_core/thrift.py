"""The `Thrift` object that every adapter takes: the levers in their order, each on, in shadow or off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError
from thrift_core.guard import Guard
from thrift_core.messages import AppendBlock, Edit, Message, ReplaceText, Request, apply_edits
from thrift_core.prices import Pricing, Unpriced

T = TypeVar("T")
Mode = Literal["on", "shadow", "off"]
LeverName = Literal["compressor", "summarizer", "planner"]
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
    """

    request: Request
    steps: tuple[Step, ...] = ()

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
        >>> print(Thrift.safe().explain(Request(messages=())))
        no lever is on: the request is sent as it is
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

    @classmethod
    def safe(cls, *, ledger: Ledger | None = None) -> Thrift:
        """Return lossless levers only; the default everywhere."""
        return cls(ledger=ledger)

    @classmethod
    def balanced(cls, *, ledger: Ledger | None = None) -> Thrift:
        """Return lossless levers, and lossy ones where what is cut can be recalled."""
        return cls(ledger=ledger)

    @classmethod
    def frugal(cls, *, ledger: Ledger | None = None) -> Thrift:
        """Return every lever, at the settings that save most."""
        return cls(ledger=ledger)

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """Tools to offer to the model from the first call on, for levers that are on."""
        return [tool for lever in self._on(ToolLever) for tool in lever.tools]

    def recall(self, arguments: Mapping[str, Any]) -> str:
        """Answer a call of the `recall` tool; in words for the model where that fails."""
        lever = next(iter(self._on(ToolLever)), None)
        answer = None if lever is None else self._guard.run("recall", lambda: lever.recall(arguments))
        return "Nothing can be recalled right now." if answer is None else answer

    def observe(self, plan: Plan, usage: Usage) -> None:
        """Tell the levers what a planned request was billed as. Never raises."""
        for lever in self._on(ObservingLever):
            self._guard.run("observe", partial(lever.observe, plan.request, usage))

    @property
    def modes(self) -> dict[LeverName, Mode]:
        """What each lever is set to."""
        return {name: self._levers[name][1] if name in self._levers else "off" for name in LEVER_ORDER}

    def plan(self, request: Request) -> Plan:
        """Ask each lever in turn and book what it saves. Never raises: a lever that fails changes nothing."""
        plan = self._plan(request)
        for step in plan.steps:
            if step.edits:
                self._book(step)
        return plan

    async def aplan(self, request: Request) -> Plan:
        """As `plan`, with the levers' work kept off the event loop."""
        if not self._levers:
            return Plan(request)
        import asyncio  # noqa: PLC0415 - a large import, which sync apps do without

        return await asyncio.to_thread(self.plan, request)

    def explain(self, request: Request) -> str:
        """Say what each lever would do to the request and why, without booking anything."""
        return str(self._plan(request))

    def _plan(self, request: Request) -> Plan:
        if not self._levers:
            return Plan(request)
        pricing = self._pricing(request)
        for lever in self._on(CanonicalLever):
            request = self._guard.run("canonical", partial(lever.canonical, request)) or request
        steps: list[Step] = []
        for name, (lever, mode) in self._levers.items():
            step, request = self._step(name, mode, lever, request, pricing)
            steps.append(step)
        return Plan(request, tuple(steps))

    def _step(
        self, name: LeverName, mode: Mode, lever: Lever, request: Request, pricing: Pricing | None
    ) -> tuple[Step, Request]:
        decided = self._guard.run(name, lambda: _decide(lever, request, pricing))
        if decided is None:
            return Step(name, mode, note="failed, passed over"), request
        edits, edited = decided
        step = Step(name, mode, edits)
        if not edits:
            return replace(step, note="nothing to do"), request
        return step, edited if mode == "on" else request

    def _on(self, kind: type[T]) -> list[T]:
        return [lever for lever, mode in self._levers.values() if mode == "on" and isinstance(lever, kind)]

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


# Levers with a default: one line each, added with the lever.
_DEFAULTS: dict[LeverName, Callable[[], Lever]] = {}


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


def _decide(lever: Lever, request: Request, pricing: Pricing | None) -> tuple[tuple[Edit, ...], Request]:
    """Return a lever's edits and the request with them applied; raise if they make no sense."""
    edits = tuple(lever.decide(request, pricing))
    for edit in edits:
        _check_edit(edit)
    messages = apply_edits(request.messages, edits)
    if request.messages and not messages:
        raise ValueError("the edits leave no message")
    return edits, replace(request, messages=messages)


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
