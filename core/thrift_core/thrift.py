"""The `Thrift` object that every adapter takes: the levers in their order, each on, in shadow or off."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Saving
from thrift_core.accounting.given import ledger_of
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError
from thrift_core.guard import Guard
from thrift_core.levers import (
    LEVER_ORDER,
    CanonicalLever,
    FaultyLever,
    Lever,
    LeverName,
    Mode,
    ObservingLever,
    PreparedLever,
    Setting,
    Shadow,
    StoringLever,
    SummarizingLever,
    ToolLever,
)
from thrift_core.messages import Request
from thrift_core.plan import Plan, Step, decided
from thrift_core.prices import Pricing, Unpriced

if TYPE_CHECKING:
    from thrift_core.caching.semantic.cache import SemanticCache
    from thrift_core.recall.store import RecallStore
    from thrift_core.trajectory.summary_task import LlmSummary, SummaryTask

T = TypeVar("T")


# Loading a token encoding takes a second on a busy machine. A first request that went without the levers would be
# changed, and its cached prefix lost, at the second.
_PREPARING_SECONDS = 30.0


class SummaryRefused(Exception):
    """A model's summary that is not used; says why."""


class Thrift:
    """The levers that are on, and their settings.

    Each lever is given as `"on"` (with its default settings), `"shadow"` (measured, not applied), `"off"`, a lever
    object of your own settings, or `Shadow(lever)`.

    Args:
        cache: answers a request that was answered before: `"on"`, `"shadow"`, `"off"` or a `SemanticCache` of your own
            settings.
        schemas: sends tool definitions in fewer tokens.
        compressor: shortens new content before it is first sent.
        summarizer: keeps an agent's history lean.
        planner: places prompt-cache breakpoints.
        recall: where levers made here keep what they cut; in memory by default.
        ledger: where savings and faults are booked, and whose price book is used.
        timeout_seconds: how long any one lever may take before it is passed over.

    Raises:
        ConfigurationError: a setting is none of the above, or a lever has no default yet.

    Example:
        >>> Thrift.safe().modes
        {'cache': 'off', 'schemas': 'on', 'compressor': 'on', 'summarizer': 'on', 'planner': 'on'}
        >>> print(Thrift(planner="shadow").explain(Request(messages=())))
        planner (shadow): nothing to do
    """

    def __init__(
        self,
        *,
        cache: SemanticCache | Mode = "off",
        schemas: Setting = "off",
        compressor: Setting = "off",
        summarizer: Setting = "off",
        planner: Setting = "off",
        recall: RecallStore | None = None,
        ledger: Ledger | None = None,
        timeout_seconds: float = 1.0,
    ) -> None:
        if not timeout_seconds > 0:
            raise ConfigurationError(f"timeout_seconds must be more than 0; got {timeout_seconds!r}")
        self.ledger = ledger_of(ledger)
        given: dict[LeverName, Setting] = {
            "schemas": schemas,
            "compressor": compressor,
            "summarizer": summarizer,
            "planner": planner,
        }
        made = Defaults(recall, has_summarizer=summarizer != "off")
        self._levers: dict[LeverName, tuple[Lever, Mode]] = {
            name: lever for name in LEVER_ORDER if (lever := _resolve(name, given[name], made)) is not None
        }
        self._cache = _cache(cache, self.ledger)
        self._guard = Guard(self.ledger, timeout_seconds=timeout_seconds)
        self._is_prepared = False

    @classmethod
    def safe(cls, *, ledger: Ledger | None = None) -> Thrift:
        """Return lossless levers only; the default everywhere."""
        return cls(schemas="on", compressor="on", summarizer="on", planner="on", ledger=ledger)

    @classmethod
    def balanced(cls, *, ledger: Ledger | None = None, recall: RecallStore | None = None) -> Thrift:
        """Return lossless levers, and lossy ones where what is cut can be recalled: worth it in long threads."""
        return cls._cutting(ledger, recall, cache="off")

    @classmethod
    def frugal(
        cls,
        *,
        cache: SemanticCache | Mode = "on",
        ledger: Ledger | None = None,
        recall: RecallStore | None = None,
    ) -> Thrift:
        """Return every lever: as `balanced`, with a cache, by default in memory, that serves each user apart."""
        return cls._cutting(ledger, recall, cache=cache)

    @classmethod
    def _cutting(cls, ledger: Ledger | None, recall: RecallStore | None, *, cache: SemanticCache | Mode) -> Thrift:
        made = Defaults(recall, has_summarizer=True, may_cut=True)
        return cls(
            cache=cache,
            schemas="on",
            compressor=made.compressor(),
            summarizer=made.summarizer(),
            planner="on",
            ledger=ledger,
        )

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """Tools to offer to the model from the first call on, for levers that are on."""
        offered: list[Mapping[str, Any]] = []
        for lever in self._tool_levers():
            offered += [tool for tool in lever.tools if tool not in offered]
        return offered

    @property
    def needing_tools(self) -> tuple[LeverName, ...]:
        """The levers to leave out where the `tools` cannot be offered: what they cut could not be had back."""
        found: list[LeverName] = []
        for name, (lever, mode) in self._levers.items():
            if mode == "on" and isinstance(lever, ToolLever) and lever.tools:
                found.append(name)
        return tuple(found)

    def recall(self, arguments: Mapping[str, Any]) -> str:
        """Answer a call of the `recall` tool; in words for the model where that fails."""
        answer = self._guard.run("recall", lambda: self._recall(arguments))
        return "Nothing can be recalled right now." if answer is None else answer

    def observe(self, plan: Plan, usage: Usage) -> None:
        """Tell the levers what a planned request was billed as. Never raises."""
        for lever in self._on():
            if isinstance(lever, ObservingLever):
                self._guard.run("observe", partial(lever.observe, plan.request, usage))

    def summarize_with(self, summary: LlmSummary) -> None:
        """Let a model write summaries of old steps; whoever calls this runs it, and answers with `summarized`.

        Raises:
            ConfigurationError: no lever that is on takes summaries, or one is written by another model already.
        """
        levers = [lever for lever in self._on() if isinstance(lever, SummarizingLever)]
        if not levers:
            raise ConfigurationError("no summarizer is on that could use a summary by a model: give Thrift.balanced()")
        if summary.pricing is None and summary.model is not None:
            pricing = self.ledger.prices.pricing(summary.model, summary.provider)
            summary = summary if isinstance(pricing, Unpriced) else replace(summary, pricing=pricing)
        for lever in levers:
            lever.summarize_with(summary)

    def summarized(self, task: SummaryTask, text: str | None) -> None:
        """Take in a summary that a plan wanted, None where the model failed. Never raises."""
        for lever in self._on():
            if isinstance(lever, SummarizingLever):
                reason = self._guard.run("summarizer", partial(lever.summarized, task, text))
                if reason is not None:
                    self._guard.note("summarizer", SummaryRefused(reason))

    def withdraw(self, plan: Plan) -> None:
        """Say that nobody will write the summary that a plan wants, if it wants one. Never raises."""
        if (task := plan.summary) is not None:
            for lever in self._on():
                if isinstance(lever, SummarizingLever):
                    self._guard.run("summarizer", partial(lever.withdraw, task))

    @property
    def modes(self) -> dict[LeverName, Mode]:
        """What each lever is set to."""
        modes: dict[LeverName, Mode] = {"cache": "off" if self._cache is None else self._cache.settings.mode}
        modes.update({name: self._levers[name][1] if name in self._levers else "off" for name in LEVER_ORDER})
        return modes

    @property
    def cache(self) -> SemanticCache | None:
        """The cache that an adapter asks before a call, and tells the answer after it; None where it is off."""
        return self._cache

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
        plan = self._plan(request)
        self.withdraw(plan)
        return str(plan)

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
        found = self._guard.run(name, lambda: decided(lever, plan.request, pricing))
        for error in lever.faults() if isinstance(lever, FaultyLever) else ():
            self._guard.note(name, error)
        if found is None:
            return replace(plan, steps=(*plan.steps, Step(name, mode, note="failed, passed over")))
        step = Step(name, mode, found.edits, note="" if found.edits else "nothing to do")
        plan = replace(plan, steps=(*plan.steps, step))
        if mode != "on":
            return plan
        return replace(
            plan, request=found.request, advice=found.advice or plan.advice, summary=found.summary or plan.summary
        )

    def _recall(self, arguments: Mapping[str, Any]) -> str | None:
        levers = self._tool_levers()
        handle = str(arguments.get("id", "")).strip()
        kept = (lever for lever in levers if isinstance(lever, StoringLever) and lever.store.get(handle) is not None)
        lever = next(kept, None) or next(iter(levers), None)
        return None if lever is None else lever.recall(arguments)

    def _tool_levers(self) -> list[ToolLever]:
        return [lever for lever in self._on() if isinstance(lever, ToolLever)]

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


class Defaults:
    """Makes the levers that are given by a word, to go with each other.

    Args:
        recall: where they keep what they cut; one store in memory by default.
        has_summarizer: a summarizer is among them.
        may_cut: they may also cut what can be recalled.
    """

    def __init__(self, recall: RecallStore | None, *, has_summarizer: bool, may_cut: bool = False) -> None:
        from thrift_core.recall.store import MemoryRecallStore  # noqa: PLC0415 - only who uses a lever loads it

        self._recall = MemoryRecallStore() if recall is None else recall
        self._has_summarizer = has_summarizer
        self._may_cut = may_cut

    def schemas(self) -> Lever:
        """Return the lever for tool definitions."""
        from thrift_core.compression.schema_lever import SchemaLever  # noqa: PLC0415 - as above

        return SchemaLever()

    def compressor(self) -> Lever:
        """Return the compressor."""
        from thrift_core.compression.lever import CompressorLever  # noqa: PLC0415 - as above

        return CompressorLever(lossy=self._may_cut, leave_json=self._has_summarizer, store=self._recall)

    def summarizer(self) -> Lever:
        """Return the summarizer."""
        from thrift_core.trajectory.summarizer import TrajectorySummarizer  # noqa: PLC0415 - as above

        return TrajectorySummarizer(mode="rewrite" if self._may_cut else "append_only", store=self._recall)

    def planner(self) -> Lever:
        """Return the planner."""
        from thrift_core.caching.planner import PromptCachePlanner  # noqa: PLC0415 - as above

        return PromptCachePlanner()


def _cache(setting: object, ledger: Ledger) -> SemanticCache | None:
    if setting == "off":
        return None
    from thrift_core.caching.semantic.cache import SemanticCache  # noqa: PLC0415 - as above
    from thrift_core.caching.semantic.settings import CacheSettings  # noqa: PLC0415

    if isinstance(setting, SemanticCache):
        return setting
    if setting in ("on", "shadow"):
        return SemanticCache(settings=CacheSettings(mode=setting), ledger=ledger)
    raise ConfigurationError(
        f"cache={setting!r}: give 'on', 'shadow', 'off' or a SemanticCache; one in shadow is "
        "SemanticCache(settings=CacheSettings(mode='shadow'))"
    )


def _resolve(name: LeverName, setting: object, made: Defaults) -> tuple[Lever, Mode] | None:
    if setting == "off":
        return None
    if setting in ("on", "shadow"):
        lever_of: dict[LeverName, Callable[[], Lever]] = {
            "schemas": made.schemas,
            "compressor": made.compressor,
            "summarizer": made.summarizer,
            "planner": made.planner,
        }
        return lever_of[name](), setting
    mode: Mode = "shadow" if isinstance(setting, Shadow) else "on"
    lever: object = setting.lever if isinstance(setting, Shadow) else setting
    if not callable(getattr(lever, "decide", None)):
        raise ConfigurationError(
            f"{name}={setting!r}: give 'on', 'shadow', 'off', a lever (an object with a decide method) or Shadow(lever)"
        )
    return cast("Lever", lever), mode
