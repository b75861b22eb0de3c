"""Prices that a user states: a file or a mapping that goes before every other price list.

A TOML file (JSON has the same shape, with the globs as the keys of one object):

    ["llama-3.3-70b*"]                  # a glob over model names, whatever the case; the first match decides
    provider = "groq"                   # optional: only when this provider serves it
    input = "0.59"                      # dollars per million tokens, as text or as a number
    output = 0.79
    cache_read = 0.06                   # optional, like all that follow
    per_call = 0.001                    # dollars for each call

    ["llama-3.3-70b*".above.200000]     # prompts of more than 200,000 tokens
    input = 1.18

    ["llama-3.3-70b*".batch]            # a batch API; what it does not state stays as above
    input = 0.295

    ["llama-3.3-70b*".tiers.flex]       # the service tier that the provider reports
    input = 0.295

What is left out costs what contains it: cached tokens the input price, reasoning the output price. Any price key of
genai-prices (`web_searches_kcount`, `audio_hours`...) may be used as well, in its own unit.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrift_core.errors import ConfigurationError
from thrift_core.providers import provider_id
from thrift_core.rates import Rates, complete_prices, cost_of, unit_registry

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices

_SHORT_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_5m": "cache_write_5m_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
    "input_image": "input_image_mtok",
    "output_image": "output_image_mtok",
    "per_call": "requests_kcount",
}
_OTHER_KEYS = ("provider", "batch", "tiers", "above")


@dataclass(frozen=True, slots=True)
class _Entry:
    glob: str
    provider: str | None
    standard: Rates
    batch: Rates | None
    tiers: Mapping[str, Rates]

    def matches(self, model: str, provider: str | None) -> bool:
        return fnmatchcase(model.lower(), self.glob) and self.provider in (None, provider)


class PriceOverrides:
    """The prices that a user states, checked as a whole when they are read.

    Args:
        prices: a path to a `.toml` or `.json` file, or the same content as a mapping.

    Raises:
        ConfigurationError: the file or an entry cannot be used; says which file, which key and what would do.
    """

    def __init__(self, prices: str | Path | Mapping[str, Any]) -> None:
        if isinstance(prices, Mapping):
            self._where = "overrides"
            self.name = "overrides"
            content: Mapping[str, Any] = prices
        else:
            path = Path(prices)
            self._where = str(path)
            self.name = f"override {path.name}"
            content = read_price_file(path)
        self._entries = [self._entry(glob, table) for glob, table in content.items()]

    def rates(self, model: str, provider: str | None, *, tier: str | None, is_batch: bool) -> Rates | str | None:
        """Return the prices of the first entry that matches, why it has none, or None where no entry matches."""
        for entry in self._entries:
            if not entry.matches(model, provider):
                continue
            if is_batch:
                return entry.batch or f"{self._where} has no batch price for {entry.glob!r}"
            if tier is not None:
                return entry.tiers.get(tier) or f"{self._where} has no price for {entry.glob!r} in tier {tier!r}"
            return entry.standard
        return None

    def _entry(self, glob: str, table: object) -> _Entry:
        entry = self._table(glob, table)
        stated = self._prices(glob, {key: value for key, value in entry.items() if key not in _OTHER_KEYS})
        for needed in ("input", "output"):
            if _SHORT_KEYS[needed] not in stated:
                raise self._error(glob, f"has no {needed!r} price; state one, 0 if {needed} is free")
        base = self._with_sizes(glob, stated, entry.get("above", {}))
        batch = entry.get("batch")
        tiers = self._table(f"{glob}.tiers", entry.get("tiers", {}))
        return _Entry(
            glob=glob.lower(),
            provider=self._provider(glob, entry.get("provider")),
            standard=self._rates(glob, base),
            batch=None if batch is None else self._variant(f"{glob}.batch", base, batch),
            tiers={tier.lower(): self._variant(f"{glob}.tiers.{tier}", base, prices) for tier, prices in tiers.items()},
        )

    def _variant(self, key: str, base: Mapping[str, Decimal | TieredPrices], table: object) -> Rates:
        entry = self._table(key, table)
        own = self._prices(key, {name: value for name, value in entry.items() if name != "above"})
        return self._rates(key, self._with_sizes(key, {**base, **own}, entry.get("above", {})))

    def _with_sizes(
        self, key: str, base: Mapping[str, Decimal | TieredPrices], above: object
    ) -> dict[str, Decimal | TieredPrices]:
        from genai_prices.types import Tier, TieredPrices  # noqa: PLC0415 - loads the price list

        tiers: dict[str, list[Tier]] = {}
        for size, table in self._table(f"{key}.above", above).items():
            if not size.isascii() or not size.isdigit():
                raise self._error(f"{key}.above", f"has {size!r} where a number of tokens is due, such as 200000")
            for name, price in self._prices(f"{key}.above.{size}", self._table(f"{key}.above.{size}", table)).items():
                tiers.setdefault(name, []).append(Tier(start=int(size), price=price))
        complete = dict(base)
        for name, steps in tiers.items():
            floor = base.get(name)
            if floor is None:
                raise self._error(f"{key}.above", "prices something that has no price below that size; state both")
            start = floor if isinstance(floor, Decimal) else floor.base
            complete[name] = TieredPrices(base=start, tiers=steps)
        return complete

    def _rates(self, key: str, prices: Mapping[str, Decimal | TieredPrices]) -> Rates:
        from genai_prices.types import ModelPrice, Usage  # noqa: PLC0415 - loads the price list

        complete, assumed_zero = complete_prices(prices)
        model_price = ModelPrice(**complete)
        try:
            cost_of(model_price, Usage())
        except ValueError as error:
            raise self._error(key, f"cannot be used: {error}") from error
        return Rates(prices=model_price, source=self.name, assumed_zero=assumed_zero)

    def _prices(self, key: str, table: Mapping[str, Any]) -> dict[str, Decimal]:
        prices: dict[str, Decimal] = {}
        for name, value in table.items():
            price = _decimal(value)
            if price is None:
                raise self._error(f"{key}.{name}", f"is {value!r}; a price is a number of dollars, 0 or more")
            prices[self._price_key(key, name)] = price * 1000 if name == "per_call" else price
        return prices

    def _price_key(self, key: str, name: str) -> str:
        if name in _SHORT_KEYS:
            return _SHORT_KEYS[name]
        try:
            return unit_registry().unit_for_price_key(name).price_key
        except KeyError:
            known = (*_SHORT_KEYS, *_OTHER_KEYS)
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise self._error(key, f"has an unknown key {name!r}; {hint}") from None

    def _provider(self, glob: str, name: object) -> str | None:
        if name is None or isinstance(name, str):
            return provider_id(name)
        raise self._error(f"{glob}.provider", f"is {name!r}; write a name such as 'openai', or leave it out")

    def _table(self, key: str, value: object) -> Mapping[str, Any]:
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):  # pyright: ignore[reportUnknownVariableType]
            return value  # pyright: ignore[reportUnknownVariableType]
        raise self._error(key, f"is {value!r}; a table is due, such as {{input = 0.5, output = 1.5}}")

    def _error(self, key: str, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self._where}: {key!r} {problem}")


def read_price_file(path: Path) -> Mapping[str, Any]:
    """Return the content of a TOML or JSON file, its numbers as exact decimals.

    Raises:
        ConfigurationError: the file is not there, is neither TOML nor JSON, or is broken.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error}); give the path of a .toml or .json file") from error
    try:
        match path.suffix.lower():
            case ".toml":
                content: object = tomllib.loads(text, parse_float=Decimal)
            case ".json":
                content = json.loads(text, parse_float=Decimal)
            case suffix:
                raise ConfigurationError(f"{path}: ends in {suffix!r}; a price file ends in .toml or .json")
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is broken: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: holds a {type(content).__name__}; one object with models as keys is due")
    return content  # pyright: ignore[reportUnknownVariableType]


def _decimal(value: object) -> Decimal | None:
    """Return a price as written, or None where it is none; a float counts as the shortest text that means it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return price if price.is_finite() and price >= 0 else None
