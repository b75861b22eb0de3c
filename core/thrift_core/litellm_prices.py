"""Prices from LiteLLM's `model_prices_and_context_window.json`, for a user who has that file.

The map knows models that genai-prices does not; it is asked only for those. Nothing is fetched: the user names the
file. Keys as LiteLLM writes them (https://docs.litellm.ai/docs/provider_registration/add_model_pricing): dollars per
token, with `_above_200k_tokens` for long prompts, `_above_1hr` for one-hour cache writes, and `_batches`, `_flex` or
`_priority` for the way the call was made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrift_core.errors import ConfigurationError
from thrift_core.price_overrides import read_price_file
from thrift_core.providers import provider_id
from thrift_core.rates import MILLION, Rates, complete_prices

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices

_UNITS = {
    "input_cost_per_token": "input_mtok",
    "output_cost_per_token": "output_mtok",
    "cache_read_input_token_cost": "cache_read_mtok",
    "cache_creation_input_token_cost": "cache_write_mtok",
    "input_cost_per_audio_token": "input_audio_mtok",
    "output_cost_per_audio_token": "output_audio_mtok",
    "cache_read_input_audio_token_cost": "cache_audio_read_mtok",
    "cache_creation_input_audio_token_cost": "cache_audio_write_mtok",
    "input_cost_per_image_token": "input_image_mtok",
    "output_cost_per_image_token": "output_image_mtok",
    "input_cost_per_video_token": "input_video_mtok",
    "output_cost_per_video_token": "output_video_mtok",
    "output_cost_per_reasoning_token": "output_reasoning_mtok",
}
_KEY = re.compile(
    rf"(?P<unit>{'|'.join(_UNITS)})"
    r"(?P<hour>_above_1hr)?(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<variant>batches|[a-z]+))?"
)
# The prefixes that LiteLLM puts before the model's own name, by provider.
_PREFIXES = {
    "aws": ("bedrock", "bedrock/converse"),
    "azure": ("azure", "azure_ai"),
    "cohere": ("cohere", "cohere_chat"),
    "fireworks": ("fireworks_ai",),
    "google": ("gemini", "vertex_ai"),
    "moonshotai": ("moonshot",),
    "together": ("together_ai",),
    "voyageai": ("voyage",),
    "x-ai": ("xai",),
}


@dataclass(frozen=True, slots=True)
class _Price:
    """One key of an entry, taken apart."""

    unit: str
    dollars: Decimal
    above: int
    variant: str | None


class LiteLLMPrices:
    """LiteLLM's price map, read from a file.

    Args:
        path: the JSON file.

    Raises:
        ConfigurationError: the file cannot be read or is not such a map.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self.name = f"litellm {self._path.name}"
        content = read_price_file(self._path)
        self._entries: dict[str, Mapping[str, Any]] = {
            model.lower(): entry for model, entry in content.items() if _is_entry(entry)
        }
        self._entries.pop("sample_spec", None)
        if not self._entries:
            raise ConfigurationError(
                f"{self._path}: has no model with a 'litellm_provider'; give LiteLLM's"
                " model_prices_and_context_window.json"
            )

    def rates(self, model: str, provider: str | None, *, tier: str | None, is_batch: bool) -> Rates | str | None:
        """Return a model's prices, why the map has none for it, or None where it does not know the model."""
        entry = self._find(model.lower(), provider)
        if entry is None:
            return None
        variant = "batches" if is_batch else tier
        prices = [price for key, value in entry.items() if (price := _parsed(key, value)) is not None]
        if variant is not None and all(price.variant != variant for price in prices):
            return f"{self.name} has no {'batch' if is_batch else tier} price for {model!r}"
        chosen = _chosen(prices, variant)
        if "input_mtok" not in chosen and "output_mtok" not in chosen:
            return f"{self.name} does not price {model!r} by the token"
        from genai_prices.types import ModelPrice  # noqa: PLC0415 - loads the price list

        # A list that prices only what comes back gives what is sent away.
        complete, assumed_zero = complete_prices({"input_mtok": Decimal(0), "output_mtok": Decimal(0), **chosen})
        return Rates(prices=ModelPrice(**complete), source=self.name, assumed_zero=assumed_zero)

    def _find(self, model: str, provider: str | None) -> Mapping[str, Any] | None:
        prefixes = () if provider is None else _PREFIXES.get(provider, (provider,))
        for name in (*(f"{prefix}/{model}" for prefix in prefixes), model):
            entry = self._entries.get(name)
            if entry is not None and (provider is None or _provider_of(str(entry["litellm_provider"])) == provider):
                return entry
        return None


def _is_entry(entry: object) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("litellm_provider"), str)  # pyright: ignore[reportUnknownMemberType]


@lru_cache(maxsize=512)
def _provider_of(name: str) -> str | None:
    """Return the provider of `vertex_ai-language-models`, `bedrock_converse` and the like."""
    return provider_id(name.split("-", 1)[0] if name.startswith("vertex_ai") else name)


def _parsed(key: str, value: object) -> _Price | None:
    match = _KEY.fullmatch(key)
    if match is None or isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not Decimal(value).is_finite() or value < 0:
        return None
    unit = _UNITS[match["unit"]]
    if match["hour"]:
        unit = unit.replace("write", "write_1h")
    return _Price(
        unit=unit,
        dollars=Decimal(value) * MILLION,
        above=int(match["thousands"] or 0) * 1000,
        variant=match["variant"],
    )


def _chosen(prices: list[_Price], variant: str | None) -> dict[str, Decimal | TieredPrices]:
    """Return each unit's price: the variant's where it states one, the standard one elsewhere."""
    from genai_prices.types import Tier, TieredPrices  # noqa: PLC0415 - loads the price list

    steps: dict[str, dict[int, Decimal]] = {}
    for wanted in dict.fromkeys((None, variant)):
        own: dict[str, dict[int, Decimal]] = {}
        for price in prices:
            if price.variant == wanted:
                own.setdefault(price.unit, {})[price.above] = price.dollars
        # A variant with a flat price has it for long prompts too: it does not fall back to the standard long price.
        steps |= own
    chosen: dict[str, Decimal | TieredPrices] = {}
    for unit, sizes in steps.items():
        base = sizes.get(0)
        if base is None:
            continue
        tiers = [Tier(start=start, price=price) for start, price in sorted(sizes.items()) if start]
        chosen[unit] = TieredPrices(base=base, tiers=tiers) if tiers else base
    return chosen
