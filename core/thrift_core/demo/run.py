"""Runs the workloads once for every row of the table."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.demo.rates import CHEAP_MODEL, RATES
from thrift_core.demo.workload import Figures, Setup, Workload
from thrift_core.testing import Brain, LocalProvider
from thrift_core.thrift import Thrift

_LOCAL_KEY = "local"
# Of about 3,000 that the documentation workload retrieves for a question.
PASSAGE_TOKENS = 1_200


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the workloads with certain levers on.

    Attributes:
        name: what the table calls it.
        configure: makes the levers for a pass that records to the given ledger; None for none.
        cheap_model: a model that a cascade asks first, where a workload can have one and it is the cheaper one.
        passage_tokens: to how many tokens retrieved passages are trimmed; None: not at all.
    """

    name: str
    configure: Callable[[Ledger], Thrift | None]
    cheap_model: str | None = None
    passage_tokens: int | None = None


def _lean_history(ledger: Ledger) -> Thrift:
    return Thrift(summarizer="on", planner="on", ledger=ledger)


def _lossless(ledger: Ledger) -> Thrift:
    return Thrift.safe(ledger=ledger)


def _cached(ledger: Ledger) -> Thrift:
    cache = SemanticCache(ledger=ledger, seed=0)
    return Thrift(cache=cache, schemas="on", compressor="on", summarizer="on", planner="on", ledger=ledger)


def _cutting(ledger: Ledger) -> Thrift:
    return Thrift.frugal(cache=SemanticCache(ledger=ledger, seed=0), ledger=ledger)


# A lever that lands adds a row here; rows build on each other, so that the table reads from the bill as it is to the
# bill with everything on.
ROWS: tuple[Row, ...] = (
    Row("as is", lambda ledger: None),
    Row("lean history, append-only", _lean_history),
    Row("and compact tools and texts", _lossless),
    Row("and a semantic cache", _cached),
    Row("and trimmed passages", _cached, passage_tokens=PASSAGE_TOKENS),
    Row("and a cascade", _cached, cheap_model=CHEAP_MODEL, passage_tokens=PASSAGE_TOKENS),
    Row("and cuts that can be recalled", _cutting, cheap_model=CHEAP_MODEL, passage_tokens=PASSAGE_TOKENS),
)


@dataclass(frozen=True, slots=True)
class RowFigures:
    """A row with its figures.

    Attributes:
        name: the row's name.
        figures: one for each workload, by its name.
    """

    name: str
    figures: dict[str, Figures]


def run_row(
    row: Row,
    workloads: list[Workload],
    *,
    model: str,
    ledger: Ledger,
    seed: int = 0,
    is_real: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> RowFigures:
    """Run every workload with a row's levers, each on a provider of its own with a cold prompt cache.

    Args:
        row: which levers are on.
        workloads: what to run, one after the other.
        model: the model to ask for.
        ledger: where calls are recorded.
        seed: decides data and order.
        is_real: whether the model's real provider answers, with the key in the environment.
        advance: called after each task.
    """
    run = f"{row.name} {uuid.uuid4().hex[:8]}"
    thrift = row.configure(ledger)
    figures: dict[str, Figures] = {}
    for workload in workloads:
        cheap = _cheap_model(row, workload, model, is_real=is_real)
        with nullcontext() if is_real else LocalProvider(_brain(workload, cheap), RATES) as provider:
            setup = Setup(
                workload=workload.name,
                model=model,
                base_url=None if provider is None else provider.base_url,
                api_key=None if provider is None else _LOCAL_KEY,
                seed=seed,
                ledger=ledger,
                thrift=thrift,
                passage_tokens=row.passage_tokens,
                cheap_model=cheap,
                run=run,
                advance=advance,
            )
            result = workload.run(setup)
            figures[workload.name] = Figures(
                spend=ledger.total(feature=workload.name, run=run),
                billed_usd=None if provider is None else provider.bill.cost_usd,
                tasks=len(result.outcomes),
                resolved=result.resolved,
            )
    return RowFigures(row.name, figures)


def _cheap_model(row: Row, workload: Workload, model: str, *, is_real: bool) -> str | None:
    """Return the model that a cascade asks first; None where there is none, or none that is cheaper."""
    cheap = row.cheap_model
    if cheap is None or cheap == model or (workload.cheap_brain is None and not is_real):
        return None
    known = cheap in RATES and model in RATES
    return cheap if not known or RATES[cheap].input_usd < RATES[model].input_usd else None


def _brain(workload: Workload, cheap: str | None) -> Brain:
    weaker = workload.cheap_brain
    if cheap is None or weaker is None:
        return workload.brain
    return lambda request: (weaker if request.model == cheap else workload.brain)(request)
