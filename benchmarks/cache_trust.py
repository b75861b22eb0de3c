"""Whether hits can be trusted: pairs told apart, the certified threshold, and the reasons of vetoes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from thrift_core.caching.matching.calibrate_cache import ScoredPairs, certify
from thrift_core.caching.matching.near_miss import compare
from thrift_core.caching.matching.words import likeness
from thrift_core.embedding.static_embedder import shipped_embedder

from benchmarks.cache_matchers import System, systems
from benchmarks.records import Options, Record, percent, stem

_OWN = Path(__file__).parent / "pairs"
_TARGETS = (0.01, 0.02, 0.05, 0.1, 0.2)
_CANDIDATES = 8
_MOST_PROBES = 5000


class Row(NamedTuple):
    """A pair, with the name of what it may not be split from."""

    group: str
    a: str
    b: str
    same: bool
    kind: str


def run(options: Options) -> Iterator[Record]:
    """Yield one record for each file of pairs and system, and the limit last."""
    files = options.files("cache/pairs")
    if not options.data and _OWN.is_dir():
        files += sorted(_OWN.glob("*.jsonl"))
    for file in files:
        pairs = read(options.rows(file))
        is_test = np.array([_is_test(pair.group, options.seed) for pair in pairs])
        labels = np.array([pair.same for pair in pairs])
        common = {"data": stem(file), "split": f"half by group, seed {options.seed}"}
        if labels.all() or not labels.any():
            for system in systems():
                yield {**common, "system": system.name, "n": len(pairs), **_one_class(system, pairs, options)}
            continue
        texts = [(pair.a, pair.b) for pair in pairs]
        for system in systems():
            scores = np.asarray(system.score(texts), float)
            figures = _figures(scores[is_test], labels[is_test])
            figures |= _certified(system, scores, labels, is_test) | _at_default(
                system, scores[is_test], labels[is_test]
            )
            yield {**common, "system": system.name, "n": int(is_test.sum()), **figures}
        yield {**common, "system": "guard", "n": len(pairs), **_vetoes(pairs)}
        yield {**common, "system": "ideal", "n": int(is_test.sum()), "auc": 1.0, "recall_at_p90": 100.0}


def read(rows: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the pairs of rows in either format: pairs, or groups of `same` and `near`."""
    found: list[Row] = []
    for number, row in enumerate(rows):
        name = str(row.get("id") or f"{row.get('domain', '')}-{number}")
        if "a" in row:
            found.append(Row(name, row["a"], row["b"], bool(row["same"]), row.get("kind") or ""))
            continue
        found += [Row(name, a, b, True, "same") for a, b in combinations(row["same"], 2)]
        found += [Row(name, a, near, False, kind) for near, kind in row["near"] for a in row["same"]]
    return found


def curve_figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return AUC and recall at precisions; ties are taken together."""
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(labels[order])
    ends = np.append(ranked[1:] != ranked[:-1], True) & (ranked > 0)
    precision = right / np.arange(1, len(order) + 1)
    found = {"auc": round(_auc(scores, labels), 4)}
    for least in (90, 95, 97, 99):
        good = ends & (precision >= least / 100)
        found[f"recall_at_p{least}"] = percent(int(right[good].max(initial=0)), int(labels.sum()))
    return found


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    values = np.sort(scores[~labels])
    below = np.searchsorted(values, scores[labels], side="left")
    upto = np.searchsorted(values, scores[labels], side="right")
    return float((below + upto).mean() / 2 / len(values))


def _figures(scores: np.ndarray, labels: np.ndarray) -> Record:
    found: Record = curve_figures(scores, labels)
    for recall in (60, 80):
        threshold = float(np.quantile(scores[labels], 1 - recall / 100))
        if threshold > 0:
            hits = scores >= threshold
            wrong = int((hits & ~labels).sum())
            found[f"false_hit_at_recall{recall}_pct"] = percent(wrong, int((~labels).sum()))
            found[f"wrong_of_hits_at_recall{recall}_pct"] = percent(wrong, int(hits.sum()))
    return found


def _certified(system: System, scores: np.ndarray, labels: np.ndarray, is_test: np.ndarray) -> Record:
    """Return what the tightest of a few targets that can be certified on one half does on the other."""
    scored = ScoredPairs(tuple(scores[~is_test].tolist()), tuple(labels[~is_test].tolist()))
    for target in _TARGETS:
        certificate = certify(scored, system.version, target)
        if certificate.threshold is not None:
            hits = scores[is_test] >= certificate.threshold
            right = hits & labels[is_test]
            return {
                "certified_target_pct": 100 * target,
                "certified_recall_pct": percent(int(right.sum()), int(labels[is_test].sum())),
                "certified_false_hit_pct": percent(int(hits.sum() - right.sum()), max(int(hits.sum()), 1)),
            }
    return {}


def _at_default(system: System, scores: np.ndarray, labels: np.ndarray) -> Record:
    if system.default is None:
        return {}
    hits = scores >= system.default
    return {
        "default_recall_pct": percent(int((hits & labels).sum()), int(labels.sum())),
        "default_false_hit_pct": percent(int((hits & ~labels).sum()), max(int(hits.sum()), 1)),
    }


def _vetoes(pairs: Sequence[Row]) -> Record:
    """Return how many pairs the guard vetoes, and why."""
    reasons: Counter[str] = Counter()
    vetoed = {True: 0, False: 0}
    for pair in pairs:
        veto = compare(pair.a, pair.b, likeness).veto
        if veto is not None:
            vetoed[pair.same] += 1
            reasons[f"{veto.kind}{'' if not pair.same else ' of same'}"] += 1
    same = sum(pair.same for pair in pairs)
    return {
        "vetoed_same_pct": percent(vetoed[True], same),
        "vetoed_different_pct": percent(vetoed[False], len(pairs) - same),
        "veto": json.dumps(dict(sorted(reasons.items()))),
    }


def _one_class(system: System, pairs: Sequence[Row], options: Options) -> Record:
    """Return what retrieval finds for each second half: its own first half, another, or nothing; and for strangers.

    The threshold is certified at 1 % on half of the questions and their neighbours, and measured on the others.
    """
    stored = list(dict.fromkeys(pair.a for pair in pairs))
    vectors = shipped_embedder().embed(stored)
    is_test = np.array([_is_test(pair.group, options.seed) for pair in pairs])
    asked = [pair.b for pair in pairs]
    near, scores = _scored_neighbours(system, asked, stored, vectors)
    own = np.array([[stored[place] == pair.a for place in row] for pair, row in zip(pairs, near, strict=True)])
    threshold = _threshold(system, scores[~is_test], own[~is_test])
    if threshold is None:
        return {}
    best, is_own = scores.argmax(1), own[np.arange(len(own)), scores.argmax(1)]
    hits = scores[np.arange(len(scores)), best] >= threshold
    probes = _probes(options)
    _, strange = _scored_neighbours(system, probes, stored, vectors)
    return {
        "accept_pct": percent(int(hits[is_test].sum()), int(is_test.sum())),
        "right_pct": percent(int((hits & is_own)[is_test].sum()), int(is_test.sum())),
        "wrong_pct": percent(int((hits & ~is_own)[is_test].sum()), int(is_test.sum())),
        "unrelated_hit_pct": percent(int((strange.max(1) >= threshold).sum()), len(probes)),
        "prefilter_recall_pct": percent(int(own.any(1).sum()), len(own)),
    }


def _threshold(system: System, scores: np.ndarray, own: np.ndarray) -> float | None:
    if system.default is not None:
        return system.default
    scored = ScoredPairs(tuple(scores.ravel().tolist()), tuple(own.ravel().tolist()))
    for target in _TARGETS:
        certificate = certify(scored, system.version, target)
        if certificate.threshold is not None:
            return certificate.threshold
    return None


def _scored_neighbours(
    system: System, asked: Sequence[str], stored: Sequence[str], vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    similar = shipped_embedder().embed(asked) @ vectors.T
    near = np.argsort(-similar, axis=1)[:, :_CANDIDATES]
    texts = [(question, stored[place]) for question, row in zip(asked, near, strict=True) for place in row]
    return near, np.asarray(system.score(texts), float).reshape(near.shape)


def _probes(options: Options) -> list[str]:
    rows = [row for file in Options(limit=options.limit).files("cache/intents") for row in options.rows(file)]
    texts = sorted({str(row["text"]) for row in rows}, key=lambda text: hashlib.blake2b(text.encode()).digest())
    return texts[: min(_MOST_PROBES, options.limit or _MOST_PROBES) // 5]


def _is_test(group: str, seed: int) -> bool:
    return hashlib.blake2b(f"{seed} {group}".encode(), digest_size=4).digest()[0] % 2 == 0
