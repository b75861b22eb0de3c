"""Diffs: every changed line and every head stays, lines of context but for those next to a change are folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from thrift_core.compression.folding import Fold, fold_to
from thrift_core.compression.work import Draft, Job

_NEAR = 1


def diff(text: str, job: Job) -> Draft | None:
    """Return a diff without the context that is not next to a change; under a budget without any where it must be."""
    if not job.may_cut:
        return None
    lines = text.split("\n")
    far = list(_context(lines, _NEAR, 0.0))
    if job.max_tokens is None:
        return fold_to(text, far, 0, job.count)
    near = fold_to(text, far, job.max_tokens, job.count)
    if near is not None and job.count(near.text) <= job.max_tokens:
        return near
    return fold_to(text, list(_context(lines, 0, 0.0)), job.max_tokens, job.count)


def _context(lines: Sequence[str], near: int, rank: float) -> Iterator[Fold]:
    """Yield runs of lines of context further than `near` lines from anything else."""
    is_context = [line[:1] == " " for line in lines]
    start: int | None = None
    for number in range(len(lines) + 1):
        is_far = number < len(lines) and all(is_context[max(0, number - near) : number + near + 1])
        if is_far and start is None:
            start = number
        elif not is_far and start is not None:
            yield Fold(start + 1, number, "context", rank, " ")
            start = None
