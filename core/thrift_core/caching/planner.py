"""Places prompt-cache markers so that the provider's cache pays, and says beforehand what will be billed.

Online and without an LLM: it knows the provider's rules, what was sent before, and when. It marks the end of the
tools and of the system prompt, the longest prefix that is cached already, and the last message that the next request
will keep, each only if it is predicted to save more than it costs. No rule that ever writes to a cache can promise that
a single conversation is never dearer (it may end after the first call); what can be promised is that a workload that
reuses nothing stops being written after a few calls.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from thrift_core.accounting.usage import Usage
from thrift_core.caching.advice import CacheAdvice, CacheHints
from thrift_core.caching.bill import InputBill
from thrift_core.caching.cache_mirror import CacheMirror, Mark
from thrift_core.caching.drift import Drift, DriftDetector
from thrift_core.caching.experience import Conversation, Experience, Seen, goes_on
from thrift_core.caching.placement import CachePrices, Choice, Situation, choose
from thrift_core.caching.prefix import Prefix, PrefixRenderer, TextCounter, canonical_tools
from thrift_core.caching.provider_rules import CacheRules, LifetimeName, named_rules, rules_for
from thrift_core.errors import ConfigurationError
from thrift_core.messages import CacheBreakpoint, Request, tool_name
from thrift_core.rates import Pricing

# So small that it is no money, yet more than nothing: a step that saves nothing is passed over, and a first write saves
# nothing yet.
_GO_AHEAD = Decimal("1E-9")
_MAX_PREDICTIONS = 256
# The same request twice within a second was looked at twice (`explain`, then `plan`), or sent side by side.
_TWICE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _View(Seen):
    pricing: Pricing | None
    prices: CachePrices


class PromptCachePlanner:
    """Decides where the prompt-cache markers of a request go.

    Call it once for each request that is sent, in the order in which they are sent: it learns from what it sees. It is
    a lever (`decide`). Safe to share between threads.

    Args:
        rules: a provider's id, the rules themselves, or None: by each request's provider and model.
        counter: counts tokens; None: the default counter of `thrift_core.tokens`.
        clock: tells the time in seconds since 1970.
        explicit_mode: for OpenAI from GPT-5.6: the caller sends the `mode` of the hints, so that the provider places no
            marker of its own.
        warn_of_drift: whether changing text in the prefix is looked for.
        max_conversations: how many conversations are remembered; the least recently used are forgotten.

    Raises:
        ConfigurationError: there are no rules for that provider, or `max_conversations` is not positive.

    Example:
        >>> from thrift_core.messages import Message
        >>> planner = PromptCachePlanner("anthropic")
        >>> request = Request((Message("system", "rule " * 2000), Message("user", "hello")), model="claude-sonnet-5")
        >>> [(edit.index, edit.ttl) for edit in planner.plan(request, now=0.0)]
        [(0, '5m')]
    """

    def __init__(
        self,
        rules: CacheRules | str | None = None,
        *,
        counter: TextCounter | None = None,
        clock: Callable[[], float] = time.time,
        explicit_mode: bool = False,
        warn_of_drift: bool = True,
        max_conversations: int = 1024,
    ) -> None:
        if max_conversations < 1:
            raise ConfigurationError(f"max_conversations must be 1 or more; got {max_conversations!r}")
        self._rules = named_rules(rules) if isinstance(rules, str) else rules
        self._clock = clock
        self._explicit_mode = explicit_mode
        self._renderer = PrefixRenderer(counter)
        self._drift = DriftDetector() if warn_of_drift else None
        self._lock = threading.Lock()
        self._mirror = CacheMirror()
        self._experience = Experience(max_conversations)
        self._predicted: OrderedDict[bytes, CacheAdvice] = OrderedDict()
        # What was written and not yet earned back, in dollars: credited savings are what is really saved.
        self._owed = Decimal(0)

    def prepare(self) -> None:
        """Load the token counter; otherwise the first decision does."""
        self._renderer.prepare()

    def decide(self, request: Request, pricing: Pricing | None) -> Sequence[CacheBreakpoint]:
        """Return the markers for a request that is about to be sent; the lever's face of `plan`."""
        return self.plan(request, pricing)

    def plan(
        self, request: Request, pricing: Pricing | None = None, *, now: float | None = None
    ) -> list[CacheBreakpoint]:
        """Return the markers for a request that is about to be sent.

        The dollars on the edits add up, over the calls, to what caching is predicted to save: what this call reads
        below the full price, less what was paid for writing and is not earned back yet.

        Args:
            request: what is about to be sent.
            pricing: what the model charges; None: the multipliers of the provider's rules are used.
            now: seconds since 1970; None: the clock's.
        """
        return list(self.advise(request, pricing, now=now).edits)

    def predict(self, request: Request, pricing: Pricing | None = None, *, now: float | None = None) -> InputBill:
        """Return what the request's input will be billed as; changes nothing.

        After `plan` of the same request it is the prediction that goes with its markers. Before, it is that for the
        markers that would be placed if this request had nothing to teach.

        Where a call starts before the answer to another one has begun, nobody can know yet whether it can read what
        that one wrote; an entry is taken to be readable after a second.
        """
        now = self._clock() if now is None else now
        with self._lock:
            view = self._look(request, pricing, now)
            if view is None:
                return InputBill()
            known = self._predicted.get(view.prefix.digest)
            return known.predicted if known is not None else self._advice(view, ())[0].predicted

    def advise(self, request: Request, pricing: Pricing | None = None, *, now: float | None = None) -> CacheAdvice:
        """Return markers, predicted bill, hints and drift in one; `plan` and `predict` are parts of it."""
        now = self._clock() if now is None else now
        with self._lock:
            view = self._look(request, pricing, now)
            if view is None:
                return CacheAdvice()
            if (twice := self._seen_just_now(view)) is not None:
                return twice
            drift = tuple(self._drift.inspect(request, now=now)) if self._drift is not None else ()
            self._experience.learn(view)
            advice, marks = self._advice(view, drift)
            self._send(view, marks, advice)
            return advice

    def observe(self, request: Request, usage: Usage) -> None:
        """Correct the picture of the provider's cache by what was billed; what the call wrote can be read from now on.

        Args:
            request: what was sent.
            usage: what the provider reported. A read that was predicted and did not happen means that the provider
                holds nothing of this request (evicted, another machine, markers not passed on).
        """
        with self._lock:
            now = self._clock()
            view = self._look(request, None, now)
            if view is None:
                return
            self._mirror.answered(view.prefix, now)
            advice = self._predicted.get(view.prefix.digest)
            if advice is None or advice.predicted.cache_read == 0 or usage.cache_read_tokens:
                return
            if usage.cache_write_tokens == 0 or view.rules.style == "automatic":
                self._mirror.forget(view.prefix)

    @staticmethod
    def canonical(request: Request) -> Request:
        """Return the request with its tools in canonical order, for adapters to send every time."""
        return Request(
            messages=request.messages,
            model=request.model,
            provider=request.provider,
            tools=canonical_tools(request.tools),
            max_output_tokens=request.max_output_tokens,
            parameters=request.parameters,
        )

    def _look(self, request: Request, pricing: Pricing | None, now: float) -> _View | None:
        rules = self._rules_of(request)
        if rules is None or not (request.messages or request.tools):
            return None
        found: list[Conversation] = []

        def recall(fixed_digest: bytes, keys: list[int]) -> Prefix | None:
            conversation = self._experience.most_alike(fixed_digest, keys)
            if conversation is None:
                return None
            found.append(conversation)
            return conversation.prefix

        prefix = self._renderer.render(request, rules, recall=recall)
        conversation = found[0] if found and goes_on(prefix.keys, found[0].prefix.keys) else None
        names = tuple(tool_name(tool) for tool in request.tools)
        family = self._experience.family((rules.provider, request.model, names))
        return _View(request, rules, prefix, conversation, family, now, pricing, _prices(rules, pricing))

    def _rules_of(self, request: Request) -> CacheRules | None:
        if isinstance(self._rules, CacheRules):
            return self._rules
        return rules_for(self._rules or request.provider, request.model)

    def _seen_just_now(self, view: _View) -> CacheAdvice | None:
        last = view.conversation
        if last is None or last.prefix.digest != view.prefix.digest or view.now - last.at >= _TWICE_SECONDS:
            return None
        return self._predicted.get(view.prefix.digest)

    def _advice(self, view: _View, drift: tuple[Drift, ...]) -> tuple[CacheAdvice, list[Mark]]:
        marks, written = self._marks(view)
        sent = self._with_providers_own(view, marks)
        bill = self._mirror.bill(view.prefix, view.rules, sent, view.now)
        return (
            CacheAdvice(
                edits=self._edits(view, marks, written, bill), predicted=bill, hints=self._hints(view), drift=drift
            ),
            marks,
        )

    def _marks(self, view: _View) -> tuple[list[Mark], dict[int, str]]:
        """Return the markers, and why those stand that write."""
        rules, prefix = view.rules, view.prefix
        if rules.style == "automatic" or view.prices.read >= 1:
            return [], {}
        hit = self._mirror.longest(prefix, view.now)
        tools, shared, tail = self._places(view, hit)
        if rules.style == "managed" and not self._explicit_mode:
            # The provider writes everything anyway, so a marker on what conversations share costs nothing.
            choice = Choice(shared=rules.shortest.name if shared > hit else None)
        else:
            choice = self._choice(view, hit, tools, shared, tail)
        marks: dict[int, LifetimeName] = {}
        reasons: dict[int, str] = {}
        wanted: tuple[tuple[int, LifetimeName | None, str], ...] = (
            (tools, choice.tools, "tools shared by further conversations"),
            (shared, choice.shared, "system prompt shared by further conversations"),
            (tail, choice.tail, "the conversation is expected to go on"),
        )
        for place, ttl, reason in wanted:
            if place >= 0 and ttl is not None:
                marks[place], reasons[place] = ttl, reason
        writes = bool(marks)
        for place in (tools, shared):
            # Beside a marker that pays, or on what is cached already, a marker costs nothing and keeps more alive.
            if (
                place >= 0
                and place not in marks
                and (self._mirror.is_live(prefix.segments[place].digest, view.now) or (writes and place > hit))
            ):
                marks[place] = rules.shortest.name
        if hit >= 0 and prefix.segments[hit].is_markable:
            marks.setdefault(hit, rules.shortest.name)
        return _in_legal_order(marks, rules.max_breakpoints, hit), reasons

    def _places(self, view: _View, hit: int) -> tuple[int, int, int]:
        """Return the positions where tools, system prompt and tail may be marked; -1: nowhere."""
        rules, prefix = view.rules, view.prefix
        fixed = prefix.segments[: prefix.fixed]
        tools = 0 if fixed and fixed[0].place == "tools" and self._can_mark(view, 0) else -1
        shared = prefix.fixed - 1 if fixed and fixed[-1].place == "system" else -1
        if shared >= 0 and not self._can_mark(view, shared):
            shared = -1
        if rules.style == "managed" and not self._explicit_mode:
            return tools, shared, -1
        last = prefix.segments[-1]
        depth = view.family.tails[last.place].usual() if last.place in view.family.tails else 0
        tail = len(prefix.segments) - 1 - depth
        while tail > max(hit, prefix.fixed - 1) and not self._can_mark(view, tail):
            tail -= 1
        return tools, shared, tail if tail > max(hit, prefix.fixed - 1) else -1

    def _can_mark(self, view: _View, position: int) -> bool:
        segment, rules = view.prefix.segments[position], view.rules
        most = rules.max_cached_tokens
        return (
            segment.is_markable
            and segment.end_tokens >= rules.min_tokens
            and (most is None or segment.end_tokens <= most)
        )

    def _choice(self, view: _View, hit: int, tools: int, shared: int, tail: int) -> Choice:
        segments, rules = view.prefix.segments, view.rules
        odds = self._experience.odds(view)
        own = view.conversation
        soon, late = odds.chances(own.soon, own.not_soon) if own is not None else odds.chances()
        lasting = self._mirror.longest(view.prefix, view.now, for_seconds=rules.longest.seconds)

        def end(position: int) -> int:
            return segments[position].end_tokens if position >= 0 else 0

        situation = Situation(
            hit=end(hit),
            lasting_hit=end(lasting),
            tools=end(tools),
            shared=end(shared),
            tail=end(tail),
            total=view.prefix.tokens,
            soon=soon,
            late=late,
            shared_uses=view.family.system.uses_per_write(),
            tools_uses=view.family.tools.uses_per_write() if len(view.request.tools) else (0.0, 0.0),
        )
        return choose(situation, view.prices)

    def _with_providers_own(self, view: _View, marks: list[Mark]) -> list[Mark]:
        """Return the markers and those the provider places or matches by itself."""
        if view.rules.style != "managed" or self._explicit_mode:
            return marks
        return managed_marks(view.prefix, view.rules, marks, self._mirror, view.now)

    def _edits(
        self, view: _View, marks: list[Mark], reasons: dict[int, str], bill: InputBill
    ) -> tuple[CacheBreakpoint, ...]:
        if not marks:
            return ()
        credit = self._credit(view, bill)
        edits: list[CacheBreakpoint] = []
        for n, mark in enumerate(marks):
            segment = view.prefix.segments[mark.position]
            reason = reasons.get(mark.position)
            verb = f"writes {segment.end_tokens} tokens for {mark.ttl}: {reason}" if reason else "keeps what is cached"
            edits.append(
                CacheBreakpoint(
                    reason=f"{verb}",
                    saved_usd=credit if n == len(marks) - 1 else Decimal(0),
                    index=segment.points_at,
                    ttl=mark.ttl,
                )
            )
        return tuple(edits)

    def _gain(self, view: _View, bill: InputBill) -> Decimal:
        pricing = view.pricing
        if pricing is None:
            return Decimal(0)
        return bill.input_tokens * pricing.input / Decimal(1_000_000) - bill.cost_usd(pricing)

    def _credit(self, view: _View, bill: InputBill) -> Decimal:
        if view.pricing is None:
            return Decimal(0)
        return max(self._gain(view, bill) - self._owed, _GO_AHEAD)

    def _hints(self, view: _View) -> CacheHints:
        if view.rules.provider not in ("openai", "azure"):
            return CacheHints()
        key = hashlib.blake2b(view.prefix.segments[0].digest, digest_size=8)
        if view.prefix.fixed:
            key = hashlib.blake2b(view.prefix.segments[view.prefix.fixed - 1].digest, digest_size=8)
        explicit = view.rules.style == "managed" and self._explicit_mode
        return CacheHints(prompt_cache_key=f"thrift-{key.hexdigest()}", mode="explicit" if explicit else None)

    def _send(self, view: _View, marks: list[Mark], advice: CacheAdvice) -> None:
        self._mirror.send(view.prefix, view.rules, self._with_providers_own(view, marks), view.now)
        if view.pricing is not None and marks:
            gain = self._gain(view, advice.predicted)
            self._owed += sum((edit.saved_usd for edit in advice.edits), Decimal(0)) - gain
        self._experience.note_sent(view, self._experience.odds(view))
        self._predicted[view.prefix.digest] = advice
        self._predicted.move_to_end(view.prefix.digest)
        if len(self._predicted) > _MAX_PREDICTIONS:
            self._predicted.popitem(last=False)


def managed_marks(
    prefix: Prefix, rules: CacheRules, marks: Sequence[Mark], mirror: CacheMirror, now: float
) -> list[Mark]:
    """Return the explicit markers, the one that the provider places itself, and the cached one that it finds itself."""
    places = [n for n, s in enumerate(prefix.segments) if s.is_markable and s.end_tokens >= rules.min_tokens]
    own = {mark.position: mark for mark in marks[-(rules.max_breakpoints - 1) :]}
    newest = next((n for n in reversed(places) if prefix.segments[n].place in ("user", "tool")), None)
    for place in reversed(places[-(rules.lookback_breakpoints or 0) :]):
        if mirror.is_live(prefix.segments[place].digest, now):
            own.setdefault(place, Mark(place, rules.shortest.name))
            break
    if newest is not None:
        own.setdefault(newest, Mark(newest, rules.shortest.name))
    return [own[position] for position in sorted(own)]


def _prices(rules: CacheRules, pricing: Pricing | None) -> CachePrices:
    if pricing is None or pricing.input <= 0:
        return CachePrices(
            read=rules.read_multiplier,
            write={lifetime.name: lifetime.write_multiplier for lifetime in rules.lifetimes},
        )
    paid: dict[LifetimeName, Decimal] = {"5m": pricing.cache_write_5m, "1h": pricing.cache_write_1h}
    return CachePrices(
        read=float(pricing.cache_read / pricing.input),
        write={lifetime.name: float(paid[lifetime.name] / pricing.input) for lifetime in rules.lifetimes},
    )


def _in_legal_order(marks: dict[int, LifetimeName], most: int, hit: int) -> list[Mark]:
    """Return at most `most` markers in order, none with a longer life than one before it.

    What is beyond the limit goes from the front, the marker that reads what is cached excepted.
    """
    positions = sorted(marks)
    while len(positions) > most:
        positions.remove(next(p for p in positions if p != hit))
    ordered: list[Mark] = []
    longest: LifetimeName = "5m"
    for position in reversed(positions):
        longest = "1h" if "1h" in (longest, marks[position]) else "5m"
        ordered.append(Mark(position, longest))
    return ordered[::-1]
