"""Labelled pairs of questions: the form in which users say which questions one answer may serve."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from thrift_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two questions and whether one answer serves both.

    Attributes:
        a: one question, as it is asked.
        b: another, which has an answer.
        same: whether that answer serves both fully and correctly.
        partition: the part of the traffic it is from, such as a feature; empty for none.
        kind: what the difference is, where somebody said.
    """

    a: str
    b: str
    same: bool
    partition: str = ""
    kind: str = ""


def read_pairs(path: str | Path) -> list[LabelledPair]:
    """Read a file of JSON lines, `.gz` or not.

    A line is a pair, `{"a": ..., "b": ..., "same": true}`, with `partition` and `kind` where known; or a group,
    `{"same": [...], "near": [[text, kind], ...]}`: all pairs of `same` match, and none of `same` matches one of `near`.

    Raises:
        ConfigurationError: the file cannot be read, or a line is neither; names the line.
    """
    file = Path(path)
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            pairs = [pair for number, line in enumerate(lines, 1) if line.strip() for pair in _line(line, number, file)]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not pairs:
        raise ConfigurationError(f"{path} holds no pair")
    return pairs


def pairs_of(rows: Iterable[LabelledPair | Mapping[str, Any] | tuple[str, str, bool]]) -> list[LabelledPair]:
    """Return pairs that are given as such, as mappings, or as `(a, b, same)`.

    Raises:
        ConfigurationError: one of them is none of these.
    """
    found: list[LabelledPair] = []
    for number, row in enumerate(rows, 1):
        if isinstance(row, LabelledPair):
            found.append(row)
        elif isinstance(row, Mapping):
            found.extend(_row(row, number, "the pairs"))
        else:
            a, b, same = row
            found.append(LabelledPair(a, b, bool(same)))
    return found


def _line(line: str, number: int, file: Path) -> Iterator[LabelledPair]:
    try:
        row: object = json.loads(line)
    except ValueError as error:
        raise ConfigurationError(f"{file.name}, line {number}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ConfigurationError(f"{file.name}, line {number}: a pair is a JSON object; got {line[:60]!r}")
    yield from _row(cast("dict[str, Any]", row), number, file.name)


def _row(row: Mapping[str, Any], number: int, where: str) -> Iterator[LabelledPair]:
    partition = str(row.get("partition") or row.get("domain") or "")
    a, b, same = row.get("a"), row.get("b"), row.get("same")
    if isinstance(a, str) and isinstance(b, str) and isinstance(same, bool):
        yield LabelledPair(a, b, same, partition, str(row.get("kind") or ""))
    elif isinstance(same, list) and isinstance(row.get("near"), list):
        texts = [str(text) for text in cast("list[object]", same)]
        yield from (LabelledPair(one, other, True, partition) for one, other in combinations(texts, 2))
        for near in cast("list[object]", row["near"]):
            text, kind = cast("list[str]", near) if isinstance(near, list) else (str(near), "")
            yield from (LabelledPair(one, text, False, partition, kind) for one in texts)
    else:
        raise ConfigurationError(
            f'{where}, row {number}: a pair has "a", "b" and "same" (true or false); a group has "same" and "near", '
            f"both lists; got the keys {', '.join(map(str, row)) or 'none'}"
        )
