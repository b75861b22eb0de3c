"""The trimmer as an app's retrieval step runs it: only where it lowers the bill, booked, and never in the app's way."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from thrift_core.accounting.booking import Booking, BookingMode
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.prices import Pricing
from thrift_core.rates import MILLION
from thrift_core.recall.store import RecallStore
from thrift_core.relevance.passage import Passage, Trimmed
from thrift_core.retrieval.settings import Order
from thrift_core.retrieval.trimmer import TopKTrimmer

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
        mode: BookingMode = "on",
    ) -> None:
        if cached_tokens_after < 0:
            raise ConfigurationError(f"cached_tokens_after must be 0 or more; got {cached_tokens_after!r}")
        self.trimmer = trimmer
        self._booking = Booking(LEVER, ledger, model=model, provider=provider, mode=mode)
        self._is_in_cached_prefix = is_in_cached_prefix
        self._cached_tokens_after = cached_tokens_after

    def trim(self, passages: Sequence[Passage], question: str) -> Trimmed | None:
        """Return what is left of the passages, or None to leave them as they are. Never raises."""
        try:
            trimmed = self.trimmer.trim(passages, question)
            return trimmed if self._book(passages, trimmed) and self._booking.is_on else None
        except Exception as error:  # whatever goes wrong here, the app gets its passages
            self.note(error)
            return None

    def _book(self, passages: Sequence[Passage], trimmed: Trimmed) -> bool:
        """Book what is saved; return whether anything is to be gained."""
        if self._booking.ledger is None and not self._is_in_cached_prefix:
            return True
        before = tokens_of(passages, self.trimmer)
        pricing = self._booking.pricing()
        gained = self._gain(before, trimmed.tokens, pricing)
        if self._is_in_cached_prefix and (gained is None or gained <= 0):
            why = "no price is known" if gained is None else f"it would cost ${-gained:.6f} a call"
            self._booking.warn(
                "cached prefix",
                "the passages stand in a cached prefix, and cutting them by the question makes it new each time"
                f" ({why}); they are left as they are. Put them behind what is reused, or say"
                " is_in_cached_prefix=False",
            )
            return False
        self._booking.book(before - trimmed.tokens, gained)
        return True

    def _gain(self, before: int, after: int, pricing: Pricing | None) -> Decimal | None:
        """Return the dollars saved on one call against what it would have cost with the provider's cache as it is."""
        if pricing is None:
            return None
        if not self._is_in_cached_prefix:
            return (before - after) * pricing.input / MILLION
        behind = self._cached_tokens_after
        return ((before + behind) * pricing.cache_read - (after + behind) * pricing.input) / MILLION

    def note(self, error: Exception) -> None:
        """Count a fault and warn of its kind once."""
        self._booking.note(error)


def trimmer_of(
    trimmer: TopKTrimmer | None,
    *,
    max_tokens: int | None,
    top_k: int | None,
    quality_floor: float | None,
    order: Order,
    recall_store: RecallStore | None,
) -> TopKTrimmer:
    """Return the trimmer that an app gave, or one of the settings that it gave in its place.

    Raises:
        ConfigurationError: it gave a trimmer and a store, or a setting cannot work.
    """
    if trimmer is None:
        return TopKTrimmer(max_tokens, top_k, quality_floor=quality_floor, order=order, recall_store=recall_store)
    if recall_store is not None:
        raise ConfigurationError("give either a trimmer or a recall_store: a trimmer has a store of its own")
    return trimmer


def tokens_of(passages: Sequence[Passage], trimmer: TopKTrimmer) -> int:
    """Return what the passages cost uncut, in the way that the trimmer counts."""
    if not passages:
        return 0
    counter, separator = trimmer.settings.counter, trimmer.settings.separator
    texts = sum(counter.count(passage.before + passage.text + passage.after) for passage in passages)
    overheads = sum(passage.overhead_tokens for passage in passages)
    return texts + overheads + (counter.count(separator) if separator else 0) * (len(passages) - 1)
