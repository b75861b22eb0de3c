"""The curve of quality against calls or dollars, and the figures by which routers are compared.

APGR and CPT are RouteLLM's (arXiv 2406.18665, section 3): the share of the gap between the two models that is
recovered, averaged over all shares of strong calls, and the share of strong calls that recovers 50 or 80 % of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Curve:
    """Quality and cost as ever more requests, those of the largest gain first, go to the strong model.

    Attributes:
        calls: the share of requests that go, 0 to 1.
        quality: the mean score.
        cost: dollars as a share of always asking the strong model; drafts included.
        weak: the cheap model's mean score.
        strong: the strong model's.
    """

    calls: Array
    quality: Array
    cost: Array
    weak: float
    strong: float

    @property
    def apgr(self) -> float | None:
        """The average share of the gap recovered, 0.5 for chance; None where there is no gap."""
        gap = self.strong - self.weak
        if gap <= 0:
            return None
        return float(np.trapezoid((self.quality - self.weak) / gap, self.calls))

    def cpt(self, share: float) -> float | None:
        """Return the share of strong calls, 0 to 1, at which this share of the gap is first recovered."""
        gap = self.strong - self.weak
        reached = np.flatnonzero(self.quality >= self.weak + share * gap - 1e-12)
        return float(self.calls[reached[0]]) if gap > 0 and reached.size else None

    @property
    def parity_cost(self) -> float | None:
        """The least cost at which the strong model's quality is reached; 1 is always asking it."""
        reached = np.flatnonzero(self.quality >= self.strong - 1e-12)
        return float(self.cost[reached].min()) if reached.size else None

    def best_within(self, cost: float) -> float | None:
        """Return the best quality at this cost or less."""
        affordable = self.quality[self.cost <= cost]
        return float(affordable.max()) if affordable.size else None


def curve(gain: Array, weak: Array, strong: Array, *, weak_cost: Array, strong_cost: Array) -> Curve:
    """Return the curve of routing by a gain.

    Example:
        >>> flat = np.ones(4)
        >>> found = curve(np.array([3, 2, 1, 0]), np.array([0, 0, 1, 1]), flat, weak_cost=0 * flat, strong_cost=flat)
        >>> found.apgr, found.cpt(0.8), found.parity_cost
        (0.75, 0.5, 0.5)

    Args:
        gain: what is expected of the strong model, for each request.
        weak: the cheap model's scores.
        strong: the strong model's.
        weak_cost: dollars of each draft; zeros where none is made before the decision.
        strong_cost: dollars of each strong answer.
    """
    order = np.argsort(-gain, kind="stable")
    number = len(order)
    quality = np.concatenate([[0.0], np.cumsum((strong - weak)[order])]) / number + weak.mean()
    cost = (np.concatenate([[0.0], np.cumsum(strong_cost[order])]) + weak_cost.sum()) / strong_cost.sum()
    return Curve(np.arange(number + 1) / number, quality, cost, float(weak.mean()), float(strong.mean()))
