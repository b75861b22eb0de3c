"""Exact bounds on a share of which a sample was seen."""

from __future__ import annotations

from math import exp, lgamma, log

_STEPS = 200
_TINY = 1e-300


def share_interval(wrong: int, checked: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return bounds on the true share of what is wrong, by Clopper and Pearson 1934.

    The interval holds the true share at least as often as it says, whatever the share and however few were checked.

    Example:
        >>> low, high = share_interval(0, 67)
        >>> low, round(high, 3)
        (0.0, 0.054)

    Args:
        wrong: how many of the sample were wrong.
        checked: how large the sample was; 0 tells nothing, and the bounds are 0 and 1.
        confidence: how often the bounds hold, both together.

    Raises:
        ValueError: more are wrong than were checked, or the confidence is not between 0 and 1.
    """
    tail = (1 - confidence) / 2
    return share_at_least(wrong, checked, confidence=1 - tail), share_at_most(wrong, checked, confidence=1 - tail)


def share_at_most(wrong: int, checked: int, *, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound on the true share: the `confidence` quantile of Beta(wrong + 1, right).

    Example:
        >>> round(share_at_most(0, 299), 4)
        0.01

    Args:
        wrong: how many of the sample were wrong.
        checked: how large the sample was; 0 tells nothing, and the bound is 1.
        confidence: how often the bound holds.

    Raises:
        ValueError: more are wrong than were checked, or the confidence is not between 0 and 1.
    """
    _check(wrong, checked, confidence)
    return 1.0 if wrong == checked else _beta_quantile(confidence, wrong + 1, checked - wrong)


def share_at_least(wrong: int, checked: int, *, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound on the true share, with the arguments of `share_at_most`."""
    _check(wrong, checked, confidence)
    return 0.0 if wrong == 0 else _beta_quantile(1 - confidence, wrong, checked - wrong + 1)


def _check(wrong: int, checked: int, confidence: float) -> None:
    if not 0 <= wrong <= checked or not 0 < confidence < 1:
        raise ValueError(f"{wrong} wrong of {checked} at {confidence!r} makes no sense")


def _beta_quantile(probability: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, section 6.4)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    total = d
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        d = 1 / _away_from_zero(1 + even * d)
        c = _away_from_zero(1 + even / c)
        total *= d * c
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        d = 1 / _away_from_zero(1 + odd * d)
        c = _away_from_zero(1 + odd / c)
        total *= d * c
        if abs(d * c - 1) < 1e-12:
            break
    return total


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
