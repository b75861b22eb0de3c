"""What the local provider charges: constants of its own, so that thrift's prices are checked and not repeated."""

from __future__ import annotations

from decimal import Decimal

from thrift_core.testing import RateCard

# Dollars per million tokens: input, cached input, output. OpenAI's price page, standard tier, 2026-11-20.
RATES = {
    model: RateCard(Decimal(input_usd), Decimal(cached_usd), Decimal(output_usd))
    for model, input_usd, cached_usd, output_usd in (
        ("gpt-5", "1.25", "0.125", "10"),
        ("gpt-5-mini", "0.25", "0.025", "2"),
        ("gpt-5-nano", "0.05", "0.005", "0.40"),
        ("gpt-4.1", "2", "0.50", "8"),
        ("gpt-4.1-mini", "0.40", "0.10", "1.60"),
        ("gpt-4.1-nano", "0.10", "0.025", "0.40"),
        ("gpt-4o", "2.50", "1.25", "10"),
        ("gpt-4o-mini", "0.15", "0.075", "0.60"),
    )
}
DEFAULT_MODEL = "gpt-5-mini"
CHEAP_MODEL = "gpt-5-nano"
_REASONING_FAMILIES = ("gpt-5", "o1", "o3", "o4")


def reasoning_tokens(model: str, tokens: int) -> int:
    """Return how many hidden tokens a scripted model spends: as many as given if its model reasons, otherwise none."""
    return tokens if model.startswith(_REASONING_FAMILIES) else 0
