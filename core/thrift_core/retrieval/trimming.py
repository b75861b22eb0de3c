"""One trim on its way: what is relevant, what is chosen, and what became of every passage.

Imported only when passages are trimmed: numpy takes long to import.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thrift_core.relevance.duplicates import near_duplicates
from thrift_core.relevance.passage import Cut, Passage, Span, Trimmed
from thrift_core.relevance.scoring import Relevance, relevance
from thrift_core.relevance.segmentation import Segments, segment
from thrift_core.relevance.selection import Packer
from thrift_core.relevance.word_vectors import shipped_vectors
from thrift_core.retrieval.settings import Limits, Order, Settings

# Where at most so many sentences fit, packings that begin with each of so many of the likeliest are tried.
_FEW = 12
_TRIED = 3


class Trimming:
    """One trim.

    Args:
        settings: how the trimmer works.
        limits: how much may be kept.
        passages: the passages, at least one.
        question: what is asked.
    """

    def __init__(self, settings: Settings, limits: Limits, passages: Sequence[Passage], question: str) -> None:
        self._settings, self._limits, self._passages = settings, limits, passages
        self._counted: dict[str, int] = {}
        self._segments = [segment(passage.text) for passage in passages]
        self._relevance = _relevance(settings, passages, self._segments, question)
        self._twins = _twins(settings, passages, self._relevance)
        self._reasons: dict[int, str] = {
            index: f"says nearly the same as {passages[twin].id!r}" for index, twin in self._twins.items()
        }

    def result(self) -> Trimmed:
        """Choose, and say what became of every passage."""
        candidates = self._candidates()
        packer = self._packer(candidates)
        if self._threshold() is None and packer.take_all(_ordered(candidates, self._settings.order)):
            return self._told(packer, "nothing had to be cut")
        if not self._settings.cut_sentences:
            packer.pack_whole([index for index in candidates if not self._passages[index].is_opaque])
            return self._told(packer, "whole passages were chosen")
        if self._threshold() is not None:
            packer.pack(self._sentences(candidates), clip=False)
            floor = self._limits.quality_floor
            return self._told(packer, f"sentences were chosen until the answer is in by {floor:.0%}")
        return self._told(self._best_packed(packer, candidates), "sentences were chosen")

    def _packer(self, candidates: Sequence[int]) -> Packer:
        packer = Packer(
            self._passages,
            self._segments,
            self._settings.counter,
            max_tokens=self._limits.max_tokens,
            separator=self._settings.separator,
            gap=self._settings.gap,
            counted=self._counted,
        )
        for index in candidates:
            if self._passages[index].is_opaque:
                packer.fix(index)
        return packer

    def _candidates(self) -> list[int]:
        """Return the passages that may be kept, the most relevant first."""
        ranked = [index for index in self._relevance.ranking if index not in self._twins]
        if self._limits.top_k is None:
            return ranked
        for index in ranked[self._limits.top_k :]:
            self._reasons[index] = f"not among the {self._limits.top_k} most relevant"
        return ranked[: self._limits.top_k]

    def _threshold(self) -> float | None:
        floor, calibration = self._limits.quality_floor, self._settings.calibration
        return calibration.threshold(floor) if floor is not None and calibration is not None else None

    def _sentences(self, candidates: Sequence[int]) -> list[tuple[int, int]]:
        """Return the sentences that may be kept, best worth first, down to the quality floor if there is one."""
        allowed = {index for index in candidates if not self._passages[index].is_opaque}
        owner, place = self._relevance.evidence.owner.tolist(), self._relevance.evidence.place.tolist()
        threshold = self._threshold()
        found: list[tuple[int, int]] = []
        reached = 0.0
        for sentence in self._relevance.order:
            if owner[sentence] in allowed:
                found.append((owner[sentence], place[sentence]))
            reached += float(self._relevance.chances[sentence])
            if threshold is not None and reached >= threshold:
                break
        return found

    def _best_packed(self, packer: Packer, candidates: Sequence[int]) -> Packer:
        """Pack the sentences under the budget so that the chance to keep the answer is as large as may be.

        What is worth most for its tokens first is nearly the best where many sentences fit (Dantzig 1957). Where few
        do, a short sentence may keep out a better one, so packings that begin with one of the likeliest are tried too.
        """
        order = self._sentences(candidates)
        packer.pack(order)
        if packer.size > _FEW:
            return packer
        likeliest = sorted(order, key=lambda sentence: -self._sentence_chance(*sentence))[:_TRIED]
        packings = [packer]
        for first in likeliest:
            other = self._packer(candidates)
            other.pack([first, *order])
            packings.append(other)
        return max(packings, key=self._kept_chance)

    def _kept_chance(self, packer: Packer) -> float:
        return round(sum(self._chance(i, *span) for i, (_, spans) in packer.texts().items() for span in spans), 9)

    def _sentence_chance(self, index: int, number: int) -> float:
        return float(self._relevance.chances[np.searchsorted(self._relevance.evidence.owner, index) + number])

    def _told(self, packer: Packer, note: str) -> Trimmed:
        ranking = self._relevance.ranking
        picked = packer.texts()
        order = _ordered([index for index in ranking if index in picked], self._settings.order)
        tokens = packer.settle(order)
        chosen = packer.texts()
        kept = [self._cut(packer, index, *chosen[index]) for index in order if index in chosen]
        dropped = [self._cut(packer, index, "", ()) for index in ranking if index not in chosen]
        if self._limits.quality_floor is not None and self._threshold() is None:
            note += "; the quality floor has no calibration, or too small a one, and cuts nothing"
        lost = 1.0 - sum(span.score for cut in kept for span in cut.spans)
        return Trimmed(
            kept=tuple(kept),
            dropped=tuple(dropped),
            tokens=tokens,
            risk=min(max(lost, 0.0), 1.0) if len(self._relevance.chances) else 0.0,
            note=note,
            separator=self._settings.separator,
        )

    def _cut(self, packer: Packer, index: int, text: str, spans: tuple[tuple[int, int], ...]) -> Cut:
        passage = self._passages[index]
        is_kept = bool(spans)
        is_whole = is_kept and text == passage.text
        also = tuple(sorted(twin for twin, stands in self._twins.items() if stands == index))
        store = self._settings.recall_store
        return Cut(
            passage=passage,
            index=index,
            text=text,
            spans=tuple(Span(passage.id, start, end, self._chance(index, start, end)) for start, end in spans),
            tokens=packer.count(passage.before + text + passage.after) + passage.overhead_tokens if is_kept else 0,
            score=float(self._relevance.passage_chances[index]),
            reason=self._reason(index, spans, is_kept=is_kept, is_whole=is_whole),
            also=tuple(self._passages[twin] for twin in also),
            also_indices=also,
            handle=store.put(passage.text) if store is not None and not is_whole else None,
        )

    def _reason(self, index: int, spans: tuple[tuple[int, int], ...], *, is_kept: bool, is_whole: bool) -> str:
        if is_whole:
            return "kept whole"
        if is_kept:
            left = sum(end - start for start, end in spans)
            return f"cut to {len(spans)} of its stretches, {left} of {len(self._passages[index].text)} characters"
        if index in self._reasons:
            return self._reasons[index]
        if not self._segments[index].spans:
            return "empty"
        return "below the quality floor" if self._threshold() is not None else "no room in the budget"

    def _chance(self, index: int, start: int, end: int) -> float:
        first = int(np.searchsorted(self._relevance.evidence.owner, index))
        inside = (
            float(self._relevance.chances[first + number]) * (min(stop, end) - max(begin, start)) / (stop - begin)
            for number, (begin, stop) in enumerate(self._segments[index].spans)
            if begin < end and stop > start
        )
        return sum(inside)


def chance_needed(
    settings: Settings, passages: Sequence[Passage], question: str, answers: Sequence[str]
) -> float | None:
    """Return how much of the estimated chance must be kept so that an answer is in; None if none stands anywhere."""
    segments = [segment(passage.text) for passage in passages]
    found = _relevance(settings, passages, segments, question)
    reached = np.zeros(len(found.order))
    reached[list(found.order)] = np.cumsum(found.chances[list(found.order)])
    needed: list[float] = []
    for index, passage in enumerate(passages):
        first = int(np.searchsorted(found.evidence.owner, index))
        for answer in filter(None, answers):
            at = passage.text.find(answer)
            while at >= 0:
                inside = [
                    float(reached[first + number])
                    for number, (start, end) in enumerate(segments[index].spans)
                    if start < at + len(answer) and end > at
                ]
                needed += [max(inside)] if inside else []
                at = passage.text.find(answer, at + 1)
    return min(needed, default=None)


def _relevance(
    settings: Settings, passages: Sequence[Passage], segments: Sequence[Segments], question: str
) -> Relevance:
    scorer = settings.scorer
    meanings = shipped_vectors() if settings.match_meanings else None
    scores = None if scorer is None else scorer.score(question, [passage.text for passage in passages])
    return relevance(passages, segments, question, rarity=settings.rarity, model_scores=scores, meanings=meanings)


def _twins(settings: Settings, passages: Sequence[Passage], found: Relevance) -> dict[int, int]:
    if not settings.merge_duplicates or len(passages) < 2:
        return {}
    twins = near_duplicates(found.evidence, np.array(found.ranking))
    return {index: twin for index, twin in twins.items() if not (passages[index].is_opaque or passages[twin].is_opaque)}


def _ordered(ranked: Sequence[int], order: Order) -> list[int]:
    if order == "original":
        return sorted(ranked)
    return [*ranked[::2], *ranked[1::2][::-1]] if order == "edges" else list(ranked)
