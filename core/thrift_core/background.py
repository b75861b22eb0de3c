"""Work that nobody waits for, such as a summary that a model writes while the conversation goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import Context


class Background:
    """Runs a few pieces of work beside the app, in threads that do not keep its process from ending.

    Args:
        limit: how many may run at once; what is more is not run at all.

    Example:
        >>> background, done = Background(), []
        >>> background.start(lambda: done.append("told"))
        True
        >>> background.wait(seconds=10)
        True
        >>> done
        ['told']
    """

    def __init__(self, limit: int = 2) -> None:
        self._slots = threading.BoundedSemaphore(limit)
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def start(self, work: Callable[[], object], *, context: Context | None = None) -> bool:
        """Start some work, which must not raise, and return True; False where too much is at work already.

        Args:
            work: what to do.
            context: the context variables that it sees; none that are set by default.
        """
        if not self._slots.acquire(blocking=False):
            return False
        thread = threading.Thread(target=self._run, args=(work, context or Context()), name="thrift-work", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()
        return True

    def wait(self, *, seconds: float) -> bool:
        """Wait until all that was started is done, for some time at most; return whether it is."""
        end = time.monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _run(self, work: Callable[[], object], context: Context) -> None:
        try:
            context.run(work)
        finally:
            self._slots.release()
            with self._lock:
                self._threads.discard(threading.current_thread())
