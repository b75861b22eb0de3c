"""The golden set of a router: prompts with each tier's score, and its answer where there is one.

One JSON object a line:

    {"prompt": "...",                     the text, or "messages": [{"role", "content"}, ...]
     "scores": {"small": 1, "large": 1},  quality of each tier's answer, 0 to 1 (true and false count as 1 and 0)
     "answers": {"small": "..."},         the answers, where they were kept: reading them is what routes best
     "cost": {"small": 0.0001, ...},      dollars of each answer, where they are known
     "id": "..."}                         optional

Without scores, an answer counts as right where it comes to the same as the strongest tier's: the label-free mode
(`is_label_free`), which measures agreement and not quality. Files with `weak`, `strong`, `weak_answer`, `strong_answer`
are read as two tiers of those names.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from thrift_core.errors import ConfigurationError
from thrift_core.routing.final_answer import agreement, read_question


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One labelled example.

    Attributes:
        prompt: its text: the last user message.
        scores: quality of each tier's answer, 0 to 1.
        answers: the answers that were kept.
        cost: dollars of each answer, where they are known.
        id: names the row.
    """

    prompt: str
    scores: Mapping[str, float]
    answers: Mapping[str, str] = field(default_factory=dict[str, str])
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    id: str = ""


def read_golden(source: str | Path | Iterable[Mapping[str, Any]]) -> list[GoldenRow]:
    """Return the rows of a golden set.

    Example:
        >>> read_golden([{"prompt": "2 + 2?", "scores": {"small": True, "large": 1}}])[0].scores
        {'small': 1.0, 'large': 1.0}

    Args:
        source: a `.jsonl` or `.jsonl.gz` file, or its objects.

    Raises:
        ConfigurationError: the file cannot be read, or a row has no prompt or no scores; says which.
    """
    objects = _objects(Path(source)) if isinstance(source, str | Path) else source
    return [_row(number, given) for number, given in enumerate(objects, start=1)]


def tier_names(rows: Sequence[GoldenRow]) -> list[str]:
    """Return the names of the tiers, as the first row orders them.

    Raises:
        ConfigurationError: there is no row, or one lacks a tier that the first has.
    """
    if not rows:
        raise ConfigurationError("the golden set is empty; give 50 rows or more")
    names = list(rows[0].scores)
    for number, row in enumerate(rows, start=1):
        if lacking := [name for name in names if name not in row.scores]:
            raise ConfigurationError(f"row {number} has no score of {', '.join(lacking)}; row 1 has")
    return names


def _objects(path: Path) -> list[Mapping[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read as lines of JSON: {error}") from error


def _row(number: int, given: Mapping[str, Any]) -> GoldenRow:
    try:
        prompt = given["prompt"] if "prompt" in given else _last_user_text(given["messages"])
        if "scores" not in given and "weak" in given:
            given = _pair(given)
        answers = {str(name): str(text) for name, text in dict(given.get("answers") or {}).items() if text is not None}
        scores = given.get("scores")
        read = (
            {str(name): float(score) for name, score in dict(scores).items()} if scores else _agreeing(prompt, answers)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"row {number} of the golden set cannot be read: {error!r}") from error
    if not isinstance(prompt, str) or not prompt.strip():
        raise ConfigurationError(f"row {number} of the golden set has no prompt")
    if len(read) < 2 or not all(0 <= score <= 1 for score in read.values()):
        raise ConfigurationError(f"row {number} needs scores from 0 to 1 of two tiers or more; got {read}")
    cost = {str(name): float(usd) for name, usd in dict(given.get("cost") or {}).items() if usd is not None}
    return GoldenRow(prompt, read, answers, cost, str(given.get("id", number)))


def _pair(given: Mapping[str, Any]) -> dict[str, Any]:
    tiers = ("weak", "strong")
    return {
        **given,
        "scores": {tier: given[tier] for tier in tiers},
        "answers": {tier: given.get(f"{tier}_answer") for tier in tiers},
        "cost": {tier: given.get(f"{tier}_cost") for tier in tiers},
    }


def _agreeing(prompt: str, answers: Mapping[str, str]) -> dict[str, float]:
    """Return each answer's agreement with the last, which is the strongest tier's."""
    if not answers:
        raise KeyError("scores")
    question, strongest = read_question(prompt), list(answers.values())[-1]
    return {name: agreement(question, text, strongest)[0] for name, text in answers.items()}


def _last_user_text(messages: object) -> str:
    for message in reversed(cast("list[dict[str, Any]]", messages)):
        if message.get("role") in ("user", "human"):
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = cast("list[dict[str, Any]]", content)
            return "".join(str(part.get("text", "")) for part in parts)
    raise KeyError("a user message")
