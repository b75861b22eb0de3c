"""Upper bounds on a mean of which a sample was seen, and how to test many thresholds without breaking them.

Every bound here is one-sided and valid for the number of samples at hand, however few: nothing is assumed but that the
examples are independent and drawn as later traffic is.

- Shares of yes and no: Clopper and Pearson 1934 (`binomial.share_at_most`), exact.
- Values of -1, 0 and 1, such as wins and losses of one model against another: `net_loss_p_value`, exact.
- Values anywhere between two limits: `betting_p_value`, by Waudby-Smith and Ramdas, "Estimating means of bounded random
  variables by betting", JRSS-B 2024 (arXiv 2010.09686).
- Many thresholds: `fixed_sequence`, by Angelopoulos and others, "Learn then Test" (arXiv 2110.01052), section 4.
- Bounds that hold at every moment of a stream: `RunningMean`, by the same betting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thrift_core.calibration.binomial import share_at_least, share_at_most

Floats = NDArray[np.float64]

# Two thousandths of the error is spent on bounding how often the two models differ (Berger and Boos 1994).
_NUISANCE_ERROR = 2e-3
_NUISANCE_STEPS = 9
# Stakes of the mixture of bets, as shares of the largest that cannot ruin; evenly spread in their logarithm.
_STAKES = np.geomspace(0.002, 0.98, 48)
_BISECTIONS = 40


@lru_cache(maxsize=8192)
def net_loss_p_value(losses: int, gains: int, total: int, *, max_loss: float) -> float:
    """Return how unlikely a sample of losses and gains is if the net loss were `max_loss` or more.

    The exact unconditional test of a difference of two paired shares: the net loss of `total` examples is a sum of
    values 1, 0 and -1, its distribution is computed by Fourier transform, and how often the two differ, which is not
    tested but matters, is taken at its worst within a bound that holds with certainty 0.998 (Berger and Boos, "P values
    maximized over a confidence set for the nuisance parameter", JASA 1994).

    Example:
        >>> net_loss_p_value(4, 10, 500, max_loss=0.01) < 0.05 < net_loss_p_value(6, 4, 500, max_loss=0.01)
        True

    Args:
        losses: examples on which quality was lost.
        gains: examples on which it was gained.
        total: all examples.
        max_loss: the share of losses less the share of gains that is tested against, -1 to 1.

    Raises:
        ValueError: the counts make no sense.
    """
    if min(losses, gains, total) < 0 or losses + gains > total:
        raise ValueError(f"{losses} losses and {gains} gains of {total} make no sense")
    if total == 0 or max_loss <= -1:
        return 1.0
    if max_loss >= 1:
        return 1.0 if losses == total else 0.0
    differ = losses + gains
    least = share_at_least(differ, total, confidence=1 - _NUISANCE_ERROR / 2)
    most = share_at_most(differ, total, confidence=1 - _NUISANCE_ERROR / 2)
    # Both shares must be 0 or more, and no more than 1 together.
    differing = np.clip(np.linspace(least, most, _NUISANCE_STEPS), abs(max_loss), 1.0)
    shares = (differing - max_loss) / 2
    tails = _net_tails(losses - gains, total, shares + max_loss, shares)
    return min(1.0, float(tails.max()) + _NUISANCE_ERROR)


def _net_tails(net: int, total: int, losing: Floats, gaining: Floats) -> Floats:
    """Return, for each pair of shares, the chance that losses less gains of `total` examples come to `net` or less."""
    size = 1 << (2 * total + 1).bit_length()
    turn = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    # The distribution of one example, moved by one so that it has no negative value: gain 0, even 1, loss 2.
    one = gaining[:, None] + (1 - losing - gaining)[:, None] * turn + losing[:, None] * turn**2
    chances = np.fft.irfft(one**total, size, axis=1)[:, : 2 * total + 1]
    return np.asarray(np.clip(chances, 0.0, 1.0)[:, : net + total + 1].sum(axis=1), np.float64)


def betting_p_value(values: ArrayLike, *, mean: float, low: float = 0.0, high: float = 1.0) -> float:
    """Return how unlikely the values are if their true mean were `mean` or more.

    A gambler bets on values below the mean, at many stakes at once, each with the same share of the capital. If the
    mean is `mean` or more, the capital does not grow on average, and 1 over it is a p-value (Ville 1939). The order of
    the values plays no part.

    Example:
        >>> betting_p_value([0.0] * 100, mean=0.1) < 0.01 < betting_p_value([0.0] * 10, mean=0.1)
        True

    Args:
        values: independent values between `low` and `high`.
        mean: the mean that is tested against.
        low: the least that a value can be.
        high: the most that a value can be.

    Raises:
        ValueError: a value lies outside.
    """
    seen = _unit(values, low, high)
    at = (mean - low) / (high - low)
    if seen.size == 0 or at <= 0:
        return 1.0
    if at >= 1:
        return 1.0 if bool((seen >= 1).all()) else 0.0
    return math.exp(-max(0.0, _log_capital(seen, at)))


def mean_at_most(values: ArrayLike, *, confidence: float = 0.95, low: float = 0.0, high: float = 1.0) -> float:
    """Return an upper bound on the true mean of values between `low` and `high`, with the arguments of the test.

    Example:
        >>> round(mean_at_most([0.0] * 1000), 3) <= 0.007
        True
    """
    seen = _unit(values, low, high)
    if seen.size == 0:
        return high
    return low + (high - low) * _least(
        lambda at: at < 1 and -_log_capital(seen, at) <= math.log(1 - confidence), float(seen.mean()), 1.0
    )


def net_loss_at_most(losses: int, gains: int, total: int, *, confidence: float = 0.95) -> float:
    """Return an upper bound on the true net loss, by the test of `net_loss_p_value`.

    Example:
        >>> net_loss_at_most(4, 10, 500) < 0.01 < net_loss_at_most(4, 4, 500)
        True
    """
    if total == 0:
        return 1.0
    seen = (losses - gains) / total
    return _least(lambda at: net_loss_p_value(losses, gains, total, max_loss=at) <= 1 - confidence, seen, 1.0, steps=20)


def fixed_sequence(p_values: Iterable[float], *, confidence: float = 0.95) -> int:
    """Return how many hypotheses, tested in the order given, fall before the first that stands.

    Fixed-sequence testing: each is tested at the full level, and the first that is not rejected ends it, so the chance
    that any of those that fell is true is at most 1 - confidence. The order must not follow from the same data.

    Example:
        >>> fixed_sequence([0.001, 0.02, 0.2, 0.001])
        2
    """
    fell = 0
    for p_value in p_values:
        if not p_value <= 1 - confidence:
            break
        fell += 1
    return fell


class RunningMean:
    """Bounds the mean of a stream at every moment of it: looking often costs nothing.

    The stakes are predictable mixtures, as in `betting_p_value`; a bound once stated stays stated, so the upper bound
    only falls and the lower only rises while the stream keeps its mean. Where it drifts they cross, or the lower bound
    passes a limit: that is the sign to look for.

    Example:
        >>> seen = RunningMean()
        >>> for _ in range(200): seen.add(0.0)
        >>> seen.at_most < 0.04, seen.count
        (True, 200)

    Args:
        confidence: how often both bounds hold, at all moments together.
        low: the least that a value can be.
        high: the most that a value can be.
    """

    def __init__(self, *, confidence: float = 0.95, low: float = 0.0, high: float = 1.0, steps: int = 200) -> None:
        self.count = 0
        self.total = 0.0
        self._low, self._high = low, high
        self._limit = math.log(2 / (1 - confidence))
        self._means = (np.arange(steps) + 0.5) / steps
        self._up = np.zeros((steps, _STAKES.size))
        self._down = np.zeros((steps, _STAKES.size))
        self._is_above = np.zeros(steps, bool)
        self._is_below = np.zeros(steps, bool)

    def add(self, value: float) -> None:
        """Take in the next value.

        Raises:
            ValueError: it lies outside the limits.
        """
        seen = float(_unit([value], self._low, self._high)[0])
        self.count += 1
        self.total += value
        means = self._means[:, None]
        # Bets that the mean is lower than assumed, and that it is higher; no stake can ruin.
        self._up += np.log1p(_STAKES / (1 - means) * (means - seen))
        self._down += np.log1p(_STAKES / means * (seen - means))
        self._is_above |= _log_mean_exp(self._up) >= self._limit
        self._is_below |= _log_mean_exp(self._down) >= self._limit

    @property
    def mean(self) -> float | None:
        """The mean of what was seen."""
        return self.total / self.count if self.count else None

    @property
    def at_most(self) -> float:
        """The upper bound."""
        above = np.flatnonzero(self._is_above)
        edge = 1.0 if above.size == 0 else float(self._means[above[0]])
        return self._low + (self._high - self._low) * edge

    @property
    def at_least(self) -> float:
        """The lower bound."""
        below = np.flatnonzero(self._is_below)
        edge = 0.0 if below.size == 0 else float(self._means[below[-1]])
        return self._low + (self._high - self._low) * edge


def _log_capital(seen: Floats, at: float) -> float:
    """Return the logarithm of the capital after betting against a mean of `at` or more."""
    # A tally of equal values makes this as cheap for a million labels as for ten.
    values, counts = np.unique(seen, return_counts=True)
    growth = np.log1p(np.multiply.outer(_STAKES / (1 - at), at - values)) @ counts.astype(np.float64)
    return float(_log_mean_exp(growth[None, :])[0])


def _log_mean_exp(logs: Floats) -> Floats:
    top = logs.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(logs - top).mean(axis=1)) + top[:, 0])


def _unit(values: ArrayLike, low: float, high: float) -> Floats:
    seen = np.atleast_1d(np.asarray(values, np.float64))
    if seen.size and not (low <= float(seen.min()) and float(seen.max()) <= high):
        raise ValueError(f"values must lie between {low} and {high}; got {float(seen.min())} to {float(seen.max())}")
    return (seen - low) / (high - low)


def _least(is_refuted: Callable[[float], bool], low: float, high: float, *, steps: int = _BISECTIONS) -> float:
    """Return the least mean that is refuted, from above, so that rounding is on the safe side."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if is_refuted(middle) else (middle, high)
    return high
