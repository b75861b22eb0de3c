"""A request as the levers want it sent, step by step; what a lever decides is checked before it is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from thrift_core.levers import AdvisingLever, Lever, LeverName, Mode, SummarizingLever
from thrift_core.messages import AppendBlock, Edit, Message, ReplaceText, ReplaceTools, Request, apply_edits, tool_name
from thrift_core.prices import Pricing

if TYPE_CHECKING:
    from thrift_core.caching.advice import CacheAdvice
    from thrift_core.trajectory.summary_task import SummaryTask


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
        summary: a summary by a model that would pay; see `Thrift.summarize_with`.
    """

    request: Request
    steps: tuple[Step, ...] = ()
    advice: CacheAdvice | None = None
    summary: SummaryTask | None = None

    @property
    def applied(self) -> tuple[Step, ...]:
        """The steps that changed the request, in order."""
        return tuple(step for step in self.steps if step.mode == "on" and step.edits)

    def __str__(self) -> str:
        if not self.steps:
            return "no lever is on: the request is sent as it is"
        return "\n".join(_line(step) for step in self.steps)


class Decided(NamedTuple):
    """A lever's edits, the request with them applied, and what else it says."""

    edits: tuple[Edit, ...]
    request: Request
    advice: CacheAdvice | None
    summary: SummaryTask | None


def decided(lever: Lever, request: Request, pricing: Pricing | None) -> Decided:
    """Return what a lever decides; raise if its edits make no sense."""
    advice, summary = None, None
    edits: tuple[Edit, ...]
    if isinstance(lever, AdvisingLever):
        advice = lever.advise(request, pricing)
        edits = tuple(advice.edits)
    elif isinstance(lever, SummarizingLever):
        proposed, summary = lever.decision(request, pricing)
        edits = tuple(proposed)
    else:
        edits = tuple(lever.decide(request, pricing))
    for edit in edits:
        _check_edit(edit)
    messages = apply_edits(request.messages, edits)
    if request.messages and not messages:
        raise ValueError("the edits leave no message")
    return Decided(edits, replace(request, messages=messages, tools=_tools(request, edits)), advice, summary)


def _tools(request: Request, edits: Sequence[Edit]) -> tuple[Mapping[str, Any], ...]:
    tools = request.tools
    for edit in edits:
        if isinstance(edit, ReplaceTools):
            if list(map(tool_name, edit.tools)) != list(map(tool_name, tools)):
                raise ValueError("the edits offer other tools than were given")
            tools = edit.tools
    return tools


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
