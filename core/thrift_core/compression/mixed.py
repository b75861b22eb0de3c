"""Documents with fenced parts: each part is shortened as what it is, the fences stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from thrift_core.compression.compressed import Dropped, Kind, RoundTrip
from thrift_core.compression.kinds import SURE, kind_of
from thrift_core.compression.work import Draft, Job

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*$", re.MULTILINE)
# What a part costs besides its text, where it is joined to the next.
_SEAM_TOKENS = 2
_NOT_PARTS: frozenset[Kind] = frozenset(("mixed",))


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    is_fenced: bool = False
    is_mark: bool = False


def mixed(text: str, job: Job) -> Draft | None:
    """Return a document whose parts are shortened each as its kind can be; under a budget each by its share."""
    from thrift_core.compression.codecs import shortened  # noqa: PLC0415 - which loads this module

    parts = list(_parts(text))
    tokens = [job.count(part.text) for part in parts]
    fixed = sum(number for part, number in zip(parts, tokens, strict=True) if part.is_mark) + _SEAM_TOKENS * len(parts)
    free = sum(number for part, number in zip(parts, tokens, strict=True) if not part.is_mark)
    room = None if job.max_tokens is None else job.max_tokens - fixed
    if room is not None and room <= 0:
        return None
    shown: list[str] = []
    dropped: list[Dropped] = []
    trips: set[RoundTrip | None] = set()
    for part, number in zip(parts, tokens, strict=True):
        if part.is_mark or not part.text.strip():
            shown.append(part.text)
            continue
        share = None if room is None else room * number // max(1, free)
        found = kind_of(part.text)
        kind: Kind = found.kind if found.confidence >= SURE and found.kind not in _NOT_PARTS else "prose"
        own = job.part(number, share)
        draft = shortened(part.text.rstrip("\n"), own, kind) if share is None or number > share else None
        if draft is None or job.count(draft.text) >= number:
            if share is not None and number > share:
                return None
            shown.append(part.text)
            continue
        shown.append(draft.text + part.text[len(part.text.rstrip("\n")) :])
        dropped += draft.dropped
        trips.add(draft.round_trip)
    if not trips:
        return None
    trip: RoundTrip | None = None if None in trips else "value"
    return Draft("".join(shown), "each part shortened as what it is", trip, dropped=tuple(dropped))


def _parts(text: str) -> Iterator[_Part]:
    """Yield the parts of a document in order; all together they are the document."""
    at = 0
    opened = ""
    for hit in _FENCE.finditer(text):
        if opened and not (hit[1][0] == opened[0] and len(hit[1]) >= len(opened)):
            continue
        end = min(len(text), hit.end() + 1)
        if hit.start() > at:
            yield _Part(text[at : hit.start()], is_fenced=bool(opened))
        yield _Part(text[hit.start() : end], is_mark=True)
        at = end
        opened = "" if opened else hit[1]
    if at < len(text):
        yield _Part(text[at:], is_fenced=bool(opened))
