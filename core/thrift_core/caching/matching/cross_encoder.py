"""Puts any cross-encoder behind the matcher's seam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.errors import ConfigurationError


class CrossEncoder:
    """A verifier made of anything that scores pairs: a function, or an object with `predict(pairs)`.

    A matcher with it needs a head of its own, which `thrift train matcher` or `fit_head` makes of labelled pairs.

    Example:
        >>> encoder = CrossEncoder(lambda pairs: [float(a == b) for a, b in pairs], name="equal-1")
        >>> encoder.score([("a", "a"), ("a", "b")]).tolist()
        [[1.0], [0.0]]

    Args:
        scorer: takes a list of pairs of texts and returns one number for each, such as `CrossEncoder.predict` of
            sentence-transformers.
        name: which model it is, and which version; a certificate holds for one name.

    Raises:
        ConfigurationError: it is neither, or the name is empty.
    """

    outputs = 1

    def __init__(self, scorer: Callable[[list[tuple[str, str]]], Any] | object, *, name: str) -> None:
        found: Any = getattr(scorer, "predict", scorer)
        if not callable(found) or not name:
            raise ConfigurationError(
                f"scorer={scorer!r}, name={name!r}: give a function of pairs or an object with predict(pairs), and say "
                "which model and version it is"
            )
        self._predict, self.name = found, name

    def score(self, pairs: Sequence[tuple[str, str]], /) -> NDArray[Any]:
        """Return one row of one number for each pair."""
        return np.asarray(self._predict(list(pairs)), np.float64).reshape(len(pairs), -1)[:, :1]
