"""What every benchmark shares: its options, its data files, its flat records, the table and the JSON file.

A record is a flat dictionary with `benchmark`, `data` and `system`, and the figures. A figure that does not apply is
absent, never 0. Percentages are 0 to 100.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

Record = dict[str, Any]
Item = TypeVar("Item")

_ROOT = Path(__file__).resolve().parent
_DEVELOPMENT_DATA = _ROOT.parent.parent / "shared" / "data"
_HEAD = ("system", "part", "path", "scheme", "mode", "budget_pct", "labels", "what", "n")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of a benchmark.

    Attributes:
        data: files or folders; empty: the benchmark's own default.
        part: one part of the benchmark; None: all that run by default.
        seed: what every random choice and every split follows from.
        limit: at most so many rows of each file, for a quick look; None: all.
    """

    data: tuple[Path, ...] = ()
    part: str | None = None
    seed: int = 0
    limit: int | None = None

    def files(self, *default: str) -> list[Path]:
        """Return the data files: those asked for, else the folders of the development data, else those of our own."""
        folders = self.data or [_DEVELOPMENT_DATA / name for name in default]
        found = [file for folder in folders for file in _files(folder)]
        if not found and not self.data:
            found = [file for name in default for file in _files(_ROOT / "data" / name)]
        if not found:
            raise SystemExit(f"no .jsonl or .jsonl.gz file in {', '.join(map(str, folders))}; name some with --data")
        return found

    def rows(self, file: Path) -> list[dict[str, Any]]:
        """Return the rows of a file, up to the limit."""
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            return [json.loads(line) for line, _ in zip(lines, _up_to(self.limit), strict=False)]


def stem(file: Path) -> str:
    """Return the name by which records call a data file."""
    return file.name.split(".", 1)[0]


def percent(part: float, whole: float) -> float:
    """Return a share in percent, to four places."""
    return round(100 * part / whole, 4)


def watched(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Yield the items under a progress bar."""
    return track(items, description=what, console=Console(stderr=True), transient=True)


def write(records: Sequence[Record], file: Path) -> None:
    """Write the records as one JSON list."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def show(records: Sequence[Record]) -> None:
    """Print one table for each data file."""
    console = Console()
    if not console.is_terminal:
        # A pipe has no width of its own; a narrow guess would break the figures.
        console = Console(width=200)
    for data in dict.fromkeys(str(record.get("data", "")) for record in records):
        own = [record for record in records if str(record.get("data", "")) == data]
        title = f"{own[0]['benchmark']}: {data}" if data else str(own[0]["benchmark"])
        console.print(_table(title, own))


def _table(title: str, records: Sequence[Record]) -> Table:
    keys = list(dict.fromkeys(key for record in records for key in record))
    ordered = [key for key in _HEAD if key in keys] + [
        key for key in keys if key not in _HEAD and key not in {"benchmark", "data"}
    ]
    table = Table(title=title, title_justify="left")
    for key in ordered:
        is_number = all(isinstance(record.get(key), int | float | None) for record in records)
        table.add_column(key, justify="right" if is_number else "left")
    for record in records:
        table.add_row(*(_cell(record, key) for key in ordered))
    return table


def _cell(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.name.endswith((".jsonl", ".jsonl.gz")))
    return [path] if path.exists() else []


def _up_to(limit: int | None) -> Iterator[int]:
    number = 0
    while limit is None or number < limit:
        yield number
        number += 1
