"""How often and how soon prefixes are used again, learned from past calls only.

A call leaves a prefix behind. Either its conversation goes on before the shortest cache life is over (*soon*), or
before the longest (*late*), or not. Both questions are answered with Beta estimates: counts on top of a prior that a
few observations outweigh. Counts are capped, so a change of habits shows, and never fade back to the prior by time
alone, so a workload that never reuses anything is not tried again and again. A conversation that may still go on counts
as a quarter of one that did not: enough to stop writing when many start and none has come back yet.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

_CAP = 200.0
_PRIOR_WEIGHT = 1.0
# A kind of call of which little was seen leans on all kinds of its family together.
_POOL_WEIGHT = 2.0
_LATE_PRIOR, _LATE_WEIGHT = 0.15, 1.0
_OWN_WEIGHT = 4.0
# One write that nobody used is enough to wait for proof.
_USE_PRIOR = 0.5


@dataclass(slots=True)
class Odds:
    """Whether conversations go on after a call of one kind.

    Attributes:
        prior: the chance that they go on soon, before anything was seen.
        pool: the counts of all kinds together, which are kept beside those of this kind.
        open_weight: what a call whose outcome is open counts, as a share of one that was not followed.
    """

    prior: float
    pool: Odds | None = None
    open_weight: float = 0.25
    soon: float = 0.0
    not_soon: float = 0.0
    late: float = 0.0
    never: float = 0.0
    open: int = 0

    def chances(self, own_soon: int = 0, own_not_soon: int = 0) -> tuple[float, float]:
        """Return the chances that the next call comes soon, and that it comes late.

        Args:
            own_soon: how often this conversation itself went on soon.
            own_not_soon: how often it did not.
        """
        if self.pool is None:
            soon, late = self._blend(self.prior, _PRIOR_WEIGHT, _LATE_PRIOR, _LATE_WEIGHT)
        else:
            pooled = self.pool._blend(self.prior, _PRIOR_WEIGHT, _LATE_PRIOR, _LATE_WEIGHT)
            soon, late = self._blend(pooled[0], _POOL_WEIGHT, pooled[1], _POOL_WEIGHT)
        soon = (own_soon + _OWN_WEIGHT * soon) / (own_soon + own_not_soon + _OWN_WEIGHT)
        return soon, (1.0 - soon) * late

    def _blend(self, soon: float, soon_weight: float, late: float, late_weight: float) -> tuple[float, float]:
        """Return the chance of soon, and that of late where it is not soon."""
        seen = self.soon + self.not_soon + self.open_weight * self.open
        return (
            (self.soon + soon * soon_weight) / (seen + soon_weight),
            (self.late + late * late_weight) / (self.late + self.never + late_weight),
        )

    def count(self, what: Literal["soon", "not_soon", "late", "never"]) -> None:
        """Count an outcome, here and in the pool."""
        for odds in (self, self.pool):
            if odds is not None:
                setattr(odds, what, getattr(odds, what) + 1.0)
                odds._halve_if_many()

    def follow(self, calls: int) -> None:
        """Count calls whose outcome is open, here and in the pool."""
        for odds in (self, self.pool):
            if odds is not None:
                odds.open += calls

    def _halve_if_many(self) -> None:
        """Keep the counts small enough to follow a change."""
        if self.soon + self.not_soon > _CAP:
            self.soon, self.not_soon, self.late, self.never = (
                count / 2 for count in (self.soon, self.not_soon, self.late, self.never)
            )


@dataclass(slots=True)
class SharedUse:
    """How often what conversations share (the tools, the system prompt) is used by another conversation.

    `soon` and `late` count uses by a further conversation within the shortest and the longest cache life; the misses
    count the occasions on which an entry with the shortest, and with the longest life would have had to be written.
    """

    soon: float = 0.0
    late: float = 0.0
    short_misses: float = 0.0
    long_misses: float = 0.0

    def uses_per_write(self) -> tuple[float, float]:
        """Return how many further conversations one write serves, with the shortest and with the longest life."""
        short = (self.soon + _USE_PRIOR) / (self.short_misses + _USE_PRIOR)
        long = (self.soon + self.late + _USE_PRIOR) / (self.long_misses + _USE_PRIOR)
        return short, long

    def note(self, gap: float | None, lives: tuple[float, float], *, is_further: bool) -> None:
        """Count one call.

        Args:
            gap: seconds since the last use; None: never used before.
            lives: the shortest and the longest cache life in seconds.
            is_further: it is the first call of a conversation, not one that would read its own entry.
        """
        gap = float("inf") if gap is None else gap
        self.soon += is_further and gap <= lives[0]
        self.late += is_further and lives[0] < gap <= lives[1]
        self.short_misses += gap > lives[0]
        self.long_misses += gap > lives[1]
        if self.soon + self.late + self.short_misses > _CAP:
            self.soon, self.late = self.soon / 2, self.late / 2
            self.short_misses, self.long_misses = self.short_misses / 2, self.long_misses / 2


@dataclass(slots=True)
class VolatileTail:
    """How many messages at the end are replaced, not kept, by the next request of a conversation."""

    depths: deque[int] = field(default_factory=lambda: deque[int](maxlen=8))

    def usual(self) -> int:
        """Return the depth that was seen in more than half of the last cases, otherwise 0."""
        for depth in set(self.depths):
            if 2 * self.depths.count(depth) > len(self.depths):
                return depth
        return 0


class OpenCalls:
    """Calls whose conversation may still go on; settles them as time passes.

    Args:
        max_open: how many are followed; the oldest are settled as if their time were over.
    """

    def __init__(self, *, max_open: int = 4096) -> None:
        self._max_open = max_open
        self._fresh: OrderedDict[Hashable, tuple[float, Odds, float, float]] = OrderedDict()
        self._stale: OrderedDict[Hashable, tuple[float, Odds, float, float]] = OrderedDict()

    def begin(self, conversation: Hashable, odds: Odds, now: float, lives: tuple[float, float]) -> None:
        """Follow a call that was just sent.

        Args:
            conversation: whose call it is.
            odds: where its outcome is counted.
            now: seconds.
            lives: the shortest and the longest cache life in seconds.
        """
        self._fresh[conversation] = (now, odds, *lives)
        odds.follow(1)
        while len(self._fresh) > self._max_open:
            self._leave_fresh(*self._fresh.popitem(last=False))
        while len(self._stale) > self._max_open:
            self._stale.popitem(last=False)[1][1].count("never")

    def go_on(self, conversation: Hashable, now: float) -> bool | None:
        """Settle the conversation's last call: True if it goes on soon, False if later, None if it is not followed."""
        if (entry := self._fresh.pop(conversation, None)) is not None:
            at, odds, short, _ = entry
            odds.follow(-1)
            if now - at <= short:
                odds.count("soon")
                return True
            odds.count("not_soon")
            self._count_late(now, entry)
            return False
        if (entry := self._stale.pop(conversation, None)) is not None:
            self._count_late(now, entry)
            return False
        return None

    def settle(self, now: float) -> None:
        """Settle the calls whose time is over."""
        while self._fresh and self._is_over(self._fresh, now, 2):
            self._leave_fresh(*self._fresh.popitem(last=False))
        while self._stale and self._is_over(self._stale, now, 3):
            self._stale.popitem(last=False)[1][1].count("never")

    def _leave_fresh(self, conversation: Hashable, entry: tuple[float, Odds, float, float]) -> None:
        odds = entry[1]
        odds.follow(-1)
        odds.count("not_soon")
        self._stale[conversation] = entry

    @staticmethod
    def _count_late(now: float, entry: tuple[float, Odds, float, float]) -> None:
        at, odds, _, long = entry
        odds.count("late" if now - at <= long else "never")

    @staticmethod
    def _is_over(queue: OrderedDict[Hashable, tuple[float, Odds, float, float]], now: float, life: int) -> bool:
        entry = next(iter(queue.values()))
        return now - entry[0] > (entry[2] if life == 2 else entry[3])
