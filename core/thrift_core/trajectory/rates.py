"""Prices as the trajectory arithmetic needs them: relative to a fresh input token."""

from __future__ import annotations

from dataclasses import dataclass

from thrift_core.prices import Pricing


@dataclass(frozen=True, slots=True)
class Rates:
    """What a token costs, a fresh one on a provider without a cache costing 1.

    Attributes:
        read: a token read from the prompt cache.
        write: a token that is not in the cache and is written to it.
    """

    read: float = 1.0
    write: float = 1.0

    @classmethod
    def of(cls, pricing: Pricing | None) -> Rates:
        """Return the rates of a price list; without one, those of the dearest common scheme (reads 0.1, writes 1.25).

        With that scheme a cut must earn the most before it is made, so an unknown price makes the lever careful.
        """
        if pricing is None:
            return cls(0.1, 1.25)
        if not pricing.input > 0:
            return cls()
        read = float(min(pricing.cache_read, pricing.input) / pricing.input)
        write = max(1.0, float(pricing.cache_write_5m / pricing.input))
        return cls(read, write) if read < 1 else cls()

    @property
    def has_cache(self) -> bool:
        """Whether a token read again costs less than a fresh one."""
        return self.read < self.write

    def gain(self, *, removed: float, rewritten: float, reads: float) -> float:
        """Return what removing tokens earns over the reads left, this call's included: `r*R*dT - (w-r)*S`.

        Args:
            removed: tokens taken out of the part that is cached (dT).
            rewritten: tokens that must be written to the cache again because of it (S).
            reads: calls left that would have read them (R).
        """
        return self.read * reads * removed - (self.write - self.read) * rewritten
