"""Stack traces: what was raised and why, and the application's own frames; library frames and repeats are folded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from thrift_core.compression.folding import Fold, fold_to
from thrift_core.compression.work import Draft, Job

_FRAME = re.compile(r'\s+(?:at\s|File "|\d+: |in |from |\.{3} \d+ more)')
_LIBRARY = re.compile(
    r"site-packages|dist-packages|/lib/python\d|\\lib\\|<frozen |node_modules|node:internal|\(internal/"
    r"|\bat (?:java|javax|jdk|sun|com\.sun|scala|kotlin|groovy|clojure"
    r"|org\.(?:springframework|apache|hibernate|junit|eclipse|jboss)"
    r"|io\.netty|reactor|System\.|Microsoft\.)\b|/usr/(?:local/)?(?:lib|go)|/rustc/|\bat (?:core|std|alloc)::"
)
_RANK = 0.0


def trace(text: str, job: Job) -> Draft | None:
    """Return a stack trace with library frames and repeated frames folded; the first and last of each trace stay."""
    if not job.may_cut:
        return None
    lines = text.split("\n")
    return fold_to(text, list(_folds(lines)), job.max_tokens or 0, job.count)


def _folds(lines: Sequence[str]) -> Iterator[Fold]:
    frames = list(_frames(lines))
    keys = ["\n".join(lines[first:last]) for first, last in frames]
    run: list[tuple[int, int]] = []
    for number, (first, last) in enumerate(frames):
        is_inner = 0 < number < len(frames) - 1 and frames[number - 1][1] == first and frames[number + 1][0] == last
        is_repeat = keys[number] in keys[max(0, number - 3) : number]
        if is_inner and (is_repeat or _LIBRARY.search(lines[first])):
            run.append((first, last))
            continue
        yield from _fold(run, lines)
        run = []
    yield from _fold(run, lines)


def _fold(run: Sequence[tuple[int, int]], lines: Sequence[str]) -> Iterator[Fold]:
    if run:
        first = lines[run[0][0]]
        yield Fold(run[0][0] + 1, run[-1][1], "frame", _RANK, first[: len(first) - len(first.lstrip())])


def _frames(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the lines of each frame: the one that names it, and those below that are indented further."""
    start: int | None = None
    depth = 0
    for number, line in enumerate([*lines, ""]):
        indent = len(line) - len(line.lstrip())
        is_frame = _FRAME.match(line) is not None
        if start is not None and (is_frame or indent <= depth):
            yield start, number
            start = None
        if is_frame and start is None:
            start, depth = number, indent
