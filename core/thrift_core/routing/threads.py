"""Which tier each thread stays with, and what leaving it would cost in lost prompt cache."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from thrift_core.prices import Pricing
from thrift_core.rates import MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Where a thread stands.

    Attributes:
        index: the tier that answered last.
        tokens: input and output of its last call: what the provider's cache holds.
        at: when that was, in seconds of the clock.
        is_stuck: the tier was chosen because a cheaper one got stuck: it stays until the user speaks again.
        messages: how many messages the conversation had then.
    """

    index: int
    tokens: int = 0
    at: float = 0.0
    is_stuck: bool = False
    messages: int = 0


class Threads:
    """Remembers a pin for each thread, safely across threads of the process; forgets the least recently used.

    Args:
        max_threads: how many are remembered.
        cache_seconds: how long a provider's cache lives after a call.
        clock: seconds that never go back.
    """

    def __init__(
        self, *, max_threads: int = 10_000, cache_seconds: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_threads = max_threads
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._pins: OrderedDict[str, Pin] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, thread: str | None) -> Pin | None:
        """Return where a thread stands; None if it is not known."""
        if thread is None:
            return None
        with self._lock:
            return self._pins.get(thread)

    def put(self, thread: str | None, index: int, *, tokens: int, is_stuck: bool = False, messages: int = 0) -> None:
        """Remember which tier answered a thread."""
        if thread is None:
            return
        with self._lock:
            self._pins[thread] = Pin(index=index, tokens=tokens, at=self._clock(), is_stuck=is_stuck, messages=messages)
            self._pins.move_to_end(thread)
            while len(self._pins) > self._max_threads:
                self._pins.popitem(last=False)

    def forget(self, thread: str) -> None:
        """Forget a thread that has ended."""
        with self._lock:
            self._pins.pop(thread, None)

    def cached_tokens(self, pin: Pin | None, input_tokens: int) -> int:
        """Return how much of a request the provider's cache is taken to hold: what was sent last, while it lives."""
        if pin is None or self._clock() - pin.at > self._cache_seconds:
            return 0
        return min(pin.tokens, input_tokens)


def call_usd(pricing: Pricing, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal:
    """Return the dollars of a call of which a part of the input is read from the cache and the rest is fresh.

    Example:
        >>> from thrift_core.prices import PriceBook
        >>> pricing = PriceBook().pricing("gpt-4.1-mini", "openai")
        >>> call_usd(pricing, input_tokens=1_000_000, cached_tokens=1_000_000, output_tokens=0)
        Decimal('0.1')
    """
    fresh = input_tokens - cached_tokens
    tokens = fresh * pricing.input + cached_tokens * pricing.cache_read + output_tokens * pricing.output
    return tokens / MILLION + pricing.per_call


def saving_of_move(
    stay: Pricing, move: Pricing, *, input_tokens: int, cached_tokens: int, output_tokens: int
) -> Decimal:
    """Return what the next call saves in another tier, the cached prefix that is lost there counted against it."""
    kept = call_usd(stay, input_tokens=input_tokens, cached_tokens=cached_tokens, output_tokens=output_tokens)
    moved = call_usd(move, input_tokens=input_tokens, cached_tokens=0, output_tokens=output_tokens)
    # Where writing to the cache costs extra, the prefix has to be written once more.
    rewritten = cached_tokens * max(Decimal(0), move.cache_write_5m - move.input) / MILLION
    return kept - moved - rewritten
