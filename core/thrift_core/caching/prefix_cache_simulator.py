"""A provider's prompt cache and its bill, simulated request by request under the rules of the table.

Written from the rules alone and sharing no state with the planner, so that the planner's predictions can be held
against it. It is strict: what the provider answers with an error raises `IllegalMarkers`. Prefixes match segment by
segment (tools, then each message), byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from thrift_core.caching.bill import InputBill
from thrift_core.caching.prefix import PrefixRenderer, Segment, TextCounter
from thrift_core.caching.provider_rules import CacheRules, LifetimeName
from thrift_core.messages import CacheBreakpoint, Request

Mode = Literal["implicit", "explicit"]


class IllegalMarkers(ValueError):
    """The provider would answer this request with an error."""


@dataclass(slots=True)
class _Cached:
    readable_at: float
    dies_at: float
    life: float


@dataclass(frozen=True, slots=True)
class _Marked:
    place: int
    ttl: LifetimeName


class PrefixCacheSimulator:
    """Bills requests as a provider with these rules would.

    Args:
        rules: one row of the table.
        counter: counts tokens; None: the default counter.
        latency_seconds: called once per request: how long until the answer begins, from when on what the request wrote
            can be read.

    Example:
        >>> from thrift_core.caching.provider_rules import rules_for
        >>> from thrift_core.messages import Message
        >>> rules = rules_for("anthropic", "claude-sonnet-5")
        >>> class Words:
        ...     def count(self, text):
        ...         return len(text.split())
        >>> provider = PrefixCacheSimulator(rules, counter=Words())
        >>> request = Request((Message("system", "rule " * 2000), Message("user", "hello")))
        >>> marker = CacheBreakpoint(reason="", index=0)
        >>> [provider.send(request, [marker], now=at).cache_read for at in (0, 60, 3600)]
        [0, 2003, 0]
    """

    def __init__(
        self,
        rules: CacheRules,
        *,
        counter: TextCounter | None = None,
        latency_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._rules = rules
        self._renderer = PrefixRenderer(counter)
        self._latency_seconds = latency_seconds
        self._cached: dict[bytes, _Cached] = {}

    def send(
        self, request: Request, markers: Sequence[CacheBreakpoint] = (), *, now: float, mode: Mode = "implicit"
    ) -> InputBill:
        """Return what the request is billed as, and cache what it asks for.

        Args:
            request: what is sent.
            markers: where its cache markers stand.
            now: seconds; never before that of the last request.
            mode: for a provider that places a marker itself: `explicit` asks it not to.

        Raises:
            IllegalMarkers: too many markers, one that points nowhere or at what cannot carry one, two in one place, or
                a longer life behind a shorter one.
        """
        segments = self._renderer.render(request, self._rules).segments
        marked = self._validated(segments, markers)
        if not segments:
            return InputBill()
        ready = now + self._latency_seconds()
        if self._rules.style == "automatic":
            return self._send_automatic(segments, now, ready)
        marked = [m for m in marked if self._is_long_enough(segments[m.place])]
        return self._send_marked(segments, marked, now, ready, is_managed=self._is_managed(mode))

    def _is_managed(self, mode: Mode) -> bool:
        return self._rules.style == "managed" and mode == "implicit"

    def _is_long_enough(self, segment: Segment) -> bool:
        most = self._rules.max_cached_tokens
        return segment.end_tokens >= self._rules.min_tokens and (most is None or segment.end_tokens <= most)

    def _validated(self, segments: Sequence[Segment], markers: Sequence[CacheBreakpoint]) -> list[_Marked]:
        rules = self._rules
        if len(markers) > rules.max_breakpoints:
            raise IllegalMarkers(f"{len(markers)} markers, but {rules.provider} takes {rules.max_breakpoints}")
        by_index = {segment.points_at: n for n, segment in enumerate(segments)}
        marked: list[_Marked] = []
        for marker in markers:
            if marker.index not in by_index:
                raise IllegalMarkers(f"a marker points at {marker.index}, where nothing is")
            place = by_index[marker.index]
            if not segments[place].is_markable:
                raise IllegalMarkers(f"message {marker.index} ({segments[place].place}) cannot carry a marker")
            if marker.ttl not in {lifetime.name for lifetime in rules.lifetimes}:
                raise IllegalMarkers(f"{rules.provider} has no lifetime {marker.ttl}")
            marked.append(_Marked(place, marker.ttl))
        marked.sort(key=lambda m: m.place)
        if len({m.place for m in marked}) < len(marked):
            raise IllegalMarkers("two markers in one place")
        if [m.ttl for m in marked] != sorted((m.ttl for m in marked), key=lambda ttl: ttl != "1h"):
            raise IllegalMarkers("a marker for an hour stands behind one for five minutes")
        return marked

    def _send_automatic(self, segments: Sequence[Segment], now: float, ready: float) -> InputBill:
        shared = max((s.end_tokens for s in segments if self._readable(s, now)), default=0)
        read = shared // self._rules.step_tokens * self._rules.step_tokens
        if read < self._rules.min_tokens:
            read = 0
        for segment in segments:
            self._store(segment, self._rules.shortest.seconds, now, ready)
        return InputBill(uncached=segments[-1].end_tokens - read, cache_read=read)

    def _send_marked(
        self, segments: Sequence[Segment], marked: Sequence[_Marked], now: float, ready: float, *, is_managed: bool
    ) -> InputBill:
        rules = self._rules
        writing = list(marked)
        searched = {place for m in marked for place in self._searched(segments, m.place)}
        if is_managed:
            writing = writing[-(rules.max_breakpoints - 1) :]
            eligible = [n for n, s in enumerate(segments) if s.is_markable]
            searched |= set(eligible[-(rules.lookback_breakpoints or 0) :])
            own = [n for n in eligible if segments[n].place in ("user", "tool") and self._is_long_enough(segments[n])]
            if own and own[-1] not in {m.place for m in writing}:
                writing.append(_Marked(own[-1], rules.shortest.name))
        hit = max((n for n in searched if self._readable(segments[n], now)), default=-1)
        read = segments[hit].end_tokens if hit >= 0 else 0
        end_1h = max((segments[m.place].end_tokens for m in writing if m.ttl == "1h"), default=0)
        end_all = max((segments[m.place].end_tokens for m in writing), default=0)
        hour = max(0, end_1h - read)
        short = max(0, end_all - read - hour)
        if hit >= 0:
            self._use(segments[hit], now)
        for m in writing:
            if m.place > hit:
                self._store(segments[m.place], rules.lifetime(m.ttl).seconds, now, ready)
            else:
                self._use(segments[m.place], now)
        return InputBill(
            uncached=segments[-1].end_tokens - read - hour - short,
            cache_read=read,
            cache_write_5m=short,
            cache_write_1h=hour,
        )

    def _searched(self, segments: Sequence[Segment], place: int) -> list[int]:
        blocks = self._rules.lookback_blocks or 1
        last = segments[place].end_blocks
        return [n for n in range(place + 1) if n == place or last - segments[n].end_blocks < blocks]

    def _readable(self, segment: Segment, now: float) -> bool:
        cached = self._cached.get(segment.digest)
        return cached is not None and cached.readable_at <= now <= cached.dies_at

    def _use(self, segment: Segment, now: float) -> None:
        cached = self._cached.get(segment.digest)
        if cached is not None and now <= cached.dies_at:
            cached.dies_at = now + cached.life

    def _store(self, segment: Segment, life: float, now: float, ready: float) -> None:
        cached = self._cached.get(segment.digest)
        if cached is not None and now <= cached.dies_at:
            cached.life = max(cached.life, life)
            cached.dies_at = now + cached.life
            cached.readable_at = min(cached.readable_at, ready)
        else:
            self._cached[segment.digest] = _Cached(ready, now + life, life)
