"""The pair verifier that comes with thrift: a small encoder, and a head that compares two questions word by word."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module, resources
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from thrift_core.caching.matching.comparing_head import ComparingHead, Encoded
from thrift_core.embedding.wordpiece import WordPiece
from thrift_core.errors import MissingExtra

_PACKAGE = "thrift_core.caching.matching"
_ENCODER, _PIECES, _HEAD = "encoder.onnx", "encoder.json", "comparing_head.npz"
# The marks are the first pieces of its vocabulary: padding, the beginning, the end of a text.
_BEGIN, _END = 1, 2
LONGEST = 120
# Texts seen a moment ago are not read again: stored questions come back as candidates.
_MOST_REMEMBERED = 512
_BATCH = 32


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
    """Reads each question once with an 8-bit encoder, and compares each pair with a head in numpy.

    Made by `core/training/fit_verifier.py` from all-MiniLM-L6-v2 (Apache-2.0); see the model card beside the files.

    Args:
        encoder: the ONNX file's bytes.
        pieces: the vocabulary, in the order of its rows.
        head: compares what was read.
        threads: of the runtime.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """

    outputs = 2

    def __init__(self, encoder: bytes, pieces: Sequence[str], head: ComparingHead, *, threads: int = 2) -> None:
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
        self._session: Any = onnxruntime.InferenceSession(encoder, options, providers=["CPUExecutionProvider"])
        self._tokenizer = WordPiece({piece: place for place, piece in enumerate(pieces)})
        self._head = head
        self._known: OrderedDict[str, Encoded] = OrderedDict()
        digest = blake2b(encoder, digest_size=4)
        digest.update(head.fingerprint)
        self.name = f"minilm-{digest.hexdigest()}"

    def score(self, pairs: Sequence[tuple[str, str]], /) -> NDArray[Any]:
        """Return two numbers for each pair: the logit of the same answer, and the cosine of the two texts."""
        read = self._read(list(dict.fromkeys(text for pair in pairs for text in pair)))
        rows = [self._head.compare(read[one], read[other]) for one, other in pairs]
        return np.asarray(rows, np.float32).reshape(len(pairs), self.outputs)

    def _read(self, texts: Sequence[str]) -> Mapping[str, Encoded]:
        known = {text: found for text in texts if (found := self._known.get(text)) is not None}
        new = sorted((text for text in texts if text not in known), key=len)
        for start in range(0, len(new), _BATCH):
            chunk = new[start : start + _BATCH]
            known.update(zip(chunk, self._encode(chunk), strict=True))
        for text in new:
            self._known[text] = known[text]
        while len(self._known) > _MOST_REMEMBERED:
            # Another thread may be doing the same.
            self._known.pop(next(iter(self._known), ""), None)
        return known

    def _encode(self, texts: Sequence[str]) -> list[Encoded]:
        rows = [[_BEGIN, *self._tokenizer.ids(text)[:LONGEST], _END] for text in texts]
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        (states,) = self._session.run(None, {"ids": ids, "mask": (ids != 0).astype(np.int64)})
        return [self._head.encoded(states[place, : len(row)]) for place, row in enumerate(rows)]


@dataclass(frozen=True, slots=True)
class _Files:
    """What comes with thrift."""

    encoder: bytes
    pieces: list[str]
    head: ComparingHead


@lru_cache(maxsize=1)
def shipped_verifier() -> OnnxVerifier:
    """Return the verifier that comes with thrift; loaded once for each process.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    files = _shipped()
    return OnnxVerifier(files.encoder, files.pieces, files.head)


def _shipped() -> _Files:
    folder = resources.files(_PACKAGE) / "data"
    pieces = json.loads((folder / _PIECES).read_text(encoding="utf-8"))["pieces"]
    with (folder / _HEAD).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        head = ComparingHead({name: arrays[name] for name in arrays.files})
    return _Files((folder / _ENCODER).read_bytes(), pieces, head)
