"""What the router decided on a request so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from thrift_core.messages import Request
from thrift_core.routing.draft import Draft
from thrift_core.routing.tier import Tier

ErrorKind = Literal["rate_limit", "outage", "timeout", "garbage", "disconnect", "other"]
Outcome = Literal["accepted", "rejected", "invalid", "failed"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A tier that was asked, and what came of it.

    Attributes:
        index: the tier's place in the cascade.
        tier: its name.
        outcome: `accepted`; `rejected` for its expected quality; `invalid`: its tool call, structure or length rules it
            out whatever else happens; `failed`: it did not answer.
        reason: why, in words.
        draft: the answer, where there was one.
    """

    index: int
    tier: str
    outcome: Outcome
    reason: str
    draft: Draft | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which tier to ask now, or that an answer is accepted. Immutable: each step returns a new one.

    Exactly one of three holds: a tier is to be asked (`tier`), an answer is `accepted` (of `tier`), or nothing is left
    to ask (`is_exhausted`).

    Attributes:
        tier: the tier to ask now, or whose answer is accepted.
        index: its place in the cascade.
        accepted: the draft that was judged last, or in an outage an earlier one (`draft`), is the answer.
        is_committed: whatever the tier answers will be accepted but for failures and invalid tool calls, so its text
            may be streamed straight through.
        is_exhausted: no tier is left; raise the last error.
        is_degraded: accepted only because every stronger tier is out.
        is_audit: compare the accepted answer with the strongest tier's, off the request path, and tell
            `CascadeRouter.audit`.
        reason: why, in words that a user can read.
        expected_loss: expected quality lost against the strongest tier; None where nothing was calibrated.
        expected_usd: what the tier's answer is expected to cost; None where no price is known.
        expected_gain: what the strongest tier is expected to add, as the policy estimates it; None as above.
        signals: what the decision rests on.
        tried: the tiers asked so far, in order.
        policy: names the policy and, if it has one, its certificate.
        thread: the thread's key.
        side_effects: names of tools that act on the world.
        request: the request.
        draft: the accepted draft.
    """

    tier: Tier
    index: int
    reason: str
    request: Request = field(repr=False, compare=False)
    accepted: bool = False
    is_committed: bool = False
    is_exhausted: bool = False
    is_degraded: bool = False
    is_audit: bool = False
    expected_loss: float | None = None
    expected_usd: Decimal | None = None
    expected_gain: float | None = None
    signals: Mapping[str, float] = field(default_factory=dict[str, float])
    tried: tuple[Attempt, ...] = ()
    policy: str = ""
    thread: str | None = None
    side_effects: frozenset[str] = frozenset()
    draft: Draft | None = field(default=None, repr=False, compare=False)

    def as_metadata(self) -> dict[str, Any]:
        """Return what fits into an answer's metadata as JSON; the texts of request and drafts are left out."""
        facts: dict[str, Any] = {
            "tier": self.tier.name,
            "model": self.tier.model,
            "accepted": self.accepted,
            "reason": self.reason,
            "policy": self.policy,
            "tried": [
                {"tier": attempt.tier, "outcome": attempt.outcome, "reason": attempt.reason} for attempt in self.tried
            ],
            "signals": {name: round(float(value), 4) for name, value in self.signals.items()},
        }
        if self.expected_loss is not None:
            facts["expected_loss"] = round(self.expected_loss, 4)
        if self.expected_usd is not None:
            facts["expected_usd"] = str(self.expected_usd)
        flags = ("is_committed", "is_exhausted", "is_degraded", "is_audit")
        facts.update({flag: True for flag in flags if getattr(self, flag)})
        return facts
