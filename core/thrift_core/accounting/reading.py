"""Reads what a provider reported into the units that are billed.

genai-prices knows where each provider puts its numbers (`dialects.py`); this module finds the usage block in a
response, picks the dialect and checks that the numbers make sense before they become money.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from thrift_core.accounting.dialects import (
    BLOCK_KEYS,
    Block,
    Dialect,
    as_mapping,
    common_dialects,
    dialects,
    number,
    reported_total,
    shown,
)
from thrift_core.accounting.usage import Amount, Usage
from thrift_core.providers import maker_of, provider_id

STANDARD = "standard"
# What may stand around the response: a realtime or Responses event, Cloudflare's envelope, Cohere's, Anthropic's event.
_ENVELOPES = ("response", "result", "meta", "message")
_MODEL_KEYS = ("model", "modelVersion", "model_version", "model_name", "model_id")
_TIER_KEYS = ("service_tier", "serviceTier", "trafficType")
# Keys that only one provider uses.
_TELLING_KEYS = (
    ("promptTokenCount", "google"),
    ("totalTokenCount", "google"),
    ("inputTokens", "aws"),
    ("billed_units", "cohere"),
    ("cost_details", "openrouter"),
    ("is_byok", "openrouter"),
    ("queue_time", "groq"),
    ("x_groq", "groq"),
    ("time_info", "cerebras"),
    ("prompt_cache_hit_tokens", "deepseek"),
)
# Makers whose closed models nearly nobody else serves in OpenAI's words; an open model in these words may be anybody's.
_SPEAK_OPENAI = frozenset({"openai", "mistral", "x-ai"})
_SNAKE_GEMINI = ("prompt_token_count", "candidates_token_count", "total_token_count")
# How genai-prices' own units begin, which LangChain's adapter adds to the shared words (`input_image_tokens`).
_UNITS = ("input_", "output_", "cache_write_", "cache_text_", "cache_image_", "cache_video_", "cache_audio_")
_SNAKE = re.compile(r"_([a-z])")
_MOST_SHAPES = 1024
_best_by_shape: dict[Hashable, Dialect | None] = {}
_FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "output_reasoning_tokens": "reasoning_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "output_audio_tokens": "output_audio_tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a provider's response says of its own price.

    Attributes:
        usage: what was used.
        model: the model that answered, if the response names it.
        provider: the provider's id in genai-prices, if it was given or can be told from the response.
        service_tier: the tier that billed it, as the provider spells it, if the response says so.
        api_flavor: the dialect it was read in, as genai-prices names it, or `standard`.
    """

    usage: Usage
    model: str | None = None
    provider: str | None = None
    service_tier: str | None = None
    api_flavor: str | None = None


def read_usage(payload: object, *, provider: str | None = None, api_flavor: str | None = None) -> Reading:
    """Return what a response, or the usage block of one, says was used.

    Example:
        >>> reading = read_usage({"model": "claude-sonnet-4-5", "usage": {"input_tokens": 5, "output_tokens": 7,
        ...     "cache_read_input_tokens": 90, "cache_creation_input_tokens": 0}})
        >>> reading.provider, reading.usage.input_tokens, reading.usage.cache_read_tokens
        ('anthropic', 95, 90)

    Args:
        payload: a response body or its usage block, as a mapping or as a client's pydantic object, in the words of
            OpenAI (chat, Responses, embeddings, realtime), Anthropic, Gemini, Bedrock, Cohere, Mistral, Groq and the
            others that genai-prices knows; or in the words that frameworks have in common, which count cached tokens
            into `input_tokens` and split them up in `input_token_details` (LangChain's `UsageMetadata`).
        provider: who answered, in any spelling that `provider_id` reads, API addresses included; None: told from the
            payload where that is possible. An OpenAI-shaped response of an open model does not say who served it.
        api_flavor: the dialect, as genai-prices names it (`chat`, `responses`, `default`...) or `standard`; None: the
            one that recognises most of the block.

    Raises:
        ValueError: there is no usage, a number is missing, is not a whole number or is negative, or the parts are more
            than the whole. The message names the key and the value.
    """
    body = as_mapping(payload)
    if body is None:
        raise ValueError(f"usage must be a mapping or a pydantic object; got {shown(payload)}")
    around, block = _find_block(body)
    reported_total(block)  # a total that is no number makes the rest doubtful too
    model = next((name for key in _MODEL_KEYS if isinstance(name := around.get(key), str) and name), None)
    told = provider_id(provider) or _provider_of(around, block, model)
    tier = _tier(block) or _tier(around)
    if api_flavor == STANDARD or (api_flavor is None and _is_standard(block)):
        usage, marked = _read_standard(block)
        return Reading(usage=usage, model=model, provider=told, service_tier=tier or marked, api_flavor=STANDARD)
    dialect, values = _read_dialect(told, block, api_flavor)
    return Reading(
        usage=_usage(values, block), model=model, provider=told, service_tier=tier, api_flavor=dialect.api_flavor
    )


def _find_block(body: Block) -> tuple[Block, Block]:
    """Return what stands around the usage block, and the block."""
    for key in BLOCK_KEYS:
        if (block := as_mapping(body.get(key))) is not None:
            return body, _plain(block)
    if any("token" in key.lower() for key in body) or "billed_units" in body:
        return {}, _plain(body)
    for key in _ENVELOPES:
        if (inner := as_mapping(body.get(key))) is not None:
            around, block = _find_block(inner)
            return {**body, **around}, block
    keys = ", ".join(map(repr, body)) or "none"
    raise ValueError(f"no usage in the response: looked for {', '.join(map(repr, BLOCK_KEYS))}, its keys are {keys}")


def _plain(block: Block) -> Block:
    """Return the block as mappings all through; Gemini's Python clients write it in snake case, its API does not."""
    if any(key in block for key in _SNAKE_GEMINI):
        return _camel_case(block)
    return {key: value if (inner := as_mapping(value)) is None else inner for key, value in block.items()}


def _camel_case(block: Block) -> Block:
    return {_SNAKE.sub(lambda match: match[1].upper(), key): _camel_value(value) for key, value in block.items()}


def _camel_value(value: object) -> object:
    if isinstance(value, list):
        return [_camel_value(item) for item in cast("list[object]", value)]
    inner = as_mapping(value)
    return value if inner is None else _camel_case(inner)


def _tier(body: Block) -> str | None:
    """Return the tier in the provider's word; Anthropic calls its dearest one a speed."""
    if body.get("speed") == "fast":
        return "fast"
    value = next((value for key in _TIER_KEYS if (value := body.get(key)) is not None), None)
    return str(getattr(value, "value", value)) if value else None


def _provider_of(around: Block, block: Block, model: str | None) -> str | None:
    """Return the provider that only one kind of response can come from, else the one that makes such a model."""
    telling = next((provider for key, provider in _TELLING_KEYS if key in block or key in around), None)
    maker = None if telling or model is None else maker_of(model)
    if "prompt_tokens" in block and (maker not in _SPEAK_OPENAI or "/" in (model or "")):
        maker = None
    return telling or maker or ("anthropic" if "cache_read_input_tokens" in block else None)


def _read_dialect(provider: str | None, block: Block, api_flavor: str | None) -> tuple[Dialect, dict[str, Amount]]:
    """Read a block in the dialect asked for, else in the provider's that recognises most, else in a common one."""
    own = dialects(provider)
    if api_flavor is not None:
        named = _named(own or common_dialects(), api_flavor, provider)
        return named, named.extract(block)
    best = _best(own, block)
    read = None if best is None else (best, best.extract(block))
    if read is not None and _adds_up(read[1], block):
        return read
    # Gateways answer in OpenAI's words for providers that have words of their own, and then count reasoning otherwise:
    # the total that the block states decides.
    other = _best(common_dialects(), block)
    if other is not None:
        values = other.extract(block)
        if read is None or _adds_up(values, block):
            return other, values
    if read is None:
        raise ValueError(_not_understood(block))
    return read


def _named(known: Sequence[Dialect], api_flavor: str, provider: str | None) -> Dialect:
    for dialect in known:
        if dialect.api_flavor == api_flavor:
            return dialect
    names = ", ".join(sorted({STANDARD, *(dialect.api_flavor for dialect in known)}))
    raise ValueError(f"unknown api_flavor {api_flavor!r} for provider {provider!r}; known: {names}")


def _best(known: tuple[Dialect, ...], block: Block) -> Dialect | None:
    """Return the dialect that recognises most; an app's blocks are all of a few shapes, so each is looked at once."""
    key = (known, _shape(block))
    if key not in _best_by_shape:
        if len(_best_by_shape) >= _MOST_SHAPES:
            _best_by_shape.clear()
        _best_by_shape[key] = _recognised(known, block)
    return _best_by_shape[key]


def _shape(value: object) -> Hashable:
    """Return all of a block that decides its dialect: which keys have a value, and the words that label numbers."""
    if (inner := as_mapping(value)) is not None:
        return tuple((key, _shape(item)) for key, item in inner.items() if item is not None)
    if isinstance(value, list | tuple):
        return tuple(map(_shape, cast("Sequence[object]", value)))
    return value if isinstance(value, str) else None


def _recognised(known: Sequence[Dialect], block: Block) -> Dialect | None:
    scores = [(dialect.recognises(block), dialect) for dialect in known]
    best, dialect = max(scores, key=lambda scored: scored[0], default=(0, None))
    return dialect if best else None


def _adds_up(values: Mapping[str, Amount], block: Block) -> bool:
    total = reported_total(block)
    return total is None or values.get("input_tokens", 0) + values.get("output_tokens", 0) == total


def _not_understood(block: Block) -> str:
    keys = ", ".join(map(repr, block)) or "none"
    for dialect in common_dialects():
        present = [place.key for place in dialect.places if block.get(place.key) is not None]
        if present and (missing := dialect.missing(block)):
            return f"usage cannot be read: {', '.join(missing)} missing beside {', '.join(present)}"
    return f"usage cannot be read: none of its keys is known; they are {keys}"


def _is_standard(block: Block) -> bool:
    """Whether a block is in the words that frameworks share: OpenAI's realtime API has the same keys but names text."""
    if "input_tokens" not in block:
        return False
    inside = [details for key in ("input", "output") if (details := as_mapping(block.get(f"{key}_token_details")))]
    if not inside:
        # Without details only a total tells the shared words from Anthropic's, which has none.
        return block.keys() - {"input_token_details", "output_token_details"} == {
            "input_tokens",
            "output_tokens",
            "total_tokens",
        }
    return not any(
        key.endswith("_tokens") and "ephemeral" not in key and not key.startswith(_UNITS)
        for details in inside
        for key in details
    )


def _read_standard(block: Block) -> tuple[Usage, str | None]:
    """Return a usage in the shared words, and the tier that its details are marked with.

    Cache writes may be reported as a sum, by lifetime, or as both; a lifetime that is known is taken out of the sum by
    some clients and left in by others, so the larger of the two is the sum. OpenAI's tiers stand before the keys
    (`flex_cache_read`).
    """
    sent = _details(block, "input_token_details")
    received = _details(block, "output_token_details")
    tier = next((tier for tier in ("priority", "flex") if tier in sent or tier in received), None)

    def part(details: Mapping[str, int], name: str) -> int:
        return sum(details.get(f"{mark}{name}", 0) for mark in ("", "priority_", "flex_"))

    values: dict[str, Amount] = {
        "input_tokens": number(block.get("input_tokens"), "input_tokens", is_whole=True),
        "output_tokens": number(block.get("output_tokens"), "output_tokens", is_whole=True),
        "cache_read_tokens": part(sent, "cache_read"),
        "cache_write_tokens": part(sent, "cache_creation"),
        "cache_write_5m_tokens": part(sent, "ephemeral_5m_input_tokens"),
        "cache_write_1h_tokens": part(sent, "ephemeral_1h_input_tokens"),
        "input_audio_tokens": part(sent, "audio"),
        "output_audio_tokens": part(received, "audio"),
        "output_reasoning_tokens": part(received, "reasoning"),
    }
    for details in (sent, received):
        values |= {unit: count for unit, count in details.items() if unit.startswith(_UNITS)}
    return _usage(values, block), tier


def _details(block: Block, key: str) -> dict[str, int]:
    reported = {name: value for name, value in (as_mapping(block.get(key)) or {}).items() if value is not None}
    return {name: int(number(value, f"{key}.{name}", is_whole=True)) for name, value in reported.items()}


def _usage(values: Mapping[str, Amount], block: Block) -> Usage:
    """Return genai-prices' units as ours.

    Raises:
        ValueError: parts are more than the whole that they are counted in.
    """
    ours = {ours: int(values.get(theirs, 0)) for theirs, ours in _FIELDS.items()}
    by_lifetime = ours["cache_write_1h_tokens"] + int(values.get("cache_write_5m_tokens", 0))
    ours["cache_write_tokens"] = max(ours["cache_write_tokens"], by_lifetime)
    if ours["reasoning_tokens"] > ours["output_tokens"]:
        apart = ours["input_tokens"] + ours["output_tokens"] + ours["reasoning_tokens"]
        if reported_total(block) == apart:
            # Some servers report reasoning beside the output instead of in it; their total gives them away.
            ours["output_tokens"] += ours["reasoning_tokens"]
    _check_parts(ours, "input_tokens", "cache_read_tokens", "cache_write_tokens")
    _check_parts(ours, "input_tokens", "input_audio_tokens")
    _check_parts(ours, "output_tokens", "reasoning_tokens")
    _check_parts(ours, "output_tokens", "output_audio_tokens")
    known = {*_FIELDS, "cache_write_5m_tokens"}
    return Usage(**ours, other={unit: value for unit, value in values.items() if value and unit not in known})


def _check_parts(counts: Mapping[str, int], whole: str, *parts: str) -> None:
    if sum(counts[part] for part in parts) > counts[whole]:
        listed = " and ".join(f"{part} {counts[part]}" for part in parts if counts[part])
        raise ValueError(f"{listed} cannot be more than {whole} {counts[whole]}, which contains them")
