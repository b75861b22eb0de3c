"""What a model is asked for where a summary by one would pay, and what it costs to ask it."""

from __future__ import annotations

from dataclasses import dataclass

from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message
from thrift_core.prices import Pricing

# What an adapter marks the model's calls with, so that a ledger can tell them from the app's own.
FEATURE = "thrift-summarizer"
_FEWEST_TOKENS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSummary:
    """A model that may write summaries of old steps.

    Attributes:
        model: its name as its provider spells it.
        provider: its provider's id, as in `Request`.
        pricing: what its tokens cost; without it no gain can be predicted, so nothing is ever summarized.
        max_tokens: a longer summary is not used.
    """

    model: str | None = None
    provider: str | None = None
    pricing: Pricing | None = None
    max_tokens: int = 500

    def __post_init__(self) -> None:
        if self.max_tokens < _FEWEST_TOKENS:
            raise ConfigurationError(f"max_tokens={self.max_tokens!r}: a summary takes {_FEWEST_TOKENS} tokens or more")

    def prices_beside(self, pricing: Pricing | None, model: str | None, provider: str | None) -> SummaryPrices | None:
        """Return what it costs beside the model that the conversation is with; None where that is not known."""
        if pricing is None or self.pricing is None or not pricing.input > 0:
            return None
        is_same = self.model is not None and (self.model, self.provider) == (model, provider)
        read = self.pricing.cache_read if is_same else self.pricing.input
        return SummaryPrices(
            read=float(read / pricing.input),
            fresh=float(self.pricing.input / pricing.input),
            output=float(self.pricing.output / pricing.input),
            shares_prefix=is_same,
        )


@dataclass(frozen=True, slots=True)
class SummaryPrices:
    """What the summarizing model's tokens cost, a fresh input token of the conversation's model costing 1.

    Attributes:
        read: a token of the conversation.
        fresh: a token that only this call has.
        output: a token that it writes.
        shares_prefix: whether it is the conversation's own model: then it is sent the conversation as it was sent last,
            and reads it from the provider's cache.
    """

    read: float
    fresh: float
    output: float
    shares_prefix: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryTask:
    """A summary that is wanted; answered with `Thrift.summarized`.

    Attributes:
        key: tells tasks apart.
        instruction: what is asked, as a user's message.
        shares_prefix: send the request that was just made, to the letter and with its tools, and `instruction` after
            it. Otherwise send `instruction` alone: the steps stand in it.
        max_tokens: how long the answer may be.
        start: the first message that is to be summarized.
        stop: the first one after those.
    """

    key: str
    instruction: Message
    shares_prefix: bool
    max_tokens: int
    start: int
    stop: int
