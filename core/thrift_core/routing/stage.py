"""The estimator of one tier: heads on its prompts and answers, weighted by what they were worth out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from thrift_core.routing.features import Prompt
from thrift_core.routing.heads import NeighbourHead, SignHead, WordHead

Array = NDArray[Any]
FOLDS = 5
# The weights that the heads have until labels say otherwise, as if so many labels had said so.
_PRIOR_WEIGHTS = {True: np.array([1.0, 0.25, 0.25]), False: np.array([0.6, 0.6, 1.0])}
_PRIOR_LABELS = 300.0
_MOST_NEIGHBOURS = 2_000


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled examples as one stage sees them, row by row.

    Attributes:
        signs: of prompt and answer, or of the prompt alone.
        words: hashed words of the prompts.
        points: embeddings of the prompts.
        cheap: the tier's score, 0 to 1.
        strong: the strongest tier's.
    """

    signs: Array
    words: Array
    points: Array
    cheap: Array
    strong: Array

    def take(self, rows: Array) -> Examples:
        """Return some of the rows."""
        return Examples(self.signs[rows], self.words[rows], self.points[rows], self.cheap[rows], self.strong[rows])


def examples(
    prompts: Sequence[Prompt], signs: Sequence[Mapping[str, float]], cheap: Array, strong: Array
) -> tuple[Examples, tuple[str, ...]]:
    """Return the examples and the names of their signs, in order."""
    names = tuple(signs[0])
    rows = np.array([[found[name] for name in names] for found in signs], np.float64)
    words = np.stack([prompt.words for prompt in prompts])
    return Examples(rows, words, np.stack([prompt.point for prompt in prompts]), cheap, strong), names


@dataclass(frozen=True, slots=True)
class Stage:
    """Estimates the strongest tier's gain over one tier.

    Attributes:
        names: of the signs, in order.
        sign_head: reads the signs.
        word_head: reads the words.
        neighbour_head: reads the embedding.
        mix: the intercept and the weight of each head.
        reads_answers: it was trained on the tier's answers.
    """

    names: tuple[str, ...]
    sign_head: SignHead
    word_head: WordHead
    neighbour_head: NeighbourHead
    mix: Array
    reads_answers: bool

    @classmethod
    def fit(cls, found: Examples, names: tuple[str, ...], *, reads_answers: bool, folds: Array) -> tuple[Self, Array]:
        """Fit on all examples, and return with it the gains that it gives to each example when trained on the others.

        Args:
            found: the examples.
            names: of the signs.
            reads_answers: whether the signs are of answers, too.
            folds: the fold of each example.
        """
        parts = np.zeros((len(folds), 3))
        for fold in np.unique(folds):
            inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            parts[outside] = _predict(_fit(found.take(inside), reads_answers=reads_answers), found.take(outside))
        gain = found.strong - found.cheap
        # The weights, too, are learned without the fold they are used on.
        out_of_fold = np.zeros(len(folds))
        for fold in np.unique(folds):
            inside = folds != fold
            mix = _mix(parts[inside], gain[inside], reads_answers=reads_answers)
            out_of_fold[~inside] = mix[0] + parts[~inside] @ mix[1:]
        mix = _mix(parts, gain, reads_answers=reads_answers)
        return cls(names, *_fit(found, reads_answers=reads_answers), mix, reads_answers), out_of_fold

    def gain(self, prompt: Prompt, signs: Mapping[str, float]) -> float:
        """Return the expected gain of the strongest tier for one request."""
        row = np.array([[signs[name] for name in self.names]])
        heads = (self.sign_head, self.word_head, self.neighbour_head)
        found = Examples(row, prompt.words[None], prompt.point[None], row[:, 0], row[:, 0])
        return float(self.mix[0] + (_predict(heads, found) @ self.mix[1:])[0])

    def gains(self, found: Examples) -> Array:
        """Return the expected gain for each example."""
        parts = _predict((self.sign_head, self.word_head, self.neighbour_head), found)
        return np.asarray(self.mix[0] + parts @ self.mix[1:])

    def arrays(self) -> dict[str, Array]:
        """Return what a file keeps."""
        kept = {
            f"{kind}.{name}": array for kind, head in self._heads().items() for name, array in head.arrays().items()
        }
        return kept | {"mix": self.mix}

    @classmethod
    def read(cls, arrays: Mapping[str, Array], names: Sequence[str], *, reads_answers: bool) -> Self:
        """Return the stage that `arrays` were taken from."""

        def of(kind: str) -> dict[str, Array]:
            return {name.removeprefix(f"{kind}."): array for name, array in arrays.items() if name.startswith(kind)}

        heads = SignHead.read(of("sign")), WordHead.read(of("word")), NeighbourHead.read(of("near"))
        return cls(tuple(names), *heads, arrays["mix"], reads_answers)

    def _heads(self) -> dict[str, SignHead | WordHead | NeighbourHead]:
        return {"sign": self.sign_head, "word": self.word_head, "near": self.neighbour_head}


def _fit(found: Examples, *, reads_answers: bool) -> tuple[SignHead, WordHead, NeighbourHead]:
    gain = found.strong - found.cheap
    # An answer tells much of its own rightness and little of the strong tier's; a prompt tells as much of either.
    cheap_penalty, strong_penalty = (150.0, 600.0) if reads_answers else (300.0, 300.0)
    near = slice(None, _MOST_NEIGHBOURS)
    return (
        SignHead.fit(
            found.signs, found.cheap, found.strong, cheap_penalty=cheap_penalty, strong_penalty=strong_penalty
        ),
        WordHead.fit(found.words[near], gain[near], penalty=3.0),
        NeighbourHead.fit(found.points[near], gain[near], penalty=3.0, width=2.0),
    )


def _predict(heads: tuple[SignHead, WordHead, NeighbourHead], found: Examples) -> Array:
    signs, words, near = heads
    return np.stack([signs.predict(found.signs), words.predict(found.words), near.predict(found.points)], axis=1)


def _mix(parts: Array, gain: Array, *, reads_answers: bool) -> Array:
    """Return the intercept and weights of least squares, drawn to the prior weights and never below 0."""
    centre = parts.mean(axis=0)
    rows, prior = parts - centre, _PRIOR_WEIGHTS[reads_answers]
    # In units of the heads' own variance, so that the prior counts for so many labels whatever their scale.
    penalty = _PRIOR_LABELS * np.diag((rows**2).mean(axis=0) + 1e-9)
    rest = gain - gain.mean() - rows @ prior
    curve: Array = np.asarray(rows.T @ rows + penalty, np.float64)
    change = np.linalg.solve(curve, np.asarray(rows.T @ rest, np.float64))
    weights: Array = np.maximum(prior + change, 0.0)
    return np.concatenate([[gain.mean() - centre @ weights], weights])
