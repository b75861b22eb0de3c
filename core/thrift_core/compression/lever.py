"""The compressor as a lever of `Thrift`: new tool results and long pasted input, once, before they are first sent."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from thrift_core.compression.compressed import Compressed, Kind
from thrift_core.compression.compressor import Compressor
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Edit, Message, ReplaceText, Request
from thrift_core.prices import Pricing
from thrift_core.recall.store import MemoryRecallStore, RecallStore
from thrift_core.recall.tool import RECALL, recall, recall_schema
from thrift_core.token_counters import TokenCounter

_MILLION = Decimal(1_000_000)
# Most models cache nothing below 1,024 tokens (OpenAI, Anthropic's Sonnet line; prompt caching pages, 2026-11); the
# margin is for counts that differ from ours.
MINIMUM_CACHED = 1024
_MARGIN = 1.08
# What a user typed is left alone; what is longer than this and is no prose was pasted.
_PASTED: frozenset[Kind] = frozenset(("json", "ndjson", "csv", "log", "trace", "code", "diff", "html", "xml"))
# A longer text could take longer than a lever may.
_MOST_CHARACTERS = 400_000
_REMEMBERED = 2048
_LONGEST_QUESTION = 2_000


class CompressorLever:
    """Shortens each tool result and each long pasted text once; what was sent keeps its bytes from call to call.

    What becomes of a message depends on it, on the messages before it and on the settings alone, so the same history
    gets the same edits after a restart, and a provider's cached prefix stays valid. A message is left as it is where
    shortening it would bring the request below the length from which providers cache.

    Args:
        lossy: also shorten what cannot be read back: logs by kinds of lines, code with folded bodies, pages to their
            text. The whole then goes to the store, and the `recall` tool is offered. False: lossless only.
        leave_json: leave JSON tool results alone, for a `TrajectorySummarizer` that is on writes them in the same
            notation, and as differences from earlier ones besides.
        store: where the whole of what is cut is kept; in memory by default.
        counter: counts tokens; None: the default of `thrift_core`.
        fewest_tokens: shorter tool results are left alone.
        fewest_pasted_tokens: shorter user messages are left alone.
        minimum_cached: the shortest prefix in tokens that the provider caches.

    Raises:
        ConfigurationError: a number of tokens that is negative.

    Example:
        >>> CompressorLever().decide(Request((Message("user", "Hello"),)), None)
        []
    """

    def __init__(
        self,
        *,
        lossy: bool = False,
        leave_json: bool = False,
        store: RecallStore | None = None,
        counter: TokenCounter | None = None,
        fewest_tokens: int = 120,
        fewest_pasted_tokens: int = 600,
        minimum_cached: int = MINIMUM_CACHED,
    ) -> None:
        limits = (("fewest_tokens", fewest_tokens), ("fewest_pasted_tokens", fewest_pasted_tokens))
        for name, value in (*limits, ("minimum_cached", minimum_cached)):
            if value < 0:
                raise ConfigurationError(f"{name}={value!r}: give 0 or more tokens")
        self.lossy = lossy
        self.leave_json = leave_json
        self.store: RecallStore = store if store is not None else MemoryRecallStore()
        self._compressor = Compressor(counter=counter, store=self.store if lossy else None)
        self._fewest = {"tool": fewest_tokens, "user": fewest_pasted_tokens}
        self._minimum_cached = minimum_cached
        self._known: OrderedDict[tuple[str, str, str], tuple[int, Compressed | None]] = OrderedDict()
        self._tools: tuple[Sequence[Mapping[str, Any]], int] = ((), 0)
        self._lock = threading.Lock()

    def decide(self, request: Request, pricing: Pricing | None) -> Sequence[Edit]:
        """Return one edit for each message that is sent shorter."""
        with self._lock:
            return self._decide(request, pricing)

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools to offer from the first call on: `recall` where something may be cut."""
        return [recall_schema()] if self.lossy else []

    def recall(self, arguments: Mapping[str, Any]) -> str:
        """Answer a call of the `recall` tool."""
        return recall(self.store, arguments)

    def prepare(self) -> None:
        """Load the token counter; otherwise the first decision does."""
        self._compressor.prepare()

    def _decide(self, request: Request, pricing: Pricing | None) -> list[Edit]:
        edits: list[Edit] = []
        has_cache = pricing is None or pricing.cache_read < pricing.input
        sent = self._tool_tokens(request.tools)
        question = ""
        first_new = _first_new(request.messages)
        read, write = _dollars_per_token(pricing)
        recalled = _recalled(request.messages)
        for index, message in enumerate(request.messages):
            tokens, done = self._shortened(message, question)
            if index in recalled:
                tokens, done = tokens if done is None else done.tokens_before, None
            if done is not None and (not has_cache or sent + done.tokens >= _MARGIN * self._minimum_cached):
                saved = done.saved_tokens
                price = write if index >= first_new else read
                edits.append(
                    ReplaceText(
                        index=index, text=done.text, reason=done.note, saved_tokens=saved, saved_usd=saved * price
                    )
                )
                sent += done.tokens
            else:
                sent += tokens
            if message.role == "user":
                question = message.text[:_LONGEST_QUESTION]
        return edits

    def _shortened(self, message: Message, question: str) -> tuple[int, Compressed | None]:
        """Return a message's tokens and what to send for it; worked out once while it is among those last met."""
        key = (message.role if not message.opaque else "", message.text, question if self.lossy else "")
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._work_out(key[0], message.text, question)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found

    def _work_out(self, role: str, text: str, question: str) -> tuple[int, Compressed | None]:
        tokens = self._compressor.counter.count(text) if text else 0
        fewest = self._fewest.get(role)
        if fewest is None or tokens < max(1, fewest) or len(text) > _MOST_CHARACTERS:
            return tokens, None
        done = self._compressor.compress(text, question if self.lossy else None, lossless=not self.lossy)
        is_pasted = done.kind in _PASTED
        is_left = (role == "user" and not is_pasted) or (role == "tool" and self.leave_json and done.kind == "json")
        return tokens, None if is_left or done.saved_tokens <= 0 else done

    def _tool_tokens(self, tools: Sequence[Mapping[str, Any]]) -> int:
        known, tokens = self._tools
        if tools is not known and tools != known:
            tokens = self._compressor.counter.count(json.dumps(list(tools), default=repr)) if tools else 0
            self._tools = (tools, tokens)
        return tokens


def _recalled(messages: Sequence[Message]) -> frozenset[int]:
    """Return the results of the `recall` tool: what the model asked for in full is sent in full."""
    asked = {call.id for message in messages for call in message.tool_calls if call.name == RECALL}
    return frozenset(
        index
        for index, message in enumerate(messages)
        if message.role == "tool" and (message.name == RECALL or (asked and message.tool_call_id in asked))
    )


def _first_new(messages: Sequence[Message]) -> int:
    """Return the first message that no call before this one has sent: what follows the model's last answer."""
    answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
    return answers[-1] + 1 if answers else 0


def _dollars_per_token(pricing: Pricing | None) -> tuple[Decimal, Decimal]:
    if pricing is None:
        return Decimal(0), Decimal(0)
    return pricing.cache_read / _MILLION, max(pricing.input, pricing.cache_write_5m) / _MILLION
