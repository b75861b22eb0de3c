"""What one model charges under one tier at one time, and the arithmetic on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from thrift_core.accounting.usage import Amount, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices
    from genai_prices.types import Usage as ReportedUsage
    from genai_prices.units import UnitDef, UnitRegistry

MILLION = 1_000_000
_ZERO = Decimal(0)
# Units that split the plain token counts by kind; they change the price only where a model prices them by themselves.
_TEXT_UNITS = frozenset({"input_text_tokens", "output_text_tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """What a model charges, in dollars per million tokens, for the levers to reckon with.

    Attributes:
        input: a token sent that is not in the provider's prompt cache.
        cache_read: a token read from the prompt cache.
        cache_write_5m: a token written to it for five minutes (or for as long as the provider keeps it by default).
        cache_write_1h: a token written to it for an hour.
        output: a token that came back.
        reasoning: a reasoning token that came back.
        per_call: dollars for the call itself, whatever it sends.
        source: the price list that says so.
    """

    input: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    output: Decimal
    reasoning: Decimal
    per_call: Decimal = _ZERO
    source: str = ""

    @property
    def has_cache_discount(self) -> bool:
        """Whether a cached token costs less than a fresh one."""
        return self.cache_read < self.input

    def input_cost(self, usage: Usage) -> Decimal:
        """Return the dollars for what was sent; see `cost` for what is left out."""
        read, write, hour = usage.cache_read_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
        fresh = usage.input_tokens - read - write
        return (
            fresh * self.input
            + read * self.cache_read
            + (write - hour) * self.cache_write_5m
            + hour * self.cache_write_1h
        ) / MILLION

    def output_cost(self, usage: Usage) -> Decimal:
        """Return the dollars for what came back; see `cost` for what is left out."""
        plain = usage.output_tokens - usage.reasoning_tokens
        return (plain * self.output + usage.reasoning_tokens * self.reasoning) / MILLION

    def cost(self, usage: Usage) -> Decimal:
        """Return the dollars for a usage of text: audio, images and paid tools are billed as text, or not at all.

        A lever compares two texts, so this is what it needs; `PriceBook.price` is what a bill needs.
        """
        return self.input_cost(usage) + self.output_cost(usage) + self.per_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Dollars for what was sent, for what came back, and in all (paid tools and calls are in neither part)."""

    input_usd: Decimal
    output_usd: Decimal
    total_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The prices of one model under one tier at one time, as genai-prices writes them.

    Attributes:
        prices: the price of each unit.
        source: the price list they come from.
        calculate: what reckons a usage that is more than plain text; None: the prices themselves.
        assumed_zero: units taken as 0 where a usage does not report them, see `complete_prices`.
    """

    prices: ModelPrice
    source: str
    calculate: Callable[[ReportedUsage], Cost] | None = None
    assumed_zero: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def is_empty(self) -> bool:
        """Whether the list has an entry but no price in it."""
        return all(value is None for value in self.prices.__dict__.values())

    def pricing(self, input_tokens: int = 0) -> Pricing | None:
        """Return what tokens cost in a request of `input_tokens`; None where input is not billed by the token.

        Where a price list has no price for a kind of token, that kind costs what the kind that contains it costs
        (genai-prices prices the most specific unit that it knows): cached and cache-written tokens the input price,
        one-hour writes the price of other writes, reasoning the output price. A model with no output price, such as an
        embedding model, bills no output.
        """
        prices: dict[str, Decimal | TieredPrices | None] = self.prices.__dict__

        def at(key: str) -> Decimal | None:
            return _of_size(prices.get(key), input_tokens)

        base = at("input_mtok")
        if base is None:
            return None
        write = _first(at("cache_write_mtok"), base)
        output = _first(at("output_mtok"), _ZERO)
        return Pricing(
            input=base,
            cache_read=_first(at("cache_read_mtok"), base),
            cache_write_5m=_first(at("cache_write_5m_mtok"), write),
            cache_write_1h=_first(at("cache_write_1h_mtok"), write),
            output=output,
            reasoning=_first(at("output_reasoning_mtok"), output),
            per_call=_first(at("requests_kcount"), _ZERO) / 1000,
            source=self.source,
        )

    def cost(self, usage: Usage) -> Cost:
        """Return what a usage costs.

        Plain text is reckoned here because it is most of all calls and must cost a call next to nothing; everything
        else is reckoned by genai-prices. Both give the same figure to the last digit.

        Raises:
            ValueError: the parts of the usage do not add up, or leave open what they would cost.
        """
        if _is_plain_text(usage) and not any("_text_" in key for key in self.prices.__dict__):
            pricing = self.pricing(usage.input_tokens)
            if pricing is not None:
                sent, received = pricing.input_cost(usage), pricing.output_cost(usage)
                return Cost(input_usd=sent, output_usd=received, total_usd=sent + received + pricing.per_call)
        reported = reported_usage(usage, self.assumed_zero)
        return self.calculate(reported) if self.calculate is not None else cost_of(self.prices, reported)


def cost_of(prices: ModelPrice, usage: ReportedUsage) -> Cost:
    """Return what genai-prices makes of a usage.

    Raises:
        ValueError: the parts of the usage do not add up, or leave open what they would cost.
    """
    cost = prices.calc_price(usage)
    return Cost(input_usd=cost["input_price"], output_usd=cost["output_price"], total_usd=cost["total_price"])


def reported_usage(usage: Usage, assumed_zero: frozenset[str] = frozenset()) -> ReportedUsage:
    """Return the usage in the units of genai-prices; units that it does not know are left out."""
    from genai_prices.types import Usage as ReportedUsage  # noqa: PLC0415 - loads the price list

    counts: dict[str, Amount] = {
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_5m_tokens": max(0, usage.cache_write_tokens - usage.cache_write_1h_tokens),
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        **usage.other,
    }
    # A unit that is reported as 0 stands for itself, one that is absent may be asked for by genai-prices: so absent.
    values: dict[str, Amount] = {key: value for key, value in counts.items() if value}
    values |= {key: 0 for key in assumed_zero if key not in values}
    return ReportedUsage.from_raw({**values, "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens})


def complete_prices(
    prices: Mapping[str, Decimal | TieredPrices],
) -> tuple[dict[str, Decimal | TieredPrices], frozenset[str]]:
    """Add the prices that genai-prices wants where two kinds of token overlap, such as cached audio.

    A short list prices cached tokens and audio tokens and says nothing of cached audio. Cached tokens of any kind then
    cost the cache price, and a usage that does not say how many there were is taken to have none.

    Returns:
        The prices by genai-prices' price keys, and the usage keys that were added.
    """
    registry = unit_registry()
    complete = dict(prices)
    added: set[str] = set()
    while missing := next(_missing_overlaps(complete, registry), None):
        unit, price = missing
        complete[unit.price_key] = price
        added.add(unit.usage_key)
    return complete, frozenset(added)


@lru_cache(maxsize=1)
def unit_registry() -> UnitRegistry:
    """Return the units that genai-prices can price."""
    from genai_prices.data_units import unit_data  # noqa: PLC0415 - loads the price list
    from genai_prices.units import UnitRegistry  # noqa: PLC0415 - loads the price list

    return UnitRegistry(unit_data)


def _missing_overlaps(
    prices: Mapping[str, Decimal | TieredPrices], registry: UnitRegistry
) -> Iterator[tuple[UnitDef, Decimal | TieredPrices]]:
    units = sorted((registry.unit_for_price_key(key) for key in prices), key=lambda unit: unit.usage_key)
    for unit in units:
        for other in units:
            joined = registry.find_join(unit, other) if "token_type" in unit.dimensions else None
            if joined is not None and joined.price_key not in prices:
                yield joined, prices[unit.price_key]


def _is_plain_text(usage: Usage) -> bool:
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    return (
        not usage.input_audio_tokens
        and not usage.output_audio_tokens
        and read + write <= usage.input_tokens
        and usage.cache_write_1h_tokens <= write
        and usage.reasoning_tokens <= usage.output_tokens
        and all(key in _TEXT_UNITS or not value for key, value in usage.other.items())
    )


def _of_size(price: Decimal | TieredPrices | None, input_tokens: int) -> Decimal | None:
    """Return the price for a request of this size: past a tier's start, all its tokens cost the tier's price."""
    if price is None or isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return reached[-1] if reached else price.base


def _first(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price
