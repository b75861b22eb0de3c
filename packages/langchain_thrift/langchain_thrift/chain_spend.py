"""What the model calls inside one run of a chain used and cost, which is what a hit on its answer saves."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from thrift_core.accounting.reading import read_usage
from thrift_core.accounting.usage import Usage
from thrift_core.caching.semantic.serving import Serving

from langchain_thrift.answers import about, finish_of, is_whole
from langchain_thrift.costs import answer_of


class ChainSpend(BaseCallbackHandler):
    """Adds up the calls that it is told of.

    Args:
        serving: knows prices, and counts what cannot be read.

    Attributes:
        usage: what all calls used.
        cost_usd: what those cost whose price is known; None where none is.
        model: the model that answered last.
        finish_reason: why it stopped, where that says something of the chain's answer.
        is_whole: no stream of a model broke off.
    """

    run_inline = True

    def __init__(self, serving: Serving) -> None:
        self.usage = Usage()
        self.cost_usd: Decimal | None = None
        self.model: str | None = None
        self.finish_reason: str | None = None
        self.is_whole = True
        self._serving = serving
        self._lock = threading.Lock()

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Add a call."""
        try:
            self._add(response)
        except Exception as error:  # an answer that we cannot read is still an answer
            self._serving.note("usage", error)

    def _add(self, response: LLMResult) -> None:
        answer = answer_of(response)
        made = response.generations[0][0]
        with self._lock:
            self.model = answer.model or self.model
            is_call = bool(answer.tool_calls)
            self.finish_reason = None if is_call else finish_of(about([made]))
            if isinstance(made, ChatGenerationChunk) and not is_whole(made):
                self.is_whole = False
        source = answer.payload or answer.usage
        if answer.is_cache_hit or source is None or isinstance(source, Usage) or not isinstance(made, ChatGeneration):
            return
        usage = read_usage(source, provider=answer.provider).usage
        cost = self._serving.cost_of(
            usage, model=answer.model, provider=answer.provider, service_tier=answer.service_tier
        )
        with self._lock:
            self.usage += usage
            self.cost_usd = cost if self.cost_usd is None else self.cost_usd + (cost or 0)
