"""The period and the filters that a command line names."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import cast

from thrift_core.accounting.call import OUTCOMES
from thrift_core.accounting.filters import FILTERS, Filters

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_period(parser: argparse.ArgumentParser) -> None:
    """Add `--since`, `--until` and one option for each filter."""
    group = parser.add_argument_group("which calls")
    group.add_argument("--since", type=moment, metavar="WHEN", help="7d, 12h, 2w, 2026-01-31 or 2026-01-31T08:00")
    group.add_argument("--until", type=moment, metavar="WHEN", help="likewise; calls from then on do not count")
    for name in FILTERS:
        choices = OUTCOMES if name == "outcome" else None
        # A name of its own: `run` is a filter, and what argparse is told to run.
        group.add_argument(
            f"--{name}",
            dest=f"only_{name}",
            metavar=None if choices else name.upper(),
            choices=choices,
            help=f"only calls with this {name}",
        )


def filters(arguments: argparse.Namespace) -> Filters:
    """Return the filters that were given."""
    given = {name: value for name in FILTERS if (value := getattr(arguments, f"only_{name}")) is not None}
    return cast("Filters", given)


def moment(text: str, *, now: datetime | None = None) -> datetime:
    """Return a moment given as an age or as a date; without a time zone it is UTC, as the days of a report are.

    Raises:
        argparse.ArgumentTypeError: the text is neither.
    """
    if age := re.fullmatch(r"(\d{1,6})([mhdw])", text.strip()):
        try:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        except OverflowError:
            raise argparse.ArgumentTypeError(f"{text!r} is before the calendar begins") from None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither an age such as 7d, 12h or 2w nor a date such as 2026-01-31"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
