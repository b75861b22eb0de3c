"""Finds what keeps changing in the part of a prompt that should stay equal, and names it.

A time of day, a request id or a counter in the system prompt makes every call pay the full price, and nothing fails.
Two ways to find it: texts that look like the present moment or like a random id, at first sight; and whatever differs
between two requests of the same conversation.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from thrift_core.caching.prefix import canonical_json
from thrift_core.messages import Request, tool_name

logger = logging.getLogger("thrift")

_MAX_SHOWN = 80
_DATE_AND_TIME = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?")
_EPOCH = re.compile(r"\b1\d{9}(?:\d{3})?(?:\.\d+)?\b")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b")
_NAMED_ID = re.compile(
    r"\b(?:request|session|run|trace|correlation|conversation)[ _-]?id\b[\"']?\s*[:=]\s*[\"']?[\w-]{6,}", re.IGNORECASE
)
_WORD_CHARACTER = re.compile(r"[\w.:+/-]")
_NEAR = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Drift:
    """Text that keeps the prefix from being cached.

    Attributes:
        where: `system prompt`, `tools` or `message 3`.
        kind: `timestamp`, `id`, `counter`, `order` or `text`.
        text: the offending text, shortened.
        was: what stood there before, where that is known.
    """

    where: str
    kind: str
    text: str
    was: str | None = None

    def __str__(self) -> str:
        before = f" (was {self.was!r})" if self.was is not None else ""
        return f"{self.where}: {_KIND_IN_WORDS[self.kind]} {self.text!r}{before}"


_KIND_IN_WORDS = {
    "timestamp": "a time,",
    "id": "an id,",
    "counter": "a counter,",
    "order": "another order of the tools,",
    "text": "changing text,",
}


class DriftDetector:
    """Watches requests for text that voids the prompt cache; warns once for each place and kind.

    Args:
        max_conversations: how many conversations are remembered.

    Example:
        >>> from thrift_core.messages import Message
        >>> detector = DriftDetector()
        >>> ask = Message("user", "Is my order on its way?")
        >>> for call in (7, 8):
        ...     request = Request((Message("system", f"You help. This is call {call} of the day."), ask))
        ...     found = detector.inspect(request, now=0.0)
        >>> [(drift.kind, drift.text, drift.was) for drift in found]
        [('counter', '8', '7')]
    """

    def __init__(self, *, max_conversations: int = 256) -> None:
        self._max_conversations = max_conversations
        self._last: OrderedDict[int, tuple[str, tuple[str, ...], tuple[str, ...]]] = OrderedDict()
        self._looked_through: OrderedDict[int, None] = OrderedDict()
        self._warned: set[tuple[str, str]] = set()

    def inspect(self, request: Request, *, now: float) -> list[Drift]:
        """Return what drifts in this request, and warn of what was not warned of before.

        Args:
            request: what is about to be sent.
            now: seconds since 1970, for telling the present moment from any other.
        """
        system = "".join(message.text for message in request.messages if message.role == "system")
        tools = tuple(canonical_json(tool) for tool in request.tools)
        names = tuple(tool_name(tool) for tool in request.tools)
        found = [*self._at_first_sight(system, tools, now), *self._against_the_last(request, system, tools, names)]
        for drift in found:
            self._warn(drift)
        return found

    def _at_first_sight(self, system: str, tools: Sequence[str], now: float) -> Iterator[Drift]:
        for where, text in (("system prompt", system), *(("tools", tool) for tool in tools)):
            key = hash((where, text))
            if key in self._looked_through:
                continue
            self._looked_through[key] = None
            if len(self._looked_through) > 16 * self._max_conversations:
                self._looked_through.popitem(last=False)
            yield from _suspicious(where, text, now)

    def _against_the_last(
        self, request: Request, system: str, tools: tuple[str, ...], names: tuple[str, ...]
    ) -> Iterator[Drift]:
        opening = next((message.text for message in request.messages if message.role == "user"), "")
        conversation = hash((opening, request.model, frozenset(names)))
        last = self._last.pop(conversation, None)
        self._last[conversation] = (system, tools, names)
        if len(self._last) > self._max_conversations:
            self._last.popitem(last=False)
        if last is None or not opening:
            return
        last_system, last_tools, _ = last
        if system != last_system and system and last_system:
            yield _difference("system prompt", last_system, system)
        if tools != last_tools:
            if sorted(tools) == sorted(last_tools):
                yield Drift("tools", "order", _shown(", ".join(names)), _shown(", ".join(last[2])))
            elif len(tools) == len(last_tools):
                before, after = next((b, a) for b, a in zip(last_tools, tools, strict=True) if a != b)
                yield _difference("tools", before, after)

    def _warn(self, drift: Drift) -> None:
        if (drift.where, drift.kind) in self._warned:
            return
        self._warned.add((drift.where, drift.kind))
        logger.warning(
            "thrift: every change of this text makes the provider's prompt cache start anew. Move it to the end of the "
            "conversation, or leave it out. %s",
            drift,
        )


def _suspicious(where: str, text: str, now: float) -> Iterator[Drift]:
    for match in _DATE_AND_TIME.finditer(text):
        if _is_near(match, now):
            yield Drift(where, "timestamp", _shown(match.group()))
            break
    else:
        for match in _EPOCH.finditer(text):
            seconds = float(match.group()[:10])
            if abs(seconds - now) < _NEAR.total_seconds():
                yield Drift(where, "timestamp", _shown(match.group()))
                break
    if (found := _UUID.search(text) or _NAMED_ID.search(text)) is not None:
        yield Drift(where, "id", _shown(found.group()))


def _is_near(match: re.Match[str], now: float) -> bool:
    try:
        day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.fromtimestamp(now, tz=UTC) - day) < _NEAR


def _difference(where: str, before: str, after: str) -> Drift:
    """Return the words in which two texts first differ."""
    start = _common_length(before, after)
    end = _common_length(before[start:][::-1], after[start:][::-1])
    first = _start_of_word(after, start)
    was = _to_end_of_word(before, first, len(before) - end)
    text = _to_end_of_word(after, first, len(after) - end)
    return Drift(where, _kind(text, was), _shown(text), _shown(was))


def _common_length(a: str, b: str) -> int:
    """Return the length of the common start, by halving: comparing slices is fast, comparing characters is not."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _start_of_word(text: str, start: int) -> int:
    while start > 0 and _WORD_CHARACTER.match(text[start - 1]):
        start -= 1
    return start


def _to_end_of_word(text: str, start: int, end: int) -> str:
    end = max(end, start)
    while end < len(text) and _WORD_CHARACTER.match(text[end]):
        end += 1
    return text[start:end]


def _kind(text: str, was: str) -> str:
    if _UUID.search(text) or re.fullmatch(r"[0-9a-f-]{12,}|[\w-]*\d[\w-]{11,}", text):
        return "id"
    if _DATE_AND_TIME.search(text) or re.search(r"\d{1,2}:\d{2}|\d{4}-\d{2}-\d{2}", text):
        return "timestamp"
    if re.fullmatch(r"\D{0,8}\d{1,9}\D{0,2}", text) and re.fullmatch(r"\D{0,8}\d{1,9}\D{0,2}", was):
        return "counter"
    return "timestamp" if _EPOCH.search(text) else "text"


def _shown(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
