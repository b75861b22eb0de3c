"""The pair verifier that comes with thrift: a small cross-encoder that reads both questions at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module, resources
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from thrift_core.embedding.wordpiece import WordPiece
from thrift_core.errors import MissingExtra

_PACKAGE = "thrift_core.caching.matching"
_MODEL, _PIECES = "pair_verifier.onnx", "pair_verifier.json"
# The marks are the first pieces of its vocabulary: padding, the beginning, the end of a text.
_BEGIN, _END = 1, 2
LONGEST = 120


@runtime_checkable
class Verifier(Protocol):
    """Scores pairs of questions; any cross-encoder will do.

    Attributes:
        name: which model it is, weights and all; a certificate holds for one name only.
        outputs: how many numbers it gives for each pair.
    """

    @property
    def name(self) -> str:
        """Which model it is."""
        ...

    @property
    def outputs(self) -> int:
        """How many numbers it gives for each pair."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]], /) -> Any:
        """Return one row of numbers for each pair; the first is higher for surer that one answer serves both."""
        ...


class OnnxVerifier:
    """Runs `pair_verifier.onnx` in 8 bits on one or two threads.

    Made by `core/training/fit_verifier.py` from all-MiniLM-L6-v2 (Apache-2.0); see the model card beside the file.

    Args:
        model: the ONNX file's bytes.
        pieces: the vocabulary, in the order of its rows.
        threads: of the runtime.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """

    outputs = 2

    def __init__(self, model: bytes, pieces: Sequence[str], *, threads: int = 2) -> None:
        try:
            # Through importlib: a type checker need not have the extra.
            onnxruntime: Any = import_module("onnxruntime")
        except ImportError as error:
            raise MissingExtra("the pair verifier", "thrift-core[matcher]") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that wait do not spin: an app has better uses for its cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._tokenizer = WordPiece({piece: place for place, piece in enumerate(pieces)})
        self.name = f"minilm-{blake2b(model, digest_size=4).hexdigest()}"

    def score(self, pairs: Sequence[tuple[str, str]], /) -> NDArray[Any]:
        """Return two numbers for each pair: the logit of the same answer, and how near the meanings lie."""
        if not pairs:
            return np.zeros((0, self.outputs), np.float32)
        rows = [self._row(one, other) for one, other in pairs]
        width = max(len(ids) for ids, _ in rows)
        ids = np.zeros((len(rows), width), np.int64)
        types = np.zeros_like(ids)
        for place, (row, first) in enumerate(rows):
            ids[place, : len(row)] = row
            types[place, first : len(row)] = 1
        (out,) = self._session.run(None, {"ids": ids, "types": types, "mask": (ids != 0).astype(np.int64)})
        scored: NDArray[Any] = np.asarray(out, np.float32)
        return scored

    def can_read(self, text: str) -> bool:
        """Return whether a text is short enough to be read whole."""
        return len(self._tokenizer.ids(text)) <= LONGEST

    def _row(self, one: str, other: str) -> tuple[list[int], int]:
        first, second = self._tokenizer.ids(one)[:LONGEST], self._tokenizer.ids(other)[:LONGEST]
        return [_BEGIN, *first, _END, *second, _END], len(first) + 2


@lru_cache(maxsize=1)
def shipped_verifier() -> OnnxVerifier:
    """Return the verifier that comes with thrift; loaded once for each process.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    folder = resources.files(_PACKAGE) / "data"
    pieces = json.loads((folder / _PIECES).read_text(encoding="utf-8"))["pieces"]
    return OnnxVerifier((folder / _MODEL).read_bytes(), pieces)
