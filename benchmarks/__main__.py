"""The command `python -m benchmarks NAME`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import textwrap
from pathlib import Path

from benchmarks.records import Options, show, write

# What each name measures; the module of the same name defines the figures in FIGURES and measures in `run`.
NAMES = {
    "money": "every recorded provider payload priced exactly, through the core and through both adapters",
    "overhead": "what a callback costs a call, and an import a start",
    "trajectory": "dollars of long agent runs against the cached full replay",
    "cache": "right and wrong hits of the semantic cache",
    "rag": "what stays of the answer when passages are trimmed to a budget",
    "compression": "tokens saved, and what of the text survives",
    "routing": "quality and cost of a cascade of models",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark, print its tables, and write its records where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=_described(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=_present(), metavar="NAME", help=", ".join(_present()))
    parser.add_argument("--part", help="one part of the benchmark; see above")
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="PATH", help="data files or folders")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records as one flat JSON list")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice and split (default 0)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N rows of each file, for a quick look")
    chosen = parser.parse_args(arguments)
    for path in chosen.data:
        if not path.exists():
            parser.error(f"--data {path}: there is no such file or folder")
    if chosen.limit is not None and chosen.limit < 1:
        parser.error(f"--limit {chosen.limit}: must be 1 or more")
    options = Options(data=tuple(chosen.data), part=chosen.part, seed=chosen.seed, limit=chosen.limit)
    records = list(importlib.import_module(f"benchmarks.{chosen.name}").run(options))
    show(records)
    if chosen.json is not None:
        write(records, chosen.json)
    return 0


def _present() -> list[str]:
    return [name for name in NAMES if importlib.util.find_spec(f"benchmarks.{name}") is not None]


def _described() -> str:
    lines = [__doc__ or "", ""]
    for name in _present():
        lines += [f"{name}: {NAMES[name]}"]
        figures: dict[str, str] = importlib.import_module(f"benchmarks.{name}").FIGURES
        for figure, meaning in figures.items():
            lines += textwrap.wrap(meaning, 110, initial_indent=f"    {figure}: ", subsequent_indent="        ")
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
