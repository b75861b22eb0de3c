"""Progress on the terminal, for work that can take long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

_EVERY = 1000


@contextmanager
def progress(what: str, total: int | None = None) -> Generator[Callable[[], None], None, None]:
    """Yield a function to call for each step; a bar shows them where the error output is a terminal."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total)
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps % _EVERY == 0:  # drawing each line would cost more than reading it
                bars.update(task, completed=steps)

        yield step


@contextmanager
def waiting(what: str) -> Generator[None, None, None]:
    """Show that work goes on, where the error output is a terminal and nobody can say how far it is."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import

    with Console(stderr=True).status(what):
        yield


def _nothing() -> None: ...
