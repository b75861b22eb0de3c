"""When the windows of a limit begin and end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, get_args

Window = Literal["minute", "hour", "day", "month", "run"]
WINDOWS: tuple[Window, ...] = get_args(Window)

# A month counts with its longest length wherever only "at least this long" matters.
LENGTH_SECONDS: dict[Window, int] = {"minute": 60, "hour": 3600, "day": 86_400, "month": 31 * 86_400}


def window_start(window: Window | None, now: float) -> int:
    """Return the second at which the window around `now` began, both in seconds since 1970.

    Windows follow the UTC calendar, so that every machine agrees on them: a day begins at 00:00 UTC, a month on its
    first day. `run` and None have no end and begin at 0. Leap seconds do not exist in Unix time.
    """
    if window is None or window == "run":
        return 0
    if window == "month":
        at = datetime.fromtimestamp(now, UTC)
        return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp())
    length = LENGTH_SECONDS[window]
    return int(now // length) * length


def window_end(window: Window | None, start: int) -> int | None:
    """Return the second at which the window that began at `start` ends, None if it never does."""
    if window is None or window == "run":
        return None
    if window == "month":
        return window_start("month", start + LENGTH_SECONDS["month"])
    return start + LENGTH_SECONDS[window]
