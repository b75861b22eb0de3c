"""The compressor as an app's chain runs it: several texts under one budget, booked, and never in the app's way."""

from __future__ import annotations

from collections.abc import Sequence

from thrift_core.accounting.booking import Booking
from thrift_core.compression.compressed import Compressed
from thrift_core.compression.compressor import Compressor
from thrift_core.errors import ConfigurationError
from thrift_core.rates import MILLION


class PartsCompressor:
    """Shortens the parts of one prompt after another.

    A budget is for all parts together: short parts stay whole, and the long ones share what is left evenly.

    Args:
        compressor: what shortens.
        booking: where savings and faults are booked.
        max_tokens: the budget for all parts together; None: none.
        ratio: at most this share of the parts' tokens, more than 0 and at most 1; None: none. The smaller counts.
        lossless: only what can be read back; None: so where there is no budget.

    Raises:
        ConfigurationError: a budget that is none, or `lossless` with a budget.
    """

    def __init__(
        self,
        compressor: Compressor,
        booking: Booking,
        *,
        max_tokens: int | None = None,
        ratio: float | None = None,
        lossless: bool | None = None,
    ) -> None:
        has_budget = max_tokens is not None or ratio is not None
        self._is_lossless = not has_budget if lossless is None else lossless
        # The compressor itself says what is wrong with a setting.
        compressor.compress("", max_tokens=max_tokens, ratio=ratio, lossless=self._is_lossless)
        if max_tokens == 0:
            raise ConfigurationError("max_tokens=0 leaves no room for anything; give more tokens, or None")
        self.compressor = compressor
        self._booking = booking
        self._max_tokens, self._ratio = max_tokens, ratio

    def compress(self, texts: Sequence[str], question: str | None = None) -> list[Compressed] | None:
        """Return what becomes of each text, or None to leave all as they are. Never raises."""
        try:
            done = self._compressed(texts, question)
            self._book(done)
        except Exception as error:  # whatever goes wrong here, the app's prompt goes out as it was
            self._booking.note(error)
            return None
        return done if self._booking.is_on and any(part.saved_tokens for part in done) else None

    def _compressed(self, texts: Sequence[str], question: str | None) -> list[Compressed]:
        if self._max_tokens is None and self._ratio is None:
            return [self.compressor.compress(text, question, lossless=self._is_lossless) for text in texts]
        counts = [self.compressor.counter.count(text) for text in texts]
        shares = _shares(counts, self._budget(sum(counts)))
        return [
            self.compressor.compress(text, question, max_tokens=share)
            for text, share in zip(texts, shares, strict=True)
        ]

    def _budget(self, tokens: int) -> int:
        limits = [self._max_tokens, None if self._ratio is None else int(tokens * self._ratio)]
        return min(limit for limit in limits if limit is not None)

    def _book(self, done: Sequence[Compressed]) -> None:
        saved = sum(part.saved_tokens for part in done)
        pricing = self._booking.pricing()
        self._booking.book(saved, None if pricing is None else saved * pricing.input / MILLION)


def _shares(counts: Sequence[int], budget: int) -> list[int]:
    """Return how many tokens each part may have: all of the short ones', and the rest evenly."""
    shares = [0] * len(counts)
    left, waiting = budget, sorted(range(len(counts)), key=lambda part: counts[part])
    while waiting:
        part = waiting.pop(0)
        shares[part] = min(counts[part], left // (len(waiting) + 1))
        left -= shares[part]
    return shares
