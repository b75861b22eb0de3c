"""What a trimmer was told: how to work, and how much to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thrift_core.errors import ConfigurationError
from thrift_core.recall.store import RecallStore
from thrift_core.retrieval.calibration import Calibration
from thrift_core.retrieval.scorers import PassageScorer
from thrift_core.token_counters import TokenCounter

Order = Literal["relevance", "original", "edges"]
ORDERS: tuple[Order, ...] = ("relevance", "original", "edges")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be kept; None: no limit.

    Attributes:
        max_tokens: tokens in all.
        top_k: passages.
        quality_floor: the chance to keep the answer.

    Raises:
        ConfigurationError: a limit cannot work.
    """

    max_tokens: int | None = None
    top_k: int | None = None
    quality_floor: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "top_k"):
            value: object = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise ConfigurationError(f"{name} must be a whole number, 0 or more, or None; got {value!r}")
        floor: object = self.quality_floor
        if floor is not None and not (isinstance(floor, float) and 0 < floor < 1):
            raise ConfigurationError(f"quality_floor must be between 0 and 1, such as 0.95, or None; got {floor!r}")

    def updated(self, *, max_tokens: int | None, top_k: int | None, quality_floor: float | None) -> Limits:
        """Return these limits, with those that are given in their place."""
        return Limits(
            max_tokens=self.max_tokens if max_tokens is None else max_tokens,
            top_k=self.top_k if top_k is None else top_k,
            quality_floor=self.quality_floor if quality_floor is None else quality_floor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a trimmer works; `TopKTrimmer` says what each setting means."""

    counter: TokenCounter
    rarity: Callable[[str], float]
    separator: str
    gap: str
    order: Order = "relevance"
    cut_sentences: bool = True
    match_meanings: bool = True
    merge_duplicates: bool = True
    scorer: PassageScorer | None = None
    calibration: Calibration | None = None
    recall_store: RecallStore | None = None
