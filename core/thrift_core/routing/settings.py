"""What an app may set on a cascade router."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from thrift_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """The settings of a `CascadeRouter`; the defaults are careful.

    Attributes:
        threshold: the expected gain above which a stronger tier is asked, 0 to 1; None: the policy's own. Set by hand,
            it voids what a certificate says.
        usd_per_right_answer: what a right answer is worth in dollars. Where set, a stronger tier is asked only if the
            expected gain is worth more than its price; None: the policy's threshold alone decides.
        max_tiers: most tiers asked for quality in one request, 2 or more.
        stall_repeats: the same tool call with the same arguments so often in a row is a stall.
        tool_errors: so many failed tool results in a row are.
        side_effect_factor: a call of a side-effecting tool needs this share of the threshold; 0: such calls are never
            taken from any tier but the strongest.
        strongest_retries: how often the strongest tier is asked again after an invalid tool call or structure.
        answer_in_outage: whether a draft that was rejected for quality alone answers when every stronger tier is out;
            marked as degraded.
        cooldown_seconds: how long a tier rests after a rate limit or an outage that names no time.
        pin_threads: whether a thread stays with its tier.
        cache_seconds: how long a provider's prompt cache lives after a call.
        max_threads: so many threads are remembered; the least recently used are forgotten.
        audit_share: share of accepted cheap answers that are to be compared with the strongest tier, 0 to 1.

    Raises:
        ConfigurationError: a setting lies outside its range.
    """

    threshold: float | None = None
    usd_per_right_answer: Decimal | None = None
    max_tiers: int = 3
    stall_repeats: int = 3
    tool_errors: int = 3
    side_effect_factor: float = 0.5
    strongest_retries: int = 1
    answer_in_outage: bool = True
    cooldown_seconds: float = 30.0
    pin_threads: bool = True
    cache_seconds: float = 300.0
    max_threads: int = 10_000
    audit_share: float = 0.0

    def __post_init__(self) -> None:
        at_least = {
            "max_tiers": 2,
            "stall_repeats": 2,
            "tool_errors": 1,
            "strongest_retries": 0,
            "cooldown_seconds": 0,
            "cache_seconds": 0,
            "max_threads": 1,
        }
        for name, least in at_least.items():
            value: float = getattr(self, name)
            if not value >= least:
                raise ConfigurationError(f"{name} must be {least} or more; got {value!r}")
        for name in ("side_effect_factor", "audit_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigurationError(f"{name} must be from 0 to 1; got {value!r}")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ConfigurationError(f"threshold must be from -1 to 1; got {self.threshold!r}")
        if self.usd_per_right_answer is not None and not self.usd_per_right_answer > 0:
            raise ConfigurationError(f"usd_per_right_answer must be more than 0; got {self.usd_per_right_answer!r}")
