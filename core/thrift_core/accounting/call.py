"""One model call as the ledger keeps it, and one saving as a lever books it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, get_args

from thrift_core.accounting.usage import Usage

Outcome = Literal["ok", "error", "retried", "cache_hit", "escalated", "rejected"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Whom a call is for. Every field is optional and free text.

    Attributes:
        feature: the part of the app, such as `search` or `support-bot`.
        user: the end user.
        tenant: the customer the user belongs to.
        task: one piece of work that can be resolved or not, over many calls.
        run: one run of a chain or agent.
    """

    feature: str | None = None
    user: str | None = None
    tenant: str | None = None
    task: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one model call used, cost and was for.

    Attributes:
        model: the model that answered, as the provider names it.
        provider: its id in genai-prices, if known.
        usage: what it used.
        cost_usd: what it cost; None where no price is known, which is never the same as 0.
        unpriced: why there is no cost; None where there is one.
        is_estimated: the provider reported no usage, so the tokens were counted by us.
        attribution: whom it was for.
        outcome: `ok`, `error` (failed, no answer), `retried` (failed, then tried again), `cache_hit` (nothing was
            sent), `escalated` (answered, but a stronger model was asked too), `rejected` (answered, answer not used).
        latency_seconds: from sending to the last token.
        started_at: when it was sent, with a time zone.
        tool_calls: tools that the answer asks for, as `name(arguments)`.
        service_tier: the provider's tier that billed it, such as `flex`.
        is_batch: whether a batch API billed it.
        predicted_cache_read_tokens: how many tokens it was predicted to read from the prompt cache; None where nothing
            was predicted.
        id: unique; a second call with the same id is not counted again.
    """

    model: str
    provider: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    unpriced: str | None = None
    is_estimated: bool = False
    attribution: Attribution = field(default_factory=Attribution)
    outcome: Outcome = "ok"
    latency_seconds: float | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    tool_calls: tuple[str, ...] = ()
    service_tier: str | None = None
    is_batch: bool = False
    predicted_cache_read_tokens: int | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What one lever saved, or in shadow would have saved, on one request.

    Attributes:
        lever: the lever's name.
        tokens: tokens not sent or not generated; negative where the lever added some.
        cost_usd: dollars against what the call would have cost with the provider's prompt cache as it was; negative
            where the lever cost money; None where no price is known.
        is_shadow: the lever only measured; the request was sent unchanged.
        attribution: whom the request was for.
        call_id: the call it changed, if there was one.
        at: when.
    """

    lever: str
    tokens: int = 0
    cost_usd: Decimal | None = None
    is_shadow: bool = False
    attribution: Attribution = field(default_factory=Attribution)
    call_id: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
