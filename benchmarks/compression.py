"""`python -m benchmarks compression`: tokens saved, and what of the text survives, lossless and lossy, by kind of text.

Rows tell by their shape what they are: log lines with labels, JSON texts, passages with a question, agents' runs.
Python's own standard library is measured besides. Nothing is learned. No part of the logs is unseen: all four files and
their labels were looked at while the codec was made, and no other system's logs were measured. `--part held-out` of the
JSON and prose means that no constant was fitted to that half of a file, by a hash of the ids; totals over whole files
were looked at.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import statistics
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex
from thrift_core.compression import Compressed, Compressor
from thrift_core.compression.folding import FoldError, unfolded
from thrift_core.compression.reading_back import NotLossless, read_back
from thrift_core.relevance.segmentation import forget_segments
from thrift_core.token_counters import TiktokenCounter, default_counter

from benchmarks import compression_neural
from benchmarks.compression_peers import peers
from benchmarks.compression_schemas import schemas
from benchmarks.records import Options, Record, stem, watched

FIGURES = {
    "--part": "held-out: of JSON and prose only the half of each file, by a hash of the ids, to which no constant was"
    " fitted; schemas: tool definitions alone; speed: large texts one by one, warm, beside the tokenizer alone",
    "saved_pct": "tokens saved, by o200k_base, of all tokens; JSON and tool outputs: of texts over 300 tokens",
    "numbers_kept_pct": "distinct numbers of a text that stand in what is left of it, on average over texts",
    "names_kept_pct": "the same for names: runs of capitalised words that do not begin a sentence",
    "ids_kept_pct": "of JSON: distinct strings with a digit, and numbers of four digits or more, that are still there",
    "events_kept_pct": "of logs: labelled event types of which a line stands whole in what is left",
    "rare_events_kept_pct": "the same for lines of events that come at most three times: every line counts",
    "answers_kept_pct": "questions of which an answer stands in what is left",
    "signatures_kept_pct": "of code: lines that begin a function or class which stand in what is left",
    "round_trip_pct": "texts that were changed and read back: bytes of logs, values of JSON, unfolded code",
    "tokens_per_s": "tokens of the texts given, by the time spent, counting included",
    "tokens_per_cpu_s": "the same by processor time, which a busy machine changes less; `count_tokens_per_cpu_s` is the"
    " tokenizer alone on the same texts in the same run",
    "ms_p50": "one text",
    **compression_neural.FIGURES,
}
_LINES = (2000, 600)
_FEWEST_TOKENS = 300
_PROSE_SHARES = (("question-30", 0.3, True), ("no-question-60", 0.6, False))
_NUMBER = regex.compile(r"\d[\d.,:]*\d|\d")
_NAME = regex.compile(r"(?<=\p{Ll}[\p{P}--.!?]? )\p{Lu}\p{L}+(?: \p{Lu}\p{L}+)*", regex.V1)
_ID = regex.compile(r'"([^"\\]*\d[^"\\]*)"|\b(\d{4,})\b')
_MOST_MODULES = 120
_SPEED_TOKENS = 200_000
# Takes a text, the question, the share of tokens to keep (None: no budget) and whether loss is allowed.
System = Callable[[str, str | None, float | None, bool], str]


@dataclass(slots=True)
class Tally:
    """What one system did to the texts of a file."""

    count: Callable[[str], int]
    before: int = 0
    after: int = 0
    seconds: list[float] = field(default_factory=list)
    shares: dict[str, list[float]] = field(default_factory=dict)

    def take(self, text: str, shown: str, seconds: float) -> None:
        self.before += self.count(text)
        self.after += self.count(shown)
        self.seconds.append(seconds)

    def share(self, name: str, value: float) -> None:
        self.shares.setdefault(name, []).append(value)

    def record(self, data: str, system: str, mode: str, **more: Any) -> Record:
        figures = {name: round(100 * statistics.mean(values), 4) for name, values in self.shares.items() if values}
        spent = sum(self.seconds)
        return {
            "benchmark": "compression",
            "data": data,
            "system": system,
            "mode": mode,
            "n": len(self.seconds),
            **more,
            "saved_pct": round(100 * (1 - self.after / self.before), 4) if self.before else 0.0,
            **figures,
            "tokens_per_s": round(self.before / spent) if spent else 0,
            "ms_p50": round(1000 * statistics.median(self.seconds), 3) if self.seconds else 0.0,
        }


def run(options: Options) -> Iterator[Record]:
    """Yield one record for each data file, system and mode."""
    if options.part not in (None, "held-out", "neural", "schemas", "speed"):
        raise SystemExit(f"--part {options.part}: there is held-out, neural, schemas and speed")
    counter = _counter()
    if options.part == "neural":
        yield from compression_neural.run(options, counter)
        return
    files = options.files("text/logs", "text/json", "rag/passages", "trajectories")
    if options.part == "speed":
        yield from _speed(files, options, counter)
        return
    if options.part == "schemas":
        yield from schemas(files, options, counter.count)
        return
    for file in files:
        rows = options.rows(file)
        kind = _kind(rows[0])
        if kind == "log":
            yield from _logs(stem(file), rows, counter)
        else:
            kept = [row for row in rows if options.part is None or _is_held_out(row)]
            yield from {"json": _json, "passages": _prose, "run": _runs}[kind](stem(file), kept, counter)
    if not options.data:
        yield from _code(options, counter)
        yield from schemas(files, options, counter.count)


def _counter() -> TiktokenCounter:
    counter = default_counter()
    if not isinstance(counter, TiktokenCounter):
        raise SystemExit("the ranks of o200k_base are not on disk; set TIKTOKEN_CACHE_DIR")
    return counter


def _kind(row: Mapping[str, Any]) -> str:
    if "line" in row:
        return "log"
    return "passages" if "passages" in row else "run" if "messages" in row else "json"


def _is_held_out(row: Mapping[str, Any]) -> bool:
    return int(hashlib.sha256(str(row["id"]).encode()).hexdigest(), 16) % 2 == 1


def _systems(counter: TiktokenCounter) -> dict[str, System]:
    compressor = Compressor(counter=counter)

    def thrift(text: str, question: str | None, share: float | None, is_lossless: bool) -> str:
        forget_segments()
        done: Compressed = compressor.compress(text, question, ratio=share, lossless=is_lossless)
        return done.text

    return {"thrift": thrift, **peers()}


def _timed(
    system: System, text: str, question: str | None, share: float | None, *, is_lossless: bool
) -> tuple[str, float]:
    began = time.perf_counter()
    shown = system(text, question, share, is_lossless)
    return shown, time.perf_counter() - began


def _logs(data: str, rows: Sequence[Mapping[str, Any]], counter: TiktokenCounter) -> Iterator[Record]:
    for length in _LINES:
        parts = [rows[start : start + length] for start in range(0, len(rows), length)]
        parts = [part for part in parts if len(part) == length or len(parts) == 1]
        for mode in ("lossless", "lossy"):
            for name, system in _systems(counter).items():
                tally = Tally(counter.count)
                for part in watched(parts, f"{data} {mode} {name}"):
                    text = "\n".join(row["line"] for row in part)
                    shown, seconds = _timed(system, text, None, None, is_lossless=mode == "lossless")
                    tally.take(text, shown, seconds)
                    _take_events(tally, part, shown)
                    if mode == "lossless" and name == "thrift":
                        tally.share("round_trip_pct", _reads_back(shown, text, text))
                yield tally.record(data, name, mode, lines=length)


def _take_events(tally: Tally, rows: Sequence[Mapping[str, Any]], shown: str) -> None:
    try:
        whole = str(read_back(shown))
    except NotLossless:
        whole = shown
    counts = Counter(row["event"] for row in rows)
    kept = {row["event"] for row in rows if row["line"] in whole}
    rare = [row["line"] in whole for row in rows if counts[row["event"]] <= 3]
    tally.share("events_kept_pct", len(kept) / len(counts))
    if rare:
        tally.share("rare_events_kept_pct", sum(rare) / len(rare))


def _json(data: str, rows: Sequence[Mapping[str, Any]], counter: TiktokenCounter) -> Iterator[Record]:
    yield from _json_texts(data, [row["text"] for row in rows], counter)


def _json_texts(data: str, texts: Sequence[str], counter: TiktokenCounter) -> Iterator[Record]:
    texts = [text for text in texts if counter.count(text) > _FEWEST_TOKENS]
    if not texts:
        return
    for name, system in _systems(counter).items():
        tally = Tally(counter.count)
        for text in watched(texts, f"{data} lossless {name}"):
            shown, seconds = _timed(system, text, None, None, is_lossless=True)
            tally.take(text, shown, seconds)
            said = {a or b for a, b in _ID.findall(text)}
            if said:
                whole = _as_json(shown)
                tally.share("ids_kept_pct", sum(item in whole for item in said) / len(said))
            if name == "thrift":
                tally.share("round_trip_pct", _reads_back(shown, text, _value(text)))
        yield tally.record(data, name, "lossless")


def _as_json(shown: str) -> str:
    try:
        return json.dumps(read_back(shown), ensure_ascii=False)
    except NotLossless:
        return shown


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _reads_back(shown: str, text: str, said: object) -> float:
    if shown == text:
        return 1.0
    try:
        return float(read_back(shown) == said)
    except NotLossless:
        return 0.0


def _prose(data: str, rows: Sequence[Mapping[str, Any]], counter: TiktokenCounter) -> Iterator[Record]:
    for mode, share, has_question in _PROSE_SHARES:
        for name, system in _systems(counter).items():
            tally = Tally(counter.count)
            for row in watched(rows, f"{data} {mode} {name}"):
                gold = [passage["text"] for passage in row["passages"] if passage["gold"]]
                others = [passage["text"] for passage in row["passages"] if not passage["gold"]]
                # Answers are looked for among all passages; facts in the gold one alone, as a single text.
                text = "\n\n".join([*others[:9], *gold] if has_question else gold)
                shown, seconds = _timed(
                    system, text, row["question"] if has_question else None, share, is_lossless=False
                )
                tally.take(text, shown, seconds)
                tally.share("budget_kept_pct", float(counter.count(shown) <= share * counter.count(text)))
                if has_question:
                    answers = [answer for answer in row["answers"] if answer in text]
                    if answers:
                        tally.share("answers_kept_pct", float(any(answer in shown for answer in answers)))
                else:
                    _take_facts(tally, text, shown)
            yield tally.record(data, name, mode)


def _take_facts(tally: Tally, text: str, shown: str) -> None:
    for figure, pattern in (("numbers_kept_pct", _NUMBER), ("names_kept_pct", _NAME)):
        said = set(pattern.findall(text))
        if said:
            tally.share(figure, sum(item in shown for item in said) / len(said))


def _runs(data: str, rows: Sequence[Mapping[str, Any]], counter: TiktokenCounter) -> Iterator[Record]:
    texts = [
        m["content"] for row in rows for m in row["messages"] if m["role"] == "tool" and isinstance(m["content"], str)
    ]
    yield from _json_texts(data, [text for text in dict.fromkeys(texts) if len(text) < 200_000], counter)


def _code(options: Options, counter: TiktokenCounter) -> Iterator[Record]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = [
        file for file in sorted(folder.rglob("*.py")) if "site-packages" not in file.parts and "test" not in file.parts
    ]
    random.Random(options.seed).shuffle(files)
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files[: options.limit or _MOST_MODULES]]
    texts = [text for text in texts if counter.count(text) > _FEWEST_TOKENS and _parsed(text) is not None]
    for name, system in _systems(counter).items():
        tally = Tally(counter.count)
        for text in watched(texts, f"code {name}"):
            shown, seconds = _timed(system, text, None, None, is_lossless=False)
            tally.take(text, shown, seconds)
            lines, left = text.split("\n"), set(shown.split("\n"))
            signatures = [lines[n - 1] for n in _signatures(text)]
            if signatures:
                tally.share("signatures_kept_pct", sum(line in left for line in signatures) / len(signatures))
            if name == "thrift":
                tally.share("round_trip_pct", _unfolds(shown, text))
        yield tally.record("python-standard-library", name, "lossy")


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _signatures(text: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno


def _unfolds(shown: str, text: str) -> float:
    if shown == text:
        return 1.0
    try:
        return float(unfolded(shown, text) == text)
    except FoldError:
        return 0.0


def _speed(files: Sequence[Path], options: Options, counter: TiktokenCounter) -> Iterator[Record]:
    for kind, texts in _large(files, options, counter).items():
        for mode in ("lossless", "lossy") if kind in ("log", "json") else ("question-30", "no-question-60"):
            share = {"question-30": 0.3, "no-question-60": 0.6}.get(mode)
            question = "Who was the first to win it, and when?" if mode == "question-30" else None
            for name, system in _systems(counter).items():
                system(texts[0], question, share, mode == "lossless")
                began, began_cpu = time.perf_counter(), time.process_time()
                for text in texts:
                    forget_segments()
                    system(text, question, share, mode == "lossless")
                spent, spent_cpu = time.perf_counter() - began, time.process_time() - began_cpu
                began_cpu = time.process_time()
                total = sum(map(counter.count, texts))
                yield {
                    "benchmark": "compression",
                    "part": "speed",
                    "data": kind,
                    "system": name,
                    "mode": mode,
                    "n": len(texts),
                    "tokens": total,
                    "tokens_per_s": round(total / spent),
                    "tokens_per_cpu_s": round(total / spent_cpu),
                    "count_tokens_per_cpu_s": round(total / (time.process_time() - began_cpu)),
                }


def _large(files: Sequence[Path], options: Options, counter: TiktokenCounter) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        rows = options.rows(file)
        kind = _kind(rows[0])
        if kind == "log":
            found.setdefault("log", []).append("\n".join(row["line"] for row in rows))
        elif kind == "json":
            found.setdefault("json", []).extend(row["text"] for row in rows)
        elif kind == "passages":
            found.setdefault("prose", []).extend("\n\n".join(p["text"] for p in row["passages"]) for row in rows[:20])
    return {kind: _up_to(texts, counter) for kind, texts in found.items()}


def _up_to(texts: Sequence[str], counter: TiktokenCounter) -> list[str]:
    kept: list[str] = []
    tokens = 0
    for text in texts:
        kept.append(text)
        tokens += counter.count(text)
        if tokens > _SPEED_TOKENS:
            break
    return kept
