"""Counts what fails inside the cache, and warns of each kind once."""

from __future__ import annotations

import logging
from collections import Counter

from thrift_core.guard import FaultCounter

logger = logging.getLogger("thrift")
LEVER = "cache"


class Faults:
    """Passes faults to a ledger, or counts them itself where there is none.

    Args:
        ledger: where faults are counted; None counts here.
    """

    def __init__(self, ledger: FaultCounter | None) -> None:
        self._ledger = ledger
        self._warned: set[str] = set()
        self.counted: Counter[tuple[str, str]] = Counter()

    def count_fault(self, lever: str, reason: str) -> None:
        """Count one fault; never raises."""
        self.counted[lever, reason] += 1
        if self._ledger is not None:
            try:
                self._ledger.count_fault(lever, reason)
            except Exception:
                logger.debug("a fault could not be counted", exc_info=True)

    def note(self, what: str, error: BaseException) -> None:
        """Count a failure, and warn of the first of its kind."""
        reason = f"{what}: {type(error).__name__}"
        self.count_fault(LEVER, reason)
        if reason not in self._warned:
            self._warned.add(reason)
            logger.warning("thrift's cache was passed over, the model is asked: %s: %s", reason, error)
