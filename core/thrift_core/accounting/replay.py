"""What a limit would have done to the calls that a ledger holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Unpack

from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budget_store import is_too_much
from thrift_core.accounting.budget_units import to_count
from thrift_core.accounting.budget_watch import watches
from thrift_core.accounting.budget_window import window_start
from thrift_core.accounting.call import Call
from thrift_core.accounting.filters import Filters
from thrift_core.accounting.ledger import Ledger

_NOTHING = Decimal(0)


@dataclass(slots=True, kw_only=True)
class Stopped:
    """The calls of one key that a limit would have stopped.

    Attributes:
        key: whom they were for, such as `user=ann`, or `all calls`.
        calls: how many.
        cost_usd: what they cost.
        unpriced_calls: calls among them with no known price.
        first_at: when the first of them was made.
    """

    key: str
    first_at: datetime
    calls: int = 0
    cost_usd: Decimal = _NOTHING
    unpriced_calls: int = 0


@dataclass(slots=True, kw_only=True)
class Replay:
    """What a limit would have done.

    Attributes:
        budget: the limit.
        calls: how many calls it applied to.
        cost_usd: what they cost.
        uncounted_calls: calls with no known price, which a limit in dollars cannot count.
        stopped: what would have been stopped, for whom, the dearest first.
    """

    budget: Budget
    calls: int = 0
    cost_usd: Decimal = _NOTHING
    uncounted_calls: int = 0
    stopped: list[Stopped] = field(default_factory=list[Stopped])


def replay(
    ledger: Ledger,
    budget: Budget,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    on_call: Callable[[], object] | None = None,
    **filters: Unpack[Filters],
) -> Replay:
    """Return what a limit would have stopped, had it held from the first call on.

    Each call counts with what it really used. The limit itself reserves a call's worst case before it goes out, so it
    would have stopped some calls a little sooner; and an app that is stopped once may not have made its next calls.

    Args:
        ledger: the ledger.
        budget: the limit, treated as a hard one.
        since: the first moment that counts.
        until: the first moment that no longer counts.
        on_call: called for each call, to show progress.
        **filters: only calls with these names.
    """
    result = Replay(budget=budget)
    # The limit's own rules: whom a call counts for, and what is too much.
    watch = watches([replace(budget, hard=True)])[0]
    spent: dict[str, tuple[int, int]] = {}
    stopped: dict[str, Stopped] = {}
    for call in ledger.calls(since=since, until=until, **filters):
        if on_call is not None:
            on_call()
        usd = None if call.cost_usd is None else to_count("usd", call.cost_usd)
        claim = watch.claim(call.attribution, call.model, usd=usd, tokens=call.usage.total_tokens)
        if claim is None:
            continue
        result.calls += 1
        result.cost_usd += call.cost_usd or _NOTHING
        result.uncounted_calls += budget.unit == "usd" and usd is None
        window = window_start(budget.window, call.started_at.timestamp())
        before, used = spent.get(claim.key, (window, 0))
        used = used if before == window else 0
        if is_too_much(claim, used):
            _stop(stopped.setdefault(claim.key, Stopped(key=claim.key, first_at=call.started_at)), call)
        else:
            spent[claim.key] = (window, used + claim.amount)
    result.stopped = sorted(stopped.values(), key=lambda line: (-line.cost_usd, -line.calls))
    return result


def _stop(line: Stopped, call: Call) -> None:
    line.calls += 1
    line.cost_usd += call.cost_usd or _NOTHING
    line.unpriced_calls += call.cost_usd is None
