"""What the cache did, in numbers that a report can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from thrift_core.calibration.binomial import share_interval

CHECKED_RIGHT = "checked right"
CHECKED_WRONG = "checked wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """Counts since the cache was made in this process; checks are those of everybody who uses the store.

    Attributes:
        lookups: requests that were looked up.
        hits: hits by tier.
        uncacheable: requests that were not looked up, by reason.
        stored: answers kept.
        refused: answers not kept, by reason.
        checks: hits that were also sent to the model, and whose answer was compared.
        false_hits: those whose answer was another one.
        faults: what failed, by kind.
    """

    lookups: int = 0
    hits: Mapping[str, int] = field(default_factory=dict[str, int])
    uncacheable: Mapping[str, int] = field(default_factory=dict[str, int])
    stored: int = 0
    refused: Mapping[str, int] = field(default_factory=dict[str, int])
    checks: int = 0
    false_hits: int = 0
    faults: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def hit_rate(self) -> float:
        """The share of lookups that were hits, 0 to 1."""
        return sum(self.hits.values()) / self.lookups if self.lookups else 0.0

    @property
    def false_hit_rate(self) -> float | None:
        """The share of checked hits that were false; None before the first check."""
        return self.false_hits / self.checks if self.checks else None

    def false_hit_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return bounds on the true share of false hits among those that are not exact; 0 and 1 before any check."""
        return share_interval(self.false_hits, self.checks, confidence=confidence)
