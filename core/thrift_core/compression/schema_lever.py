"""The lever that sends tool definitions in fewer tokens, the same bytes in every call of a thread."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from thrift_core.compression.lever import MINIMUM_CACHED
from thrift_core.compression.schemas import minified_tools, tool_tokens
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Edit, Message, ReplaceTools, Request
from thrift_core.prices import Pricing
from thrift_core.rates import MILLION
from thrift_core.token_counters import TokenCounter, default_counter

# For counts that differ from ours, as in `CompressorLever`.
_MARGIN = 1.08
# A thread that starts with less than this share of what providers cache is mostly one call, and never cached.
_SHORT = 0.5
_REMEMBERED = 128


@dataclass(frozen=True, slots=True)
class _Shorter:
    given: Sequence[Mapping[str, Any]]
    tools: tuple[Mapping[str, Any], ...]
    before: int
    after: int


class SchemaLever:
    """Minifies tool definitions, losslessly: see `minified_tool`.

    What is sent depends on the tools and on what the thread begins with alone, so the provider's cached prefix, at
    whose start the tools stand, stays valid. Where fewer tokens would bring a thread's beginning below the length from
    which providers cache, the definitions are left as they are, for a cached token costs a tenth of one that is not.

    Args:
        counter: counts tokens; None: the default of `thrift_core`.
        minimum_cached: the shortest prefix in tokens that the provider caches.

    Raises:
        ConfigurationError: a minimum that is negative.

    Example:
        >>> tool = {"name": "f", "parameters": {"type": "object", "title": "F", "properties": {"a": {"title": "A"}}}}
        >>> [edit] = SchemaLever().decide(Request((Message("user", "Hello"),), tools=(tool,)), None)
        >>> edit.tools[0]["parameters"]
        {'type': 'object', 'properties': {'a': {}}}
    """

    def __init__(self, *, counter: TokenCounter | None = None, minimum_cached: int = MINIMUM_CACHED) -> None:
        if minimum_cached < 0:
            raise ConfigurationError(f"minimum_cached={minimum_cached!r}: give 0 or more tokens")
        self._given_counter = counter
        self._minimum_cached = minimum_cached
        self._known: OrderedDict[tuple[int, str | None], _Shorter] = OrderedDict()
        self._lock = threading.Lock()

    def decide(self, request: Request, pricing: Pricing | None) -> Sequence[Edit]:
        """Return the tools in fewer tokens, or nothing where that does not pay."""
        if not request.tools:
            return []
        with self._lock:
            shorter = self._shorter(request.tools, request.provider)
        saved = shorter.before - shorter.after
        if saved <= 0 or not self._stays_cached(request, shorter, pricing):
            return []
        return [
            ReplaceTools(
                tools=shorter.tools,
                reason=f"{len(shorter.tools)} tool definitions minified, equivalent",
                saved_tokens=saved,
                saved_usd=_price(request, pricing) * saved / MILLION,
            )
        ]

    def prepare(self) -> None:
        """Load the token counter; otherwise the first decision does."""
        self.counter.count("")

    @cached_property
    def counter(self) -> TokenCounter:
        """What counts the tokens."""
        return self._given_counter if self._given_counter is not None else default_counter()

    def _shorter(self, tools: Sequence[Mapping[str, Any]], provider: str | None) -> _Shorter:
        # Adapters keep a tool's definition from call to call, so most lists are known by their members' identity.
        key = hash(tuple(map(id, tools))), provider
        known = self._known.get(key)
        if known is not None and list(known.given) == list(tools):
            self._known.move_to_end(key)
            return known
        minified = minified_tools(tools, provider=provider)
        count = self.counter.count
        found = _Shorter(tuple(tools), minified, tool_tokens(tools, count), tool_tokens(minified, count))
        self._known[key] = found
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _stays_cached(self, request: Request, shorter: _Shorter, pricing: Pricing | None) -> bool:
        if pricing is not None and pricing.cache_read >= pricing.input:
            return True
        begins = sum(self.counter.count(message.text) for message in _beginning(request.messages))
        is_short = begins + shorter.before < _SHORT * self._minimum_cached
        return is_short or begins + shorter.after >= _MARGIN * self._minimum_cached


def _beginning(messages: Sequence[Message]) -> Sequence[Message]:
    """Return what is the same in every call of a thread: the messages before the model's first answer."""
    answered = next((at for at, message in enumerate(messages) if message.role == "assistant"), len(messages))
    return messages[:answered]


def _price(request: Request, pricing: Pricing | None) -> Decimal:
    if pricing is None:
        return Decimal(0)
    is_first = all(message.role != "assistant" for message in request.messages)
    return pricing.input if is_first else pricing.cache_read
