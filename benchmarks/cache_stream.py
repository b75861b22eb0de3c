"""A replayed stream: hits, wrong hits and the certified bound, as the cache fills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from thrift_core.caching.matching.calibrate_cache import ScoredPairs, certify
from thrift_core.embedding.static_embedder import shipped_embedder

from benchmarks.cache_matchers import System, systems
from benchmarks.records import Options, Record, percent, stem, watched

_CANDIDATES = 8
_CHUNK = 500
_TARGETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_RESHUFFLES = 200
# Of the first lookups, so many have their labels shown to the calibration; what follows is measured.
_CALIBRATED = 0.3


def run(options: Options) -> Iterator[Record]:
    """Yield one record for each stream and system, the oracle last."""
    for file in options.files("cache/stream"):
        rows = options.rows(file)
        queries, answers = [str(row["query"]) for row in rows], [str(row["answer_id"]) for row in rows]
        near = neighbours(queries)
        oracle = _oracle(answers)
        common = {"data": stem(file), "n": len(rows), "oracle_hit_pct": percent(sum(oracle), len(rows))}
        for system in systems():
            if system.name.startswith(("thrift", "cosine")) and system.default is None:
                scores = score_neighbours(system, queries, near)
                yield from _records(
                    system, scores, near, answers, common={**common, "system": system.name}, seed=options.seed
                )
        right = percent(sum(oracle), len(rows))
        yield {**common, "system": "oracle", "hit_pct": right, "right_hit_pct": right, "wrong_of_hits_pct": 0.0}


def neighbours(queries: Sequence[str]) -> np.ndarray:
    """Return the places of each query's nearest earlier ones, -1 where there are fewer."""
    vectors = shipped_embedder().embed(queries)
    near = np.full((len(queries), _CANDIDATES), -1)
    for start in watched(range(0, len(queries), _CHUNK), "neighbours"):
        stop = min(start + _CHUNK, len(queries))
        similar = vectors[start:stop] @ vectors[:stop].T
        # Only what came before may answer.
        similar[np.arange(stop)[None, :] >= np.arange(start, stop)[:, None]] = -2
        best = np.argpartition(-similar, min(_CANDIDATES, stop - 1), axis=1)[:, :_CANDIDATES]
        values = np.take_along_axis(similar, best, 1)
        order = np.argsort(-values, axis=1)
        found = np.take_along_axis(best, order, 1)
        near[start:stop, : found.shape[1]] = np.where(np.take_along_axis(values, order, 1) > -1, found, -1)
    return near


def score_neighbours(system: System, queries: Sequence[str], near: np.ndarray) -> np.ndarray:
    """Return the score of each neighbour, 0 where there is none."""
    scores = np.zeros(near.shape)
    for start in watched(range(0, len(queries), _CHUNK), system.name):
        block = near[start : start + _CHUNK]
        rows, columns = np.nonzero(block >= 0)
        texts = [(queries[start + row], queries[block[row, column]]) for row, column in zip(rows, columns, strict=True)]
        if texts:
            scores[start + rows, columns] = system.score(texts)
    return scores


def replay(scores: np.ndarray, near: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each lookup the place of the query that answered it, -1 for a miss; only misses are stored."""
    found = np.full(len(scores), -1)
    for place in range(len(scores)):
        best, chosen = threshold, -1
        for score, other in zip(scores[place], near[place], strict=True):
            if other >= 0 and found[other] < 0 and score >= best:
                best, chosen = score, int(other)
        found[place] = chosen
    return found


def _records(
    system: System, scores: np.ndarray, near: np.ndarray, answers: Sequence[str], *, common: Record, seed: int
) -> Iterator[Record]:
    best = scores.argmax(1)
    top = scores[np.arange(len(scores)), best]
    other = near[np.arange(len(near)), best]
    is_right = np.array([place >= 0 and answers[place] == answer for place, answer in zip(other, answers, strict=True)])
    cut = int(_CALIBRATED * len(scores))
    for target in _TARGETS:
        certificate = certify(_scored(top[:cut], is_right[:cut]), system.version, target)
        if certificate.threshold is None:
            continue
        found = replay(scores, near, certificate.threshold)
        yield {
            **common,
            **outcome(found[cut:], answers, cut),
            "certified_target_pct": 100 * target,
            "certified_on": cut,
            "threshold": round(certificate.threshold, 4),
            "bound_held_pct": _held(top, is_right, target, system.version, seed),
        }


def outcome(found: np.ndarray, answers: Sequence[str], start: int) -> dict[str, Any]:
    """Return hits, right hits and wrong hits of a replay, and how many of the oracle's hits were found."""
    measured = answers[start:]
    hits = found >= 0
    right = np.array([place >= 0 and answers[place] == answer for place, answer in zip(found, measured, strict=True)])
    oracle = sum(_oracle(answers)[start:])
    return {
        "hit_pct": percent(int(hits.sum()), len(found)),
        "right_hit_pct": percent(int(right.sum()), len(found)),
        "wrong_of_hits_pct": percent(int((hits & ~right).sum()), max(int(hits.sum()), 1)),
        "of_oracle_pct": percent(int(right.sum()), max(oracle, 1)),
    }


def _held(top: np.ndarray, is_right: np.ndarray, target: float, version: str, seed: int) -> float:
    """Return how often a certificate made on a random share of lookups holds on the others."""
    random = np.random.default_rng(seed)
    held = 0
    cut = int(_CALIBRATED * len(top))
    for _ in range(_RESHUFFLES):
        order = random.permutation(len(top))
        known, unknown = order[:cut], order[cut:]
        certificate = certify(_scored(top[known], is_right[known]), version, target)
        if certificate.threshold is None:
            held += 1
            continue
        hits = top[unknown] >= certificate.threshold
        wrong = int((hits & ~is_right[unknown]).sum())
        held += wrong <= target * max(int(hits.sum()), 1)
    return percent(held, _RESHUFFLES)


def _scored(top: np.ndarray, is_right: np.ndarray) -> ScoredPairs:
    # What scores nothing is no hit at any threshold, and only takes time.
    kept = top > 0.02
    return ScoredPairs(tuple(top[kept].tolist()), tuple(is_right[kept].tolist()))


def _oracle(answers: Sequence[str]) -> list[bool]:
    seen: set[str] = set()
    out: list[bool] = []
    for answer in answers:
        out.append(answer in seen)
        seen.add(answer)
    return out
