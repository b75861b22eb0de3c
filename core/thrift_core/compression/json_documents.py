"""JSON and JSON lines: written compactly without loss, or with rows left out where a budget is too small for all.

What is left out is counted in the head, path by path. The first and the last row of a list stay, rows that look like
errors, rows with a value that hardly any other has, and rows that name a word of the question.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from thrift_core.compression.compressed import Dropped
from thrift_core.compression.work import Draft, Job
from thrift_core.notation.documents import JSON_LEGEND, parse, written
from thrift_core.notation.phrases import abbreviated
from thrift_core.notation.shapes import Json
from thrift_core.relevance.segmentation import words

LINES_LEGEND = "JSON lines as one list"
_ERRORS = ("error", "fail", "exception", "fatal", "denied", "timeout", "refused", "critical", "panic")
_FEWEST_ROWS = 5
_ROUNDS = 12
_MOST_PATHS = 8
# Below this a text is too short to explain a notation for.
_FEWEST_TOKENS = 24
# Texts that a general compressor hardly shortens repeat no phrases.
_REPETITIVE = 2.2
_FEWEST_FOR_PHRASES = 600
_RARE_SHARE = 0.02
# A value with more than these characters is prose, and no outlier for being the only one of its kind.
_LONGEST_CATEGORY = 40
_DEEPEST = 40


def json_document(text: str, job: Job) -> Draft | None:
    """Return a JSON text in the compact notation; with rows left out only where the job's budget needs it."""
    value = parse(text)
    if value is None or job.tokens < _FEWEST_TOKENS:
        return None
    return _shortest(value, job, "JSON written compactly")


def with_phrases(text: str, count: Callable[[str], int]) -> str:
    """Return a text with repeated phrases given once, where that is worth it."""
    if len(text) < _FEWEST_FOR_PHRASES or len(text) < _REPETITIVE * len(
        zlib.compress(text.encode("utf-8", "replace"), 1)
    ):
        return text
    shorter = abbreviated(text)
    return shorter if shorter is not None and count(shorter) < count(text) else text


def json_lines(text: str, job: Job) -> Draft | None:
    """Return JSON lines as one list in the compact notation."""
    try:
        rows: list[Json] = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
    if len(rows) < 2 or any(parse(line) is None for line in text.splitlines() if line.strip()):
        return None
    return _shortest(rows, job, "JSON lines written compactly", f"{LINES_LEGEND}; ")


def _shortest(value: Json, job: Job, note: str, legend: str = "") -> Draft | None:
    whole = written(value)
    if whole is not None:
        whole = with_phrases(whole.replace(JSON_LEGEND, legend + JSON_LEGEND, 1), job.count)
    if whole is not None and (job.max_tokens is None or job.count(whole) <= job.max_tokens):
        return Draft(whole, note, "value")
    if job.max_tokens is None or job.is_lossless:
        return None
    asked = frozenset(words(job.question)) if job.question else frozenset[str]()
    keep = 64
    for _ in range(_ROUNDS):
        cut = _Cut(keep, asked)
        shown = written(cast("Json", cut.value(value)))
        if shown is not None and cut.gone:
            shown = shown.replace(JSON_LEGEND, f"{legend}{JSON_LEGEND}; shown: {cut.told()}", 1)
            if job.count(shown) <= job.max_tokens:
                dropped = tuple(Dropped(f"rows of {path}", total - kept) for path, (kept, total) in cut.gone.items())
                return Draft(shown, f"{note}, rows left out", dropped=dropped)
        keep = keep * 2 // 3
        if keep < 2:
            break
    return None


class _Cut:
    """Leaves out rows of long lists, and counts them.

    Args:
        keep: how many rows of a list stay, about.
        asked: the question's words.
    """

    def __init__(self, keep: int, asked: frozenset[str]) -> None:
        self._keep = keep
        self._asked = asked
        self.gone: dict[str, tuple[int, int]] = {}

    def value(self, value: Any, path: str = "", depth: int = 0) -> Any:
        """Return a value with long lists cut."""
        if depth > _DEEPEST:
            return value
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            return {key: self.value(item, f"{path}.{key}" if path else key, depth + 1) for key, item in fields.items()}
        if isinstance(value, list):
            rows = cast("list[object]", value)
            kept = self._kept(rows)
            if len(kept) < len(rows):
                before, total = self.gone.get(path or "rows", (0, 0))
                self.gone[path or "rows"] = (before + len(kept), total + len(rows))
            return [self.value(rows[index], path, depth + 1) for index in kept]
        return value

    def told(self) -> str:
        """Return what is left out, path by path, in words."""
        parts = [f"{kept} of {total} {path}" for path, (kept, total) in list(self.gone.items())[:_MOST_PATHS]]
        return ", ".join(parts + (["and so on"] if len(self.gone) > _MOST_PATHS else []))

    def _kept(self, rows: Sequence[Any]) -> list[int]:
        if len(rows) <= max(_FEWEST_ROWS, self._keep):
            return list(range(len(rows)))
        worth = _worth(rows, self._asked)
        last = len(rows) - 1
        ranked = sorted(range(len(rows)), key=lambda index: (index not in (0, last), -worth[index], index))
        return sorted(ranked[: self._keep])


def _worth(rows: Sequence[Any], asked: frozenset[str]) -> list[float]:
    """Return how much each row is worth showing: errors, what the question names, values hardly any other row has."""
    seen: Counter[tuple[str, str]] = Counter()
    categories: list[list[tuple[str, str]]] = []
    worth: list[float] = []
    for row in rows:
        pairs = cast("dict[str, Any]", row).items() if isinstance(row, dict) else [("", row)]
        texts = [(key, str(item)) for key, item in pairs if not isinstance(item, dict | list)]
        own = [(key, text) for key, text in texts if len(text) <= _LONGEST_CATEGORY]
        seen.update(own)
        categories.append(own)
        whole = " ".join(text for _, text in texts)
        lower = whole.lower()
        worth.append(
            8.0 * any(word in lower for word in _ERRORS) + (4.0 * len(asked & set(words(whole))) if asked else 0.0)
        )
    # Only a column that mostly repeats itself makes an outlier of a value that does not.
    values: Counter[str] = Counter(key for key, _ in seen)
    rare = max(1, int(_RARE_SHARE * len(rows)))
    return [
        base + sum(seen[pair] <= rare and values[pair[0]] <= 0.1 * len(rows) for pair in own)
        for base, own in zip(worth, categories, strict=True)
    ]
