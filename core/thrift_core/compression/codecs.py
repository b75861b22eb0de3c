"""Which codec a kind of text is shortened with, and what is done where none of them keeps the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from thrift_core.compression.budget import ends_of_lines, longest_prefix
from thrift_core.compression.compressed import Dropped, Kind, Span
from thrift_core.compression.work import Draft, Job

Codec = Callable[[str, Job], Draft | None]
# A scorer's arrays take some hundred bytes a character; a longer prose text is cut in parts of this length.
_PROSE_PART = 1_500_000


def shortened(text: str, job: Job, kind: Kind) -> Draft | None:
    """Return a text shortened as its kind can be, or None where it cannot, or not under the job's budget."""
    draft = _codec(kind)(text, job)
    if draft is not None and (job.max_tokens is None or job.count(draft.text) <= job.max_tokens):
        return draft
    if not job.must_cut:
        return None
    if draft is not None and draft.text.count("\n") > 2:
        return _ends(draft, job) or prose(text, job)
    return prose(text, job)


def cut_anyhow(text: str, job: Job, protected: Sequence[Span]) -> Draft:
    """Return as much of the text's start as the budget has room for."""
    stop = longest_prefix(text, job.max_tokens or 0, job.count, protected=protected)
    return Draft(
        text[:stop], "cut after what the budget has room for", spans=((0, stop),), dropped=(Dropped("the rest"),)
    )


def _ends(draft: Draft, job: Job) -> Draft | None:
    """Return the first and the last lines of what is already shortened as its kind can be, but too long still."""
    lines = draft.text.split("\n")
    first, last = ends_of_lines(lines, (job.max_tokens or 0) - 2, job.count)
    if first < 2:
        return None
    kept = [*lines[:first], "…", *lines[len(lines) - last :]]
    dropped = (*draft.dropped, Dropped("line after shortening", len(lines) - first - last))
    return Draft("\n".join(kept), f"{draft.note}, then the first and last lines", dropped=dropped)


def prose(text: str, job: Job) -> Draft | None:
    """Return prose shortened: by a model or for a question where there is a budget, else without repeats."""
    if job.is_lossless:
        return None
    from thrift_core.compression.prose import for_question, without_repeats  # noqa: PLC0415 - brings numpy

    if len(text) > _PROSE_PART:
        return _in_parts(text, job)
    protected = job.protector.spans(text)
    if not job.must_cut:
        return without_repeats(text, protected) if job.may_cut else None
    if job.backend is not None:
        from thrift_core.compression.model_choice import by_model  # noqa: PLC0415 - only who has a model

        return by_model(text, job, protected)
    if job.question is not None:
        return for_question(text, job, protected)
    from thrift_core.compression.telegraph import to_budget  # noqa: PLC0415 - only without a question

    return to_budget(text, job, protected)


def _in_parts(text: str, job: Job) -> Draft | None:
    """Return a very long text shortened part by part, each with its share of the budget."""
    drafts: list[Draft] = []
    spans: list[Span] = []
    start = 0
    while start < len(text):
        end = _part_end(text, start)
        piece = text[start:end]
        tokens = job.count(piece)
        share = None if job.max_tokens is None else max(0, job.max_tokens * (end - start) // len(text) - 2)
        draft = prose(piece, job.part(tokens, share)) or (
            Draft(piece, "", spans=((0, len(piece)),)) if share is None else None
        )
        if draft is not None and draft.text:
            drafts.append(draft)
            spans += [(start + first, start + last) for first, last in draft.spans]
        start = end
    if not any(draft.dropped for draft in drafts):
        return None
    joiner = "" if job.max_tokens is None else "\n"
    dropped = tuple(item for draft in drafts for item in draft.dropped)
    return Draft(
        joiner.join(draft.text for draft in drafts), "shortened part by part", spans=tuple(spans), dropped=dropped
    )


def _part_end(text: str, start: int) -> int:
    end = start + _PROSE_PART
    if end >= len(text):
        return len(text)
    for mark in ("\n\n", "\n", ". ", " "):
        at = text.rfind(mark, end - _PROSE_PART // 8, end)
        if at > start:
            return at + len(mark)
    return end


# Each codec is loaded when it is first used.
_CODECS: dict[Kind, tuple[str, str]] = {
    "json": ("json_documents", "json_document"),
    "ndjson": ("json_documents", "json_lines"),
    "csv": ("tables", "table"),
    "log": ("logs", "log"),
    "trace": ("traces", "trace"),
    "code": ("code", "code"),
    "diff": ("diffs", "diff"),
    "html": ("pages", "page"),
    "mixed": ("mixed", "mixed"),
}


def _codec(kind: Kind) -> Codec:
    if kind not in _CODECS:
        return prose
    module, name = _CODECS[kind]
    return cast("Codec", getattr(import_module(f"thrift_core.compression.{module}"), name))
