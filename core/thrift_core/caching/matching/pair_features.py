"""Tables of features for pairs of questions: the guard's, the embedder's, and the verifier's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.caching.matching.features import FEATURE_NAMES, features
from thrift_core.caching.matching.near_miss import Comparison, compare
from thrift_core.caching.matching.words import likeness, rarity, spelled_out
from thrift_core.embedding.static_embedder import shipped_embedder

if TYPE_CHECKING:
    from thrift_core.caching.matching.verifier import Verifier

# Where few words differ, a small doubt of the verifier counts for more than where many do.
_CROSSED = ("rare_shared_least", "cosine", "unexplained", "alike_mean")
_CROSSED_AT = [FEATURE_NAMES.index(name) for name in _CROSSED]
_BATCH = 32


def feature_names(outputs: int) -> tuple[str, ...]:
    """Return the names of the features, with a verifier of so many outputs; 0 for none."""
    given = [f"verifier_{at}" for at in range(outputs)]
    return (*FEATURE_NAMES, *given, *(f"verifier_0*{name}" for name in _CROSSED if outputs))


def cheap_rows(question: str, known: Sequence[str], compared: Sequence[Comparison]) -> NDArray[Any]:
    """Return the features that need no verifier, one row for each known question."""
    vectors = shipped_embedder().embed([spelled_out(text) for text in (question, *known)])
    cosines = vectors[1:] @ vectors[0]
    rows = [features(found, float(cosine), rarity) for found, cosine in zip(compared, cosines, strict=True)]
    return np.asarray(rows, np.float64).reshape(len(rows), len(FEATURE_NAMES))


def with_verifier(rows: NDArray[Any], pairs: Sequence[tuple[str, str]], verifier: Verifier) -> NDArray[Any]:
    """Return the rows with what the verifier says of each pair.

    Raises:
        ValueError: it gave nonsense.
    """
    scored = np.asarray(verifier.score([(spelled_out(a), spelled_out(b)) for a, b in pairs]), np.float64)
    scored = scored.reshape(-1, 1) if scored.ndim == 1 else scored
    if scored.shape != (len(pairs), verifier.outputs) or not np.isfinite(scored).all():
        raise ValueError(f"{verifier.name} gave {scored.shape} for {len(pairs)} pairs")
    return np.column_stack([rows, scored, scored[:, :1] * rows[:, _CROSSED_AT]])


def feature_table(pairs: Sequence[tuple[str, str]], verifier: Verifier | None) -> NDArray[Any]:
    """Return the features of each pair, in the order of `feature_names`."""
    rows = [cheap_rows(one, [other], [compare(one, other, likeness)])[0] for one, other in pairs]
    table = np.asarray(rows, np.float64).reshape(len(rows), len(FEATURE_NAMES))
    if verifier is None:
        return table
    # Pairs of like length share a batch: little is padding.
    order = sorted(range(len(pairs)), key=lambda at: len(pairs[at][0]) + len(pairs[at][1]))
    out = np.zeros((len(pairs), len(feature_names(verifier.outputs))))
    for start in range(0, len(order), _BATCH):
        chunk = order[start : start + _BATCH]
        out[chunk] = with_verifier(table[chunk], [pairs[at] for at in chunk], verifier)
    return out
