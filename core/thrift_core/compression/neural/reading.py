"""Has a model read a whole text: in windows that end where sentences do, in batches of like length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.compression.neural.token_model import TokenModel


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands round a text that a model reads.

    Attributes:
        before: numbers of the pieces before it, such as `[CLS]`.
        after: those after it, such as `[SEP]`.
        padding: the number that fills up shorter texts.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int

    @property
    def size(self) -> int:
        """How many pieces it takes of a window."""
        return len(self.before) + len(self.after)


def windows(ends: NDArray[np.bool_], starts: NDArray[np.bool_], room: int) -> list[tuple[int, int]]:
    """Return the stretches of pieces to be read at once: up to the last end of a sentence that fits, as LLMLingua-2.

    Where no sentence ends, a window ends before a word; where that is not to be had either, it is full.

    Args:
        ends: of each piece, whether a sentence ends with it.
        starts: of each piece, whether a word begins with it.
        room: how many pieces fit.
    """
    after_end, word_start = np.flatnonzero(ends) + 1, np.flatnonzero(starts)
    found: list[tuple[int, int]] = []
    start, length = 0, len(ends)
    while length - start > room:
        # LLMLingua-2 does not look at the first piece of a window: one that is a mark alone says nothing.
        stop = _last(after_end, start + 1, start + room) or _last(word_start, start, start + room) or start + room
        found.append((start, stop))
        start = stop
    if start < length:
        found.append((start, length))
    return found


def _last(places: NDArray[np.intp], above: int, most: int) -> int:
    """Return the last of some sorted places that is more than one and at most another, 0 if there is none."""
    at = int(np.searchsorted(places, most, side="right")) - 1
    return int(places[at]) if at >= 0 and places[at] > above else 0


def keep_probabilities(
    model: TokenModel,
    ids: NDArray[np.int64],
    bounds: Sequence[tuple[int, int]],
    *,
    frame: Frame,
    columns: Sequence[int],
    batch: int,
) -> NDArray[np.float32]:
    """Return of each piece how probable it is that it is to be kept.

    Args:
        model: reads.
        ids: the text's pieces.
        bounds: the windows.
        frame: what stands round each window.
        columns: which labels mean keep; their probabilities are added up.
        batch: how many windows are read at once.
    """
    found = np.zeros(len(ids), np.float32)
    # Windows of like length go together, so that little padding is read.
    order = sorted(bounds, key=lambda bound: bound[0] - bound[1])
    for first in range(0, len(order), batch):
        group = order[first : first + batch]
        rows, mask = _padded(ids, group, frame)
        kept = _shares(model.logits(rows, mask), columns)
        for place, (start, stop) in enumerate(group):
            begin = len(frame.before)
            found[start:stop] = kept[place, begin : begin + stop - start]
    return found


def _padded(
    ids: NDArray[np.int64], group: Sequence[tuple[int, int]], frame: Frame
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    longest = max(stop - start for start, stop in group) + frame.size
    rows = np.full((len(group), longest), frame.padding, np.int64)
    mask = np.zeros_like(rows)
    for place, (start, stop) in enumerate(group):
        row = np.concatenate([np.asarray(frame.before, np.int64), ids[start:stop], np.asarray(frame.after, np.int64)])
        rows[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return rows, mask


def _shares(logits: NDArray[Any], columns: Sequence[int]) -> NDArray[np.float32]:
    if logits.shape[-1] == 1:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits[..., 0], -60, 60))), np.float32)
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised[..., list(columns)].sum(axis=-1) / raised.sum(axis=-1), np.float32)
