"""Compares two questions word by word: what in one corresponds to what in the other, and how far each differs.

The shape is that of a decomposable attention model (Parikh and others 2016, arXiv 1606.01933) over the states of an
encoder that was trained on a billion pairs and is left as it is: only what compares was trained here, which a laptop
does in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
# Half of a state is an early layer's, which still knows the word; half is the last one's, which knows the sentence.
_WIDTH = 384
_SCALE = ".scale"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A question as the head compares it.

    Attributes:
        words: one row a piece: what is compared.
        keys: one row a piece: what finds its counterpart.
        own: what the comparison takes of each piece by itself.
        found: what it takes of each piece where that is a counterpart.
        places: where each piece stands, 0 to 1.
        meaning: of the whole text, a row of length 1.
    """

    words: Floats
    keys: Floats
    own: Floats
    found: Floats
    places: Floats
    meaning: Floats


class ComparingHead:
    """Scores a pair of encoded questions; the order of the two plays no part.

    Args:
        weights: by the names that `core/training/fit_verifier.py` gives them; matrices in 8 bits with a scale a row.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = {name: _full(name, weights) for name in weights if not name.endswith(_SCALE)}
        comparing = self._weights["c.weight"]
        width = comparing.shape[0]
        # Two of the comparison's four parts are about one text alone: they are done once for each text, not each pair.
        self._own, self._found = comparing[:, :width].T, comparing[:, width : 2 * width].T
        self._pair = np.ascontiguousarray(comparing[:, 2 * width :].T)
        digest = blake2b(digest_size=8)
        for name in sorted(weights):
            digest.update(np.ascontiguousarray(weights[name]).tobytes())
        self.fingerprint = digest.digest()

    def encoded(self, states: NDArray[Any]) -> Encoded:
        """Return what the head needs of an encoder's states, one row a piece."""
        last = states[:, _WIDTH:].mean(0)
        centred = states - states.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        normal = scaled * self._weights["ln.weight"] + self._weights["ln.bias"]
        count = len(states)
        words = _gelu(self._linear("p", normal))
        return Encoded(
            words,
            self._linear("q", normal),
            words @ self._own + self._weights["c.bias"],
            words @ self._found,
            np.arange(count, dtype=np.float32) / count,
            last / max(float(np.sqrt(last @ last)), 1e-9),
        )

    def compare(self, one: Encoded, other: Encoded) -> tuple[float, float]:
        """Return the logit of the same answer, and the cosine of the two."""
        near = one.keys @ other.keys.T / 8
        left, right = self._side(one, other, near), self._side(other, one, near.T)
        cosine = float(one.meaning @ other.meaning)
        both = np.concatenate([one.meaning * other.meaning, np.abs(one.meaning - other.meaning)])
        meaning = _gelu(self._linear("u", 20 * both))
        joined = np.concatenate([left + right, np.abs(left - right), meaning, [np.float32(4 * cosine)]])
        logit = self._linear("o", _gelu(self._linear("h", joined)))
        return float(logit[0]), cosine

    def _side(self, one: Encoded, other: Encoded, near: Floats) -> Floats:
        """Return what one question has that its counterparts in the other do not, pooled over its pieces."""
        top = near.max(1)
        share = _softmax(near)
        found = share @ other.words
        moved = share @ other.places - one.places
        inputs = np.column_stack([np.abs(one.words - found), one.words * found, top / 8, moved])
        compared = _gelu(one.own + share @ other.found + inputs @ self._pair)
        gate = _softmax(self._linear("g", compared).T)
        return np.concatenate([compared.mean(0), compared.max(0), (gate @ compared)[0]])

    def _linear(self, name: str, rows: NDArray[Any]) -> Floats:
        out: Floats = rows @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return out


def _full(name: str, weights: Mapping[str, NDArray[Any]]) -> Floats:
    array = np.asarray(weights[name], np.float32)
    scale = weights.get(name + _SCALE)
    return array if scale is None else array * np.asarray(scale, np.float32)[:, None]


def _softmax(rows: Floats) -> Floats:
    raised = np.exp(rows - rows.max(1, keepdims=True))
    out: Floats = raised / raised.sum(1, keepdims=True)
    return out


def _gelu(rows: NDArray[Any]) -> Floats:
    """Return the Gaussian error linear unit, by the error function of Abramowitz and Stegun 7.1.26 (error 1.5e-7)."""
    at = np.abs(rows) / np.sqrt(2)
    step = 1 / (1 + 0.3275911 * at)
    poly = 1.061405429 * step - 1.453152027
    for factor in (1.421413741, -0.284496736, 0.254829592):
        poly = poly * step + factor
    poly *= step
    out: Floats = rows * (1 + np.sign(rows) * (1 - poly * np.exp(-at * at))) / 2
    return out
