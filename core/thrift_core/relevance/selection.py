"""Packs sentences under an exact token budget, the most evidence for each token first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from thrift_core.relevance.passage import GAP, SEPARATOR, Passage
from thrift_core.relevance.segmentation import Segments, clauses
from thrift_core.token_counters import TokenCounter

# How many sentences that do not fit may be met in a row before the rest is not looked at: what comes then is hardly
# relevant, and counting it takes time.
_PATIENCE = 120
_ROUNDS = 4
# More characters than this in a token are rare in any tokenizer and script.
_MOST_CHARACTERS = 16
# A piece of a sentence below this size says nothing by itself.
_LEAST_CLIP_TOKENS = 6
_LEAST_CLIP_SHARE = 0.25
# The sentence number that stands for all of a passage.
_WHOLE = -1


@dataclass(slots=True)
class Chosen:
    """The parts chosen of one passage: sentence number to the span that is kept of it."""

    spans: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])


class Packer:
    """Chooses sentences and says exactly what they cost together.

    Args:
        passages: the passages.
        segments: the same, taken apart.
        counter: what counts tokens; its word is final.
        max_tokens: the budget for all of it, overheads and separators included; None: no limit.
        separator: what stands between passages in the prompt.
        gap: what stands where something was cut.
        counted: tokens of texts that were counted already; what is counted here is added.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        segments: Sequence[Segments],
        counter: TokenCounter,
        *,
        max_tokens: int | None,
        separator: str = SEPARATOR,
        gap: str = GAP,
        counted: dict[str, int] | None = None,
    ) -> None:
        self._passages = passages
        self._segments = segments
        self._counter = counter
        self._max_tokens = max_tokens
        self._gap = gap
        self._separator = separator
        self._separator_tokens = counter.count(separator) if separator else 0
        self._gap_tokens = counter.count(gap) if gap else 0
        self._chosen: dict[int, Chosen] = {}
        self._added: list[tuple[int, int]] = []
        self._said: set[tuple[str, ...]] = set()
        self._counted = {} if counted is None else counted
        self._estimate = 0

    def fix(self, index: int) -> None:
        """Keep a whole passage whatever it costs."""
        self._chosen[index] = Chosen({_WHOLE: (0, len(self._passages[index].text))})
        self._estimate = self.tokens()

    def take_all(self, order: Sequence[int]) -> bool:
        """Choose all these whole passages if they fit in this order; else choose nothing and return False."""
        size = sum(len(self._passages[index].text) for index in order)
        if self._max_tokens is not None and size > _MOST_CHARACTERS * self._max_tokens:
            return False
        for index in order:
            if index not in self._chosen:
                self._choose(index, _WHOLE, (0, len(self._passages[index].text)), 0)
        if self._max_tokens is None or self._cost_of(order) <= self._max_tokens:
            return True
        while self._added:
            self._take_back()
        return False

    def pack_whole(self, order: Sequence[int]) -> None:
        """Choose whole passages in an order, each if it fits; twice, for the exact count may leave more room."""
        for _ in range(2):
            for index in order:
                whole = (0, len(self._passages[index].text))
                if index not in self._chosen and (cost := self._cost(index, whole)) <= self._room():
                    self._choose(index, _WHOLE, whole, cost)
            self._shed()

    def pack(self, order: Iterable[tuple[int, int]], *, clip: bool = True) -> None:
        """Choose sentences (passage, sentence number) in an order, each if it fits; then use what is left.

        Costs are first estimated as if every sentence stood alone, which is a little more than they cost together.
        The exact count then shows what is left, and the sentences passed over get another chance.
        """
        waiting = list(order)
        for _ in range(_ROUNDS):
            waiting, is_full = self._pass(waiting)
            self._shed()
            if is_full or not waiting:
                break
        if self._max_tokens is not None and clip:
            self._clip(waiting)
            self._shed()
            self._pass(waiting)

    def settle(self, texts: Sequence[int]) -> int:
        """Return what the chosen texts cost in their final order; what was chosen last goes while it is too much.

        Args:
            texts: the passages in their final order; those without a chosen part are passed over.
        """
        while True:
            cost = self._cost_of([index for index in texts if index in self._chosen])
            if self._max_tokens is None or cost <= self._max_tokens or not self._added:
                return cost
            self._take_back()

    def texts(self) -> dict[int, tuple[str, tuple[tuple[int, int], ...]]]:
        """Return what is kept of each passage: its text and where that stands, by the passage's index."""
        return {index: self._text(index) for index in self._chosen}

    @property
    def size(self) -> int:
        """How many sentences are chosen."""
        return len(self._added)

    def tokens(self) -> int:
        """Return what all that is chosen costs, by exact count."""
        if not self._chosen:
            return 0
        return self._cost_of(sorted(self._chosen))

    def _cost_of(self, order: Sequence[int]) -> int:
        """Return what passages cost in an order, joined or one by one, whichever is more.

        A tokenizer may merge less across a seam than within, and separators cost something, or nothing where they
        merge with what is before them.
        """
        texts = [self._rendered(index) for index in order]
        overheads = sum(self._passages[index].overhead_tokens for index in order)
        return max(sum(map(self.count, texts)), self._counter.count(self._separator.join(texts))) + overheads

    def count(self, text: str) -> int:
        """Return the tokens of a text; each text is counted once."""
        found = self._counted.get(text)
        if found is None:
            found = self._counted[text] = self._counter.count(text)
        return found

    def _pass(self, waiting: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], bool]:
        passed_over: list[tuple[int, int]] = []
        misses = 0
        for at, (index, number) in enumerate(waiting):
            words = self._segments[index].words[number]
            if number in self._chosen.get(index, _NOTHING).spans or (len(words) > 3 and words in self._said):
                continue
            span = self._segments[index].spans[number]
            room = self._room()
            # What is far too long is not even counted.
            cost = self._cost(index, span) if span[1] - span[0] <= _MOST_CHARACTERS * room else sys.maxsize
            if cost > room:
                passed_over.append((index, number))
                misses += 1
                is_full = room < 2
                if is_full or misses > _PATIENCE:
                    return passed_over + list(waiting[at + 1 :]), is_full
                continue
            misses = 0
            self._add(index, number, span, cost)
        return passed_over, False

    def _room(self) -> int:
        return sys.maxsize if self._max_tokens is None else self._max_tokens - self._estimate

    def _add(self, index: int, number: int, span: tuple[int, int], cost: int) -> None:
        self._choose(index, number, span, cost)
        self._said.add(self._segments[index].words[number])

    def _choose(self, index: int, number: int, span: tuple[int, int], cost: int) -> None:
        self._chosen.setdefault(index, Chosen()).spans[number] = span
        self._added.append((index, number))
        self._estimate += cost

    def _cost(self, index: int, span: tuple[int, int]) -> int:
        cost = self.count(self._passages[index].text[span[0] : span[1]])
        if index in self._chosen:
            return cost + self._gap_tokens
        passage = self._passages[index]
        around = sum(self.count(text) for text in (passage.before, passage.after) if text)
        return cost + around + passage.overhead_tokens + (self._separator_tokens if self._chosen else 0)

    def _shed(self) -> None:
        """Make the estimate exact; take back what was chosen last while it is too much."""
        self._estimate = self.tokens()
        while self._max_tokens is not None and self._estimate > self._max_tokens and self._added:
            self._take_back()
            self._estimate = self.tokens()

    def _take_back(self) -> None:
        index, number = self._added.pop()
        chosen = self._chosen[index].spans
        del chosen[number]
        if not chosen:
            del self._chosen[index]

    def _clip(self, waiting: Sequence[tuple[int, int]]) -> None:
        """Fill the room that is left with clauses of the best sentence that is too long for it."""
        for index, number in waiting[:12]:
            room = self._room()
            if room < _LEAST_CLIP_TOKENS and self._chosen:
                return
            if number in self._chosen.get(index, _NOTHING).spans:
                continue
            span = self._clipped(index, number, room)
            if span is not None:
                self._add(index, number, span, self._cost(index, span))

    def _clipped(self, index: int, number: int, room: int) -> tuple[int, int] | None:
        """Return the first clauses of a sentence that fit; if nothing was chosen yet, as many words as fit."""
        text = self._passages[index].text
        start, end = self._segments[index].spans[number]
        best: tuple[int, int] | None = None
        for _, stop in clauses(text, start, end):
            if self._cost(index, (start, stop)) > room:
                break
            best = (start, stop)
        if best is not None and (not self._chosen or best[1] - start >= _LEAST_CLIP_SHARE * (end - start)):
            return best
        return None if self._chosen else self._first_words(index, start, end, room)

    def _first_words(self, index: int, start: int, end: int, room: int) -> tuple[int, int] | None:
        """Return as much of a sentence as fits, cut at a blank if there is one; None if not even one character does."""
        text = self._passages[index].text
        low, high = start, end
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._cost(index, (start, middle)) <= room else (low, middle - 1)
        blank = max(text.rfind(character, start, low) for character in " \n\t")
        stop = blank if blank > start and low < end and self._cost(index, (start, blank)) <= room else low
        return (start, stop) if stop > start and self._cost(index, (start, stop)) <= room else None

    def _rendered(self, index: int) -> str:
        return self._passages[index].before + self._text(index)[0] + self._passages[index].after

    def _text(self, index: int) -> tuple[str, tuple[tuple[int, int], ...]]:
        passage, chosen = self._passages[index].text, self._chosen[index].spans
        sentences = self._segments[index].spans
        if _WHOLE in chosen or (len(chosen) == len(sentences) and all(chosen[n] == sentences[n] for n in chosen)):
            return passage, ((0, len(passage)),)
        runs: list[tuple[int, int]] = []
        last = -2
        for number in sorted(chosen):
            start, end = chosen[number]
            if number == last + 1 and chosen[last] == sentences[last]:
                runs[-1] = (runs[-1][0], end)
            else:
                runs.append((start, end))
            last = number
        return self._gap.join(passage[start:end] for start, end in runs), tuple(runs)


_NOTHING = Chosen()
