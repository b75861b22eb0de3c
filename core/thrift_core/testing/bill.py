"""The provider's own bill, kept apart from everything in thrift that prices calls."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from thrift_core.errors import ConfigurationError

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUse:
    """Billed tokens. The input includes the cached and written parts, the output includes reasoning.

    Attributes:
        input_tokens: everything that was sent.
        cached_tokens: the part of the input read from the prompt cache.
        cache_write_tokens: the part of the input written to it, where writes have a price of their own.
        output_tokens: everything that came back.
        reasoning_tokens: the part of the output that was reasoning.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, added: TokenUse) -> TokenUse:
        return TokenUse(
            input_tokens=self.input_tokens + added.input_tokens,
            cached_tokens=self.cached_tokens + added.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + added.cache_write_tokens,
            output_tokens=self.output_tokens + added.output_tokens,
            reasoning_tokens=self.reasoning_tokens + added.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class RateCard:
    """What a model's tokens cost, in dollars per million.

    Attributes:
        input_usd: plain input.
        cached_input_usd: input read from the prompt cache.
        output_usd: output, reasoning included.
        cache_write_usd: input written to the prompt cache; None where writes cost what plain input costs.
        tiers: other rates by service tier, such as `flex`.

    Example:
        >>> card = RateCard(Decimal("0.25"), Decimal("0.025"), Decimal(2))
        >>> card.cost(TokenUse(input_tokens=4000, cached_tokens=1024))
        Decimal('0.0007696')
    """

    input_usd: Decimal
    cached_input_usd: Decimal
    output_usd: Decimal
    cache_write_usd: Decimal | None = None
    tiers: Mapping[str, RateCard] = field(default_factory=dict[str, "RateCard"])

    def cost(self, use: TokenUse, service_tier: str | None = None) -> Decimal:
        """Return what the tokens cost in dollars, not rounded."""
        if service_tier is not None and service_tier in self.tiers:
            return self.tiers[service_tier].cost(use)
        plain = use.input_tokens - use.cached_tokens - use.cache_write_tokens
        write_usd = self.input_usd if self.cache_write_usd is None else self.cache_write_usd
        dollars = (
            plain * self.input_usd
            + use.cached_tokens * self.cached_input_usd
            + use.cache_write_tokens * write_usd
            + use.output_tokens * self.output_usd
        )
        return (dollars / _MILLION).normalize()


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledCall:
    """One line of the bill.

    Attributes:
        id: the id of the response.
        model: the model billed.
        use: the tokens billed.
        cost_usd: what they cost; None where the provider was given no rates.
        service_tier: the tier billed, if one was asked for.
    """

    id: str
    model: str
    use: TokenUse
    cost_usd: Decimal | None
    service_tier: str | None = None


class Bill:
    """Every generation the provider made, whether or not the client waited for it."""

    def __init__(self) -> None:
        self._lines: list[BilledCall] = []
        self._lock = threading.Lock()

    def add(self, line: BilledCall) -> None:
        """Put one line on the bill."""
        with self._lock:
            self._lines.append(line)

    @property
    def lines(self) -> tuple[BilledCall, ...]:
        """The lines so far, in the order they were billed."""
        with self._lock:
            return tuple(self._lines)

    @property
    def calls(self) -> int:
        """How many calls were billed."""
        return len(self._lines)

    @property
    def use(self) -> TokenUse:
        """All billed tokens."""
        return sum((line.use for line in self.lines), TokenUse())

    @property
    def cost_usd(self) -> Decimal:
        """What everything costs in dollars, not rounded.

        Raises:
            ConfigurationError: the provider was given no rates.
        """
        total = Decimal(0)
        for line in self.lines:
            if line.cost_usd is None:
                raise ConfigurationError(f"no rates were given for {line.model}: pass rates= to the LocalProvider")
            total += line.cost_usd
        return total
