"""`thrift demo`: real workloads on a local provider, and what they cost as the levers come in."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from thrift_core.accounting.ledger import Ledger
from thrift_core.commands.subparsers import Subparsers
from thrift_core.errors import ConfigurationError

_KEY = "OPENAI_API_KEY"


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "demo", help="run real workloads on a local provider and show their bill", description=run.__doc__
    )
    parser.add_argument("--model", default="gpt-5-mini", help="the model to ask for (default: %(default)s)")
    parser.add_argument(
        "--real", action="store_true", help=f"ask the real provider, with the key in {_KEY}; costs money"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides data and order (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="WORKLOAD", help="may be given again")
    parser.add_argument("--ledger", metavar="FILE", help="keep the calls in this ledger, for `thrift report FILE`")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run an agent, a query engine and a support bot against a local provider, without a key or a network."""
    from rich.console import Console  # noqa: PLC0415 - slow to import

    from thrift_core.demo import ROWS, discover, run_row  # noqa: PLC0415
    from thrift_core.demo.table import demo_table  # noqa: PLC0415

    _check(arguments.model, is_real=arguments.real, only=arguments.only)
    console = Console(highlight=False)
    workloads, missing = discover(tuple(arguments.only))
    for name, needed in missing.items():
        console.print(f"{name}: skipped; to run it: pip install {needed}", markup=False)
    if not workloads:
        return 1
    started = time.perf_counter()
    tasks = sum(workload.tasks for workload in workloads) * len(ROWS)
    with Ledger(arguments.ledger) as ledger, _progress(tasks) as step:
        rows = [
            run_row(
                row,
                workloads,
                model=arguments.model,
                ledger=ledger,
                seed=arguments.seed,
                is_real=arguments.real,
                advance=step,
            )
            for row in ROWS
        ]
    seconds = time.perf_counter() - started
    where = "the real provider" if arguments.real else "the local provider"
    for workload in workloads:
        console.print(f"{workload.name}: {workload.about}", markup=False)
    console.print(demo_table(rows, title=f"{arguments.model} on {where}, {seconds:.0f} s"))
    return 0


def _check(model: str, *, is_real: bool, only: Sequence[str]) -> None:
    from thrift_core.demo.rates import RATES  # noqa: PLC0415 - slow to import
    from thrift_core.demo.workload import NEEDS  # noqa: PLC0415

    if is_real and not os.environ.get(_KEY):
        raise ConfigurationError(f"--real needs a key: set {_KEY}, or leave out --real for the local provider")
    if not is_real and model not in RATES:
        raise ConfigurationError(
            f"the local provider has no rates for {model!r}; it knows {', '.join(RATES)}. Another model needs --real"
        )
    if unknown := [name for name in only if name not in NEEDS]:
        raise ConfigurationError(f"no workload is called {', '.join(unknown)}; there are {', '.join(NEEDS)}")


@contextmanager
def _progress(tasks: int) -> Generator[Callable[[], None]]:
    """Show a bar where the error output is a terminal."""
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("tasks"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("tasks", total=tasks)
        yield lambda: bar.advance(task)
