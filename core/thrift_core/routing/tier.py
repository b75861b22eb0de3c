"""One model of a cascade: what it costs, what fits in it, what it can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from thrift_core.errors import ConfigurationError
from thrift_core.prices import PriceBook, Pricing, Unpriced

CAPABILITIES = frozenset({"tools", "structured_output", "images", "streaming", "logprobs"})
# A typical call, to tell which of two models is cheaper: three tokens in for one out.
_BLEND_IN, _BLEND_OUT = 3, 1


@dataclass(frozen=True, slots=True)
class Tier:
    """One model of a cascade.

    Attributes:
        name: how the app calls it; unique in a cascade.
        model: the model's name as the provider spells it.
        provider: the provider's id as genai-prices spells it; None: as far as the model's name tells.
        price: what its tokens cost; None: what the price book says, and where that says nothing, no dollars are shown.
        context_limit: most tokens of input and output together; None: not known, everything fits.
        max_output_tokens: most tokens of an answer; None: not known.
        capabilities: what it can do; a request that needs more is sent to another tier.
        extra_latency_seconds: what it takes longer than the others; only shown.
        level: tiers of one level are equals: quality never moves a request between them, errors do. None: a level of
            its own.

    Raises:
        ConfigurationError: a name is empty, a limit is not positive, or a capability is unknown.

    Example:
        >>> Tier("cheap", "gpt-4.1-nano", context_limit=1_000_000).capabilities == CAPABILITIES
        True
    """

    name: str
    model: str
    provider: str | None = None
    price: Pricing | None = None
    context_limit: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = CAPABILITIES
    extra_latency_seconds: float = 0.0
    level: int | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.model:
            raise ConfigurationError(f"a tier needs a name and a model; got {self.name!r} and {self.model!r}")
        for field in ("context_limit", "max_output_tokens"):
            limit: int | None = getattr(self, field)
            if limit is not None and limit <= 0:
                raise ConfigurationError(f"{field} of tier {self.name!r} must be more than 0; got {limit!r}")
        object.__setattr__(self, "capabilities", frozenset(self.capabilities))
        if unknown := self.capabilities - CAPABILITIES:
            raise ConfigurationError(
                f"tier {self.name!r} has unknown capabilities {', '.join(sorted(unknown))}; "
                f"there are {', '.join(sorted(CAPABILITIES))}"
            )


def pricings(tiers: Sequence[Tier], prices: PriceBook) -> tuple[Pricing | None, ...]:
    """Return what each tier's tokens cost, None where that is not known."""
    found: list[Pricing | None] = []
    for tier in tiers:
        listed = tier.price or prices.pricing(tier.model, tier.provider)
        found.append(None if isinstance(listed, Unpriced) else listed)
    return tuple(found)


def levels(tiers: Sequence[Tier]) -> tuple[int, ...]:
    """Return the level of each tier, counted from 0 without gaps.

    Raises:
        ConfigurationError: there is no tier, a name is given twice, or a level lies below the one before it.
    """
    if not tiers:
        raise ConfigurationError("a cascade needs at least one tier; got none")
    names = [tier.name for tier in tiers]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"tiers need names of their own; given twice: {', '.join(sorted(twice))}")
    found: list[int] = []
    for place, tier in enumerate(tiers):
        before = tiers[place - 1].level if place else None
        if tier.level is not None and before is not None and tier.level < before:
            raise ConfigurationError(f"tier {tier.name!r} has level {tier.level} after {before}: cheapest first")
        same = bool(place) and tier.level is not None and tier.level == before
        found.append(found[-1] if same else found[-1] + 1 if found else 0)
    return tuple(found)


def check_order(tiers: Sequence[Tier], priced: Sequence[Pricing | None], found_levels: Sequence[int]) -> None:
    """Check that a level is not dearer than those above it, where prices are known.

    Raises:
        ConfigurationError: one is; names both and their prices.
    """
    dearest: tuple[Decimal, Tier, int] | None = None
    for tier, pricing, level in zip(tiers, priced, found_levels, strict=True):
        if pricing is None:
            continue
        blended = blend(pricing)
        if dearest is not None and level > dearest[2] and blended < dearest[0]:
            raise ConfigurationError(
                f"tiers must be given cheapest first: {tier.name!r} costs ${blended} and {dearest[1].name!r} before it "
                f"${dearest[0]} per million tokens (three of input for one of output)"
            )
        if dearest is None or blended > dearest[0]:
            dearest = blended, tier, level


def blend(pricing: Pricing) -> Decimal:
    """Return dollars per million tokens, three of input for one of output."""
    return (_BLEND_IN * pricing.input + _BLEND_OUT * pricing.output) / (_BLEND_IN + _BLEND_OUT)
