"""How each provider writes its usage block, as genai-prices describes it.

A dialect is one of genai-prices' extractors, with what it needs to be chosen by: which part of a block it recognises
and what it misses. The extraction itself is left to genai-prices, so that a price read from a payload is its price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from thrift_core.accounting.usage import Amount

if TYPE_CHECKING:
    from genai_prices.types import ExtractPath, UsageExtractor

Block = Mapping[str, Any]

# Where a usage block stands in a response, in the order in which they are looked for.
BLOCK_KEYS = ("usage", "usageMetadata", "usage_metadata", "token_usage", "usage_info", "tokenUsage")
# Dialects that many providers speak, for a provider that is unknown or has none of its own.
_COMMON = (
    ("openai", "chat"),
    ("openai", "responses"),
    ("anthropic", "default"),
    ("google", "default"),
    ("aws", "default"),
    ("cohere", "default"),
    ("cohere", "tokens"),
    ("openai", "embeddings"),
    ("openai", "realtime"),
)
_TOTAL_KEYS = ("total_tokens", "totalTokens", "totalTokenCount")


@dataclass(frozen=True, slots=True)
class _Place:
    """A number in a usage block."""

    path: ExtractPath
    key: str
    is_required: bool
    is_whole: bool


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One way of writing a usage block.

    Attributes:
        api_flavor: its name in genai-prices.
        outer: the keys that lead from a response to its usage block.
        inner: the keys that lead from the block to the numbers, for the few that hide them deeper.
        places: where the numbers stand.
        extractor: what genai-prices reads them with.
    """

    api_flavor: str
    outer: tuple[str, ...]
    inner: tuple[str, ...]
    places: tuple[_Place, ...]
    extractor: UsageExtractor

    def recognises(self, block: Block) -> int:
        """Return how many numbers of the block this dialect reads; 0 where it misses one that it needs."""
        inside = self._inside(block)
        if inside is None or (self.api_flavor == "embeddings" and "completion_tokens" in block):
            return 0
        values = [(place, value_at(inside, place.path)) for place in self.places]
        if any(value is None for place, value in values if place.is_required):
            return 0
        return sum(value is not None for _, value in values)

    def missing(self, block: Block) -> list[str]:
        """Return the keys that this dialect needs and the block has not."""
        inside = self._inside(block)
        if inside is None:
            return [".".join(self.inner)]
        return [place.key for place in self.places if place.is_required and value_at(inside, place.path) is None]

    def extract(self, block: Block) -> dict[str, Amount]:
        """Return the numbers of the block in genai-prices' units.

        Raises:
            ValueError: a number is missing, is none, is negative, or is not whole where tokens are counted.
        """
        inside = self._inside(block)
        missing = self.missing(block)
        if inside is None or missing:
            raise ValueError(f"usage cannot be read as {self.api_flavor!r}: {', '.join(missing)} missing")
        for place in self.places:
            value = value_at(inside, place.path)
            if value is not None:
                number(value, place.key, is_whole=place.is_whole)
        response = block
        for key in reversed(self.outer):
            response = {key: response}
        _, extracted = self.extractor.extract(response)
        return {unit: number(value, unit, is_whole=_is_tokens(unit)) for unit, value in vars(extracted).items()}

    def _inside(self, block: Block) -> Block | None:
        return as_mapping(value_at(block, self.inner)) if self.inner else block


@lru_cache(maxsize=256)
def dialects(provider: str | None) -> tuple[Dialect, ...]:
    """Return the dialects of a provider, none where genai-prices describes none."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - loads the price list

    found = next((listed for listed in get_snapshot().providers if listed.id == provider), None)
    return tuple(_dialect(extractor) for extractor in (found.extractors if found is not None else None) or ())


@lru_cache(maxsize=1)
def common_dialects() -> tuple[Dialect, ...]:
    """Return the dialects that many providers speak."""
    return tuple(one for provider, flavor in _COMMON for one in dialects(provider) if one.api_flavor == flavor)


def reported_total(block: Block) -> Amount | None:
    """Return the total number of tokens that a block states, if it states one.

    Raises:
        ValueError: it is not a whole number, 0 or more.
    """
    key = next((key for key in _TOTAL_KEYS if block.get(key) is not None), None)
    return None if key is None else number(block[key], key, is_whole=True)


def as_mapping(value: object) -> Block | None:
    """Return a mapping as it is, a client's pydantic object with the provider's own key names, else None."""
    if isinstance(value, dict):
        return cast("Block", value)
    if value is None or isinstance(value, str | int | float | list):
        return None
    if isinstance(value, Mapping):
        return cast("Block", value)
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        return None
    dumped: object = dump(by_alias=True)
    return cast("Block", dumped) if isinstance(dumped, dict) else None


def value_at(block: Block, path: ExtractPath) -> object:
    """Return the value at a path of genai-prices, None where there is none; a step may look an item up in a list."""
    value: object = block
    for step in [path] if isinstance(path, str) else path:
        if isinstance(step, str):
            inner = as_mapping(value)
            value = None if inner is None else inner.get(step)
        else:
            value = step.extract(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else None
        if value is None:
            return None
    return value


def number(value: object, key: str, *, is_whole: bool) -> Amount:
    """Return a reported number, a whole one as an int even where it is written 12.0.

    Raises:
        ValueError: it is not a number, is negative, or is not whole where it must be; names the key and the value.
    """
    amount: Amount | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        amount = value
    elif isinstance(value, float | Decimal) and math.isfinite(value):
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        amount = int(exact) if exact == int(exact) else exact
    if amount is None or amount < 0 or (is_whole and not isinstance(amount, int)):
        kind = "a whole number" if is_whole else "a number"
        raise ValueError(f"{key} must be {kind}, 0 or more; got {shown(value)}")
    return amount


def shown(value: object) -> str:
    """Return a value as an error message shows it: in full if it is short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _dialect(extractor: UsageExtractor) -> Dialect:
    root = [extractor.root] if isinstance(extractor.root, str) else [str(step) for step in extractor.root]
    # Cohere's embeddings keep their numbers in `meta`, which holds more than usage but is no envelope either.
    depth = next((index for index, step in enumerate(root) if step in BLOCK_KEYS or step == "meta"), len(root) - 1)
    places: dict[str, _Place] = {}
    for mapping in extractor.mappings:
        key = _dotted(mapping.path)
        same = places.get(str(mapping.path))
        is_required = mapping.required or (same is not None and same.is_required)
        places[str(mapping.path)] = _Place(mapping.path, key, is_required, _is_tokens(mapping.dest))
    return Dialect(
        api_flavor=extractor.api_flavor,
        outer=tuple(root[: depth + 1]),
        inner=tuple(root[depth + 1 :]),
        places=tuple(places.values()),
        extractor=extractor,
    )


def _dotted(path: ExtractPath) -> str:
    steps = [path] if isinstance(path, str) else path
    return ".".join(step if isinstance(step, str) else step.field for step in steps)


def _is_tokens(unit: str) -> bool:
    return unit.endswith("_tokens")
