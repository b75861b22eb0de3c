"""Three small models that estimate from a request what a stronger tier adds; numpy alone, closed form or Newton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_CLIP = 4.0
_NEWTON_STEPS = 25
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class SignHead:
    """Estimates the chance of each of two models to be right from signs, by logistic regression, and returns their gap.

    Two regressions rather than one on the gap: whether the cheap answer is right shows in its signs, whether the strong
    one will be hardly does, so it is shrunk harder. Scores between 0 and 1 count as chances.

    Attributes:
        mean: of each sign.
        scale: of each sign; infinite where it never varies.
        weights: one row for the strong model, one for the cheap one; the last column is the intercept.
    """

    mean: Array
    scale: Array
    weights: Array

    @classmethod
    def fit(cls, signs: Array, cheap: Array, strong: Array, *, cheap_penalty: float, strong_penalty: float) -> Self:
        """Fit both regressions.

        Args:
            signs: one row for each example; a missing sign is nan.
            cheap: the cheap model's score, 0 to 1.
            strong: the strong model's.
            cheap_penalty: ridge penalty on standardised signs.
            strong_penalty: likewise.
        """
        mean = np.nan_to_num(np.nanmean(np.vstack([signs, np.zeros((1, signs.shape[1]))]), axis=0))
        centred = np.nan_to_num(signs - mean)
        scale = np.sqrt((centred**2).mean(axis=0))
        scale[scale < _TINY] = np.inf
        ready = np.clip(centred / scale, -_CLIP, _CLIP)
        weights = np.stack([_logistic(ready, strong, strong_penalty), _logistic(ready, cheap, cheap_penalty)])
        return cls(mean, scale, weights)

    def predict(self, signs: Array) -> Array:
        """Return the expected gain of the strong model for each row."""
        ready = np.clip(np.nan_to_num(signs - self.mean) / self.scale, -_CLIP, _CLIP)
        chances = _sigmoid(ready @ self.weights[:, :-1].T + self.weights[:, -1])
        return np.asarray(chances[:, 0] - chances[:, 1])

    def arrays(self) -> dict[str, Array]:
        """Return what a file keeps."""
        return {"mean": self.mean, "scale": self.scale, "weights": self.weights}

    @classmethod
    def read(cls, arrays: Mapping[str, Array]) -> Self:
        """Return the head that `arrays` were taken from."""
        return cls(arrays["mean"], arrays["scale"], arrays["weights"])


@dataclass(frozen=True, slots=True)
class WordHead:
    """Ridge regression of the gain on the hashed words of the prompt, weighted by rarity.

    Attributes:
        rarity: the weight of each bucket.
        weights: one for each bucket.
        intercept: the mean gain.
    """

    rarity: Array
    weights: Array
    intercept: float

    @classmethod
    def fit(cls, counts: Array, gain: Array, *, penalty: float) -> Self:
        """Fit on word counts, one row for each example; solved in the examples, which are fewer than the buckets."""
        rarity = (np.log(len(counts) / (1.0 + (counts > 0).sum(axis=0))) + 1.0).astype(np.float32)
        ready = _rare_words(counts, rarity)
        mean = float(gain.mean())
        dual = np.linalg.solve(ready @ ready.T + penalty * np.eye(len(gain), dtype=np.float32), gain - mean)
        return cls(rarity, (ready.T @ dual).astype(np.float32), mean)

    def predict(self, counts: Array) -> Array:
        """Return the expected gain for each row."""
        return np.asarray(_rare_words(counts, self.rarity) @ self.weights + self.intercept)

    def arrays(self) -> dict[str, Array]:
        """Return what a file keeps."""
        return {"rarity": self.rarity, "weights": self.weights, "intercept": np.array(self.intercept)}

    @classmethod
    def read(cls, arrays: Mapping[str, Array]) -> Self:
        """Return the head that `arrays` were taken from."""
        return cls(arrays["rarity"], arrays["weights"], float(arrays["intercept"]))


@dataclass(frozen=True, slots=True)
class NeighbourHead:
    """Kernel ridge regression of the gain on the embedding of the prompt: what helped with its neighbours.

    Attributes:
        points: embeddings of the examples.
        duals: the weight of each.
        intercept: the mean gain.
        width: the kernel is exp(-width * squared distance).
    """

    points: Array
    duals: Array
    intercept: float
    width: float

    @classmethod
    def fit(cls, points: Array, gain: Array, *, penalty: float, width: float) -> Self:
        """Fit on embeddings of length 1, one row for each example."""
        mean = float(gain.mean())
        kernel = _kernel(points, points, width) + penalty * np.eye(len(points), dtype=np.float32)
        return cls(points.astype(np.float32), np.linalg.solve(kernel, gain - mean).astype(np.float32), mean, width)

    def predict(self, points: Array) -> Array:
        """Return the expected gain for each row."""
        return np.asarray(_kernel(points, self.points, self.width) @ self.duals + self.intercept)

    def arrays(self) -> dict[str, Array]:
        """Return what a file keeps."""
        numbers = np.array([self.intercept, self.width])
        # Half precision is plenty on disk; in memory, turning it back for each request would cost more than the rest.
        return {"points": self.points.astype(np.float16), "duals": self.duals, "numbers": numbers}

    @classmethod
    def read(cls, arrays: Mapping[str, Array]) -> Self:
        """Return the head that `arrays` were taken from."""
        intercept, width = arrays["numbers"]
        return cls(arrays["points"].astype(np.float32), arrays["duals"], float(intercept), float(width))


def _kernel(rows: Array, points: Array, width: float) -> Array:
    squared = (rows**2).sum(axis=1)[:, None] + (points**2).sum(axis=1)[None, :] - 2 * rows @ points.T
    return np.asarray(np.exp(-width * squared))


def _rare_words(counts: Array, rarity: Array) -> Array:
    weighted = np.log1p(counts) * rarity
    lengths = np.linalg.norm(weighted, axis=1, keepdims=True)
    return np.asarray(weighted / (lengths + _TINY))


def _logistic(signs: Array, score: Array, penalty: float) -> Array:
    """Return the weights of a ridge logistic regression, by Newton's method; the intercept goes free."""
    rows = np.hstack([signs, np.ones((len(signs), 1))])
    weights = np.zeros(rows.shape[1])
    share = float(np.clip(score.mean(), 0.02, 0.98))
    weights[-1] = np.log(share / (1 - share))
    penalties = np.full(rows.shape[1], penalty)
    penalties[-1] = 1e-6
    for _ in range(_NEWTON_STEPS):
        chance = _sigmoid(rows @ weights)
        slope = rows.T @ (chance - score) + penalties * weights
        curve = (rows * (chance * (1 - chance) + 1e-6)[:, None]).T @ rows + np.diag(penalties)
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if float(np.abs(step).max()) < 1e-5:
            break
    return weights


def _sigmoid(values: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0))))
