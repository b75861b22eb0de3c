"""When to accept, to ask the next tier or to ask the strongest, for a price of quality; and what that leads to.

Backward induction over expected gains: with `price` the quality that the strongest tier's cost is worth, and costs in
shares of that cost,

    accept a draft        0
    ask the strongest     gain - price
    ask the next tier     E[max(0, its own value)] + (gain - E[next gain]) - price * cost of the next tier

The expectations are fitted on the draft's gain, so two limits on it are all that a decision needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_GRID = np.linspace(-1.0, 1.0, 401)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where one tier's decisions turn.

    Attributes:
        accept: a gain up to this accepts the draft.
        direct: a gain above this goes straight to the strongest tier; between the two the next one is asked.
    """

    accept: float
    direct: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What decisions by some limits led to, example by example.

    Attributes:
        answered: the place of the tier that answered.
        quality: its score.
        cost: of everything asked, as a share of the strongest tier's mean cost.
    """

    answered: Array
    quality: Array
    cost: Array


def limits(gains: Sequence[Array], costs: Sequence[float], price: float) -> tuple[Limits, ...]:
    """Return the limits of each tier but the strongest.

    Args:
        gains: for each tier but the strongest, the gain expected of the strongest for each example.
        costs: of each tier, in shares of the strongest's.
        price: the gain that the strongest tier's cost is worth.
    """
    found: list[Limits] = []
    value_later: Array | None = None
    for place in range(len(gains) - 1, -1, -1):
        gain = gains[place]
        direct = gain - price
        value = np.maximum(0.0, direct)
        if value_later is None:
            found.append(Limits(price, price))
        else:
            reward = value_later + gain - gains[place + 1]
            asked = _smooth(gain, reward, _GRID) - price * costs[place + 1]
            found.append(_turns(asked, price))
            value = np.maximum(value, _smooth(gain, reward, gain) - price * costs[place + 1])
        value_later = value
    return tuple(reversed(found))


def _smooth(gain: Array, reward: Array, at: Array) -> Array:
    """Return the reward expected at some gains: the mean over the nearest tenth of the examples."""
    order = np.argsort(gain)
    near = max(10, len(gain) // 10)
    sums = np.concatenate([[0.0], np.cumsum(reward[order])])
    middle = np.searchsorted(gain[order], at)
    low = np.clip(middle - near // 2, 0, max(0, len(gain) - near))
    high = np.minimum(low + near, len(gain))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _turns(asked: Array, price: float) -> Limits:
    worth = np.flatnonzero(asked > np.maximum(0.0, _GRID - price))
    if worth.size == 0:
        return Limits(price, price)
    accept, direct = float(_GRID[worth[0]]), float(_GRID[worth[-1]])
    return Limits(min(accept, price), max(direct, min(accept, price)))


def run(
    gains: Sequence[Array],
    scores: Sequence[Array],
    costs: Sequence[Array],
    found: Sequence[Limits],
    *,
    drafts: Sequence[bool],
) -> Outcome:
    """Return what decisions by the limits lead to on labelled examples.

    Args:
        gains: as for `limits`.
        scores: of each tier, the strongest last, for each example.
        costs: likewise, in shares of the strongest tier's mean cost.
        found: the limits.
        drafts: for each tier but the strongest, whether its answer is read; one that is not is paid only if accepted.
    """
    number, top = len(scores[0]), len(scores) - 1
    answered = np.full(number, top)
    cost = np.zeros(number)
    asking = np.ones(number, bool)
    for place, turn in enumerate(found):
        accepts = asking & (gains[place] <= turn.accept)
        paid = asking if drafts[place] else accepts
        cost[paid] += costs[place][paid]
        answered[accepts] = place
        goes_on = asking & ~accepts & (gains[place] <= turn.direct)
        asking = goes_on
        # From the last draft there is no next tier but the strongest.
        if place == top - 1:
            asking = np.zeros(number, bool)
    cost[answered == top] += costs[top][answered == top]
    return Outcome(answered, np.choose(answered, list(scores)), cost)
