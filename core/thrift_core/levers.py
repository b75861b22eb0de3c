"""What a lever is: what it must do, and what it may also do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from thrift_core.accounting.usage import Usage
from thrift_core.messages import Edit, Request
from thrift_core.prices import Pricing

if TYPE_CHECKING:
    from thrift_core.caching.advice import CacheAdvice
    from thrift_core.recall.store import RecallStore
    from thrift_core.trajectory.summary_task import LlmSummary, SummaryTask

Mode = Literal["on", "shadow", "off"]
LeverName = Literal["cache", "schemas", "compressor", "summarizer", "planner"]
# The order is part of the design: tools and new content are shortened first, then history, and breakpoints are placed
# on what is really sent. The cache is asked before any of them.
LEVER_ORDER: tuple[LeverName, ...] = ("schemas", "compressor", "summarizer", "planner")


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


@runtime_checkable
class SummarizingLever(Protocol):
    """A lever that may want a model to write a summary; it calls none itself."""

    def summarize_with(self, summary: LlmSummary) -> None:
        """Be told of a model that somebody will run."""
        ...

    def decision(self, request: Request, pricing: Pricing | None) -> tuple[Sequence[Edit], SummaryTask | None]:
        """Decide, as `decide` does, and say what summary would pay; asked in its place."""
        ...

    def withdraw(self, task: SummaryTask) -> None:
        """Be told that nobody will work on a task."""
        ...

    def summarized(self, task: SummaryTask, text: str | None) -> str | None:
        """Take in a summary, None where the model failed; return why it is not used, if it is not."""
        ...


@runtime_checkable
class FaultyLever(Protocol):
    """A lever that can do a part of its work where another part fails."""

    def faults(self) -> Sequence[Exception]:
        """Return what went wrong since this was asked last."""
        ...


@dataclass(frozen=True, slots=True)
class Shadow:
    """A lever that is measured but not applied."""

    lever: Lever


Setting = Lever | Shadow | Mode
