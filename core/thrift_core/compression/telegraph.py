"""Prose without a question, to a budget: what everybody says goes first, numbers, names, dates and negations stay.

Words go in the order of how common they are in all languages (a word's rank in the tokenizer, see
`relevance.rarity`): articles, auxiliaries and prepositions before words that carry the matter. Those of sentences that
name no fact go before those of sentences that do. What is protected stays until nothing else is left; then whole
sentences go, those first that say no fact for the first time. What stays, stays byte for byte and in its order.
"""

from __future__ import annotations

import importlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from thrift_core.compression.compressed import Dropped, Span
from thrift_core.compression.work import Draft, Job
from thrift_core.relevance.rarity import tokenizer_rarity
from thrift_core.relevance.segmentation import sentences

# A capital at the start of a sentence makes no name of a word as common as this.
_COMMON = 0.85
# Words of a sentence without any number, name or quote count for so much less.
_FACTLESS = 0.8
# A comma says less than a word.
_COMMA = 0.72
_ROUNDS = 6
_LEAST_STEP = 8


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    worth: float


def to_budget(text: str, job: Job, protected: Sequence[Span]) -> Draft | None:
    """Return a text shortened word by word under the job's budget; None where even its facts alone are too many."""
    if job.max_tokens is None:
        return None
    bounds = sentences(text)
    guarded = _guarded(text, bounds, protected)
    words = sorted(_droppable(text, bounds, guarded), key=lambda word: (word.worth, word.start))
    number, shown, spans = _fewest(text, words, job.count, job.max_tokens, job.tokens)
    if job.count(shown) <= job.max_tokens:
        return Draft(shown, f"{number} common words left out", spans=spans, dropped=(Dropped("common word", number),))
    return _fewer_sentences(text, bounds, guarded, words, job)


def _fewest(
    text: str, words: Sequence[_Word], count: Callable[[str], int], max_tokens: int, tokens: int
) -> tuple[int, str, tuple[Span, ...]]:
    """Return as few words to drop as keep the budget, about, and what is left; all of them where that is not enough."""
    low, high = 0, len(words)
    best = (high, *_without(text, words))
    number = min(high, max(0, tokens - max_tokens))
    for _ in range(_ROUNDS):
        shown, spans = _without(text, words[:number])
        over = count(shown) - max_tokens
        if over <= 0:
            best, high = (number, shown, spans), number
        else:
            low = number + 1
        # A word is a little more than a token; so the miss is the next step.
        step = over + over // 16 if over > 0 else over
        number = min(max(number + step, low), high)
        if low >= high or (abs(over) < _LEAST_STEP and over <= 0):
            break
    return best


def _without(text: str, words: Sequence[_Word]) -> tuple[str, tuple[Span, ...]]:
    spans: list[Span] = []
    start = 0
    for first, last in sorted((word.start, word.end) for word in words):
        if first > start:
            spans.append((start, first))
        start = last
    if start < len(text):
        spans.append((start, len(text)))
    shown = "".join([text[first:last] for first, last in spans])
    return shown.strip(), tuple(spans)


def _droppable(text: str, bounds: Sequence[Span], guarded: Sequence[Span]) -> list[_Word]:
    """Return the words, each with the blanks before it, that are no part of anything protected."""
    found: list[_Word] = []
    has_fact = _sentences_with_facts(bounds, guarded)
    starts = [start for start, _ in bounds]
    at = 0
    for hit in _word().finditer(text):
        start, end = hit.span()
        first = hit.start(1)
        while at < len(guarded) and guarded[at][1] <= first:
            at += 1
        if at < len(guarded) and guarded[at][0] < end:
            continue
        sentence = bisect_right(starts, first) - 1
        word = hit[1]
        worth = _COMMA if word == "," else tokenizer_rarity(word.lower())
        found.append(_Word(start, end, worth if has_fact[sentence] else worth * _FACTLESS))
    return found


def _sentences_with_facts(bounds: Sequence[Span], guarded: Sequence[Span]) -> list[bool]:
    found = [False] * (len(bounds) + 1)
    starts = [start for start, _ in bounds]
    for start, _ in guarded:
        found[bisect_right(starts, start) - 1] = True
    return found


def _guarded(text: str, bounds: Sequence[Span], protected: Sequence[Span]) -> list[Span]:
    """Return the protected stretches but for those that are nothing than a sentence's first word, a common one."""
    begins = {start for start, _ in bounds}
    return [
        (start, end)
        for start, end in protected
        if not (start in begins and text[start:end].isalpha() and tokenizer_rarity(text[start:end].lower()) < _COMMON)
    ]


def _fewer_sentences(
    text: str, bounds: Sequence[Span], guarded: Sequence[Span], words: Sequence[_Word], job: Job
) -> Draft | None:
    """Return the sentences, without their common words, that name the most facts for the first time."""
    gone = sorted((word.start, word.end) for word in words)
    costs: list[tuple[float, int, int, tuple[Span, ...]]] = []
    said: set[str] = set()
    word = fact = 0
    for number, (start, end) in enumerate(bounds):
        cut: list[_Word] = []
        while word < len(gone) and gone[word][0] < end:
            cut.append(_Word(max(gone[word][0], start), min(gone[word][1], end), 0.0))
            word += 1
        new = 0
        while fact < len(guarded) and guarded[fact][0] < end:
            name = text[slice(*guarded[fact])]
            new += name not in said
            said.add(name)
            fact += 1
        spans = _inside(start, end, cut)
        tokens = job.count(" ".join(text[first:last] for first, last in spans)) + 1
        costs.append((new / tokens, number, tokens, spans))
    room = job.max_tokens or 0
    kept: list[tuple[int, tuple[Span, ...]]] = []
    for _, number, tokens, spans in sorted(costs, key=lambda cost: (-cost[0], cost[1])):
        if tokens <= room and spans:
            kept.append((number, spans))
            room -= tokens
    kept.sort()
    while kept:
        shown = "\n".join("".join(text[a:b] for a, b in spans).strip() for _, spans in kept)
        if job.count(shown) <= (job.max_tokens or 0):
            dropped = (Dropped("common word", len(words)), Dropped("sentence", len(bounds) - len(kept)))
            spans_kept = tuple(span for _, spans in kept for span in spans)
            return Draft(
                shown,
                f"{len(kept)} of {len(bounds)} sentences, common words left out",
                spans=spans_kept,
                dropped=dropped,
            )
        kept.pop()
    return None


def _inside(start: int, end: int, cut: Sequence[_Word]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for word in cut:
        if word.start > start:
            spans.append((start, word.start))
        start = max(start, word.end)
    if start < end:
        spans.append((start, end))
    return tuple(spans)


@cache
def _word() -> Any:
    module = importlib.import_module("regex")
    # Scripts without blanks between words have no words to leave out one by one.
    return module.compile(
        r"[^\S\n]*+([\p{L}\p{M}'’--[\p{LB=ID}\p{LB=CJ}\p{LB=SA}]]{1,64}+(?![\p{L}\p{N}_])|,(?=\s))", module.V1
    )
