"""Things with a lock that a forked child can go on using."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something whose lock no other thread may hold while the process forks."""

    lock: threading.RLock

    def before_fork(self) -> None:
        """Let go of what must not be open in two processes; called with the lock held."""
        ...


def hold_across_forks(thing: Forkable) -> None:
    """Take the thing's lock before each fork and give it back after, in parent and child, while the thing lives."""
    _things.add(thing)


_things: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[Forkable] = []


def _before() -> None:
    for thing in list(_things):
        thing.lock.acquire()
        _held.append(thing)
        thing.before_fork()


def _after() -> None:
    while _held:
        _held.pop().lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
