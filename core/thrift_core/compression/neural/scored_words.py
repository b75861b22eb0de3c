"""The words of a text with a model's probability that each is to be kept, and LLMLingua-2's rule of what stays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ScoredWords:
    """The words of one text, in reading order.

    Attributes:
        starts: where each begins, in characters.
        ends: where each stops.
        probabilities: how probable it is that each is to be kept: the mean of its pieces.
        pieces: of how many pieces each consists.
        windows: in which window, from 0, each was read.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    pieces: NDArray[np.int64]
    windows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def kept_at(self, share: float, *, weights: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Return which words LLMLingua-2 keeps at a share of the tokens: in each window those above its quantile.

        The rule is that of `PromptCompressor.__compress` in microsoft/LLMLingua 0.2.2 (MIT): the percentile, in whole
        percent and one more, over the words' probabilities, each as often as the word has tokens.

        Args:
            share: of the tokens, 0 to 1.
            weights: tokens of each word; None: its pieces.
        """
        weighed = self.pieces if weights is None else weights
        if share >= 1:
            return np.ones(len(self), bool)
        percentile = min(100, int(100 * (1 - share) + 1))
        kept = np.zeros(len(self), bool)
        for first, stop in _runs(self.windows):
            own = self.probabilities[first:stop]
            repeated = np.repeat(own, weighed[first:stop])
            if repeated.size:
                threshold = np.percentile(repeated, percentile)
                kept[first:stop] = (own > threshold) | ((threshold == 1.0) & (own == threshold))
        return kept

    def ranks(self) -> NDArray[np.float64]:
        """Return of each word which share of its window's pieces is wanted less: comparable over windows."""
        found = np.zeros(len(self), np.float64)
        for first, stop in _runs(self.windows):
            order = np.argsort(self.probabilities[first:stop], kind="stable")
            weights = self.pieces[first:stop][order]
            found[first + order] = np.cumsum(weights) / max(1, int(weights.sum()))
        return found


def words_of(
    offsets: NDArray[np.int64],
    starts: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    window_of: NDArray[np.int64],
) -> ScoredWords:
    """Return words put together from pieces; those of no character of the text are left out.

    Args:
        offsets: where each begins and stops, in characters.
        starts: of each piece, whether a word begins with it.
        probabilities: how probable it is that each is to be kept.
        window_of: in which window each was read.
    """
    first = np.flatnonzero(starts)
    if not len(first):
        none = np.zeros(0, np.int64)
        return ScoredWords(none, none, np.zeros(0, np.float32), none, none)
    pieces = np.diff(np.append(first, len(starts)))
    mean: NDArray[Any] = np.add.reduceat(probabilities, first) / pieces
    begin, stop = offsets[first, 0], offsets[first + pieces - 1, 1]
    real = stop > begin
    return ScoredWords(begin[real], stop[real], mean[real].astype(np.float32), pieces[real], window_of[first][real])


def _runs(values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the stretches of one value."""
    if not len(values):
        return []
    bounds = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return list(pairwise(bounds))
