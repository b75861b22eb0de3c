"""Takes a text apart into a tokenizer's pieces, as arrays: what they are, where they stand, where words begin."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.compression.neural.model_folder import extra_module
from thrift_core.compression.neural.reading import Frame

_SENTENCE_ENDS = frozenset(".!?…。！？｡।॥؟۔")
# What tokenizers write before a piece that goes on with a word (WordPiece), or begins one (SentencePiece, bytes).
_MARKS = re.compile(r"^(?:##|▁|Ġ)")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANKS = np.array([9, 10, 11, 12, 13, 32, 0x85, 0xA0, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x3000], np.uint32)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text in pieces.

    Attributes:
        ids: their numbers.
        offsets: where each begins and stops in the text, in characters, without blanks round it.
        starts: of each, whether a word begins with it.
        ends: of each, whether a sentence ends with it, or a line.
    """

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    starts: NDArray[np.bool_]
    ends: NDArray[np.bool_]


class PieceReader:
    """A saved fast tokenizer.

    Args:
        file: its `tokenizer.json`.
        padding: the number of the piece that fills up shorter texts.
        extra: what to install where the tokenizers package is missing.

    Raises:
        MissingExtra: tokenizers is not installed.
    """

    def __init__(self, file: Path, *, padding: int, extra: str) -> None:
        tokenizers = extra_module("tokenizers", "a compression model", extra)
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(file))
        # What a model was trained with may be saved with it; here the whole text is wanted, as it is.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        self._stops = np.array(
            [number for piece, number in vocabulary.items() if _MARKS.sub("", piece) in _SENTENCE_ENDS], np.int64
        )
        self._punctuation = np.array([vocabulary[mark] for mark in string.punctuation if mark in vocabulary], np.int64)
        self.frame = self._frame(padding)

    def read(self, text: str) -> Pieces:
        """Return a text in pieces, without what a model wants round it."""
        # Half a character cannot be given to a tokenizer; what stands for it is as long.
        encoded = self._tokenizer.encode(_SURROGATES.sub("\ufffd", text), add_special_tokens=False)
        ids = np.array(encoded.ids, np.int64)
        offsets = np.array(encoded.offsets, np.int64).reshape(-1, 2)
        words = np.array([-1 if word is None else word for word in encoded.word_ids], np.int64)
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        starts = np.ones(len(ids), bool)
        starts[1:] = (words[1:] != words[:-1]) | (words[1:] < 0) | np.isin(ids[1:], self._punctuation)
        return Pieces(ids, _trimmed(offsets, codes), starts, self._sentence_ends(ids, offsets, codes))

    def _sentence_ends(
        self, ids: NDArray[np.int64], offsets: NDArray[np.int64], codes: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        ends = np.isin(ids, self._stops)
        lines_before = np.searchsorted(np.flatnonzero(codes == 10), offsets[:, 0])
        ends[:-1] |= lines_before[1:] > lines_before[:-1]
        return ends

    def _frame(self, padding: int) -> Frame:
        encoded = self._tokenizer.encode("a", add_special_tokens=True)
        own = [place for place, is_special in enumerate(encoded.special_tokens_mask) if not is_special]
        first, last = (own[0], own[-1] + 1) if own else (len(encoded.ids), len(encoded.ids))
        return Frame(tuple(encoded.ids[:first]), tuple(encoded.ids[last:]), padding)


def _trimmed(offsets: NDArray[np.int64], codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return stretches without blanks round them; one of blanks alone becomes empty."""
    solid = np.flatnonzero(~np.isin(codes, _BLANKS))
    if not len(solid):
        return np.zeros_like(offsets)
    after = np.append(solid, len(codes))[np.searchsorted(solid, offsets[:, 0])]
    before = np.append(0, solid + 1)[np.searchsorted(solid, offsets[:, 1])]
    start = np.minimum(after, offsets[:, 1])
    return np.stack([start, np.maximum(start, before)], axis=1)
