"""The trimmer as an app's retrieval step runs it: only where it lowers the bill, booked, and never in the app's way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.prices import PriceBook, Pricing, Unpriced
from thrift_core.rates import MILLION
from thrift_core.relevance.passage import Passage, Trimmed
from thrift_core.retrieval.trimmer import TopKTrimmer

logger = logging.getLogger("thrift")
LEVER = "trimmer"


class QueryTrimmer:
    """Trims the passages of one query after another, and books what that saves.

    First it asks whether the passages stand in a cached prefix: the same passages before the same history in call after
    call. The provider then bills them at its cache price, and cutting them by the question makes them, and all behind
    them, new in every call. Where that costs more than it saves, nothing is cut and the log says so, once.

    Args:
        trimmer: what trims.
        ledger: where savings and faults are booked; None: nowhere.
        model: the model that the passages go to, for the dollars; None: tokens alone are booked.
        provider: who bills it.
        is_in_cached_prefix: the same passages are sent in call after call and stand before what else is reused. Not so
            where passages are retrieved for each question, which is the rule.
        cached_tokens_after: with `is_in_cached_prefix`, how many reused tokens stand behind the passages.
        mode: `shadow` measures and books what would be saved, and cuts nothing.

    Raises:
        ConfigurationError: `cached_tokens_after` is negative, or the mode is unknown.
    """

    def __init__(
        self,
        trimmer: TopKTrimmer,
        ledger: Ledger | None = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        is_in_cached_prefix: bool = False,
        cached_tokens_after: int = 0,
        mode: Literal["on", "shadow"] = "on",
    ) -> None:
        if cached_tokens_after < 0:
            raise ConfigurationError(f"cached_tokens_after must be 0 or more; got {cached_tokens_after!r}")
        if mode not in ("on", "shadow"):
            raise ConfigurationError(f"mode must be 'on' or 'shadow'; got {mode!r}")
        self.trimmer = trimmer
        self._ledger = ledger
        self._model, self._provider = model, provider
        self._is_in_cached_prefix = is_in_cached_prefix
        self._cached_tokens_after = cached_tokens_after
        self._mode = mode
        self._prices: PriceBook | None = ledger.prices if ledger is not None else None
        self._warned: set[str] = set()

    def trim(self, passages: Sequence[Passage], question: str) -> Trimmed | None:
        """Return what is left of the passages, or None to leave them as they are. Never raises."""
        try:
            trimmed = self.trimmer.trim(passages, question)
            return trimmed if self._book(passages, trimmed) and self._mode == "on" else None
        except Exception as error:  # whatever goes wrong here, the app gets its passages
            self.note(error)
            return None

    def _book(self, passages: Sequence[Passage], trimmed: Trimmed) -> bool:
        """Book what is saved; return whether anything is to be gained."""
        if self._ledger is None and not self._is_in_cached_prefix:
            return True
        before = tokens_of(passages, self.trimmer)
        pricing = self._pricing()
        gained = self._gain(before, trimmed.tokens, pricing)
        if self._is_in_cached_prefix and (gained is None or gained <= 0):
            why = "no price is known" if gained is None else f"it would cost ${-gained:.6f} a call"
            self._warn(
                "cached prefix",
                "the passages stand in a cached prefix, and cutting them by the question makes it new each time"
                f" ({why}); they are left as they are. Put them behind what is reused, or say"
                " is_in_cached_prefix=False",
            )
            return False
        if self._ledger is not None and before != trimmed.tokens:
            self._ledger.book(
                Saving(
                    lever=LEVER,
                    tokens=before - trimmed.tokens,
                    cost_usd=gained,
                    is_shadow=self._mode == "shadow",
                    attribution=current_attribution(),
                )
            )
        return True

    def _gain(self, before: int, after: int, pricing: Pricing | None) -> Decimal | None:
        """Return the dollars saved on one call against what it would have cost with the provider's cache as it is."""
        if pricing is None:
            return None
        if not self._is_in_cached_prefix:
            return (before - after) * pricing.input / MILLION
        behind = self._cached_tokens_after
        return ((before + behind) * pricing.cache_read - (after + behind) * pricing.input) / MILLION

    def _pricing(self) -> Pricing | None:
        if self._model is None:
            return None
        if self._prices is None:
            self._prices = PriceBook()
        pricing = self._prices.pricing(self._model, self._provider)
        return None if isinstance(pricing, Unpriced) else pricing

    def note(self, error: Exception) -> None:
        """Count a fault and warn of its kind once."""
        if self._ledger is not None:
            try:
                self._ledger.count_fault(LEVER, type(error).__name__)
            except Exception:
                logger.debug("a fault could not be counted", exc_info=True)
        self._warn(type(error).__name__, f"it was passed over, the passages are sent as they were: {error}")

    def _warn(self, reason: str, words: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            logger.warning("thrift's trimmer: %s", words)


def tokens_of(passages: Sequence[Passage], trimmer: TopKTrimmer) -> int:
    """Return what the passages cost uncut, in the way that the trimmer counts."""
    if not passages:
        return 0
    counter, separator = trimmer.settings.counter, trimmer.settings.separator
    texts = sum(counter.count(passage.before + passage.text + passage.after) for passage in passages)
    overheads = sum(passage.overhead_tokens for passage in passages)
    return texts + overheads + (counter.count(separator) if separator else 0) * (len(passages) - 1)
