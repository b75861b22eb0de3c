"""What a cache had for one request, and what came of checking a hit, as the ledger keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args

from thrift_core.accounting.call import Attribution

LookupOutcome = Literal["miss", "hit", "agreed", "differed"]
LOOKUP_OUTCOMES: tuple[LookupOutcome, ...] = get_args(LookupOutcome)
EXACT = "exact"
"""The tier of hits whose request was the very same, so that they cannot be false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One request that came by a cache, or one hit whose answer was compared with the model's own.

    Attributes:
        outcome: `miss` or `hit`; `agreed` or `differed` for the comparison, which is told beside the hit.
        tier: how the hit was found, such as `exact` or `semantic`; None for a miss.
        is_shadow: the hit was only measured, and the model asked.
        attribution: whom the request was for.
        at: when.
    """

    outcome: LookupOutcome
    tier: str | None = None
    is_shadow: bool = False
    attribution: Attribution = field(default_factory=Attribution)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
