"""What a call costs: genai-prices' list, a user's own prices before it, LiteLLM's map behind it.

An unknown price is never 0. It comes back as `Unpriced` with the reason, and stays visible in every sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrift_core.accounting.usage import Usage
from thrift_core.providers import maker_of, provider_id
from thrift_core.rates import Cost, Pricing, Rates

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider
    from genai_prices.types import Usage as ReportedUsage

    from thrift_core.litellm_prices import LiteLLMPrices
    from thrift_core.price_overrides import PriceOverrides

__all__ = ["Price", "PriceBook", "Pricing", "Unpriced"]

# What providers call the tier that their price list means: OpenAI `default`, Anthropic and Gemini `standard`, Groq and
# Vertex AI `on_demand`; `auto` is a wish in a request, not a tier that bills.
_STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand", "unspecified"})
# Groq's flex tier costs what its on-demand tier costs: https://console.groq.com/docs/flex-processing
_TIERS_AT_LIST_PRICE = frozenset({("groq", "flex")})
_MAX_REMEMBERED_MODELS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a call costs, in dollars.

    Attributes:
        cost_usd: everything, paid tools and a price per call included.
        input_usd: the part for what was sent.
        output_usd: the part for what came back.
        source: the price list that says so, such as `genai-prices 0.2.3`.
    """

    cost_usd: Decimal
    input_usd: Decimal
    output_usd: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """There is no price, which is never the same as a price of 0.

    Attributes:
        reason: why, in words a user can act on.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class _Question:
    """A model in the spellings of the price lists."""

    model: str
    provider: str | None
    at: datetime
    tier: str | None
    is_batch: bool


class PriceBook:
    """Prices calls and says what tokens cost, from price lists that are on disk already.

    Example:
        >>> from thrift_core.accounting.usage import Usage
        >>> book = PriceBook({"my-model*": {"input": "0.50", "output": "1.50"}})
        >>> book.price(Usage(input_tokens=1_000_000), "my-model-7b").cost_usd
        Decimal('0.50')
        >>> book.price(Usage(input_tokens=1), "nobody-knows-it")
        Unpriced(reason="no provider is known for model 'nobody-knows-it'; name one, or price the model in an override")

    Args:
        overrides: prices that go before all others: a `.toml` or `.json` file, or a mapping of the same shape
            (`thrift_core.price_overrides` says which).
        litellm: the path of LiteLLM's price map, asked for what no other list knows.

    Raises:
        ConfigurationError: a file or an entry cannot be used; says which and what would do.
    """

    def __init__(
        self, overrides: str | Path | Mapping[str, Any] | None = None, *, litellm: str | Path | None = None
    ) -> None:
        self._overrides = None if overrides is None else _overrides(overrides)
        self._litellm = None if litellm is None else _litellm(litellm)
        self._snapshot: DataSnapshot | None = None
        self._models: dict[tuple[str, str | None], tuple[Provider, ModelInfo] | str] = {}

    def price(
        self,
        usage: Usage,
        model: str | None,
        provider: str | None = None,
        *,
        at: datetime | None = None,
        service_tier: str | None = None,
        is_batch: bool = False,
        api_url: str | None = None,
    ) -> Price | Unpriced:
        """Return what a call costs, or why that is not known. Never raises for what a provider may send.

        Args:
            usage: what the call used.
            model: the model's name as the provider spells it.
            provider: who bills it, in any spelling that `provider_id` reads; None: see `maker_of`.
            at: when it was made; None: now. A time without a zone is UTC.
            service_tier: the tier that billed it, as the provider reports it.
            is_batch: whether a batch API billed it; a tier then plays no part.
            api_url: the address that served it. A known one goes before `provider`, because clients of OpenAI's
                protocol call every server OpenAI.
        """
        rates = self._rates(_question(model, provider, at=at, tier=service_tier, is_batch=is_batch, api_url=api_url))
        if isinstance(rates, Unpriced):
            return rates
        try:
            cost = rates.cost(usage)
        except ValueError as error:
            return Unpriced(f"{rates.source} cannot price this usage: {error}")
        return Price(cost_usd=cost.total_usd, input_usd=cost.input_usd, output_usd=cost.output_usd, source=rates.source)

    def pricing(
        self,
        model: str | None,
        provider: str | None = None,
        *,
        at: datetime | None = None,
        service_tier: str | None = None,
        is_batch: bool = False,
        api_url: str | None = None,
        input_tokens: int = 0,
    ) -> Pricing | Unpriced:
        """Return what tokens cost in a request of `input_tokens`, or why that is not known.

        The arguments are those of `price`.
        """
        rates = self._rates(_question(model, provider, at=at, tier=service_tier, is_batch=is_batch, api_url=api_url))
        if isinstance(rates, Unpriced):
            return rates
        return rates.pricing(input_tokens) or Unpriced(f"{rates.source} does not price {model!r} by the token")

    def _rates(self, question: _Question | Unpriced) -> Rates | Unpriced:
        if isinstance(question, Unpriced):
            return question
        model, provider = question.model, question.provider
        if self._overrides is not None:
            stated = self._overrides.rates(model, provider, tier=question.tier, is_batch=question.is_batch)
            if stated is not None:
                return Unpriced(stated) if isinstance(stated, str) else stated
        listed = self._listed(question)
        if isinstance(listed, Unpriced) and self._litellm is not None:
            mapped = self._litellm.rates(model, provider, tier=question.tier, is_batch=question.is_batch)
            if isinstance(mapped, Rates):
                return mapped
        return listed

    def _listed(self, question: _Question) -> Rates | Unpriced:
        """Return the prices of genai-prices' list for a model, at the time and in the tier asked for."""
        found = self._find(question)
        if isinstance(found, str):
            return Unpriced(found)
        provider, model = found
        context = _context(provider.id, question)
        source = _source()
        if context and not _states(provider, model, context, question.at):
            asked = "batch" if question.is_batch else f"{question.tier!r} tier"
            return Unpriced(
                f"{source} has no {asked} price for {question.model!r} of {provider.id} on {question.at:%Y-%m-%d};"
                " price it in an override"
            )
        rates = Rates(
            prices=model.get_prices(question.at, context),
            source=source,
            calculate=partial(_calculated, provider, model, question.at, context),
        )
        if rates.is_empty and not _is_free(model):
            return Unpriced(f"{source} knows {question.model!r} of {provider.id} but has no price for it")
        return rates

    def _find(self, question: _Question) -> tuple[Provider, ModelInfo] | str:
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - loads the price list

        snapshot = get_snapshot()
        if snapshot is not self._snapshot:
            # The app may refresh the list with genai-prices' `UpdatePrices`; what was found in the old one is void.
            self._snapshot, self._models = snapshot, {}
        key = (question.model, question.provider)
        found = self._models.get(key)
        if found is None:
            if len(self._models) >= _MAX_REMEMBERED_MODELS:
                self._models = {}
            found = self._models[key] = _search(snapshot, question)
        return found


def _overrides(prices: str | Path | Mapping[str, Any]) -> PriceOverrides:
    from thrift_core.price_overrides import PriceOverrides  # noqa: PLC0415 - few apps state prices

    return PriceOverrides(prices)


def _litellm(path: str | Path) -> LiteLLMPrices:
    from thrift_core.litellm_prices import LiteLLMPrices  # noqa: PLC0415 - few apps have the map

    return LiteLLMPrices(path)


def _question(
    model: str | None,
    provider: str | None,
    *,
    at: datetime | None,
    tier: str | None,
    is_batch: bool,
    api_url: str | None,
) -> _Question | Unpriced:
    if not model or not model.strip():
        return Unpriced("the call names no model")
    served_by = provider_id(api_url) if api_url and "://" in api_url else None
    when = datetime.now(UTC) if at is None else at
    name = _plain_tier(tier)
    return _Question(
        model=model.strip(),
        provider=served_by or provider_id(provider) or maker_of(model),
        at=when if when.tzinfo is not None else when.replace(tzinfo=UTC),
        tier=None if is_batch or name == "batch" else name,
        is_batch=is_batch or name == "batch",
    )


def _plain_tier(tier: str | None) -> str | None:
    """Return a tier in lower case without Vertex AI's prefix, None for the one that the list price is for."""
    plain = (tier or "").strip().lower().replace("-", "_")
    if plain not in _STANDARD_TIERS:
        plain = plain.removeprefix("on_demand_").removeprefix("service_tier_")
    return None if plain in _STANDARD_TIERS else plain


def _context(provider: str, question: _Question) -> dict[str, str]:
    """Return what genai-prices selects a variant by; each provider has its own word for it."""
    if question.is_batch:
        return {"processing": "batch"}
    if question.tier is None or (provider, question.tier) in _TIERS_AT_LIST_PRICE:
        return {}
    if provider == "anthropic" and question.tier == "fast":
        return {"speed": "fast"}
    return {"service_tier": question.tier}


def _states(provider: Provider, model: ModelInfo, context: Mapping[str, str], at: datetime) -> bool:
    """Whether the list states a price for the context; without one it would answer with the standard price."""
    if not any(model is own for own in provider.models):
        # genai-prices borrows Azure's prices from OpenAI and the like, but not their tiers.
        return False
    return any(
        all(context.get(key) == value for key, value in variant.when.items())
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )


def _calculated(
    provider: Provider, model: ModelInfo, at: datetime, context: Mapping[str, str], usage: ReportedUsage
) -> Cost:
    cost = model.calc_price(usage, provider, genai_request_timestamp=at, price_context=context)
    return Cost(input_usd=cost.input_price, output_usd=cost.output_price, total_usd=cost.total_price)


def _search(snapshot: DataSnapshot, question: _Question) -> tuple[Provider, ModelInfo] | str:
    known = {provider.id for provider in snapshot.providers} | {"litellm"}
    if question.provider is not None and question.provider not in known:
        return f"{_source()} has no provider {question.provider!r}; price its models in an override"
    if question.provider is None:
        return f"no provider is known for model {question.model!r}; name one, or price the model in an override"
    try:
        return snapshot.find_provider_model(question.model, None, question.provider, None)
    except LookupError:
        return f"{_source()} has no price for model {question.model!r} of {question.provider}; price it in an override"


def _is_free(model: ModelInfo) -> bool:
    """Whether an entry without prices means that the model is given away: its name or the list's comment says so."""
    return model.id.endswith(":free") or "free of charge" in (model.price_comments or "").lower()


def _source() -> str:
    from genai_prices import __version__  # noqa: PLC0415 - loads the price list

    return f"genai-prices {__version__}"
