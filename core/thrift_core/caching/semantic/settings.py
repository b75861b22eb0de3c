"""The settings of a cache, checked once when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from thrift_core.caching.semantic.answer import Tier
from thrift_core.caching.semantic.cache_key import SCOPE_NAMES, TRANSPORT_PARAMETERS, ScopeName
from thrift_core.errors import ConfigurationError

CacheMode = Literal["on", "shadow"]
TIERS: tuple[Tier, ...] = ("exact", "normalised", "semantic")
_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """How a cache behaves; every default is the safe one.

    Attributes:
        mode: `on`, or `shadow`: hits are counted and compared with the model's own answer, not served.
        tiers: which kinds of match are hits. Requests after a tool's message only ever match exactly.
        ttl_seconds: how long an answer is kept, whatever happens to it; None for ever.
        ttl_by_feature: the same for parts of the app.
        isolate_by: which of tenant, user and feature never share answers. All by default; leave out `user` where an
            answer given to one user may be given to another.
        needs_confirmation: an answer is served only after a second user's own call, or `confirm`, agreed with it.
        candidates: how many neighbours the matcher judges.
        checked_share: the share of hits, exact ones aside, that are also sent to the model and compared.
        hit_latency_seconds: bounds of a random wait before a hit is returned, so that how long an answer takes says
            less of what others asked; None for no wait.
        embed_timeout_seconds: how long embedding and matching may take before the model is asked.
        flight_wait_seconds: how long to wait for the answer to the same request under way; 0 for no waiting.
        retry_seconds: how long a store that failed is left alone.
        ignored_parameters: request parameters that do not decide the answer.
    """

    mode: CacheMode = "on"
    tiers: Sequence[Tier] = TIERS
    ttl_seconds: float | None = _DAY
    ttl_by_feature: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    isolate_by: Sequence[ScopeName] = SCOPE_NAMES
    needs_confirmation: bool = False
    candidates: int = 8
    checked_share: float = 0.01
    hit_latency_seconds: tuple[float, float] | None = None
    embed_timeout_seconds: float = 1.0
    flight_wait_seconds: float = 60.0
    retry_seconds: float = 1.0
    ignored_parameters: frozenset[str] = TRANSPORT_PARAMETERS

    def __post_init__(self) -> None:
        _among("mode", [self.mode], get_args(CacheMode))
        _among("tiers", self.tiers, TIERS)
        _among("isolate_by", self.isolate_by, SCOPE_NAMES)
        for name, ttl in {"ttl_seconds": self.ttl_seconds, **self.ttl_by_feature}.items():
            if ttl is not None and not (math.isfinite(ttl) and ttl > 0):
                raise ConfigurationError(f"the time to live of {name} must be seconds above 0, or None; got {ttl!r}")
        if type(self.candidates) is not int or self.candidates < 1:
            raise ConfigurationError(f"candidates must be a whole number of 1 or more; got {self.candidates!r}")
        if not 0 <= self.checked_share <= 1:
            raise ConfigurationError(f"checked_share must lie between 0 and 1; got {self.checked_share!r}")
        if not self.embed_timeout_seconds > 0:
            raise ConfigurationError(f"embed_timeout_seconds must be more than 0; got {self.embed_timeout_seconds!r}")
        for name in ("flight_wait_seconds", "retry_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"{name} must be 0 or more; got {getattr(self, name)!r}")
        wait = self.hit_latency_seconds
        if wait is not None and not 0 <= wait[0] <= wait[1]:
            raise ConfigurationError(f"hit_latency_seconds must be (least, most); got {wait!r}")

    def ttl_for(self, feature: str | None) -> float | None:
        """Return how long answers of a part of the app are kept, in seconds; None for ever."""
        if feature is not None and feature in self.ttl_by_feature:
            return self.ttl_by_feature[feature]
        return self.ttl_seconds


def _among(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    if isinstance(given, str) or (unknown := [value for value in given if value not in known]):
        raise ConfigurationError(f"{name} must be some of {', '.join(known)}; got {given!r}") from None
    del unknown
