"""Prose: the sentences that answer a question, or all of them but those said twice; always byte for byte.

Imported only when prose is cut: numpy takes long to import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from thrift_core.compression.compressed import Dropped, Span
from thrift_core.compression.protected import cuts_inside
from thrift_core.compression.work import Draft, Job
from thrift_core.relevance.passage import Passage
from thrift_core.relevance.rarity import tokenizer_rarity
from thrift_core.relevance.scoring import relevance
from thrift_core.relevance.segmentation import Segments, segment, sentences
from thrift_core.relevance.selection import Packer
from thrift_core.relevance.word_vectors import shipped_vectors
from thrift_core.token_counters import TokenCounter

GAP = "\n"
SEPARATOR = "\n\n"
_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
# A sentence that is said again word for word is told by so many characters; a short one may mean another thing there.
_SHORTEST_REPEAT = 40
_FEWEST_SIGNS = 8


@dataclass(frozen=True, slots=True)
class _Part:
    """A paragraph: where it starts in the text, and what it says."""

    start: int
    text: str
    segments: Segments


def for_question(text: str, job: Job, protected: Sequence[Span]) -> Draft | None:
    """Return the sentences that answer the job's question, under its budget; None where not even one fits.

    Scores and packing are the trimmer's (see `thrift_core.relevance`); each paragraph is a passage, in reading order.
    """
    parts = [_joined(part, protected) for part in _paragraphs(text)]
    passages = [Passage(str(number), part.text) for number, part in enumerate(parts)]
    segments = [part.segments for part in parts]
    found = relevance(passages, segments, job.question or "", rarity=tokenizer_rarity, meanings=shipped_vectors())
    owner, place = found.evidence.owner.tolist(), found.evidence.place.tolist()
    packer = Packer(passages, segments, _Counter(job), max_tokens=job.max_tokens, separator=SEPARATOR, gap=GAP)
    packer.pack([(owner[sentence], place[sentence]) for sentence in found.order], clip=False)
    packer.settle(range(len(parts)))
    chosen = packer.texts()
    if not chosen:
        return None
    order = sorted(chosen)
    spans = tuple((parts[n].start + start, parts[n].start + end) for n in order for start, end in chosen[n][1])
    gone = sum(len(item.spans) for item in segments) - packer.size
    return Draft(
        SEPARATOR.join(chosen[number][0] for number in order),
        f"sentences for the question, {packer.size} of {packer.size + gone}",
        spans=spans,
        dropped=(Dropped("sentence", gone),),
    )


def without_repeats(text: str, protected: Sequence[Span]) -> Draft | None:
    """Return a text without the runs of sentences that it says a second time, word for word; None if there are none."""
    found = sentences(text)
    bounds = [*(start for start, _ in found), len(text)]
    kept: list[Span] = []
    start = gone = 0
    for first, stop in _repeated_runs([text[begin:end] for begin, end in found]):
        said = text[found[first][0] : found[stop - 1][1]]
        # A run of the same sign is no sentence.
        is_long = len(said) >= _SHORTEST_REPEAT and len(set(said)) >= _FEWEST_SIGNS
        if is_long and not cuts_inside(protected, bounds[first]) and not cuts_inside(protected, bounds[stop]):
            kept.append((start, bounds[first]))
            start = bounds[stop]
            gone += stop - first
    if not gone:
        return None
    kept.append((start, len(text)))
    spans = tuple(span for span in kept if span[0] < span[1])
    shown = "".join(text[first:last] for first, last in spans).rstrip()
    return Draft(shown, f"{gone} repeated sentences left out", spans=spans, dropped=(Dropped("repeat", gone),))


def _repeated_runs(said: Sequence[str]) -> Iterator[Span]:
    """Yield where sentences begin and stop that stood before in the same order."""
    first_at: dict[str, int] = {}
    at = 0
    while at < len(said):
        source = first_at.setdefault(said[at], at)
        length = 0
        while (
            source < at
            and at + length < len(said)
            and source + length < at
            and said[source + length] == said[at + length]
        ):
            length += 1
        if length:
            yield at, at + length
        at += max(1, length)


class _Counter(TokenCounter):
    def __init__(self, job: Job) -> None:
        self._job = job

    def count(self, text: str) -> int:
        return self._job.count(text)


def _paragraphs(text: str) -> list[_Part]:
    parts: list[_Part] = []
    start = 0
    for end, after in [*((hit.start(), hit.end()) for hit in _PARAGRAPH_END.finditer(text)), (len(text), len(text))]:
        piece = text[start:end]
        if piece.strip():
            parts.append(_Part(start, piece, segment(piece)))
        start = after
    return parts


def _joined(part: _Part, protected: Sequence[Span]) -> _Part:
    """Return a part whose sentences are joined where a protected stretch goes on from one to the next."""
    spans = part.segments.spans
    last_of_each: list[int] = []
    for number, (start, _) in enumerate(spans):
        goes_on = number and (
            cuts_inside(protected, part.start + start) or cuts_inside(protected, part.start + spans[number - 1][1])
        )
        if goes_on:
            last_of_each.pop()
        last_of_each.append(number)
    if len(last_of_each) == len(spans):
        return part
    groups = [range(before + 1, last + 1) for before, last in zip([-1, *last_of_each], last_of_each, strict=False)]
    # Whatever else is known of a sentence is known of the last one joined.
    others = {item.name: getattr(part.segments, item.name) for item in fields(part.segments)}
    joined: dict[str, Any] = {name: tuple(values[group[-1]] for group in groups) for name, values in others.items()}
    joined["spans"] = tuple((spans[group[0]][0], spans[group[-1]][1]) for group in groups)
    joined["words"] = tuple(tuple(word for number in group for word in part.segments.words[number]) for group in groups)
    return _Part(part.start, part.text, Segments(**joined))
