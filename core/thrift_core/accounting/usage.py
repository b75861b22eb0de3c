"""What a call used, in the units providers bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal

Amount = int | Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call. Totals include their parts, as in LangChain's `UsageMetadata` and genai-prices.

    Attributes:
        input_tokens: everything sent, cached or not.
        cache_read_tokens: the part of the input that was read from the provider's prompt cache.
        cache_write_tokens: the part of the input that was written to it, whatever its lifetime.
        cache_write_1h_tokens: the part of the cache writes that live for an hour; the rest live for 5 minutes.
        input_audio_tokens: the part of the input that was audio.
        output_tokens: everything that came back, reasoning included.
        reasoning_tokens: the part of the output that was reasoning.
        output_audio_tokens: the part of the output that was audio.
        other: further billed units under the names of genai-prices (`input_image_tokens`, `web_searches`...).

    Raises:
        ValueError: a count is negative or not a number.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    other: Mapping[str, Amount] = field(default_factory=dict[str, Amount])

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} must be a whole number of tokens, 0 or more; got {value!r}")
        for name, value in self.other.items():
            if type(value) not in (int, Decimal) or not Decimal(value).is_finite() or value < 0:
                raise ValueError(f"{name} must be an int or Decimal, 0 or more; got {value!r}")

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, added: Usage) -> Usage:
        counts = {name: getattr(self, name) + getattr(added, name) for name in _COUNTS}
        other = {name: self.other.get(name, 0) + added.other.get(name, 0) for name in {*self.other, *added.other}}
        return Usage(**counts, other=other)


_COUNTS = tuple(f.name for f in fields(Usage) if f.name != "other")
