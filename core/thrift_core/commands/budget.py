"""`thrift budget`: how far limits are used up, and what a limit would have stopped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thrift_core.accounting.amounts import count, decimals_for, plural, shown, with_unpriced
from thrift_core.accounting.budget import PERS, Budget, BudgetState, RunawayGuard
from thrift_core.accounting.budget_units import as_words
from thrift_core.accounting.budget_window import WINDOWS
from thrift_core.accounting.replay import Replay, replay
from thrift_core.accounting.report_tables import Column, Line, Table
from thrift_core.commands.ledger_path import ledger_path, open_ledger
from thrift_core.commands.period import add_period, filters
from thrift_core.commands.progress import progress
from thrift_core.commands.subparsers import Subparsers
from thrift_core.errors import ConfigurationError, LedgerError

if TYPE_CHECKING:
    from rich.console import Console

_MOST_KEYS = 20
_TRY = "try"


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "budget",
        help="how far limits are used up; `budget try`: what a limit would have stopped",
        usage="thrift budget [STORE]\n       thrift budget try [LEDGER] (--usd N | --tokens N | --calls N) "
        "[--per NAME] [--window WINDOW] [which calls]",
        description="Without `try`: how far the limits kept in a store are used up. With `try`: what a limit would "
        "have done to the calls that a ledger holds.",
    )
    parser.add_argument("words", nargs="*", metavar="[try] [STORE]", help="a ledger, a budget file or a redis:// URL")
    limit = parser.add_argument_group("the limit to try")
    limit.add_argument("--usd", help="dollars")
    limit.add_argument("--tokens", type=int, help="tokens, input and output together")
    limit.add_argument("--calls", type=int, help="calls")
    limit.add_argument("--per", choices=PERS, help="each of these by itself (default: everything together)")
    limit.add_argument("--window", choices=WINDOWS, help="counted anew for each (default: for ever)")
    add_period(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the state of limits, or try one on the past."""
    words: list[str] = arguments.words
    is_trial = words[:1] == [_TRY]
    rest = words[1:] if is_trial else words
    if len(rest) > 1:
        raise ConfigurationError(f"one store at a time; got {' '.join(rest)}")
    given = rest[0] if rest else None
    return _try(arguments, given) if is_trial else _show(arguments, given)


def _show(arguments: argparse.Namespace, given: str | None) -> int:
    if any(value is not None for value in (arguments.usd, arguments.tokens, arguments.calls)):
        raise ConfigurationError(
            "a limit is tried with `thrift budget try`; without it, the limits in a store are shown"
        )
    from thrift_core.accounting.budgets import Budgets  # noqa: PLC0415 - only this command needs it

    store = given if given and "://" in given else str(_existing(given))
    states = Budgets(store=store).state()
    console = _console()
    if not states:
        console.print(f"No limit has counted anything in {shown(store)} yet.", markup=False)
        return 0
    _print(_state_table(states), console)
    return 0


def _existing(given: str | None) -> Path:
    path = ledger_path(given)
    if not path.exists():
        raise LedgerError(
            f"there is no file {path}; name the store that the app gives to Budgets, or set THRIFT_LEDGER"
        )
    return path


def _try(arguments: argparse.Namespace, given: str | None) -> int:
    budget = Budget(
        limit_usd=arguments.usd,
        limit_tokens=arguments.tokens,
        limit_calls=arguments.calls,
        per=arguments.per,
        window=arguments.window,
    )
    period = {"since": arguments.since, "until": arguments.until}
    with open_ledger(given) as ledger:
        total = ledger.total(**period, **filters(arguments)).calls
        with progress("calls", total=total) as step:
            result = replay(ledger, budget, **period, on_call=step, **filters(arguments))
    console = _console()
    console.print(_verdict(result), markup=False)
    if result.stopped:
        _print(_stopped_table(result), console)
    return 0


def _verdict(result: Replay) -> str:
    calls = sum(line.calls for line in result.stopped)
    spent = with_unpriced(result.cost_usd, result.uncounted_calls)
    about = f"{result.budget} would have stopped {count(calls)} of {plural(result.calls, 'call')} ({spent})"
    if not calls:
        return f"{about}."
    kept = with_unpriced(
        sum((line.cost_usd for line in result.stopped), result.cost_usd * 0),
        sum(line.unpriced_calls for line in result.stopped),
    )
    first = min(line.first_at for line in result.stopped)
    return f"{about}, worth {kept}, the first on {first:%Y-%m-%d %H:%M} UTC."


def _stopped_table(result: Replay) -> Table:
    kept = result.stopped[:_MOST_KEYS]
    decimals = decimals_for(line.cost_usd for line in kept)
    more = len(result.stopped) - len(kept)
    return Table(
        name="stopped",
        title="Whom it would have stopped",
        columns=(
            Column(title="Whom", is_number=False),
            Column(title="Calls"),
            Column(title="Worth"),
            Column(title="First (UTC)"),
        ),
        lines=tuple(
            Line(
                cells=(
                    shown(line.key),
                    count(line.calls),
                    with_unpriced(line.cost_usd, line.unpriced_calls, decimals),
                    f"{line.first_at:%Y-%m-%d %H:%M}",
                )
            )
            for line in kept
        ),
        note=(f"And {count(more)} more. " if more else "")
        + "Each call counts with what it used; a limit that holds reserves the worst case and stops a little sooner.",
    )


def _state_table(states: Sequence[BudgetState]) -> Table:
    lines = sorted(states, key=lambda state: -float(state.used + state.reserved) / float(state.limit))
    return Table(
        name="limits",
        title="Limits",
        columns=(
            Column(title="Limit", is_number=False),
            Column(title="Whom", is_number=False),
            Column(title="Used"),
            Column(title="Reserved"),
            Column(title="Left"),
            Column(title="Until (UTC)"),
        ),
        lines=tuple(_state_line(state) for state in lines),
    )


def _state_line(state: BudgetState) -> Line:
    unit = "calls" if isinstance(state.budget, RunawayGuard) else state.budget.unit
    left = max(state.limit - state.used - state.reserved, state.limit * 0)
    unpriced = f" + {count(state.unpriced_calls)} unpriced" if state.unpriced_calls else ""
    return Line(
        cells=(
            str(state.budget),
            shown(state.key),
            f"{as_words(unit, state.used)} ({float(state.used) / float(state.limit):.0%}){unpriced}",
            as_words(unit, state.reserved),
            as_words(unit, left),
            f"{state.window_end:%Y-%m-%d %H:%M}" if state.window_end else "no end",
        )
    )


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - slow to import

    return Console(highlight=False, file=sys.stdout)


def _print(table: Table, console: Console) -> None:
    from thrift_core.accounting.terminal import print_table  # noqa: PLC0415

    print_table(table, console)
