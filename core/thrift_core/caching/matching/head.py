"""The head of the matcher: weighs what the verifier and the guard found into one probability."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thrift_core.errors import ConfigurationError

_PACKAGE = "thrift_core.caching.matching"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Head:
    """A logistic regression on named features.

    Attributes:
        names: of the features, in order.
        means: subtracted from them.
        scales: divided by.
        weights: of what comes out.
        bias: added to the sum.
        verifier: the name of the verifier whose outputs are among the features; empty for none.

    Example:
        >>> head = Head(("cosine",), (0.5,), (0.1,), (2.0,), 0.0)
        >>> [round(float(one), 2) for one in head.probabilities([[0.5], [0.7]])]
        [0.5, 0.98]
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    verifier: str = ""

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.means), len(self.scales), len(self.weights)}
        numbers = (*self.means, *self.scales, *self.weights, self.bias)
        if len(lengths) != 1 or not all(map(math.isfinite, numbers)) or 0 in self.scales:
            raise ConfigurationError("a head needs one finite mean, scale above 0 and weight for each of its features")

    @property
    def version(self) -> str:
        """Names the weights."""
        return blake2b(self.to_json().encode(), digest_size=4).hexdigest()

    def probabilities(self, rows: ArrayLike) -> NDArray[Any]:
        """Return one probability for each row of features."""
        table = np.atleast_2d(np.asarray(rows, np.float64))
        if not table.size:
            return np.zeros(0)
        logits = (table - self.means) / self.scales @ np.asarray(self.weights) + self.bias
        out: NDArray[Any] = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        return out

    def to_json(self) -> str:
        """Return it as one JSON object."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Head:
        """Read what `to_json` wrote.

        Raises:
            ConfigurationError: it is no head, or one of another format.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields.pop("format") != FORMAT:
                raise ConfigurationError(f"this version reads heads of format {FORMAT}")
            for name in ("names", "means", "scales", "weights"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"not a matcher's head: {type(error).__name__}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Head:
        """Read it from a file.

        Raises:
            ConfigurationError: the file cannot be read or is no head.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from error


def fit_head(
    names: Sequence[str],
    rows: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    prior: Head | None = None,
    strength: float = 1.0,
    verifier: str = "",
) -> Head:
    """Return the head that fits labelled rows best, by Newton's method (iteratively reweighted least squares).

    Args:
        names: of the features.
        rows: one row of features for each pair.
        labels: whether one answer serves both.
        weights: how much each pair counts.
        prior: weights are held near those of this head, so that 50 pairs move it a little and 5,000 a lot.
        strength: how strongly they are held, in pairs.
        verifier: the name of the verifier whose outputs are among the features.

    Raises:
        ValueError: the labels are all the same.
    """
    table, wanted = np.asarray(rows, np.float64), np.asarray(labels, np.float64)
    if wanted.size == 0 or wanted.min() == wanted.max():
        raise ValueError("a head needs pairs that match and pairs that do not")
    counts = np.ones(len(wanted)) if weights is None else np.asarray(weights, np.float64)
    means = table.mean(0) if prior is None else np.asarray(prior.means)
    scales = np.maximum(table.std(0), 1e-6) if prior is None else np.asarray(prior.scales)
    inputs = np.column_stack([(table - means) / scales, np.ones(len(table))])
    start = np.zeros(inputs.shape[1]) if prior is None else np.append(prior.weights, prior.bias)
    held = np.full(inputs.shape[1], strength)
    held[-1] = 1e-3 * strength
    found = start.copy()
    for _ in range(40):
        chances = 1 / (1 + np.exp(-np.clip(inputs @ found, -40, 40)))
        slope = inputs.T @ (counts * (chances - wanted)) + held * (found - start)
        curve = (inputs * (counts * np.maximum(chances * (1 - chances), 1e-6))[:, None]).T @ inputs + np.diag(held)
        step = np.linalg.solve(curve, slope)
        found -= step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-9))
        if float(np.abs(step).max()) < 1e-7:
            break
    return Head(
        tuple(names),
        tuple(map(float, means)),
        tuple(map(float, scales)),
        tuple(round(float(value), 6) for value in found[:-1]),
        round(float(found[-1]), 6),
        verifier,
    )


@lru_cache(maxsize=2)
def shipped_head(*, with_verifier: bool) -> Head:
    """Return a head that comes with thrift: the one for its verifier, or the one for the guard's features alone."""
    name = "head.json" if with_verifier else "head_light.json"
    return Head.from_json((resources.files(_PACKAGE) / "data" / name).read_text(encoding="utf-8"))
