"""Turns labelled pairs into a threshold with a stated false-hit rate, or says that they do not support one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from thrift_core.caching.matching.labelled_pairs import LabelledPair, pairs_of
from thrift_core.caching.semantic.matcher import Candidate, Matcher
from thrift_core.calibration.binomial import share_at_most, share_interval
from thrift_core.calibration.certificate import Certificate, fingerprint
from thrift_core.errors import ConfigurationError

# Thresholds that are tried, fixed before any label is seen: even steps of the log odds, strictest first.
_GRID = tuple(1 / (1 + math.exp(-step / 4)) for step in range(28, -13, -1))
# Where testing may begin, as places in the grid, with what share of the error each may spend.
_STARTS: Mapping[int, float] = {4: 0.15, 10: 0.3, 16: 0.25, 22: 0.2, 28: 0.1}
_AT_PRIOR = 0.6
# Fewer labels than this say too little to state even what they support.
_FEWEST = 20
Row = LabelledPair | Mapping[str, Any] | tuple[str, str, bool]


class Scorer(Protocol):
    """Scores many pairs at once; a matcher that has this is asked so."""

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        """Return the score of each pair."""
        ...


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Scores and labels, as calibration sees them.

    Attributes:
        scores: of the matcher, 0 for what it rejects.
        labels: whether one answer serves both.
    """

    scores: tuple[float, ...]
    labels: tuple[bool, ...]

    def at(self, threshold: float) -> tuple[int, int]:
        """Return how many pairs are hits at a threshold, and how many of them are wrong."""
        hits = [label for score, label in zip(self.scores, self.labels, strict=True) if score >= threshold]
        return len(hits), len(hits) - sum(hits)


def calibrate_cache(
    pairs: Iterable[Row],
    max_false_hit_rate: float = 0.01,
    *,
    confidence: float = 0.95,
    matcher: Matcher | None = None,
    prior: Certificate | None = None,
) -> Certificate:
    """Return a certificate for the loosest threshold whose false-hit rate is at most the rate asked for.

    The false-hit rate is the share of hits whose answer does not serve the question. The statement is Learn-then-Test
    (Angelopoulos and others, arXiv 2110.01052): each threshold of a fixed grid is tested with the exact binomial bound
    of Clopper and Pearson, in a fixed order, and the loosest that falls is taken. So that too few hits at the strictest
    thresholds end nothing, the order has several beginnings that share the error and pass on what they did not need
    (the fallback procedure: Wiens 2003, "A fixed sequence Bonferroni procedure", Pharmaceutical Statistics 2).

    It holds for pairs drawn like those given: same traffic, same share of near misses. Without a certified threshold
    the certificate abstains, and its note says what the labels do support.

    Example:
        >>> pairs = [("How do I pay?", "how can i pay", True), ("Pay 5", "Pay 9", False)] * 30
        >>> from thrift_core.caching.matching.learned_matcher import LearnedMatcher
        >>> certificate = calibrate_cache(pairs, 0.01, matcher=LearnedMatcher(verifier=None))
        >>> certificate.is_certified, certificate.bound > 0.01
        (False, True)

    Args:
        pairs: labelled pairs: objects, mappings with `a`, `b` and `same`, or tuples of these.
        max_false_hit_rate: the share of hits that may be wrong, more than 0 and less than 1.
        confidence: how often a statement like the one returned is true.
        matcher: whose threshold it is; the one that comes with thrift by default.
        prior: a certificate made of other labels: testing begins at its threshold, which needs fewer labels.

    Raises:
        ConfigurationError: there are no pairs, or a number is out of range, or the prior is another matcher's.
    """
    chosen = _matcher(matcher)
    labelled = pairs_of(pairs)
    scored = ScoredPairs(tuple(score(chosen, labelled)), tuple(pair.same for pair in labelled))
    return certify(
        scored, chosen.version, max_false_hit_rate, confidence=confidence, prior=prior, data=_fingerprint(labelled)
    )


def certify(
    scored: ScoredPairs,
    version: str,
    max_false_hit_rate: float,
    *,
    confidence: float = 0.95,
    prior: Certificate | None = None,
    data: str = "",
) -> Certificate:
    """Return the certificate that scores and labels support; `calibrate_cache` without the matcher."""
    if not 0 < max_false_hit_rate < 1 or not 0.5 <= confidence < 1:
        raise ConfigurationError(
            f"max_false_hit_rate must lie between 0 and 1 and confidence between 0.5 and 1; "
            f"got {max_false_hit_rate!r} and {confidence!r}"
        )
    if not scored.labels:
        raise ConfigurationError("calibration needs labelled pairs; got none")
    if prior is not None:
        prior.require(kind="cache", version=version)
    starts = _starts(prior)
    place = _loosest(scored, max_false_hit_rate, 1 - confidence, starts)
    fields: dict[str, Any] = {
        "kind": "cache",
        "version": version,
        "max_loss": max_false_hit_rate,
        "confidence": confidence,
        "n": len(scored.labels),
        "data": data,
    }
    if place is None:
        bound, figures = _supported(scored, confidence, starts)
        return Certificate(**fields, bound=bound, figures=figures, note=_abstains(scored, max_false_hit_rate, bound))
    threshold = _GRID[place]
    hits, wrong = scored.at(threshold)
    return Certificate(
        **fields,
        threshold=threshold,
        bound=max_false_hit_rate,
        figures=_figures(scored, threshold, confidence),
        note=f"at most {_percent(max_false_hit_rate)} of hits are wrong, at confidence {confidence:g}: "
        f"{wrong} of {hits} were at this threshold",
    )


def score(matcher: Matcher, pairs: Sequence[LabelledPair]) -> list[float]:
    """Return the matcher's score of each pair, 0 for what it rejects or cannot tell."""
    texts = [(pair.a, pair.b) for pair in pairs]
    many = getattr(matcher, "scores", None)
    if callable(many):
        scorer: Scorer = matcher  # type: ignore[assignment]  # it has the method
        return [float(one) for one in scorer.scores(texts)]
    judged = [matcher.judge(one, [Candidate(other, 1.0)])[0] for one, other in texts]
    return [found.score if found.verdict == "accept" else 0.0 for found in judged]


def _matcher(matcher: Matcher | None) -> Matcher:
    if matcher is not None:
        return matcher
    from thrift_core.caching.matching.learned_matcher import LearnedMatcher  # noqa: PLC0415 - brings numpy

    return LearnedMatcher()


def _fingerprint(pairs: Sequence[LabelledPair]) -> str:
    return fingerprint(f"{pair.a}\n{pair.b}\n{pair.same}" for pair in pairs)


def _starts(prior: Certificate | None) -> dict[int, float]:
    """Return where testing begins, with the share of the error each place may spend."""
    if prior is None or prior.threshold is None:
        return dict(_STARTS)
    near = min(range(len(_GRID)), key=lambda at: abs(_GRID[at] - (prior.threshold or 0.0)))
    shares = {place: (1 - _AT_PRIOR) * share for place, share in _STARTS.items()}
    shares[near] = shares.get(near, 0.0) + _AT_PRIOR
    return shares


def _loosest(scored: ScoredPairs, limit: float, error: float, starts: Mapping[int, float]) -> int | None:
    """Return the place of the loosest threshold that falls in the fallback procedure; None for none."""
    found, carried = None, 0.0
    for place in range(len(_GRID)):
        spend = carried + error * starts.get(place, 0.0)
        carried = 0.0
        if spend <= 0:
            continue
        hits, wrong = scored.at(_GRID[place])
        if hits and share_at_most(wrong, hits, confidence=1 - spend) <= limit:
            found, carried = place, spend
    return found


def _supported(
    scored: ScoredPairs, confidence: float, starts: Mapping[int, float]
) -> tuple[float | None, dict[str, float]]:
    """Return the least bound that holds at one of the beginnings, all of them together at the confidence."""
    best: tuple[float, float] | None = None
    for place, share in starts.items():
        hits, wrong = scored.at(_GRID[place])
        if hits:
            bound = share_at_most(wrong, hits, confidence=1 - (1 - confidence) * share)
            best = min(best or (1.0, 1.0), (bound, _GRID[place]))
    if best is None or len(scored.labels) < _FEWEST:
        return None, {}
    return best[0], {**_figures(scored, best[1], confidence), "supported_threshold": best[1]}


def _figures(scored: ScoredPairs, threshold: float, confidence: float) -> dict[str, float]:
    hits, wrong = scored.at(threshold)
    same = sum(scored.labels)
    low, high = share_interval(wrong, hits, confidence=confidence)
    figures = {
        "hits": float(hits),
        "false_hits": float(wrong),
        "false_hit_rate": wrong / hits if hits else 0.0,
        "false_hit_rate_low": low,
        "false_hit_rate_high": high,
    }
    return figures | ({"recall": (hits - wrong) / same} if same else {})


def _abstains(scored: ScoredPairs, limit: float, bound: float | None) -> str:
    head = f"cannot certify {_percent(limit)} from {len(scored.labels)} pairs"
    return f"{head}: too few hits" if bound is None else f"{head}; {_percent(bound)} is what they support"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def grid() -> Iterator[float]:
    """Yield the thresholds that calibration tries, strictest first."""
    yield from _GRID
