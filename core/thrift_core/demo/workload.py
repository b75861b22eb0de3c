"""What a demo workload is: a brain for the local provider and a function that runs an app against it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import entry_points

from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.spend import Spend
from thrift_core.testing import Brain
from thrift_core.thrift import Thrift

ENTRY_POINTS = "thrift.demo"
# Every workload with what has to be installed for it; core knows their names only.
NEEDS = {
    "shop": "langchain-thrift[agents] langchain-openai",
    "parcels": "llamaindex-thrift llama-index-llms-openai",
    "docs": "llamaindex-thrift llama-index-llms-openai",
    "support": "langchain-thrift[agents] langchain-openai",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one task of a workload ended.

    Attributes:
        task: the task's name in its workload.
        answer: what the user got.
        is_resolved: whether that was right.
    """

    task: str
    answer: str
    is_resolved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a workload ended.

    Attributes:
        name: the workload's name.
        outcomes: one for each task, in the order they were done.
    """

    name: str
    outcomes: tuple[Outcome, ...]

    @property
    def resolved(self) -> int:
        """How many tasks ended right."""
        return sum(outcome.is_resolved for outcome in self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a workload runs with.

    Attributes:
        workload: the workload's name; the feature its calls are attributed to.
        model: the model to ask for.
        base_url: where the local provider listens; None for the real one.
        api_key: the key to send; None for the one in the environment.
        seed: decides the workload's data and the order of its tasks.
        ledger: where its calls are recorded.
        thrift: the levers that are on; None for none.
        cheap_model: a cheaper model that a cascade asks first; None for no cascade.
        passage_tokens: to how many tokens a workload that retrieves trims its passages; None: not at all.
        run: the run that its calls are attributed to, unique to this pass.
        advance: called after each task.
    """

    workload: str
    model: str
    base_url: str | None
    ledger: Ledger
    api_key: str | None = None
    seed: int = 0
    thrift: Thrift | None = None
    cheap_model: str | None = None
    passage_tokens: int | None = None
    run: str = "demo"
    advance: Callable[[], object] = lambda: None

    def working_on(self, task: str) -> AbstractContextManager[Attribution]:
        """Attribute the calls made inside the block to a task."""
        return attribute(self.workload, task=f"{self.run}/{self.workload}/{task}", run=self.run)

    def settle(self, task: str, answer: str, *, is_resolved: bool) -> Outcome:
        """Put a task's outcome into the ledger and return it."""
        self.ledger.resolve(f"{self.run}/{self.workload}/{task}", success=is_resolved)
        self.advance()
        return Outcome(task=task, answer=answer, is_resolved=is_resolved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An app with its tasks, declared by an adapter under the entry point group `thrift.demo`.

    Attributes:
        name: what the table calls it.
        about: one line on what it does.
        tasks: how many tasks it has.
        brain: the scripted model that answers it.
        run: does all tasks and says how they ended.
        cheap_brain: the weaker scripted model of a cascade; None where the workload has no cascade.
    """

    name: str
    about: str
    tasks: int
    brain: Brain
    run: Callable[[Setup], Result]
    cheap_brain: Brain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one workload cost in one pass.

    Attributes:
        spend: what the ledger says.
        billed_usd: what the provider's own bill says; None for a real provider, whose bill we do not see.
        tasks: how many tasks there were.
        resolved: how many ended right.
    """

    spend: Spend
    billed_usd: Decimal | None
    tasks: int
    resolved: int

    @property
    def usd_per_resolved_task(self) -> Decimal | None:
        """What a resolved task cost, failed ones included; None if none was resolved."""
        return self.spend.cost_usd / self.resolved if self.resolved else None


def discover(only: tuple[str, ...] = ()) -> tuple[list[Workload], dict[str, str]]:
    """Return the workloads that are installed, and what to install for those that are not.

    Args:
        only: names to keep; none for all.
    """
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    names = [name for name in dict.fromkeys((*NEEDS, *points)) if not only or name in only]
    workloads: list[Workload] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            workloads.append(points[name].load())
        except (KeyError, ImportError):
            missing[name] = NEEDS.get(name, name)
    return workloads, missing
