"""What a cascade saved on one request, against always asking the strongest tier with a warm prompt cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from thrift_core.accounting.usage import Usage
from thrift_core.prices import Pricing
from thrift_core.routing.threads import call_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The bill of one request, drafts that were thrown away included.

    Attributes:
        spent_usd: what all calls cost; None where one of them has no price.
        baseline_usd: what the strongest tier alone would have cost; None where it has no price.
        tokens: tokens of the baseline less tokens spent; negative where drafts added some.
    """

    spent_usd: Decimal | None
    baseline_usd: Decimal | None
    tokens: int

    @property
    def saved_usd(self) -> Decimal | None:
        """Dollars saved, negative where the cascade cost more; None where a price is missing."""
        return None if self.spent_usd is None or self.baseline_usd is None else self.baseline_usd - self.spent_usd


def settle(
    usages: Iterable[tuple[int, Usage]],
    pricings: Sequence[Pricing | None],
    *,
    answered_by: int,
    cached_tokens: int = 0,
    extra_usd: Decimal = Decimal(0),
) -> Settlement:
    """Return the bill of one request.

    The baseline is the strongest tier's own call where it was made. Elsewhere it is reckoned from the accepted
    answer's tokens at the strongest tier's prices, with the part of the input that its cache would have held.

    Args:
        usages: what each call used, by the tier's place; every call that was made, hedges and retries included.
        pricings: what each tier's tokens cost.
        answered_by: the place of the tier whose answer was accepted.
        cached_tokens: the part of the input that the strongest tier's cache would have held, had it answered so far.
        extra_usd: whatever else the decision cost: judges, samples, embeddings.
    """
    calls = list(usages)
    strongest = len(pricings) - 1
    costs = [None if (pricing := pricings[index]) is None else pricing.cost(usage) for index, usage in calls]
    spent = None if None in costs else sum((cost for cost in costs if cost is not None), extra_usd)
    own = [usage for index, usage in calls if index == strongest]
    answers = [usage for index, usage in calls if index == answered_by]
    basis = own[-1] if own else answers[-1] if answers else Usage()
    tokens = basis.total_tokens - sum(usage.total_tokens for _, usage in calls)
    return Settlement(spent_usd=spent, baseline_usd=_baseline(pricings[strongest], basis, cached_tokens), tokens=tokens)


def _baseline(pricing: Pricing | None, usage: Usage, cached_tokens: int) -> Decimal | None:
    if pricing is None:
        return None
    cached = min(usage.input_tokens, max(cached_tokens, usage.cache_read_tokens))
    return call_usd(pricing, input_tokens=usage.input_tokens, cached_tokens=cached, output_tokens=usage.output_tokens)
