"""Remembers that a store is away, so that not every call waits for it."""

from __future__ import annotations

import time


class Circuit:
    """Lets calls through to a store while it works, and one call now and then while it does not.

    There is no lock: attributes change in single steps, and a race costs at most one more try.

    Args:
        back_off_seconds: how long after a failure the store is left alone.
    """

    def __init__(self, back_off_seconds: float) -> None:
        self._back_off_seconds = back_off_seconds
        self._retry_at: float | None = None
        self._failed_at = self._worked_at = float("-inf")
        self._first_failure = ["not yet told"]

    def begin(self) -> float | None:
        """Return when this try began, for `failed` and `worked`; None if the store must be left alone."""
        now = time.monotonic()
        if self._retry_at is not None:
            if now < self._retry_at:
                return None
            self._retry_at = now + self._back_off_seconds
        return now

    def failed(self, began: float) -> bool:
        """Note that a try failed; return True once for each time that the store goes away."""
        if began < self._worked_at:
            return False  # the store has come back since
        self._failed_at = time.monotonic()
        self._retry_at = self._failed_at + self._back_off_seconds
        try:
            self._first_failure.pop()
        except IndexError:
            return False
        return True

    def worked(self, began: float) -> bool:
        """Note that a try worked; return True if the store had been away."""
        if self._retry_at is None or began < self._failed_at:
            return False
        self._worked_at = time.monotonic()
        self._retry_at = None
        self._first_failure = ["not yet told"]
        return True
