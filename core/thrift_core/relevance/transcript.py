"""Scores conversations: what a question is about is said over many turns, not in one sentence.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thrift_core.relevance.evidence import Evidence
from thrift_core.relevance.matching import Floats, Ints
from thrift_core.relevance.passage import Passage

_FEWEST_TURNS = 12
# What the question says of who speaks, beside what is said.
_SPEAKER = 0.3
# How far what is said reaches, in characters (about 500 tokens of English), and how often a word must be said nearby
# to count half. Both chosen on the meetings of QMSum (MIT), where anything near them does as well.
_REACH = 2000.0
_HALF = 12.0
_BIN = 200.0
_SHARPNESS = 3.0


def is_transcript(passages: Sequence[Passage]) -> bool:
    """Whether the passages are the pieces of one source in reading order: no retriever ranked them."""
    if len(passages) < _FEWEST_TURNS or passages[0].source is None:
        return False
    return all(p.source == passages[0].source and p.rank is None and p.score is None for p in passages)


def topic_scores(evidence: Evidence, weights: Floats, sizes: Floats) -> Floats:
    """Return for each sentence how much the question's words are said around it.

    Args:
        evidence: where the question's words occur.
        weights: the importance of each question word.
        sizes: the characters of each sentence.
    """
    if not len(sizes):
        return np.zeros(0)
    ends = np.cumsum(sizes)
    bins: Ints = ((ends - sizes / 2) // _BIN).astype(np.int64)
    said = np.zeros((int(bins[-1]) + 1, evidence.counts.shape[1]))
    is_first = evidence.place == 0
    np.add.at(said, bins, evidence.counts + _SPEAKER * is_first[:, None] * evidence.title_counts[evidence.owner])
    heard = _spread(said, _REACH / _BIN)
    topics: Floats = (heard / (heard + _HALF)) @ weights
    highest = float(topics.max(initial=0.0))
    return _SHARPNESS * (topics / highest)[bins] if highest > 0 else np.zeros(len(sizes))


def _spread(values: Floats, reach: float) -> Floats:
    """Let every row fade into its neighbours exponentially, both ways."""
    keep = float(np.exp(-1 / reach))
    forward, backward = values.copy(), values.copy()
    for row in range(1, len(values)):
        forward[row] += keep * forward[row - 1]
        backward[-1 - row] += keep * backward[-row]
    spread: Floats = forward + backward - values
    return spread
