"""What the input of one call is billed as: fresh, read from the prompt cache, written to it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from thrift_core.accounting.usage import Usage
from thrift_core.rates import Pricing

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBill:
    """The input tokens of one call by the price they are billed at; every token is counted once.

    Attributes:
        uncached: at the full price.
        cache_read: read from the prompt cache.
        cache_write_5m: written to it for the provider's default lifetime.
        cache_write_1h: written to it for an hour.
    """

    uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    @property
    def input_tokens(self) -> int:
        """Everything that was sent."""
        return self.uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def usage(self) -> Usage:
        """The same as `Usage`, without output."""
        return Usage(
            input_tokens=self.input_tokens,
            cache_read_tokens=self.cache_read,
            cache_write_tokens=self.cache_write_5m + self.cache_write_1h,
            cache_write_1h_tokens=self.cache_write_1h,
        )

    def cost_usd(self, pricing: Pricing) -> Decimal:
        """Return what the input costs, in dollars."""
        return (
            self.uncached * pricing.input
            + self.cache_read * pricing.cache_read
            + self.cache_write_5m * pricing.cache_write_5m
            + self.cache_write_1h * pricing.cache_write_1h
        ) / _MILLION
