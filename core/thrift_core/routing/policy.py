"""What estimates the quality of tiers; the router decides by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from thrift_core.messages import Request
from thrift_core.routing.decision import Attempt
from thrift_core.routing.draft import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a stronger tier is expected to add.

    Attributes:
        gain: the expected quality that the strongest tier adds, -1 to 1: the chance that it alone is right less the
            chance that this tier alone is.
        threshold: a gain above this is worth asking for.
        is_sure: before an answer: the answer may be used unseen.
        is_calibrated: the gain is a calibrated number, not a rule's.
        reason: why, in words.
        signals: what it rests on.
        ask: the tier to ask where the gain is above the threshold; None: the next one.
    """

    gain: float
    threshold: float
    is_sure: bool = False
    is_calibrated: bool = False
    reason: str = ""
    signals: Mapping[str, float] = field(default_factory=dict[str, float])
    ask: str | None = None


class Policy(Protocol):
    """Estimates what a stronger tier would add; pure and fast."""

    @property
    def version(self) -> str:
        """Names its weights and rules."""
        ...

    def before(self, request: Request, tier: str) -> Estimate:
        """Estimate from the request alone; a gain above the threshold skips the tier."""
        ...

    def after(self, request: Request, tier: str, draft: Draft, earlier: Sequence[Attempt] = ()) -> Estimate:
        """Estimate from the request and the tier's answer; a gain above the threshold rejects it.

        Args:
            request: the request.
            tier: the tier that answered.
            draft: its answer.
            earlier: the tiers asked before it, with their answers.
        """
        ...
