"""Prose by a model's choice: what a `CompressionBackend` wants kept, under the same rules as everything else."""

from __future__ import annotations

from collections.abc import Sequence

from thrift_core.compression.compressed import Dropped, Span
from thrift_core.compression.protected import overlapping
from thrift_core.compression.work import Draft, Job


def by_model(text: str, job: Job, protected: Sequence[Span]) -> Draft | None:
    """Return what the job's backend wants kept, protected stretches whole, under the budget by exact count.

    Raises:
        ValueError: the backend names a stretch that is not in the text.
    """
    if job.backend is None or job.max_tokens is None:
        return None
    wanted = sorted(
        job.backend.keep(text, question=job.question, max_tokens=job.max_tokens), key=lambda item: (-item[1], item[0])
    )
    for (start, end), _ in wanted:
        if not 0 <= start <= end <= len(text):
            raise ValueError(f"the backend keeps {start} to {end} of a text of {len(text)} characters")
    low, high = 0, len(wanted)
    best: tuple[str, tuple[Span, ...]] | None = None
    while low < high:
        middle = (low + high + 1) // 2
        spans = _whole([span for span, _ in wanted[:middle]], protected)
        shown = _shown(text, spans)
        if job.count(shown) <= job.max_tokens:
            low, best = middle, (shown, spans)
        else:
            high = middle - 1
    if best is None:
        return None
    return Draft(best[0], "words a model chose", spans=best[1], dropped=(Dropped("stretch", len(best[1]) + 1),))


def _whole(spans: Sequence[Span], protected: Sequence[Span]) -> tuple[Span, ...]:
    """Return stretches in reading order, grown to take in what is protected; those that touch are one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        touched = overlapping(protected, start, end) if end > start else ()
        first = min([start, *(span[0] for span in touched)])
        last = max([end, *(span[1] for span in touched)])
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        elif last > first:
            found.append((first, last))
    return tuple(found)


def _shown(text: str, spans: Sequence[Span]) -> str:
    pieces: list[str] = []
    before = 0
    for start, end in spans:
        if pieces and start > before:
            blank = next((char for char in text[before:start] if char.isspace()), "")
            pieces.append(blank if not (pieces[-1][-1:].isspace() or text[start].isspace()) else "")
        pieces.append(text[start:end])
        before = end
    return "".join(pieces).strip()
