"""`python -m benchmarks trajectory --part planner`: markers placed online against a clairvoyant and a fixed placement.

Recorded conversations carry no times, so arrivals are drawn from the distributions of `GAPS`, with conversations
interleaved as they start. Each provider is simulated under its rules and its latency; the planner sees neither.

- `saving_vs_clairvoyant_pct`: dollars saved below no caching at all, as a share of what the clairvoyant saves. Absent
  where even the clairvoyant saves nothing.
- `cost_vs_no_markers_pct`: input dollars as a share of sending no markers.
- `worst_cost_pct`: the same for the dearest conversation.
- `prediction_error_pct`: sum over calls of |predicted - billed| dollars, as a share of the billed dollars. The
  prediction is made before the call; errors of different calls do not cancel out.

The clairvoyant (`ideal`) is a lower bound of the cost under full knowledge of the future: no placement can be cheaper.
What several conversations share is taken message by message: it is written at the lowest price whenever it will be read
within the longest lifetime, read otherwise, and neither where nobody comes back. What belongs to one conversation is
solved exactly, call by call (write nothing, for the short or for the long lifetime), with what is cached already kept
alive for the long lifetime at no charge. Limits on the number of markers and the search window are waived.

Learned on one half of the tasks and measured on the other (`split`), `thrift-cold` on the same half without learning.
`thrift-markers-only` leaves OpenAI's own breakpoint on, for adapters that cannot send the mode.
"""

from __future__ import annotations

import gzip
import hashlib
import heapq
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from thrift_core.caching.bill import InputBill
from thrift_core.caching.planner import PromptCachePlanner
from thrift_core.caching.prefix import PrefixRenderer, TextCounter
from thrift_core.caching.prefix_cache_simulator import PrefixCacheSimulator
from thrift_core.caching.provider_rules import CacheRules, rules_for
from thrift_core.messages import CacheBreakpoint, Message, Request, ToolCall
from thrift_core.prices import PriceBook, Pricing, Unpriced

MODELS = (
    ("anthropic", "claude-sonnet-5"),
    ("aws", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("openai", "gpt-5.6"),
    ("openai", "gpt-5"),
    ("google", "gemini-2.5-flash"),
)
FIGURES = {
    "saving_vs_clairvoyant_pct": "dollars saved below no caching, of what a clairvoyant placement could at most save",
    "cost_vs_no_markers_pct": "input dollars, of those without markers",
    "cost_vs_no_cache_pct": "input dollars, of those without any caching",
    "prediction_error_pct": "sum of |predicted - billed| dollars of each call, of the billed dollars",
    "worst_cost_pct": "cost_vs_no_markers_pct of the dearest conversation",
    "ms_per_call_p95": "processor time of one decision",
}
_DAY = 86_400.0
# An answer is complete before the next call of its conversation is sent.
_ANSWER_SECONDS = 5.0


def _lognormal(median: float, spread: float) -> Callable[[random.Random, str], float]:
    return lambda rng, _: median * rng.lognormvariate(0.0, spread)


def _chat(rng: random.Random, role: str) -> float:
    return rng.lognormvariate(1.6, 0.7) if role == "tool" else 90 * rng.lognormvariate(0.0, 1.3)


def _breaks(rng: random.Random, _: str) -> float:
    return rng.lognormvariate(2.3, 0.7) if rng.random() < 0.8 else rng.uniform(600.0, 10_800.0)


# Seconds between the calls of a conversation, and the mean seconds between the starts of two conversations.
GAPS: dict[str, tuple[Callable[[random.Random, str], float], float]] = {
    "loop": (_lognormal(8.0, 0.6), 60.0),
    "burst": (_lognormal(8.0, 0.6), 2.0),
    "loop-rare": (_lognormal(8.0, 0.6), 7200.0),
    "chat": (_chat, 120.0),
    "breaks": (_breaks, 300.0),
    "slow": (_lognormal(600.0, 1.0), 900.0),
    "never": (lambda rng, _: rng.uniform(7200.0, 21_600.0), 0.0),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call of a recorded conversation, at a drawn time."""

    at: float
    conversation: str
    request: Request


@dataclass(slots=True)
class Tally:
    """What a system's calls cost."""

    cost: Decimal = Decimal(0)
    off: Decimal = Decimal(0)
    by_conversation: dict[str, Decimal] | None = None
    milliseconds: list[float] | None = None

    def add(self, conversation: str, billed: InputBill, predicted: InputBill | None, pricing: Pricing) -> None:
        cost = billed.cost_usd(pricing)
        self.cost += cost
        if self.by_conversation is None:
            self.by_conversation = {}
        self.by_conversation[conversation] = self.by_conversation.get(conversation, Decimal(0)) + cost
        if predicted is not None:
            self.off += abs(predicted.cost_usd(pricing) - cost)


class RememberingCounter:
    """Counts each text once."""

    def __init__(self, counter: TextCounter) -> None:
        self._counter = counter
        self._known: dict[str, int] = {}

    def count(self, text: str) -> int:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._counter.count(text)
        return known


def run_planner(
    paths: Iterable[Path],
    *,
    seed: int = 0,
    limit: int | None = None,
    counter: TextCounter | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return one record per file, provider, gap distribution and system.

    Args:
        paths: trajectory files (`*.jsonl` or `*.jsonl.gz`, with `<name>.tools.json` beside them where there are tools).
        seed: of the split and of the arrival times.
        limit: at most so many conversations of each file.
        counter: counts tokens; None: tiktoken's, or an estimate where it has no ranks on disk.
        progress: told what comes next.
    """
    if counter is None:
        from thrift_core.tokens import default_counter  # noqa: PLC0415

        counter = default_counter()
    counter = RememberingCounter(counter)
    book = PriceBook()
    records: list[dict[str, Any]] = []
    for path in paths:
        rows = load(path)[:limit]
        halves = split(rows, seed)
        for provider, model in MODELS:
            rules, pricing = rules_for(provider, model), book.pricing(model, provider)
            if rules is None or isinstance(pricing, Unpriced):
                continue
            for gaps in GAPS:
                progress(f"{stem(path)} {provider} {model} {gaps}")
                learn, measure = (
                    arrivals(half, model, provider, tools_beside(path), gaps, seed=seed + n)
                    for n, half in enumerate(halves)
                )
                for record in compare(rules, pricing, learn, measure, counter=counter, seed=seed):
                    records.append(
                        {
                            "benchmark": "trajectory",
                            "part": "planner",
                            "data": stem(path),
                            "rules": provider,
                            "model": model,
                            "gaps": gaps,
                            "split": f"measured on {len(halves[1])} conversations, learned on {len(halves[0])}",
                            "n": len(measure),
                            **record,
                        }
                    )
    return records


def compare(
    rules: CacheRules,
    pricing: Pricing,
    learn: Sequence[Arrival],
    measure: Sequence[Arrival],
    *,
    counter: TextCounter,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return what the planner, a fixed placement and the clairvoyant make of the same calls."""
    uncached = sum((_uncached(a.request, rules, counter).cost_usd(pricing) for a in measure), Decimal(0))
    none = _replay_fixed(rules, pricing, measure, lambda _: [], counter=counter, seed=seed)
    ideal = clairvoyant_cost(rules, pricing, measure, counter=counter)
    if rules.style == "automatic":
        ideal = none.cost
    tallies: dict[str, Tally] = {"baseline": none}
    for name, before in (("thrift", learn), ("thrift-cold", ())):
        tallies[name] = _replay_planner(rules, pricing, before, measure, counter=counter, seed=seed)
    if rules.style == "managed":
        tallies["thrift-markers-only"] = _replay_planner(
            rules, pricing, learn, measure, counter=counter, seed=seed, explicit_mode=False
        )
    if rules.style == "explicit":
        tallies["fixed-placement"] = _replay_fixed(
            rules,
            pricing,
            measure,
            lambda request: fixed_placement(request, rules, counter),
            counter=counter,
            seed=seed,
        )
    tallies["ideal"] = Tally(ideal)
    return [{"system": name, **_figures(tally, none, ideal, uncached)} for name, tally in tallies.items()]


def _figures(tally: Tally, none: Tally, ideal: Decimal, uncached: Decimal) -> dict[str, float]:
    figures: dict[str, float] = {
        "cost_vs_no_markers_pct": _percent(tally.cost, none.cost),
        "cost_vs_no_cache_pct": _percent(tally.cost, uncached),
    }
    # Where even the clairvoyant saves less than a hundredth of a percent there is no share to speak of.
    if uncached - ideal > uncached / 10_000:
        figures["saving_vs_clairvoyant_pct"] = _percent(uncached - tally.cost, uncached - ideal)
    if tally.by_conversation and none.by_conversation and tally is not none:
        shares = [_percent(cost, none.by_conversation[name]) for name, cost in tally.by_conversation.items()]
        figures["worst_cost_pct"] = max(shares)
    if tally.milliseconds:
        ordered = sorted(tally.milliseconds)
        figures["prediction_error_pct"] = _percent(tally.off, tally.cost)
        figures["ms_per_call_p95"] = round(ordered[int(0.95 * (len(ordered) - 1))], 3)
    return figures


def _percent(part: Decimal, whole: Decimal) -> float:
    return round(float(100 * part / whole), 3) if whole else 0.0


def clairvoyant_cost(rules: CacheRules, pricing: Pricing, calls: Sequence[Arrival], *, counter: TextCounter) -> Decimal:
    """Return a cost that no placement of markers can go below, whatever it knows of the future."""
    renderer = PrefixRenderer(counter)
    visits: dict[bytes, _Node] = {}
    chains: dict[str, list[tuple[float, list[_Node]]]] = {}
    fresh = 0
    for call in calls:
        segments = renderer.render(call.request, rules).segments
        most = rules.max_cached_tokens
        first = next((n for n, s in enumerate(segments) if s.end_tokens >= rules.min_tokens), None)
        if first is None or (most is not None and segments[first].end_tokens > most):
            fresh += segments[-1].end_tokens if segments else 0
            continue
        start = 0
        path: list[_Node] = []
        # What comes before the smallest cacheable prefix can only be shared together with the rest of that prefix.
        for segment in segments[first:]:
            node = visits.setdefault(segment.digest, _Node(segment.end_tokens - start))
            node.times.append(call.at)
            node.conversations.add(call.conversation)
            path.append(node)
            start = segment.end_tokens
        chains.setdefault(call.conversation, []).append((call.at, path))
    shared = sum(_node_cost(n.tokens, n.times, rules, pricing) for n in visits.values() if len(n.conversations) > 1)
    own = sum(_chain_cost([(at, _own_tokens(path)) for at, path in chain], rules, pricing) for chain in chains.values())
    return (fresh * pricing.input + shared + own) / 1_000_000


@dataclass(slots=True)
class _Node:
    tokens: int
    times: list[float] = field(default_factory=list[float])
    conversations: set[str] = field(default_factory=set[str])


def _own_tokens(path: Sequence[_Node]) -> int:
    return sum(node.tokens for node in path if len(node.conversations) == 1)


def _chain_cost(calls: Sequence[tuple[float, int]], rules: CacheRules, pricing: Pricing) -> Decimal:
    """Return the least cost of a conversation that only grows: a dynamic programme over what is cached, and how long.

    The state after a call is (tokens that live long, tokens that live at least short). What is read is kept alive for
    the long lifetime for nothing, since one short message marked for an hour would do it.
    """
    states: dict[tuple[int, int], Decimal] = {(0, 0): Decimal(0)}
    before: float | None = None
    for at, tokens in calls:
        following: dict[tuple[int, int], Decimal] = {}
        gap = float("inf") if before is None else at - before
        for (long, short), spent in states.items():
            alive = short if gap <= rules.shortest.seconds else long if gap <= rules.longest.seconds else 0
            hit = min(alive, tokens)
            new = tokens - hit
            paid = spent + hit * pricing.cache_read
            for state, price in (
                ((hit, hit), pricing.input),
                ((hit, tokens), pricing.cache_write_5m),
                ((tokens, tokens), pricing.cache_write_1h),
            ):
                cost = paid + new * price
                if state not in following or cost < following[state]:
                    following[state] = cost
        states, before = following, at
    return min(states.values())


def _node_cost(tokens: int, times: Sequence[float], rules: CacheRules, pricing: Pricing) -> Decimal:
    total = Decimal(0)
    run = 0
    for n, at in enumerate(times):
        run += 1
        if n + 1 == len(times) or times[n + 1] - at > rules.longest.seconds:
            written = pricing.cache_write_5m + (run - 1) * pricing.cache_read
            total += min(run * pricing.input, written)
            run = 0
    return tokens * total


def fixed_placement(request: Request, rules: CacheRules, counter: TextCounter) -> list[CacheBreakpoint]:
    """Return the markers of LangChain's `AnthropicPromptCachingMiddleware`: last tool, system prompt, last block."""
    segments = PrefixRenderer(counter).render(request, rules).segments
    places = {s.place: s for s in segments if s.place in ("tools", "system")}
    places["last"] = segments[-1]
    points = sorted({s.points_at for s in places.values() if s.is_markable})
    return [CacheBreakpoint(reason="always", index=point) for point in points]


def _replay_planner(
    rules: CacheRules,
    pricing: Pricing,
    learn: Sequence[Arrival],
    measure: Sequence[Arrival],
    *,
    counter: TextCounter,
    seed: int,
    explicit_mode: bool = True,
) -> Tally:
    planner = PromptCachePlanner(counter=counter, explicit_mode=explicit_mode, warn_of_drift=False)
    provider = _provider(rules, counter, seed)
    tally = Tally(milliseconds=[])
    start = -(max((a.at for a in learn), default=0.0) + _DAY)
    for arrival in learn:
        planner.advise(arrival.request, pricing, now=start + arrival.at)
    for arrival in measure:
        began = time.thread_time()
        advice = planner.advise(arrival.request, pricing, now=arrival.at)
        tally.milliseconds.append(1000 * (time.thread_time() - began))  # type: ignore[union-attr]
        mode = advice.hints.mode or "implicit"
        billed = provider.send(arrival.request, advice.edits, now=arrival.at, mode=mode)
        tally.add(arrival.conversation, billed, advice.predicted, pricing)
    return tally


def _replay_fixed(
    rules: CacheRules,
    pricing: Pricing,
    calls: Sequence[Arrival],
    place: Callable[[Request], list[CacheBreakpoint]],
    *,
    counter: TextCounter,
    seed: int,
) -> Tally:
    provider = _provider(rules, counter, seed)
    tally = Tally()
    for call in calls:
        tally.add(call.conversation, provider.send(call.request, place(call.request), now=call.at), None, pricing)
    return tally


def _provider(rules: CacheRules, counter: TextCounter, seed: int) -> PrefixCacheSimulator:
    rng = random.Random(seed)
    return PrefixCacheSimulator(
        rules,
        counter=counter,
        latency_seconds=lambda: min(1.5 * rng.lognormvariate(0.0, 0.5), _ANSWER_SECONDS),
    )


def _uncached(request: Request, rules: CacheRules, counter: TextCounter) -> InputBill:
    return InputBill(uncached=PrefixRenderer(counter).render(request, rules).tokens)


def load(path: Path) -> list[dict[str, Any]]:
    """Return the conversations of a trajectory file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def stem(path: Path) -> str:
    """Return the file's name without its endings."""
    return path.name.split(".", 1)[0]


def tools_beside(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the tool definitions that belong to a trajectory file, if there are any."""
    beside = path.with_name(f"{stem(path)}.tools.json")
    return tuple(json.loads(beside.read_text(encoding="utf-8"))) if beside.exists() else ()


def split(rows: Sequence[dict[str, Any]], seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the conversations to learn from and those to measure on; those of one task stay together."""
    halves: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row in rows:
        digest = hashlib.blake2b(f"{seed}:{row['task_id']}".encode(), digest_size=2).digest()
        halves[digest[0] % 2].append(row)
    return halves


def arrivals(
    rows: Sequence[dict[str, Any]],
    model: str,
    provider: str,
    tools: tuple[dict[str, Any], ...],
    gaps: str,
    *,
    seed: int,
) -> list[Arrival]:
    """Return the calls of all conversations in the order in which they arrive."""
    rng = random.Random(f"{seed}:{gaps}")
    draw, between = GAPS[gaps]
    start = 0.0
    streams: list[list[Arrival]] = []
    for row in rows:
        at = start
        calls: list[Arrival] = []
        for request in requests_of(row["messages"], model, provider, tools):
            calls.append(Arrival(at, row["id"], request))
            at += _ANSWER_SECONDS + draw(rng, request.messages[-1].role)
        streams.append(calls)
        # Without a time between starts, conversations follow one another, each as far apart as its calls.
        start = start + rng.expovariate(1 / between) if between else at
    return list(heapq.merge(*streams, key=lambda arrival: arrival.at))


def requests_of(
    messages: Sequence[dict[str, Any]], model: str, provider: str, tools: tuple[dict[str, Any], ...]
) -> Iterator[Request]:
    """Return one request per recorded answer: everything that stood before it."""
    view: list[Message] = []
    for message in messages:
        if message["role"] == "assistant" and view:
            yield Request(tuple(view), model=model, provider=provider, tools=tools)
        view.append(_message(message))


def _message(message: dict[str, Any]) -> Message:
    calls = tuple(
        ToolCall(call["function"]["name"], call["function"]["arguments"], call.get("id"))
        for call in message.get("tool_calls") or ()
    )
    return Message(message["role"], message.get("content") or "", calls, message.get("tool_call_id"))
