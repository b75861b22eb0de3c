"""The bill of a conversation so far, as it is and as it would have been without any edit."""

from __future__ import annotations

from dataclasses import dataclass

from thrift_core.trajectory.rates import Rates

# Most models cache nothing below 1,024 tokens (OpenAI, Anthropic's Sonnet line; prompt caching pages, 2026-11).
MINIMUM_CACHED = 1024
# What may be lost on a conversation, of its bill without edits, if it ends before a cut has paid: well under 0.5 %.
_ALLOWANCE = 0.003


@dataclass(slots=True)
class Bill:
    """Two running totals, in fresh input tokens on a provider without a cache.

    What the `recall` tool's definition costs is in neither: it is spent whether anything is cut or not.

    Attributes:
        rates: what a token costs.
        static_tokens: tokens before the messages, tool definitions above all.
        minimum_cached: the shortest prefix that the provider caches.
        calls: how many calls were made.
        without: the bill had nothing been edited.
        actual: the bill as it is.
    """

    rates: Rates
    static_tokens: int = 0
    minimum_cached: int = MINIMUM_CACHED
    calls: int = 0
    without: float = 0.0
    actual: float = 0.0
    _raw_before: int = 0
    _sent_before: int = 0

    def charge(self, *, raw_tokens: int, sent_tokens: int, unchanged_tokens: int) -> None:
        """Add a call: its tokens without and with edits, and how many are those of the call before, unchanged."""
        before = self._raw_before if self.calls else -self.static_tokens
        unchanged = unchanged_tokens if self.calls else -self.static_tokens
        self.without += self._cost(raw_tokens, before)
        self.actual += self._cost(sent_tokens, unchanged)
        self._raw_before, self._sent_before = raw_tokens, sent_tokens
        self.calls += 1

    @property
    def reads_left(self) -> int:
        """How many calls are still to come, this one included, by our best guess.

        A conversation that has lasted long lasts long still (Lindy's rule): as many again as there were.
        """
        return max(4, self.calls)

    @property
    def purse(self) -> float:
        """What may be spent on a cut that pays later: all that was saved so far, and a small allowance.

        That is what bounds the harm: were the conversation to end at once, its bill would be at most the allowance
        above the bill without edits.
        """
        return self.without - self.actual + _ALLOWANCE * self.without

    def gain(self, *, removed: int, behind: int, prefix: int, reads: int) -> float:
        """Return what an edit earns over some calls, in fresh tokens.

        Args:
            removed: tokens that go.
            behind: tokens from the edit on that were sent before or replace such: they are written again.
            prefix: message tokens before the edit; where they are too few for the cache, they are paid in full too.
            reads: calls over which it earns, this one included.
        """
        if not self.is_cached(self._sent_before):
            return self.rates.write * removed * reads
        lost = 0 if self.is_cached(prefix) else prefix + self.static_tokens
        return self.rates.gain(removed=removed, rewritten=behind + lost, reads=reads)

    def is_cached(self, tokens: int) -> bool:
        """Say whether a request of so many tokens is long enough for the provider's cache, if there is one."""
        return not self.rates.has_cache or self.static_tokens + tokens >= self.minimum_cached

    def missing(self, tokens: int, margin: float) -> int:
        """Return how many tokens a request lacks for the provider's cache, with a margin; 0 if there is no cache."""
        if not self.rates.has_cache:
            return 0
        return int(margin * self.minimum_cached) - self.static_tokens - tokens

    def _cost(self, tokens: int, unchanged: int) -> float:
        cached = self.static_tokens + unchanged
        cached = cached if cached >= self.minimum_cached or not self.rates.has_cache else 0
        return self.rates.read * cached + self.rates.write * (self.static_tokens + tokens - cached)
