"""Which tiers are to be left alone for a while, because they failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LONGEST_SECONDS = 600.0


class Outages:
    """Remembers until when each tier rests; shared by all requests of a router.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[int, float] = {}
        self._lock = threading.Lock()

    def rest(self, index: int, seconds: float) -> None:
        """Let a tier rest, at most ten minutes at a time."""
        until = self._clock() + min(max(seconds, 0.0), _LONGEST_SECONDS)
        with self._lock:
            self._until[index] = max(until, self._until.get(index, 0.0))

    def wake(self, index: int) -> None:
        """Say that a tier has answered."""
        if index in self._until:
            with self._lock:
                self._until.pop(index, None)

    def resting(self) -> frozenset[int]:
        """Return the tiers that rest now."""
        if not self._until:
            return frozenset()
        now = self._clock()
        with self._lock:
            return frozenset(index for index, until in self._until.items() if until > now)
