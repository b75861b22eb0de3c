"""Numbers that say how two questions differ, for the head that weighs them."""

from __future__ import annotations

import math
from collections.abc import Callable

from thrift_core.caching.matching import lexicon
from thrift_core.caching.matching.near_miss import DIFFERENCE_KINDS, Comparison
from thrift_core.caching.matching.reading import Reading

Rarity = Callable[[str], float]
_BOTH = tuple(f"{kind}_both" for kind in DIFFERENCE_KINDS)
_ONE = tuple(f"{kind}_one" for kind in DIFFERENCE_KINDS)
FEATURE_NAMES: tuple[str, ...] = (
    "cosine", "shared_least", "shared_most", "rare_shared_least", "rare_shared_most", "trigrams", "length_ratio",
    "alike_mean", "alike_least", "turned", "negated_one", "rarest_unexplained", "unexplained", "is_equal",
    *_BOTH, *_ONE,
)  # fmt: skip


def features(comparison: Comparison, cosine: float, rarity: Rarity) -> list[float]:
    """Return one number for each of `FEATURE_NAMES`; the order of the two questions plays no part.

    Args:
        comparison: what the guard found.
        cosine: of the two questions' embeddings.
        rarity: how rare a word is, 0 to 1.
    """
    one, other = comparison.asked, comparison.known
    pairs = comparison.alignment.pairs
    shared = [weight for a, _, weight in pairs if not _is_small(one, a)]
    left, right = _weights(one, rarity), _weights(other, rarity)
    explained = sum(left[a] * weight for a, _, weight in pairs), sum(right[b] * weight for _, b, weight in pairs)
    parts = sorted((explained[0] / (sum(left) or 1.0), explained[1] / (sum(right) or 1.0)))
    plain = sorted((len(shared) / max(_content(one), 1), len(shared) / max(_content(other), 1)))
    unexplained = [left[a] for a in comparison.alignment.left] + [right[b] for b in comparison.alignment.right]
    lengths = sorted((len(one.tokens), len(other.tokens)))
    both = {found.kind for found in comparison.differences if found.asked and found.known}
    single = {found.kind for found in comparison.differences} - both
    return [
        cosine,
        *plain,
        *parts,
        _trigrams(one, other),
        lengths[0] / max(lengths[1], 1),
        sum(shared) / len(shared) if shared else 0.0,
        min(shared, default=0.0),
        _turned(comparison),
        float(one.is_negated != other.is_negated),
        max(unexplained, default=0.0),
        math.log1p(sum(unexplained)),
        float(not comparison.differences and not unexplained),
        *(float(kind in both) for kind in DIFFERENCE_KINDS),
        *(float(kind in single) for kind in DIFFERENCE_KINDS),
    ]


def _is_small(reading: Reading, place: int) -> bool:
    token = reading.tokens[place]
    return token.kind == "word" and (token.key in lexicon.EMPTY or token.key in lexicon.ASKING)


def _content(reading: Reading) -> int:
    return sum(not _is_small(reading, place) for place in range(len(reading.tokens)))


def _weights(reading: Reading, rarity: Rarity) -> list[float]:
    return [
        0.05 if _is_small(reading, place) else rarity(token.key) if token.kind == "word" else 1.0
        for place, token in enumerate(reading.tokens)
    ]


def _trigrams(one: Reading, other: Reading) -> float:
    sets = [
        {f" {token.key} "[at : at + 3] for token in reading.tokens for at in range(len(token.key))}
        for reading in (one, other)
    ]
    return len(sets[0] & sets[1]) / max(len(sets[0] | sets[1]), 1)


def _turned(comparison: Comparison) -> float:
    """Return the share of pairs of matched content words that changed places."""
    places = [b for a, b, _ in comparison.alignment.pairs if not _is_small(comparison.asked, a)]
    total = len(places) * (len(places) - 1) / 2
    turned = sum(places[at] > later for at in range(len(places)) for later in places[at + 1 :])
    return turned / total if total else 0.0
