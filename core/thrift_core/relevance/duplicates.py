"""Finds passages that say nearly the same, by the runs of words they share.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from thrift_core.relevance.evidence import Evidence
from thrift_core.relevance.matching import Ints

_RUN = 4
# One run in so many stands for all: which one, its hash decides, so that equal passages pick the same.
_SAMPLED = 8
_SAME = 0.85
# A run that so many passages share is boilerplate, and comparing all pairs of them takes long.
_MOST_SHARING = 12
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def near_duplicates(evidence: Evidence, order: Ints) -> dict[int, int]:
    """Return for each near-duplicate the passage that stands for it.

    Args:
        evidence: the words of the passages.
        order: the passages, the one to prefer first.
    """
    runs = _runs(evidence)
    sharing: defaultdict[int, list[int]] = defaultdict(list)
    stands_for: dict[int, int] = {}
    for index in map(int, order):
        own = runs.get(index)
        if not own:
            continue
        common: defaultdict[int, int] = defaultdict(int)
        for run in own:
            for other in sharing[run][:_MOST_SHARING]:
                common[other] += 1
        twin = max(common, key=lambda other: (common[other], -other), default=None)
        if twin is not None and common[twin] >= _SAME * max(len(own), len(runs[twin])):
            stands_for[index] = twin
            continue
        for run in own:
            sharing[run].append(index)
    return stands_for


def _runs(evidence: Evidence) -> dict[int, frozenset[int]]:
    """Return for each passage the sampled hashes of its runs of words; for a short one, one hash of all of it."""
    tokens = evidence.tokens.astype(np.uint64) + np.uint64(1)
    owner = evidence.owner[evidence.token_sentence]
    lengths = np.bincount(owner, minlength=evidence.passages)
    hashes = np.zeros(max(len(tokens) - _RUN + 1, 0), dtype=np.uint64)
    for at in range(_RUN):
        hashes = (hashes ^ tokens[at : at + len(hashes)]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    is_inside = owner[: len(hashes)] == owner[_RUN - 1 :]
    picked = is_inside & ((hashes % np.uint64(_SAMPLED) == 0) | (lengths[owner[: len(hashes)]] < 40))
    found: dict[int, frozenset[int]] = {}
    places, values = owner[: len(hashes)][picked], hashes[picked]
    starts = np.searchsorted(places, np.arange(evidence.passages + 1))
    for index in range(evidence.passages):
        own = values[starts[index] : starts[index + 1]]
        if len(own):
            found[index] = frozenset(own.tolist())
        elif lengths[index]:
            whole = tokens[owner == index]
            found[index] = frozenset([hash(tuple(whole.tolist()))])
    return found
