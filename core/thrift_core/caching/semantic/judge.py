"""Turns what a store found into hits, or into nothing where there is any doubt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from thrift_core.caching.semantic.answer import Hit, Tier
from thrift_core.caching.semantic.cache_key import CacheKey
from thrift_core.caching.semantic.matcher import Candidate, CertifiedThreshold, Judgement, Matcher
from thrift_core.caching.semantic.record import Broken, Opened, opened
from thrift_core.caching.semantic.store import Near
from thrift_core.errors import ConfigurationError

# Machines' clocks differ a little; what was made further ahead than this was made by a clock that was wrong.
_MOST_AHEAD_MS = 60_000

Judging = Callable[[str, Sequence[Candidate]], Sequence[Judgement] | None]


@dataclass(slots=True)
class Findings:
    """Hits to choose from, the best first, and entries that must go.

    Attributes:
        hits: what may be served.
        broken: ids of entries that do not open.
        reasons: why candidates were turned down.
    """

    hits: list[Hit] = field(default_factory=list[Hit])
    broken: list[bytes] = field(default_factory=list[bytes])
    reasons: list[str] = field(default_factory=list[str])


class Judge:
    """Opens entries, asks the matcher, applies the threshold.

    Args:
        matcher: compares questions.
        threshold: the least score that is a hit: a number set by hand, a certificate, or None for the matcher's word.
        tiers: the tiers that are on.

    Raises:
        ConfigurationError: the certificate was made for another matcher.
    """

    def __init__(
        self,
        matcher: Matcher,
        threshold: float | CertifiedThreshold | None,
        tiers: frozenset[Tier],
    ) -> None:
        self._tiers = tiers
        self.matcher = matcher
        self._threshold = _checked(matcher, threshold)

    @property
    def is_semantic(self) -> bool:
        """Whether anything but the same text can be a hit."""
        return "semantic" in self._tiers and (_is_open(self._threshold) or self._least_score(None) < math.inf)

    def observe(self, hit: Hit, *, agrees: bool) -> None:
        """Tell a threshold that watches itself what a check of a hit has shown."""
        if isinstance(self._threshold, Watching) and hit.score is not None:
            self._threshold.observe(hit.score, agrees=agrees)

    def repeated(self, secret: bytes, key: CacheKey, record: bytes, now_ms: int) -> Findings:
        """Return the hit, if any, of what was found under the key itself."""
        found = Findings()
        entry = _open(secret, (key.id, record), key, now_ms, found)
        if entry is None:
            return found
        tier: Tier = "exact" if entry.exact == key.exact[: len(entry.exact)] else "normalised"
        if tier in self._tiers:
            reason = "the same request" if tier == "exact" else "the same words, typed another way"
            _add_hit(found, key, (key.id, entry), _Seen(tier, reason), now_ms)
        return found

    def alike(self, secret: bytes, key: CacheKey, near: Sequence[Near], now_ms: int, judge: Judging) -> Findings:
        """Return the hits, best first, among a question's neighbours."""
        found = Findings()
        known = [
            (one, entry)
            for one in near
            if one.id != key.id and (entry := _open(secret, (one.id, one.record), key, now_ms, found)) is not None
        ]
        if not known:
            return found
        judged = judge(key.question, [Candidate(entry.question, one.similarity) for one, entry in known])
        if judged is None:
            return found
        if len(judged) != len(known):
            raise ValueError(f"the matcher gave {len(judged)} judgements for {len(known)} candidates")
        least, vouching = self._least_score(key.feature), self._vouching
        for (one, entry), judgement in zip(known, judged, strict=True):
            if judgement.verdict != "accept" or not judgement.score >= least:
                found.reasons.append(judgement.reason)
                continue
            seen = _Seen("semantic", judgement.reason, one.similarity, judgement.score, vouching)
            _add_hit(found, key, (one.id, entry), seen, now_ms)
        found.hits.sort(key=lambda hit: -(hit.score or 0.0))
        return found

    @property
    def is_waiting(self) -> bool:
        """Whether nothing that the matcher accepts can be a hit, for want of a threshold."""
        return "semantic" in self._tiers and not self.is_semantic

    def _least_score(self, feature: str | None) -> float:
        """Return the least score of a hit, infinity for none."""
        threshold = self._threshold
        if threshold is None:
            return math.inf if self.matcher.needs_threshold else -math.inf
        if isinstance(threshold, int | float):
            return threshold
        least = threshold.threshold_for(feature) if isinstance(threshold, ByFeature) else threshold.threshold
        return math.inf if least is None else least

    @property
    def _vouching(self) -> str | None:
        return self._threshold.name if isinstance(self._threshold, CertifiedThreshold) else None


def _open(secret: bytes, held: tuple[bytes, bytes], key: CacheKey, now_ms: int, found: Findings) -> Opened | None:
    entry_id, record = held
    try:
        # The partition asked for, not the one the store says: an entry from elsewhere does not open.
        entry = opened(record, entry_id=entry_id, partition=key.partition, secret=secret)
    except Broken as error:
        found.broken.append(entry_id)
        found.reasons.append(str(error))
        return None
    head = entry.header
    is_current = head.created_ms <= now_ms + _MOST_AHEAD_MS and now_ms < head.expires_ms
    return entry if is_current and head.is_confirmed else None


@runtime_checkable
class ByFeature(Protocol):
    """A threshold that differs between parts of the app."""

    @property
    def is_open(self) -> bool:
        """Whether there is a threshold for any part."""
        ...

    def threshold_for(self, feature: str | None) -> float | None:
        """Return the least score of a hit in a part of the app; None where nothing is a hit."""
        ...


@runtime_checkable
class Watching(Protocol):
    """A threshold that takes in what checks of hits show."""

    def observe(self, score: float, *, agrees: bool) -> None:
        """Take in one check."""
        ...


def _checked(matcher: Matcher, threshold: float | CertifiedThreshold | None) -> float | CertifiedThreshold | None:
    if threshold is None:
        return None
    if isinstance(threshold, CertifiedThreshold):
        if threshold.matcher != matcher.version:
            raise ConfigurationError(
                f"the certificate {threshold.name} was made for the matcher {threshold.matcher}, and this one is "
                f"{matcher.version}: calibrate again"
            )
        return threshold
    if math.isnan(threshold):
        raise ConfigurationError("threshold must be a number, a certificate or None; got nan")
    return float(threshold)


def _is_open(threshold: object) -> bool:
    return isinstance(threshold, ByFeature) and threshold.is_open


@dataclass(frozen=True, slots=True)
class _Seen:
    """How an entry was found."""

    tier: Tier
    reason: str
    similarity: float = 1.0
    score: float | None = None
    certificate: str | None = None


def _add_hit(found: Findings, key: CacheKey, held: tuple[bytes, Opened], seen: _Seen, now_ms: int) -> None:
    entry_id, entry = held
    try:
        answer = entry.entry().answer
    except Broken as error:
        found.broken.append(entry_id)
        found.reasons.append(str(error))
        return
    found.hits.append(
        Hit(
            answer=answer,
            tier=seen.tier,
            question=entry.question,
            similarity=seen.similarity,
            score=seen.score,
            reason=seen.reason,
            certificate=seen.certificate,
            age_seconds=max(0, now_ms - entry.header.created_ms) / 1000,
            id=entry_id,
            key=key.id,
            partition=key.partition,
        )
    )
