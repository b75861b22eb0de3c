"""`python -m benchmarks routing`: quality and dollars of a cascade, learned on some labels and measured on the rest.

Rows are pairs of models (`weak`, `strong` and their answers), or any number of tiers (`scores`, `answers`, `cost`). For
each number of labels and each of 20 seeds, a policy is learned on that many random rows and measured on all others.
Nothing was tuned on the seeds measured here. Parts: `curve` (quality against calls and dollars), `guarantee` (how often
a certificate is broken), `speed` (one decision).
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from thrift_core.routing.calibrating import PRICES, certify, cheapest_that_holds, learn
from thrift_core.routing.curve import Curve, curve
from thrift_core.routing.features import draft_signs, read_prompt
from thrift_core.routing.golden import GoldenRow
from thrift_core.routing.operating_point import limits as limits_of
from thrift_core.routing.operating_point import run as run_limits
from thrift_core.routing.stage import FOLDS, Examples, Stage

from benchmarks.records import Options, Record, stem, watched
from benchmarks.routing_data import Pair, read_pair
from benchmarks.routing_peers import peers

FIGURES = {
    "--part": "curve, guarantee, speed; all by default",
    "labels": "how many random rows a policy was learned on; the figures are measured on the rest of the file",
    "apgr": "average share of the gap between the two models that is recovered, over all shares of strong calls; 0.5 is"
    " chance (RouteLLM)",
    "cpt50": "strong calls, in percent, that recover 50 % of the gap; cpt80: 80 %",
    "parity_cost_pct": "dollars at which the strong model's accuracy is first reached, in percent of always asking it;"
    " drafts and helpers are paid",
    "gain_at_85_points": "points above the strong model at the best operating point of at most 85 % of its dollars",
    "_lo, _hi": "2.5 and 97.5 % quantiles over 20 seeds",
    "violations_pct": "splits in which the held-out loss against always-strong is above the target of 5 points",
    "mean_violations_pct": "the same against the mean loss of the whole file, for labels drawn from it with replacement"
    ": what a certificate speaks of, without the noise of the held-out rows",
    "strong_call_pct": "strong calls at the certified (thrift), or at the empirical (naive) operating point",
    "certified_pct": "splits in which an operating point could be certified; elsewhere all goes to the strong model",
    "decision_p95_ms": "processor time of one decision, prompt and draft never seen before, 95 % quantile",
}
_LABELS = (100, 250, 500, 1500)
_SEEDS = 20
_LEAST_REST = 150
_TARGET = 0.05
_SPLITS = 1000
_SCORERS = 4
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Data:
    """A file with what the heads see of it, computed once.

    Attributes:
        pair: the rows.
        stages: examples and names of signs for each tier but the strongest.
        reads: whether each tier's answers are there to read.
    """

    pair: Pair
    stages: tuple[Examples, ...]
    names: tuple[tuple[str, ...], ...]
    reads: tuple[bool, ...]


def run(options: Options) -> Iterator[Record]:
    """Yield one record for each file, system and number of labels."""
    parts = ("curve", "guarantee", "speed")
    if options.part not in (None, *parts):
        raise SystemExit(f"--part {options.part}: there is {', '.join(parts)}")
    for file in options.files("router/pairs", "router/multi"):
        rows = options.rows(file)
        pair = read_pair(stem(file), rows)
        data = _seen(pair)
        for part in parts:
            if options.part in (None, part):
                for record in _PARTS[part](data, options):
                    yield {"benchmark": "routing", "data": stem(file), "part": part, **record}


def _curves(data: Data, options: Options) -> Iterator[Record]:
    pair = data.pair
    everything = np.arange(len(pair.weak))
    for labels in _label_counts(len(pair.weak)):
        found: list[tuple[Curve, Curve | None]] = []
        for seed in watched(range(_SEEDS), f"{pair.name}, {labels} labels"):
            train, test = _split(len(pair.weak), labels, options.seed * 1000 + seed)
            found.append((_two_tiers(data, train, test, seed), _with_helper(data, train, test, seed)))
        split = {"split": f"{labels} random rows, {_SEEDS} seeds", "n": len(pair.weak) - labels}
        yield {"system": "thrift", "labels": labels, **split, **_figures([own for own, _ in found])}
        if helped := [own for _, own in found if own is not None]:
            yield {"system": "thrift-with-helper", "labels": labels, **split, **_figures(helped)}
    for name, gain in peers(pair):
        own = [_curve(pair, everything, gain(seed)) for seed in range(_SEEDS if name == "random" else 1)]
        yield {"system": name, "n": len(pair.weak), **_figures(own)}
    yield from _published(pair.name)
    yield {"system": "oracle", "n": len(pair.weak), **_figures([_curve(pair, everything, pair.strong - pair.weak)])}


def _two_tiers(data: Data, train: Array, test: Array, seed: int) -> Curve:
    gain = _fitted(data, 0, train, seed)[0].gains(data.stages[0].take(test))
    return _curve(data.pair, test, gain)


def _with_helper(data: Data, train: Array, test: Array, seed: int) -> Curve | None:
    """Return the curve of a cascade with a middle tier: decided by expected value, over all prices of quality."""
    if len(data.stages) < 2:
        return None
    fits = [_fitted(data, place, train, seed) for place in range(2)]
    gains = [stage.gains(data.stages[place].take(test)) for place, (stage, _) in enumerate(fits)]
    pair = data.pair
    scores, costs = pair.scores(), pair.costs()
    own = [cost[train] for cost in costs]
    top = float(own[-1].mean())
    points: list[tuple[float, float, float]] = []
    for price in np.concatenate([-PRICES[1:30][::-1], PRICES]):
        turns = limits_of([gain for _, gain in fits], [float(cost.mean()) / top for cost in own], float(price))
        led = run_limits(
            gains, [score[test] for score in scores], [cost[test] for cost in costs], turns, drafts=(True, True)
        )
        points.append((float((led.answered == 2).mean()), float(led.quality.mean()), float(led.cost.mean())))
    points.sort(key=lambda point: point[2])
    calls, quality, cost = (np.array(column) for column in zip(*points, strict=True))
    strong, weak = float(pair.strong[test].mean()), float(pair.weak[test].mean())
    return Curve(calls, quality, cost / float(costs[-1][test].mean()), weak, strong)


def _fitted(data: Data, place: int, train: Array, seed: int) -> tuple[Stage, Array]:
    folds = np.random.default_rng(seed).permutation(len(train)) % FOLDS
    return Stage.fit(data.stages[place].take(train), data.names[place], reads_answers=data.reads[place], folds=folds)


def _guarantees(data: Data, options: Options) -> Iterator[Record]:
    """Yield how often a target is broken: gains cross-fitted once, one random half certifies, the other checks."""
    losses = data.pair.strong - data.pair.weak
    everything = np.arange(len(losses))
    held: dict[str, list[tuple[bool, float, bool]]] = {"thrift": [], "naive": []}
    world: dict[str, list[bool]] = {"thrift": [], "naive": []}
    for seed in watched(range(_SCORERS), f"{data.pair.name}, guarantee"):
        gain = _fitted(data, 0, everything, options.seed * 1000 + 500 + seed)[1]
        for split in range(_SPLITS // _SCORERS):
            order = np.random.default_rng([options.seed, seed, split]).permutation(len(losses))
            calibrate, test = order[: len(order) // 2], order[len(order) // 2 :]
            for system, choose in (("thrift", _certified), ("naive", _empirical)):
                price = choose(gain[calibrate], losses[calibrate])
                kept = gain[test] <= (-np.inf if price is None else price)
                lost = float((losses[test] * kept).mean())
                held[system].append((lost > _TARGET, float(1 - kept.mean()), price is not None))
            drawn = np.random.default_rng([options.seed, seed, split, 1]).integers(len(losses), size=len(calibrate))
            for system, choose in (("thrift", _certified), ("naive", _empirical)):
                price = choose(gain[drawn], losses[drawn])
                kept = gain <= (-np.inf if price is None else price)
                world[system].append(float((losses * kept).mean()) > _TARGET)
    for system, seen in held.items():
        broken, calls, certified = (np.array(column, float) for column in zip(*seen, strict=True))
        yield {
            "system": system,
            "labels": len(losses) // 2,
            "n": len(losses) - len(losses) // 2,
            "target_pct": 100 * _TARGET,
            "violations_pct": round(100 * float(broken.mean()), 2),
            "mean_violations_pct": round(100 * float(np.mean(world[system])), 2),
            "strong_call_pct": round(100 * float(calls.mean()), 2),
            "certified_pct": round(100 * float(certified.mean()), 2),
            "split": f"{_SPLITS} random halvings of cross-fitted gains",
        }


def _certified(gain: Array, losses: Array) -> float | None:
    return cheapest_that_holds(lambda price: losses * (gain <= price), max_loss=_TARGET)


def _empirical(gain: Array, losses: Array) -> float | None:
    """Return the last price, in the same order, whose loss on the labels themselves is within the target."""
    best: float | None = None
    for price in PRICES:
        if float((losses * (gain <= price)).mean()) > _TARGET:
            break
        best = float(price)
    return best


def _speed(data: Data, options: Options) -> Iterator[Record]:
    """Yield how long one decision takes, prompt and draft never seen before."""
    from thrift_core.messages import Message, Request  # noqa: PLC0415
    from thrift_core.routing import CascadeRouter, Draft, Tier  # noqa: PLC0415

    pair = data.pair
    golden = [
        GoldenRow(row.prompt, {"weak": w, "strong": s}, {"weak": row.answer} if row.answer is not None else {})
        for row, w, s in zip(pair.rows, pair.weak, pair.strong, strict=True)
    ]
    count = min(1500, len(golden) // 2)
    learned = learn(golden[:count])
    certificate = certify(learned, golden[:count], max_loss=0.2)
    router = CascadeRouter([Tier("weak", "a"), Tier("strong", "b")], policy=certificate)
    taken: list[float] = []
    for row in pair.rows[count : count + 400]:
        request = Request((Message("user", row.prompt),))
        begun = time.thread_time()
        decision = router.start(request)
        if decision.index == 0:
            router.judge(decision, Draft(row.answer or "no"))
        taken.append(1000 * (time.thread_time() - begun))
    quantiles = statistics.quantiles(taken, n=20)
    yield {
        "system": "thrift",
        "labels": count,
        "n": len(taken),
        "decision_p50_ms": round(statistics.median(taken), 3),
        "decision_p95_ms": round(quantiles[-1], 3),
    }


_PARTS: Mapping[str, Callable[[Data, Options], Iterator[Record]]] = {
    "curve": _curves,
    "guarantee": _guarantees,
    "speed": _speed,
}


def _seen(pair: Pair) -> Data:
    prompts = [read_prompt(row.prompt) for row in watched(pair.rows, f"{pair.name}, reading")]
    words, points = np.stack([prompt.words for prompt in prompts]), np.stack([prompt.point for prompt in prompts])
    stages: list[Examples] = []
    names: list[tuple[str, ...]] = []
    tiers = [(pair.weak, [row.answer for row in pair.rows], [])]
    if pair.helper is not None:
        tiers.append((pair.helper, [row.helper for row in pair.rows], [row.answer for row in pair.rows]))
    reads = all(row.answer is not None for row in pair.rows)
    for scores, answers, earlier in tiers:
        signs = [
            draft_signs(prompt, answers[place] or "", [earlier[place]] if earlier else []) if reads else prompt.signs
            for place, prompt in enumerate(prompts)
        ]
        keys = tuple(signs[0])
        table = np.array([[found[key] for key in keys] for found in signs])
        stages.append(Examples(table, words, points, scores, pair.strong))
        names.append(keys)
    return Data(pair, tuple(stages), tuple(names), (reads,) * len(stages))


def _curve(pair: Pair, rows: Array, gain: Array) -> Curve:
    costs = pair.costs()
    drafts = costs[0][rows] if pair.rows[0].answer is not None else np.zeros(len(rows))
    return curve(gain, pair.weak[rows], pair.strong[rows], weak_cost=drafts, strong_cost=costs[-1][rows])


def _label_counts(rows: int) -> list[int]:
    return [labels for labels in _LABELS if labels + _LEAST_REST <= rows]


def _split(rows: int, labels: int, seed: int) -> tuple[Array, Array]:
    order = np.random.default_rng(seed).permutation(rows)
    return order[:labels], order[labels:]


def _figures(curves: Sequence[Curve]) -> Record:
    figures: Record = {}
    for name, read in _READ.items():
        values = [value for own in curves if (value := read(own)) is not None]
        if len(values) < len(curves) or not values:
            continue
        figures[name] = round(float(np.mean(values)), 4)
        if len(values) > 1:
            low, high = np.quantile(values, [0.025, 0.975])
            figures[f"{name}_lo"], figures[f"{name}_hi"] = round(float(low), 4), round(float(high), 4)
    return figures


def _share(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _gain_at_85(own: Curve) -> float | None:
    best = own.best_within(0.85)
    return None if best is None else 100 * (best - own.strong)


_READ: Mapping[str, Callable[[Curve], float | None]] = {
    "apgr": lambda own: own.apgr if len(own.calls) > 1 and own.calls[0] == 0 else None,
    "cpt50": lambda own: _share(own.cpt(0.5)),
    "cpt80": lambda own: _share(own.cpt(0.8)),
    "parity_cost_pct": lambda own: _share(own.parity_cost),
    "gain_at_85_points": _gain_at_85,
}


def _published(name: str) -> Iterator[Record]:
    """Yield RouteLLM's published figures where this is one of its data sets; they are of the whole set."""
    file = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "router" / "published" / "routellm.json"
    if not file.exists():
        return
    for router, figures in json.loads(file.read_text(encoding="utf-8"))["best"].get(name, {}).items():
        if isinstance(figures, dict):
            yield {"system": f"RouteLLM {router} (published)", **figures}
