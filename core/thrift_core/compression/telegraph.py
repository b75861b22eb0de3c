"""Prose without a question, to a budget: what everybody says goes first, numbers, names, dates and negations stay.

Words go in the order of how common they are in all languages (a word's rank in the tokenizer, see
`relevance.rarity`): articles, auxiliaries and prepositions before words that carry the matter. Those of sentences that
name no fact go before those of sentences that do. What is protected stays until nothing else is left; then whole
sentences go, those first that say no fact for the first time. What stays, stays byte for byte and in its order.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.compression.character_classes import characters, has_rare_letters
from thrift_core.compression.compressed import Dropped, Span
from thrift_core.compression.protected import cuts_inside
from thrift_core.compression.unspaced import units
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
# A budget is met closely enough with so many tokens to spare, or with such a part of it.
_LEAST_STEP = 8
_CLOSE = 128


@dataclass(frozen=True, slots=True)
class _Words:
    """The words that may go, each with the blanks before it.

    Attributes:
        spans: where they stand, in reading order.
        order: their numbers, the one to drop first in front.
        pieces: all of the text: what is between words at even places, the words at odd ones.
    """

    spans: list[Span]
    order: NDArray[np.int64]
    pieces: NDArray[np.object_]


def to_budget(text: str, job: Job, protected: Sequence[Span]) -> Draft | None:
    """Return a text shortened word by word under the job's budget; None where even its facts alone are too many."""
    if job.max_tokens is None:
        return None
    bounds = sentences(text)
    guarded = _guarded(text, bounds, protected)
    words = _droppable(text, bounds, guarded)
    number, shown = _fewest(words, job.count, job.max_tokens, job.tokens)
    if job.count(shown) > job.max_tokens:
        return _fewer_units(text, bounds, guarded, words.spans, job)
    gone: list[int] = words.order[:number].tolist()
    spans = _inside(0, len(text), [words.spans[at] for at in sorted(gone)])
    return Draft(shown, f"{number} common words left out", spans=spans, dropped=(Dropped("common word", number),))


def _fewest(words: _Words, count: Callable[[str], int], max_tokens: int, tokens: int) -> tuple[int, str]:
    """Return as few words to drop as keep the budget, about, and what is left; all of them where that is not enough."""
    need, most = tokens - max_tokens, len(words.order)
    # How many words dropped are known to be too few and enough, each with the tokens that are then too many.
    short, enough = (0, need), (most + 1, 0)
    best: tuple[int, str] | None = None
    close = max(_LEAST_STEP, max_tokens // _CLOSE)
    # The first guess is that a word is a token.
    number = min(max(need, 0), most)
    for _ in range(_ROUNDS):
        shown = _without(words, number)
        over = count(shown) - max_tokens
        if over <= 0:
            best, enough = (number, shown), (number, over)
        else:
            short = (number, over)
        if -close < over <= 0 or enough[0] - short[0] <= 1:
            break
        number = _between(short, enough) if best else min(number + _beyond(short, need), most)
    return best or (most, _without(words, most))


def _between(short: tuple[int, int], enough: tuple[int, int]) -> int:
    """Return how many words to try between too few and enough, as if each cost the same."""
    share = short[1] / (short[1] - enough[1])
    return min(short[0] + max(1, ceil(share * (enough[0] - short[0]))), enough[0] - 1)


def _beyond(short: tuple[int, int], need: int) -> int:
    """Return how many words more to try where all tries were too few, as if each cost what those before did."""
    number, over = short
    return max(1, ceil(over * number / max(1, need - over)))


def _without(words: _Words, number: int) -> str:
    pieces = words.pieces.copy()
    pieces[2 * words.order[:number] + 1] = ""
    return "".join(pieces.tolist()).strip()


def _droppable(text: str, bounds: Sequence[Span], guarded: Sequence[Span]) -> _Words:
    """Return the words, each with the blanks before it, that are no part of anything protected."""
    spans: list[Span] = []
    worths: list[float] = []
    has_fact = _sentences_with_facts(bounds, guarded)
    # What stands behind the last is met by nothing.
    stretches = iter([*guarded, (len(text) + 1, len(text) + 1)])
    sentence_starts = iter([*(start for start, _ in bounds[1:]), len(text) + 1])
    begins, stops = next(stretches)
    next_sentence = next(sentence_starts)
    share = 1.0 if has_fact[0] else _FACTLESS
    sentence = 0
    rarities: dict[str, float] = {",": _COMMA}
    for hit in (_word_by_properties() if has_rare_letters(text) else _word_by_ranges()).finditer(text):
        start, end = hit.span()
        word = hit[1]
        first = end - len(word)
        while stops <= first:
            begins, stops = next(stretches)
        if begins < end:
            continue
        while next_sentence <= first:
            sentence += 1
            next_sentence = next(sentence_starts)
            share = 1.0 if has_fact[sentence] else _FACTLESS
        rarity = rarities.get(word)
        if rarity is None:
            rarity = rarities[word] = tokenizer_rarity(word.lower())
        spans.append((start, end))
        worths.append(rarity * share if word != "," else _COMMA * share)
    return _Words(spans, np.argsort(np.array(worths), kind="stable"), _pieces(text, spans))


def _pieces(text: str, spans: Sequence[Span]) -> NDArray[np.object_]:
    found: list[str] = []
    before = 0
    for start, end in spans:
        found += (text[before:start], text[start:end])
        before = end
    pieces = np.empty(len(found) + 1, dtype=np.object_)
    pieces[:] = [*found, text[before:]]
    return pieces


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


def _fewer_units(
    text: str, bounds: Sequence[Span], guarded: Sequence[Span], words: Sequence[Span], job: Job
) -> Draft | None:
    """Return the sentences, or clauses where words have no blanks between them, that say the most facts in few tokens.

    Those with a number that was not named before come first, then those with the most new facts for their tokens.
    """
    found = _whole([part for start, end in bounds for part in units(text, start, end, guarded)], guarded)
    kept_of = list(_left(found, words))
    ranked = _ranked(text, found, kept_of, guarded, job.count)
    max_tokens = job.max_tokens or 0
    chosen: set[int] = set()
    room = max_tokens
    shown = ""
    for _ in range(_ROUNDS):
        before = len(chosen)
        for _, number, tokens in ranked:
            if number not in chosen and tokens <= room:
                chosen.add(number)
                room -= tokens
        shown = _joined(text, found, kept_of, chosen)
        # Parts that stand side by side need no line end between them, so there may be more room than was thought.
        room = max_tokens - job.count(shown)
        if room < 0 or len(chosen) == before:
            break
    for _, number, _ in reversed(ranked):
        if room >= 0:
            break
        if number in chosen:
            chosen.discard(number)
            shown = _joined(text, found, kept_of, chosen)
            room = max_tokens - job.count(shown)
    if not chosen or room < 0:
        return None
    return Draft(
        shown,
        f"{len(chosen)} of {len(found)} sentences or clauses, common words left out",
        spans=tuple(span for number in sorted(chosen) for span in kept_of[number]),
        dropped=(Dropped("common word", len(words)), Dropped("sentence or clause", len(found) - len(chosen))),
    )


def _whole(found: Sequence[Span], guarded: Sequence[Span]) -> list[Span]:
    """Return units joined where a protected stretch goes on from one to the next."""
    joined: list[Span] = []
    for start, end in found:
        if joined and (cuts_inside(guarded, start) or cuts_inside(guarded, joined[-1][1])):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _left(found: Sequence[Span], words: Sequence[Span]) -> Iterator[tuple[Span, ...]]:
    """Yield what is left of each unit without the words that go."""
    at = 0
    for start, end in found:
        gone: list[Span] = []
        while at < len(words) and words[at][0] < end:
            gone.append((max(words[at][0], start), min(words[at][1], end)))
            at += 1
        yield _inside(start, end, gone)


def _ranked(
    text: str,
    found: Sequence[Span],
    kept_of: Sequence[tuple[Span, ...]],
    guarded: Sequence[Span],
    count: Callable[[str], int],
) -> list[tuple[tuple[bool, float], int, int]]:
    """Return the units in the order in which they stay, as (worth, number, tokens)."""
    ranked: list[tuple[tuple[bool, float], int, int]] = []
    said: set[str] = set()
    fact = 0
    for number, (_, end) in enumerate(found):
        new: list[str] = []
        while fact < len(guarded) and guarded[fact][0] < end:
            name = text[slice(*guarded[fact])]
            if name not in said:
                new.append(name)
            said.add(name)
            fact += 1
        if not kept_of[number]:
            continue
        tokens = count("".join(text[first:last] for first, last in kept_of[number])) + 1
        has_number = any(_DIGIT.search(name) for name in new)
        ranked.append(((has_number, len(new) / tokens), number, tokens))
    return sorted(ranked, key=lambda unit: (not unit[0][0], -unit[0][1], unit[1]))


def _joined(text: str, found: Sequence[Span], kept_of: Sequence[tuple[Span, ...]], chosen: set[int]) -> str:
    shown: list[str] = []
    before = -1
    for number in sorted(chosen):
        follows = before >= 0 and not text[before : found[number][0]].strip()
        shown.append((text[before : found[number][0]] if follows else "\n") if shown else "")
        piece = "".join(text[first:last] for first, last in kept_of[number])
        shown.append(piece if follows and before == found[number][0] else piece.strip())
        before = found[number][1]
    return "".join(shown).strip()


def _inside(start: int, end: int, cut: Sequence[Span]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for first, last in cut:
        if first > start:
            spans.append((start, first))
        start = max(start, last)
    if start < end:
        spans.append((start, end))
    return tuple(spans)


# Scripts without blanks between words have no words to leave out one by one.
_LETTERS = r"\p{L}\p{M}'’--[\p{LB=ID}\p{LB=CJ}\p{LB=SA}]"
_DIGIT = re.compile(r"\d")


@cache
def _word_by_properties() -> Any:
    return importlib.import_module("regex").compile(_pattern(str), importlib.import_module("regex").V1)


@cache
def _word_by_ranges() -> re.Pattern[str]:
    return re.compile(_pattern(characters))


def _pattern(members: Callable[[str], str]) -> str:
    inner = members(r"\p{L}\p{N}_")
    return rf"[^\S\n]*+([{members(_LETTERS)}]{{1,64}}+(?![{inner}])|,(?=\s))"
