"""Time that never goes back, so that what has expired stays expired."""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """Milliseconds since 1970: the machine's clock, carried on by a clock that cannot be set where that one falls back.

    A clock that was ahead for a moment leaves this one ahead: answers then end too soon, never too late.

    Args:
        wall: seconds since 1970, as the machine says.
        ticks: seconds since whenever, never set.
    """

    def __init__(self, wall: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._ticks = ticks
        # One tuple, replaced at once: threads may read the clock together.
        self._last = (wall(), ticks())

    def now_ms(self) -> int:
        """Return the time."""
        last, then = self._last
        ticks = self._ticks()
        now = max(self._wall(), last + max(0.0, ticks - then))
        self._last = (now, ticks)
        return int(now * 1000)
