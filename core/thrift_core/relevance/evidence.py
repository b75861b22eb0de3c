"""What each sentence and its passage show of the question, as numbers that mean the same in every language.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from thrift_core.relevance.matching import Floats, Ints, Matches, Meanings, match
from thrift_core.relevance.segmentation import Segments, words

# The columns of `features`; a learned weight for each stands in `weights.py`. Those of `WEIGHED` come twice: with every
# word of the question counted by its importance, and once more with rare words emphasised.
WEIGHED = (
    "passage",
    "passage_behind_best",
    "best_sentence",
    "passage_coverage",
    "passage_exact",
    "title_coverage",
    "best_proximity",
    "sentence",
    "sentence_exact",
    "previous_sentence",
    "next_sentence",
    "sentence_with_title",
    "stands_out",
    "near_best",
)
FEATURES = (
    *WEIGHED,
    *(f"{name}_emphasised" for name in WEIGHED),
    "title_asked_for",
    "passage_length",
    "sentence_length",
    "early",
    "asks",
)
# BM25's usual saturation and length damping for passages; sentences saturate sooner and vary in length by nature.
_PASSAGE_K, _PASSAGE_B = 1.2, 0.75
_SENTENCE_K, _SENTENCE_B = 0.6, 0.4
_TITLE_WEIGHT = 2.0
# Two question words count as near each other within so many words.
_NEAR = 4
_MATCHED = 0.3
_SHARP = 8.0
# A word that is less rare anywhere than this says what is asked of a thing, hardly ever which thing; it keeps this
# share of its weight where rare words are emphasised.
_COMMON, _COMMON_SHARE = 0.6, 0.05
# Above this a word matches to the letter.
_EXACT = 0.999


@dataclass(frozen=True, slots=True)
class Evidence:
    """The question's words in every sentence.

    Attributes:
        matches: the question's words and what matches them.
        counts: sentences x terms, how often each occurs.
        title_counts: passages x terms, the same in the titles.
        owner: for each sentence, the number of its passage.
        place: for each sentence, its number in its passage.
        lengths: words in each sentence.
        title_shares: for each passage, the share of the title's words that are asked for.
        asks: for each sentence, 1 where it is a question itself.
        tokens: all words of all sentences as numbers, in order.
        token_sentence: for each of them, its sentence.
        vocabulary: the words by number.
    """

    matches: Matches
    counts: Floats
    title_counts: Floats
    owner: Ints
    place: Ints
    lengths: Floats
    title_shares: Floats
    asks: Floats
    tokens: Ints
    token_sentence: Ints
    vocabulary: dict[str, int]

    @property
    def passages(self) -> int:
        """How many passages there are."""
        return len(self.title_counts)

    def total(self, values: Floats) -> Floats:
        """Add up the rows of each passage's sentences."""
        result = np.zeros((self.passages, *values.shape[1:]))
        np.add.at(result, self.owner, values)
        return result

    def best(self, values: Floats) -> Floats:
        """Return the largest value among each passage's sentences, 0 where there are none."""
        result = np.zeros((self.passages, *values.shape[1:]))
        np.maximum.at(result, self.owner, values)
        return result


def gather(
    question: str, titles: Sequence[str], segments: Sequence[Segments], meanings: Meanings | None = None
) -> Evidence:
    """Count the question's words in every sentence and title.

    Args:
        question: what is asked.
        titles: the title of each passage, empty for none.
        segments: the passages, taken apart.
        meanings: also counts words of like meaning; None: spelling alone.
    """
    title_words = [words(title) for title in titles]
    sentences = [sentence for passage in segments for sentence in passage.words]
    vocabulary: dict[str, int] = dict.fromkeys(
        chain(chain.from_iterable(sentences), chain.from_iterable(title_words)), 0
    )
    for number, word in enumerate(vocabulary):
        vocabulary[word] = number
    matches = match(words(question), vocabulary, meanings)
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.float64)
    tokens = np.fromiter(map(vocabulary.__getitem__, chain.from_iterable(sentences)), dtype=np.int64)
    token_sentence = np.repeat(np.arange(len(sentences)), lengths.astype(np.int64))
    return Evidence(
        matches=matches,
        counts=_counts(matches, tokens, token_sentence, len(sentences)),
        title_counts=_title_counts(matches, title_words, vocabulary),
        owner=np.repeat(np.arange(len(segments)), [len(passage.words) for passage in segments]),
        place=np.concatenate([np.zeros(0), *(np.arange(len(passage.words)) for passage in segments)]).astype(np.int64),
        lengths=lengths,
        title_shares=_title_shares(matches, title_words, vocabulary),
        asks=np.fromiter(chain.from_iterable(map(_asks, segments)), dtype=np.float64),
        tokens=tokens,
        token_sentence=token_sentence,
        vocabulary=vocabulary,
    )


def _asks(segments: Segments) -> Sequence[bool]:
    return segments.asks or (False,) * len(segments.words)


def importance(evidence: Evidence, rarity: Callable[[str], float]) -> Floats:
    """Return how much each question word says: rare among these passages, and rare anywhere.

    Args:
        evidence: where the words occur.
        rarity: how rare a word is outside these passages.

    Returns:
        terms x 2: plain, and with rare words emphasised.
    """
    present = (evidence.total(evidence.counts) + evidence.title_counts) > _MATCHED
    frequency = present.sum(axis=0)
    here = np.log(1 + (evidence.passages - frequency + 0.5) / (frequency + 0.5))
    anywhere = np.array([rarity(term) for term in evidence.matches.terms])
    plain = (here + anywhere) / 2
    return np.stack([plain, plain * np.clip((anywhere - _COMMON) / 2, _COMMON_SHARE, 1.0)], axis=1)


def features(evidence: Evidence, weights: Floats) -> Floats:
    """Return one row for each sentence, one column for each of `FEATURES`.

    Args:
        evidence: where the question's words occur.
        weights: the importance of each question word, plain and emphasised.
    """
    owner = evidence.owner
    alone = (
        evidence.title_shares[owner],
        _relative(evidence.total(evidence.lengths))[owner],
        _relative(evidence.lengths),
        1 / (1 + evidence.place),
        evidence.asks,
    )
    return np.concatenate([*_weighed(evidence, weights), np.stack(alone, axis=1)], axis=1)


def _weighed(evidence: Evidence, weights: Floats) -> tuple[Floats, Floats]:
    """Return the columns of `WEIGHED` by the plain importance, and the same by the emphasised."""
    # Neither the plain sum nor a share of it: four matches of ten say more than one of two, and less than four of four.
    scale = np.sqrt(8 * weights.sum(axis=0))
    shares = weights / np.where(scale > 0, scale, 1.0)
    owner, titles, counts = evidence.owner, evidence.title_counts, evidence.counts
    bodies, exact = evidence.total(counts), np.where(counts > _EXACT, 1.0, 0.0)
    passage_lengths = evidence.total(evidence.lengths)
    passage = _bm25(bodies, passage_lengths, shares, _PASSAGE_K, b=_PASSAGE_B, extra=_TITLE_WEIGHT * titles)
    sentence = _bm25(counts, evidence.lengths, shares, _SENTENCE_K, b=_SENTENCE_B)
    before, after = _neighbours(sentence, owner)
    near = _proximity(evidence, shares)
    behind = passage - passage.max(axis=0, initial=0.0)
    blocks = (
        passage[owner],
        behind[owner],
        evidence.best(sentence)[owner],
        (np.minimum(bodies + titles, 1) @ shares)[owner],
        (np.minimum(evidence.total(exact), 1) @ shares)[owner],
        (np.minimum(titles, 1) @ shares)[owner],
        evidence.best(near)[owner],
        sentence,
        np.minimum(exact, 1) @ shares,
        before,
        after,
        np.minimum(np.maximum(counts, titles[owner]), 1) @ shares,
        _lead(passage)[owner],
        np.exp(_SHARP * behind)[owner],
    )
    stacked = np.stack(blocks, axis=1)
    return stacked[:, :, 0], stacked[:, :, 1]


def _bm25(
    counts: Floats, lengths: Floats, weights: Floats, k: float, *, b: float, extra: Floats | float = 0.0
) -> Floats:
    damping = 1 - b + b * lengths / max(float(lengths.mean()) if len(lengths) else 0.0, 1.0)
    damped = counts / damping[:, None] + extra
    scores: Floats = (damped * (k + 1) / (damped + k)) @ weights
    return scores


def _lead(values: Floats) -> Floats:
    """Return by how much the best passage leads the second best; 0 for all others."""
    lead = np.zeros_like(values)
    if len(values) > 1:
        for column in range(values.shape[1]):
            second, first = np.argsort(values[:, column], kind="stable")[-2:]
            lead[first, column] = values[first, column] - values[second, column]
    return lead


def _relative(lengths: Floats) -> Floats:
    mean = float(lengths.mean()) if len(lengths) else 0.0
    relative: Floats = np.log((lengths + 1) / (mean + 1))
    return relative


def _neighbours(values: Floats, owner: Ints) -> tuple[Floats, Floats]:
    before, after = np.zeros_like(values), np.zeros_like(values)
    same = owner[1:] == owner[:-1]
    before[1:][same] = values[:-1][same]
    after[:-1][same] = values[1:][same]
    return before, after


def _proximity(evidence: Evidence, weights: Floats) -> Floats:
    """Return for each sentence how many neighbours in the question are near each other in it too, by either weight."""
    term = evidence.matches.term[evidence.tokens]
    at = np.nonzero(term >= 0)[0]
    size = len(evidence.matches.terms)
    keys: list[Ints] = []
    values: list[Floats] = []
    for lag in range(1, _NEAR):
        left, right = at[:-lag], at[lag:]
        is_near = (right - left <= _NEAR) & (evidence.token_sentence[left] == evidence.token_sentence[right])
        left, right = left[is_near], right[is_near]
        alike = evidence.matches.weight[evidence.tokens[left]] * evidence.matches.weight[evidence.tokens[right]]
        first, second = term[left], term[right]
        for one, two, reversal in ((first, second, 0), (second, first, 1)):
            keys.append((evidence.token_sentence[left] * size + one) * size + two)
            values.append(alike / (right - left + reversal))
    # Each pair counts once a sentence, at its nearest.
    key, value = np.concatenate(keys), np.concatenate(values)
    distinct, group = np.unique(key, return_inverse=True)
    best = np.zeros(len(distinct))
    np.maximum.at(best, group, value)
    pairs = _pair_weights(evidence.matches, weights).reshape(size * size, weights.shape[1])
    near = np.zeros((len(evidence.lengths), weights.shape[1]))
    np.add.at(near, distinct // max(size * size, 1), best[:, None] * pairs[distinct % max(size * size, 1)])
    return near


def _pair_weights(matches: Matches, weights: Floats) -> Floats:
    size = len(matches.terms)
    pairs = np.zeros((size, size, weights.shape[1]))
    for lag, share in ((2, 0.5), (1, 1.0)):
        for left, right in zip(matches.sequence, matches.sequence[lag:], strict=False):
            pairs[left, right] = share * np.minimum(weights[left], weights[right])
    return pairs


def _counts(matches: Matches, tokens: Ints, token_sentence: Ints, sentences: int) -> Floats:
    size = len(matches.terms)
    term = matches.term[tokens]
    hit = term >= 0
    cells = token_sentence[hit] * size + term[hit]
    counts: Floats = np.bincount(cells, matches.weight[tokens[hit]], minlength=sentences * size).astype(np.float64)
    return counts.reshape(sentences, size)


def _title_counts(matches: Matches, titles: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> Floats:
    counts = np.zeros((len(titles), len(matches.terms)))
    for row, title in enumerate(titles):
        for word in title:
            number = vocabulary[word]
            if matches.term[number] >= 0:
                counts[row, matches.term[number]] += matches.weight[number]
    return counts


def _title_shares(matches: Matches, titles: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> Floats:
    shares = np.zeros(len(titles))
    for row, title in enumerate(titles):
        distinct = set(title)
        if distinct:
            matched = (
                matches.weight[number] for word in sorted(distinct) if matches.term[number := vocabulary[word]] >= 0
            )
            shares[row] = sum(matched) / len(distinct)
    return shares
