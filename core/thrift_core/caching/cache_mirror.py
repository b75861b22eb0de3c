"""The planner's own picture of what the provider has cached, kept from what was sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from thrift_core.caching.bill import InputBill
from thrift_core.caching.prefix import Prefix, Segment
from thrift_core.caching.provider_rules import CacheRules, LifetimeName


class Mark(NamedTuple):
    """A marker at the end of a segment.

    Attributes:
        position: the segment's place in the prefix, from 0.
        ttl: the lifetime it asks for.
    """

    position: int
    ttl: LifetimeName


class _Entry(NamedTuple):
    ready_at: float
    expires_at: float
    seconds: float


class CacheMirror:
    """Remembers which prefixes the provider should hold, the least recently used forgotten first.

    Args:
        max_entries: how many prefixes are remembered.
        response_seconds: an entry can be read once the answer to the call that wrote it has begun; how long that is
            taken to be.
    """

    def __init__(self, *, max_entries: int = 16384, response_seconds: float = 1.0) -> None:
        self._max_entries = max_entries
        self._response_seconds = response_seconds
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def is_live(self, digest: bytes, now: float, *, for_seconds: float = 0.0) -> bool:
        """Return whether the prefix can be read now, and whether its lifetime is at least `for_seconds` long."""
        entry = self._entries.get(digest)
        return entry is not None and entry.ready_at <= now <= entry.expires_at and entry.seconds >= for_seconds

    def longest(self, prefix: Prefix, now: float, *, for_seconds: float = 0.0) -> int:
        """Return the position of the longest live prefix of a request, or -1."""
        for position in range(len(prefix.segments) - 1, -1, -1):
            if self.is_live(prefix.segments[position].digest, now, for_seconds=for_seconds):
                return position
        return -1

    def bill(self, prefix: Prefix, rules: CacheRules, marks: Sequence[Mark], now: float) -> InputBill:
        """Return what the request would be billed as. Changes nothing."""
        if rules.style == "automatic":
            return self._automatic_bill(prefix, rules, now)
        read = self._readable(prefix, rules, marks, now)
        spans: dict[LifetimeName, int] = {"5m": 0, "1h": 0}
        done = prefix.segments[read].end_tokens if read >= 0 else 0
        read_tokens = done
        # Billed in the order of the prefix: up to the last marker for an hour, then up to the last for 5 minutes.
        for ttl in ("1h", "5m"):
            ends = [prefix.segments[mark.position].end_tokens for mark in marks if mark.ttl == ttl]
            end = max(ends, default=0)
            spans[ttl] = max(0, end - done)
            done = max(done, end)
        return InputBill(
            uncached=prefix.tokens - done,
            cache_read=read_tokens,
            cache_write_5m=spans["5m"],
            cache_write_1h=spans["1h"],
        )

    def send(self, prefix: Prefix, rules: CacheRules, marks: Sequence[Mark], now: float) -> None:
        """Take note that the request was sent with these markers."""
        if rules.style == "automatic":
            for segment in prefix.segments:
                self._write(segment, rules.shortest.seconds, now)
            return
        read = self._readable(prefix, rules, marks, now)
        if read >= 0:
            self._refresh(prefix.segments[read], now)
        for mark in marks:
            segment = prefix.segments[mark.position]
            if mark.position > read:
                self._write(segment, rules.lifetime(mark.ttl).seconds, now)
            else:
                self._refresh(segment, now)

    def forget(self, prefix: Prefix) -> None:
        """Drop every prefix of a request: the provider has shown that it holds none."""
        for segment in prefix.segments:
            self._entries.pop(segment.digest, None)

    def _automatic_bill(self, prefix: Prefix, rules: CacheRules, now: float) -> InputBill:
        position = self.longest(prefix, now)
        shared = prefix.segments[position].end_tokens if position >= 0 else 0
        read = shared - shared % rules.step_tokens
        if read < rules.min_tokens:
            read = 0
        return InputBill(uncached=prefix.tokens - read, cache_read=read)

    def _readable(self, prefix: Prefix, rules: CacheRules, marks: Sequence[Mark], now: float) -> int:
        best = -1
        for mark in marks:
            lowest = _lowest_seen(prefix, mark.position, rules)
            for position in range(mark.position, max(lowest, best + 1) - 1, -1):
                if self.is_live(prefix.segments[position].digest, now):
                    best = position
                    break
        return best

    def answered(self, prefix: Prefix, now: float) -> None:
        """Note that a request was answered: what it wrote can be read from now on, however fast that was."""
        for segment in reversed(prefix.segments):
            entry = self._entries.get(segment.digest)
            if entry is not None and entry.ready_at <= now:
                return
            if entry is not None:
                self._entries[segment.digest] = entry._replace(ready_at=now)

    def _write(self, segment: Segment, seconds: float, now: float) -> None:
        known = self._entries.get(segment.digest)
        if known is not None and known.expires_at >= now:
            # A prefix that is being written again keeps the time from which it can be read, and its longer life.
            seconds = max(seconds, known.seconds)
            ready_at = known.ready_at
        else:
            ready_at = now + self._response_seconds
        self._entries[segment.digest] = _Entry(ready_at, now + seconds, seconds)
        self._entries.move_to_end(segment.digest)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def _refresh(self, segment: Segment, now: float) -> None:
        entry = self._entries.get(segment.digest)
        if entry is not None and entry.expires_at >= now:
            self._entries[segment.digest] = entry._replace(expires_at=now + entry.seconds)
            self._entries.move_to_end(segment.digest)


def _lowest_seen(prefix: Prefix, position: int, rules: CacheRules) -> int:
    """Return the earliest position that the search from a marker reaches."""
    if rules.lookback_blocks is None:
        return position
    last = prefix.segments[position].end_blocks
    lowest = position
    while lowest > 0 and last - prefix.segments[lowest - 1].end_blocks < rules.lookback_blocks:
        lowest -= 1
    return lowest
