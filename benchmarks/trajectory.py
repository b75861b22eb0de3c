"""Recorded agent runs replayed call by call: what thrift's summarizer costs and loses, beside what others do.

The replay is teacher-forced: whatever is sent, the recording goes on as it was. thrift's constants were chosen on the
tasks of one half of each file (`split` tuned, by a hash of the task's id); records of the other half say unseen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from thrift_core.messages import Message, apply_edits
from thrift_core.prices import Pricing
from thrift_core.recall.tool import recall_schema
from thrift_core.tokens import TokenCounter, default_counter
from thrift_core.trajectory.summarizer import SummarizerMode, TrajectorySummarizer

from benchmarks.records import Options, Record, percent, stem, watched
from benchmarks.trajectory_data import Trajectory, joined, load, part_of
from benchmarks.trajectory_replay import SCHEMES, Outcome, Policy, Scheme, Sent, Sizes, ideal, replay

FIGURES = {
    "--part": "runs (the default): each run alone; threads: ten runs joined into one; planner: cache breakpoints",
    "scheme": "prices: none, no cache; r0.5, cached tokens at half price, writes free; w1.25_r0.1, writes at 1.25",
    "cost_pct": "input cost in percent of the full replay with the same cache; cached tokens of a call are those of "
    "the longest common message prefix with one of the last six requests, if at least 1,024",
    "captured_pct": "(100 - cost) / (100 - ideal); ideal pays each token once and reads only system and tools again",
    "args_lost_pct": "argument values of at least four characters in later tool calls that had been seen and are "
    "neither in the request nor one recall away",
    "args_one_recall_pct": "the same, not in the request but one recall away",
    "facts_lost_pct": "words and numbers with a digit in replies that had been seen, lost likewise",
    "invalid_pct": "requests with a result without its call or the reverse, or without a task",
    "worst_cost_pct": "cost of the dearest single run",
    "ms_per_message_p95": "the policy's processor time, 95th percentile, for each new message",
    "split": "tuned or unseen half of the tasks; absent for the whole file",
    "thrift-rewrite-recall": "thrift-rewrite with the recall tool's own schema charged in each call",
}
_HANDLE = re.compile(r"recall ([0-9a-f]{10,})")
# A text longer than this is counted in pieces: byte-pair encoding slows down on long runs without a blank.
_PIECE = 20_000


@dataclass(frozen=True, slots=True)
class _System:
    """A policy to replay; it is made anew for each run, and for each scheme if its answers depend on prices."""

    make: Callable[[Scheme, Trajectory], Policy]
    depends_on_prices: bool = False


def run(options: Options) -> Iterator[Record]:
    """Yield one record for each data file, scheme, system and split."""
    files = options.files("trajectories")
    if options.part == "planner":
        from benchmarks.planner import run_planner  # noqa: PLC0415

        yield from run_planner(files, seed=options.seed, limit=options.limit)
        return
    sizes = Sizes(_count)
    for file in files:
        runs = [one for one in load(file)[: options.limit] if one.calls]
        if options.part == "threads":
            runs = joined(runs)
        if runs:
            yield from _measured(stem(file), runs, sizes, options)


def _measured(data: str, runs: Sequence[Trajectory], sizes: Sizes, options: Options) -> Iterator[Record]:
    full = [replay(one, _full, sizes) for one in watched(runs, f"{data}: full replay")]
    limit = [ideal(one, sizes) for one in runs]
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for name, system in _systems().items():
        for scheme in SCHEMES if system.depends_on_prices else SCHEMES[:1]:
            known = [
                replay(one, system.make(scheme, one), sizes) for one in watched(runs, f"{data}: {name} {scheme.name}")
            ]
            for priced in [scheme] if system.depends_on_prices else SCHEMES:
                outcomes[name, priced.name] = known
    parts = [part_of(one.task_id, options.seed) for one in runs]
    for scheme in SCHEMES:
        rows = {"baseline": full, **{name: outcomes[name, scheme.name] for name in _systems()}, "ideal": limit}
        for name, found in rows.items():
            head = {"benchmark": "trajectory", "part": options.part or "runs", "data": data, "scheme": scheme.name}
            yield {**head, "system": name, **_figures(found, full, limit, scheme)}
            if name.startswith("thrift") and options.part != "threads":
                for part in sorted(set(parts)):
                    own = [at for at, belongs in enumerate(parts) if belongs == part]
                    mine, base, best = ([group[at] for at in own] for group in (found, full, limit))
                    yield {**head, "system": name, "split": part, **_figures(mine, base, best, scheme)}


def _systems() -> dict[str, _System]:
    from benchmarks.trajectory_peers import PEERS  # noqa: PLC0415

    return {
        "thrift-append-only": _System(lambda scheme, one: _thrift("append_only", scheme, one), depends_on_prices=True),
        "thrift-rewrite": _System(lambda scheme, one: _thrift("rewrite", scheme, one), depends_on_prices=True),
        "thrift-rewrite-recall": _System(lambda scheme, one: _thrift("rewrite", scheme, one, _recall_tokens()), True),
        **{name: _System(_always(make)) for name, make in PEERS.items()},
    }


def _figures(
    found: Sequence[Outcome], full: Sequence[Outcome], limit: Sequence[Outcome], scheme: Scheme
) -> dict[str, float | int]:
    whole = sum(one.cost(scheme) for one in full)
    cost = percent(sum(one.cost(scheme) for one in found), whole)
    best = percent(sum(one.cost(scheme) for one in limit), whole)
    figures: dict[str, float | int] = {"n": len(found), "cost_pct": cost}
    if best < 100:
        figures["captured_pct"] = round(100 * (100 - cost) / (100 - best), 2)
    figures["worst_cost_pct"] = max(
        percent(one.cost(scheme), base.cost(scheme)) for one, base in zip(found, full, strict=True)
    )
    if not any(one.milliseconds for one in found):
        return figures
    losses = [one.losses for one in found]
    if values := sum(loss.values for loss in losses):
        figures["args_lost_pct"] = percent(sum(loss.lost for loss in losses), values)
        figures["args_one_recall_pct"] = percent(sum(loss.one_recall for loss in losses), values)
    if facts := sum(loss.facts for loss in losses):
        figures["facts_lost_pct"] = percent(sum(loss.facts_lost for loss in losses), facts)
    figures["invalid_pct"] = percent(sum(one.invalid for one in found), sum(one.calls for one in found))
    times = sorted(time for one in found for time in one.milliseconds)
    figures["ms_per_message_p95"] = round(times[int(0.95 * (len(times) - 1))], 4)
    return figures


def _full(history: tuple[Message, ...]) -> Sent:
    return Sent(history)


def _always(make: Callable[[], Policy]) -> Callable[[Scheme, Trajectory], Policy]:
    return lambda _scheme, _run: make()


def _thrift(mode: SummarizerMode, scheme: Scheme, run: Trajectory, tool_tokens: int = 0) -> Policy:
    summarizer = TrajectorySummarizer(mode=mode, counter=_counter())
    pricing = _pricing(scheme)
    tools = json.loads(run.tools) if run.tools else ()

    def policy(history: tuple[Message, ...]) -> Sent:
        sent = apply_edits(history, summarizer.plan(history, pricing, tools=tools))
        texts = [
            text
            for message in sent
            if message.text.startswith("§")
            for handle in _HANDLE.findall(message.text)
            if (text := summarizer.store.get(handle)) is not None
        ]
        return Sent(sent, tool_tokens=tool_tokens, recallable=texts)

    return policy


def _pricing(scheme: Scheme) -> Pricing:
    """Return a price list that has the scheme's ratios, an uncached token costing a dollar per million."""
    one = Decimal(1)
    write = Decimal(str(scheme.write))
    return Pricing(
        input=one,
        cache_read=Decimal(str(scheme.read)),
        cache_write_5m=write,
        cache_write_1h=max(write, one),
        output=5 * one,
        reasoning=5 * one,
    )


@lru_cache(maxsize=1)
def _counter() -> TokenCounter:
    return default_counter("gpt-4o")


@lru_cache(maxsize=1)
def _recall_tokens() -> int:
    return _count(json.dumps(recall_schema()))


def _count(text: str) -> int:
    return sum(_counter().count(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))
