"""The fail-open guard around every lever: what raises, hangs or answers nonsense leaves the request as it was."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Protocol, TypeVar

logger = logging.getLogger("thrift")
T = TypeVar("T")


class FaultCounter(Protocol):
    """Counts what went wrong; a `Ledger` is one."""

    def count_fault(self, lever: str, reason: str) -> None:
        """Count one fault of a lever."""
        ...


class Guard:
    """Runs a lever's work so that nothing it does can hurt the app's call.

    Args:
        faults: where faults are counted.
        timeout_seconds: how long one decision may take. What is not back by then is ignored, and the lever is passed
            over until the stuck work ends, so that at most one thread of each lever can hang.
    """

    def __init__(self, faults: FaultCounter, *, timeout_seconds: float = 1.0) -> None:
        self._faults = faults
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._stuck: dict[str, threading.Thread] = {}
        self._warned: set[tuple[str, str]] = set()

    def run(self, lever: str, work: Callable[[], T]) -> T | None:
        """Return what `work` returns, or None if it raised or took too long."""
        if self._is_stuck(lever):
            self._note(lever, "still hanging", None)
            return None
        results: list[T] = []
        errors: list[BaseException] = []

        def attempt() -> None:
            try:
                results.append(work())
            except BaseException as error:  # whatever a lever throws, the app never sees it
                errors.append(error)

        # A daemon thread: a hanging lever must not keep the app's process from ending.
        thread = threading.Thread(target=copy_context().run, args=(attempt,), name=f"thrift-{lever}", daemon=True)
        thread.start()
        thread.join(self._timeout_seconds)
        if results:
            return results[0]
        if errors:
            self._note(lever, type(errors[0]).__name__, errors[0])
            return None
        with self._lock:
            self._stuck[lever] = thread
        self._note(lever, "timeout", TimeoutError(f"no decision within {self._timeout_seconds} s"))
        return None

    def note(self, part: str, error: Exception) -> None:
        """Count and tell of what went wrong in a part that did the rest of its work. Never raises."""
        self._note(part, type(error).__name__, error, "did only what it could")

    def _is_stuck(self, lever: str) -> bool:
        with self._lock:
            thread = self._stuck.get(lever)
            if thread is not None and not thread.is_alive():
                del self._stuck[lever]
                return False
            return thread is not None

    def _note(
        self,
        lever: str,
        reason: str,
        error: BaseException | None,
        outcome: str = "was passed over, the request is sent as it was",
    ) -> None:
        try:
            self._faults.count_fault(lever, reason)
        except Exception:
            logger.debug("a fault could not be counted", exc_info=True)
        if (lever, reason) not in self._warned:
            self._warned.add((lever, reason))
            logger.warning("thrift's %s %s: %s", lever, outcome, error or reason)
