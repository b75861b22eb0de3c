"""Fuses what is known about each sentence into the chance that it holds evidence for the answer.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from thrift_core.relevance import weights as learned
from thrift_core.relevance.bridges import linked_worth
from thrift_core.relevance.evidence import Evidence, features, gather, importance
from thrift_core.relevance.matching import Floats, Meanings
from thrift_core.relevance.passage import Passage
from thrift_core.relevance.segmentation import Segments
from thrift_core.relevance.transcript import is_transcript, topic_scores

# How much the retriever's order is believed: the second passage is taken to be a quarter as likely as the first.
_ORDER_WEIGHT = 2.0
# How much a user's own model is believed, for each standard deviation between passages.
_SCORER_WEIGHT = 1.5
# Evidence for each token is what is packed first; much less than in proportion, for a short sentence needs its
# neighbours to be understood.
_LENGTH_EXPONENT = 0.5
# What each sentence of a passage that is worth more takes off the next one's worth: an answer may need two passages.
_SPREAD = 0.3


@dataclass(frozen=True, slots=True)
class Relevance:
    """How relevant everything is.

    Attributes:
        evidence: what it was reckoned from.
        chances: for each sentence, the chance that it holds the evidence; they add up to 1.
        passage_chances: for each passage, the sum of its sentences' chances.
        ranking: the passages, the most relevant first.
        order: the sentences in the order in which they are worth their tokens.
    """

    evidence: Evidence
    chances: Floats
    passage_chances: Floats
    ranking: tuple[int, ...]
    order: tuple[int, ...]


def relevance(
    passages: Sequence[Passage],
    segments: Sequence[Segments],
    question: str,
    *,
    rarity: Callable[[str], float],
    model_scores: Sequence[float] | None = None,
    meanings: Meanings | None = None,
) -> Relevance:
    """Return how relevant the passages and their sentences are to a question.

    Args:
        passages: the passages.
        segments: the same, taken apart.
        question: what is asked.
        rarity: how rare a word is outside the passages.
        model_scores: what the user's own model says about each passage, if one was asked.
        meanings: also matches words of like meaning; None: spelling alone.
    """
    evidence = gather(question, [passage.title for passage in passages], segments, meanings)
    weights = importance(evidence, rarity)
    prior = _prior(passages) + _standardised(model_scores, len(passages)) * _SCORER_WEIGHT
    sizes = np.array([end - start for passage in segments for start, end in passage.spans], dtype=np.float64)
    if is_transcript(passages):
        logits = topic_scores(evidence, weights[:, 1], sizes) + prior[evidence.owner]
        worth = logits
    else:
        logits = _logits(evidence, weights, passages) + prior[evidence.owner]
        logits = np.maximum(logits, linked_worth(evidence, passages, segments, logits))
        worth = logits - _LENGTH_EXPONENT * np.log(sizes + 1)
        worth = worth - _SPREAD * _depth(worth, evidence)
    chances = _softmax(logits)
    by_passage = evidence.total(chances)
    # Whole passages without a word in them keep their place in the retriever's order behind the others.
    ranking = sorted(
        range(len(passages)), key=lambda index: (-round(float(by_passage[index]), 12), -prior[index], index)
    )
    order = np.lexsort((np.arange(len(worth)), -np.round(worth, 9)))
    return Relevance(evidence, chances, by_passage, tuple(ranking), tuple(order.tolist()))


def _logits(evidence: Evidence, weights: Floats, passages: Sequence[Passage]) -> Floats:
    if not len(evidence.owner):
        return np.zeros(0)
    has_titles = 2 * sum(bool(passage.title) for passage in passages) >= len(passages)
    coefficients = np.array(learned.TITLED if has_titles else learned.UNTITLED)
    logits: Floats = features(evidence, weights) @ coefficients
    return logits


def _prior(passages: Sequence[Passage]) -> Floats:
    """Return what the retriever's ranks and scores say; nothing where it gave neither."""
    said = [
        order for order in (_places([p.rank for p in passages], sign=1), _places([p.score for p in passages])) if order
    ]
    prior = np.zeros(len(passages))
    for places in said:
        prior -= _ORDER_WEIGHT * np.log(np.array(places)) / len(said)
    return prior


def _places(values: Sequence[float | None], *, sign: int = -1) -> list[float]:
    """Return the place of each value from 1, equal values sharing one; empty where they say nothing."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2 or min(known) == max(known):
        return []
    ordered = sorted(sign * value for value in known)
    first: dict[float, int] = {}
    for at, value in enumerate(ordered):
        first.setdefault(value, at + 1)
    worst = float(len(ordered) + 1)
    return [float(first[sign * value]) if value is not None and math.isfinite(value) else worst for value in values]


def _standardised(scores: Sequence[float] | None, size: int) -> Floats:
    if scores is None:
        return np.zeros(size)
    values = np.nan_to_num(np.array(scores, dtype=np.float64), posinf=0.0, neginf=0.0)
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 0 else np.zeros(size)


def _depth(worth: Floats, evidence: Evidence) -> Floats:
    """Return for each sentence how many of its own passage are worth more."""
    depth = np.zeros(len(worth))
    order = np.lexsort((-worth, evidence.owner))
    depth[order] = np.arange(len(worth)) - np.searchsorted(evidence.owner[order], evidence.owner[order])
    return depth


def _softmax(logits: Floats) -> Floats:
    if not len(logits):
        return logits
    exponentials = np.exp(logits - logits.max())
    chances: Floats = exponentials / exponentials.sum()
    return chances
