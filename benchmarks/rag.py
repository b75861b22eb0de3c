"""`python -m benchmarks rag`: what stays of the answer when passages are trimmed to a budget, at equal tokens for all.

Rows tell by their shape what they are: passages with answers, ranked lists with grades, or transcripts. Every system
gets the same passages; the budget is a share of the tokens of their texts. Nothing is learned here: the trimmer's
weights come from documents of CPython, and its few constants were looked at on the half of each file that
`--part held-out` leaves out (all of `hotpot`'s and `qmsum`'s rows were looked at).
"""

from __future__ import annotations

import hashlib
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thrift_core.relevance.passage import Passage, Trimmed
from thrift_core.relevance.segmentation import forget_segments
from thrift_core.retrieval.trimmer import TopKTrimmer
from thrift_core.token_counters import TiktokenCounter, default_counter

from benchmarks.rag_peers import Item, cut, peers
from benchmarks.records import Options, Record, stem, watched

FIGURES = {
    "--part": "held-out: only the half of each file by a hash of the ids that no constant was looked at on; speed",
    "budget_pct": "the budget, as a share of the tokens of all texts; 100 for the order alone",
    "kept_pct": "questions of which an answer, or else a gold passage, or else every supporting sentence is kept whole;"
    " in transcripts, the share of the evidence's tokens",
    "ndcg10": "nDCG at 10 with gain 2^grade - 1, 0 to 1",
    "relevant_recall_pct": "share of the passages graded 1 or more of which something is kept",
    "over_budget": "rows whose kept texts, counted anew one by one and joined, are more than the budget",
    "fill_median_pct": "tokens kept, as a share of the budget",
    "ms_p50": "one trim of passages never seen before (thrift) or any (peers)",
    "warm_ms_p50": "one trim of passages seen before, with another question",
    "what": "of --part speed: how many tokens go in, or what is imported in a fresh interpreter that has numpy loaded",
}
_BUDGETS = {"passages": (40, 25, 10, 5), "ranking": (100, 25), "dialogue": (20, 10, 5)}
_SPEED_TOKENS = (6_500, 107_000)
Row = Mapping[str, Any]


@dataclass(slots=True)
class Tally:
    """What one system did at one budget."""

    kept: list[float] = field(default_factory=list)
    ndcg: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    fill: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    over: int = 0


# Takes a row's passages, the question and the budget (share and tokens); gives what is kept, in order.
System = Callable[[Sequence[dict[str, Any]], str, float, int | None], list[Item]]


def run(options: Options) -> Iterator[Record]:
    """Yield one record for each data file, budget and system."""
    if options.part not in (None, "held-out", "speed"):
        raise SystemExit(f"--part {options.part}: there is held-out and speed")
    counter = _counter()
    files = options.files("rag/passages", "rag/ranking", "rag/dialogue")
    if options.part == "speed":
        yield from _speed([row for file in files for row in options.rows(file)], counter)
        return
    for file in files:
        rows = [row for row in options.rows(file) if options.part is None or _is_held_out(row)]
        kind = _kind(rows[0])
        for budget in _BUDGETS[kind]:
            for name, system in _systems(kind, counter).items():
                tally = Tally()
                for row in watched(rows, f"{stem(file)} {budget} % {name}"):
                    _measure(row, budget, system, counter, tally)
                yield _record(stem(file), name, budget, tally, options)


def _counter() -> TiktokenCounter:
    counter = default_counter()
    if not isinstance(counter, TiktokenCounter):
        raise SystemExit("the ranks of o200k_base are not on disk; set TIKTOKEN_CACHE_DIR")
    return counter


def _is_held_out(row: Row) -> bool:
    return int(hashlib.sha256(str(row["id"]).encode()).hexdigest(), 16) % 2 == 1


def _kind(row: Row) -> str:
    if "turns" in row:
        return "dialogue"
    return "ranking" if any("grade" in passage for passage in row["passages"]) else "passages"


def _systems(kind: str, counter: TiktokenCounter) -> dict[str, System]:
    systems: dict[str, System] = {"thrift": _thrift(TopKTrimmer(counter=counter, remembered=0, merge_duplicates=False))}
    if kind == "ranking":
        whole = TopKTrimmer(counter=counter, remembered=0, merge_duplicates=False, cut_sentences=False)
        systems["thrift-whole-passages"] = _thrift(whole)
    for name, peer in peers(is_transcript=kind == "dialogue").items():
        systems[name] = lambda passages, question, share, budget, peer=peer: (
            peer(passages, question, share) if budget is None else cut(peer(passages, question, share), budget, counter)
        )
    return systems


def _thrift(trimmer: TopKTrimmer) -> System:
    def trim(passages: Sequence[dict[str, Any]], question: str, share: float, budget: int | None) -> list[Item]:
        forget_segments()
        trimmed: Trimmed = trimmer.trim([_passage(passage) for passage in passages], question, max_tokens=budget)
        return [(cut.id, cut.text) for cut in trimmed.kept]

    return trim


def _passage(given: Mapping[str, Any]) -> Passage:
    return Passage(
        id=str(given["id"]),
        text=given["text"],
        title=given.get("title") or given.get("speaker") or "",
        score=given.get("score"),
        rank=given.get("rank"),
        source=given.get("source"),
    )


def _measure(row: Row, budget_pct: int, system: System, counter: TiktokenCounter, tally: Tally) -> None:
    kind = _kind(row)
    passages = row.get("passages") or [{**turn, "source": row["id"]} for turn in row["turns"]]
    total = sum(counter.count(passage["text"]) for passage in passages)
    budget = None if budget_pct == 100 else total * budget_pct // 100
    started = time.perf_counter()
    kept = system(passages, row["question"], budget_pct / 100, budget)
    tally.milliseconds.append(1000 * (time.perf_counter() - started))
    if budget is not None:
        apart = sum(counter.count(text) for _, text in kept)
        spent = max(apart, counter.count("\n\n".join(text for _, text in kept)))
        tally.over += spent > budget and bool(kept)
        tally.fill.append(100 * spent / max(budget, 1))
    if kind == "ranking":
        _measure_order(passages, kept, tally)
    elif kind == "dialogue":
        tally.kept.append(100 * _evidence_kept(row, kept, counter))
    else:
        tally.kept.append(100.0 * _is_kept(row, kept))


def _is_kept(row: Row, kept: Sequence[Item]) -> bool:
    gold = [passage for passage in row["passages"] if passage.get("gold")]
    if any("gold_sentences" in passage for passage in gold):
        texts: dict[str, str] = {}
        for name, text in kept:
            texts[name] = texts.get(name, "") + "\n" + text
        wanted = [(p["id"], p["sentences"][number].strip()) for p in gold for number in p.get("gold_sentences") or ()]
        return all(sentence in texts.get(name, "") for name, sentence in wanted)
    if row.get("answers"):
        return any(answer in text for answer in row["answers"] for _, text in kept)
    names = {name for name, _ in kept}
    return any(passage["id"] in names for passage in gold)


def _evidence_kept(row: Row, kept: Sequence[Item], counter: TiktokenCounter) -> float:
    whole = {turn["id"]: counter.count(turn["text"]) for turn in row["turns"] if turn["id"] in set(row["evidence"])}
    found = dict.fromkeys(whole, 0)
    for name, text in kept:
        if name in found:
            found[name] = min(found[name] + counter.count(text), whole[name])
    return sum(found.values()) / max(sum(whole.values()), 1)


def _measure_order(passages: Sequence[Mapping[str, Any]], kept: Sequence[Item], tally: Tally) -> None:
    grades = {passage["id"]: int(passage["grade"]) for passage in passages}
    order = [grades[name] for name in dict.fromkeys(name for name, _ in kept)]
    best = _gain(sorted(grades.values(), reverse=True))
    relevant = sum(grade > 0 for grade in grades.values())
    if best:
        tally.ndcg.append(_gain(order) / best)
    if relevant:
        tally.recall.append(100 * sum(grade > 0 for grade in order) / relevant)


def _gain(grades: Sequence[int]) -> float:
    return sum((2.0**grade - 1) / math.log2(place + 2) for place, grade in enumerate(grades[:10]))


def _record(data: str, system: str, budget: int, tally: Tally, options: Options) -> Record:
    record: Record = {"benchmark": "rag", "part": options.part or "all", "data": data, "system": system}
    record |= {"n": len(tally.milliseconds), "budget_pct": budget}
    if tally.kept:
        record["kept_pct"] = round(statistics.fmean(tally.kept), 4)
    if tally.ndcg and budget == 100:
        record["ndcg10"] = round(statistics.fmean(tally.ndcg), 4)
    if tally.recall and budget != 100:
        record["relevant_recall_pct"] = round(statistics.fmean(tally.recall), 4)
    if tally.fill:
        record |= {"over_budget": tally.over, "fill_median_pct": round(statistics.median(tally.fill), 4)}
    return record | {"ms_p50": round(statistics.median(tally.milliseconds), 4)}


def _speed(rows: Sequence[Row], counter: TiktokenCounter) -> Iterator[Record]:
    passages = [passage for row in rows for passage in row.get("passages", ())]
    distinct = list({passage["text"]: passage for passage in passages}.values())
    questions = [row["question"] for row in rows if "passages" in row][:20]
    trimmer = TopKTrimmer(counter=counter, remembered=0)
    for tokens in _SPEED_TOKENS:
        chosen, size = [], 0
        for passage in distinct:
            if size >= tokens:
                break
            chosen.append(_passage({**passage, "score": None, "rank": None}))
            size += counter.count(passage["text"])
        for share in (25, 10, 5):
            cold, warm = [], []
            for question in watched(questions, f"{size} tokens, {share} %"):
                forget_segments()
                for times in (cold, warm):
                    started = time.perf_counter()
                    trimmer.trim(chosen, question, max_tokens=size * share // 100)
                    times.append(1000 * (time.perf_counter() - started))
            record: Record = {"benchmark": "rag", "part": "speed", "data": "speed", "system": "thrift"}
            record |= {"what": f"{size} tokens", "n": len(cold), "budget_pct": share}
            yield record | {
                "ms_p50": round(statistics.median(cold[1:] or cold), 4),
                "warm_ms_p50": round(statistics.median(warm), 4),
            }
    yield _import_record()


def _import_record() -> Record:
    code = (
        "import time, numpy, thrift_core; t = time.perf_counter(); import thrift_core.retrieval;"
        " print(1000 * (time.perf_counter() - t))"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(5)
    ]
    record: Record = {"benchmark": "rag", "part": "speed", "data": "speed", "system": "thrift"}
    return record | {"what": "import thrift_core.retrieval", "n": 5, "ms_p50": round(statistics.median(times), 4)}
