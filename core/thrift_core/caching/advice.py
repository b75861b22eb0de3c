"""What the planner answers about one request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from thrift_core.caching.bill import InputBill
from thrift_core.caching.drift import Drift
from thrift_core.messages import CacheBreakpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHints:
    """What helps the provider's cache beside markers; an adapter passes on what its client takes.

    Attributes:
        prompt_cache_key: for OpenAI: requests that share a prefix should carry the same key.
        mode: for OpenAI from GPT-5.6: `explicit` if the planner was told that it may ask for it.
    """

    prompt_cache_key: str | None = None
    mode: Literal["explicit"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAdvice:
    """What to do about one request.

    Attributes:
        edits: the markers.
        predicted: what the input is predicted to be billed as with these markers.
        hints: what else the adapter may send.
        drift: what keeps the prefix from being cached.
    """

    edits: tuple[CacheBreakpoint, ...] = ()
    predicted: InputBill = field(default_factory=InputBill)
    hints: CacheHints = field(default_factory=CacheHints)
    drift: tuple[Drift, ...] = ()
