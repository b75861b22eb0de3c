"""Cuts retrieved passages down to what answers the question, inside an exact token budget."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from thrift_core.errors import ConfigurationError
from thrift_core.recall.store import RecallStore
from thrift_core.relevance.passage import GAP, SEPARATOR, Cut, Passage, Trimmed
from thrift_core.relevance.rarity import CorpusRarity, tokenizer_rarity
from thrift_core.retrieval.calibration import Calibration
from thrift_core.retrieval.scorers import PassageScorer
from thrift_core.retrieval.settings import ORDERS, Limits, Order, Settings
from thrift_core.token_counters import TokenCounter, default_counter


class TopKTrimmer:
    """Keeps the passages, and the sentences of them, that answer a question.

    With no limit at all, only near-duplicates go. The same input always gives the same bytes; a question asked again
    about the same passages is answered from memory.

    Args:
        max_tokens: the budget of every call that names none; None: no limit.
        top_k: at most so many passages; None: no limit.
        quality_floor: keep as few tokens as keep the answer with this chance, such as 0.95, by `calibration`.
        order: of what is kept: `relevance`, `original`, or `edges` (the most relevant first and last, because models
            overlook the middle: Liu et al. 2023, "Lost in the Middle").
        cut_sentences: cut inside passages; False: whole passages only.
        match_meanings: let words of like meaning count for the question's words, by the word vectors that thrift
            ships (English); False: spelling alone.
        merge_duplicates: collapse passages that say nearly the same into one that names the others.
        counter: what counts tokens; None: the default of `thrift_core`.
        corpus: how rare words are in the user's own documents; None: in general.
        scorer: the user's own model, fused with everything else.
        calibration: what `calibrate_trimmer` found on the user's golden set; without one a `quality_floor` keeps
            everything.
        recall_store: keeps the whole text of what is cut or dropped.
        separator: what the app puts between passages.
        gap: what stands where something was cut out of a passage.
        remembered: how many results are kept in memory.

    Raises:
        ConfigurationError: a setting that cannot work; says which.

    Example:
        >>> passages = [Passage("a", "Bees dance. They point to flowers."), Passage("b", "Ants march.")]
        >>> trimmed = TopKTrimmer(max_tokens=8).trim(passages, "Why do bees dance?")
        >>> [cut.id for cut in trimmed.kept], trimmed.tokens <= 8
        (['a'], True)
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        top_k: int | None = None,
        *,
        quality_floor: float | None = None,
        order: Order = "relevance",
        cut_sentences: bool = True,
        match_meanings: bool = True,
        merge_duplicates: bool = True,
        counter: TokenCounter | None = None,
        corpus: CorpusRarity | None = None,
        scorer: PassageScorer | None = None,
        calibration: Calibration | None = None,
        recall_store: RecallStore | None = None,
        separator: str = SEPARATOR,
        gap: str = GAP,
        remembered: int = 256,
    ) -> None:
        self._limits = Limits(max_tokens=max_tokens, top_k=top_k, quality_floor=quality_floor)
        if order not in ORDERS:
            raise ConfigurationError(f"order must be one of {', '.join(ORDERS)}; got {order!r}")
        if isinstance(remembered, bool) or remembered < 0:
            raise ConfigurationError(f"remembered must be 0 or more; got {remembered!r}")
        self.settings = Settings(
            counter=counter if counter is not None else default_counter(),
            order=order,
            cut_sentences=cut_sentences,
            match_meanings=match_meanings,
            merge_duplicates=merge_duplicates,
            rarity=corpus.of if corpus is not None else tokenizer_rarity,
            scorer=scorer,
            calibration=calibration,
            recall_store=recall_store,
            separator=separator,
            gap=gap,
        )
        self._remembered = remembered
        self._memory: OrderedDict[tuple[object, ...], Trimmed] = OrderedDict()
        self._lock = threading.Lock()

    def trim(
        self,
        passages: Sequence[Passage],
        question: str,
        *,
        max_tokens: int | None = None,
        top_k: int | None = None,
        quality_floor: float | None = None,
    ) -> Trimmed:
        """Return what is left of the passages; the passages themselves are not touched.

        Args:
            passages: the passages; where they have no `rank` and no `score`, their order means nothing.
            question: what is to be answered from them.
            max_tokens: the budget; None: the trimmer's own.
            top_k: at most so many passages; None: the trimmer's own.
            quality_floor: the chance to keep the answer; None: the trimmer's own.

        Raises:
            TypeError: a passage is no `Passage` or a text or the question no string; says which.
            ConfigurationError: a limit that cannot work.
        """
        limits = self._limits.updated(max_tokens=max_tokens, top_k=top_k, quality_floor=quality_floor)
        _check_input(passages, question)
        key = (question, limits, *map(_identity, passages))
        with self._lock:
            found = self._memory.get(key)
            if found is not None:
                self._memory.move_to_end(key)
                return _about(passages, found)
        trimmed = self._trim(passages, question, limits)
        self._remember(key, trimmed)
        return trimmed

    async def atrim(
        self,
        passages: Sequence[Passage],
        question: str,
        *,
        max_tokens: int | None = None,
        top_k: int | None = None,
        quality_floor: float | None = None,
    ) -> Trimmed:
        """Do what `trim` does, in a thread, for a long list takes a tenth of a second."""
        return await asyncio.to_thread(
            self.trim, passages, question, max_tokens=max_tokens, top_k=top_k, quality_floor=quality_floor
        )

    def recall(self, handle: str) -> str | None:
        """Return the whole text of a passage that was cut or dropped, or None if it is not kept."""
        store = self.settings.recall_store
        return None if store is None else store.get(handle)

    def _remember(self, key: tuple[object, ...], trimmed: Trimmed) -> None:
        with self._lock:
            self._memory[key] = trimmed
            while len(self._memory) > self._remembered:
                self._memory.popitem(last=False)

    def _trim(self, passages: Sequence[Passage], question: str, limits: Limits) -> Trimmed:
        if not passages:
            return Trimmed((), (), 0, 0.0, "there were no passages", self.settings.separator)
        from thrift_core.retrieval.trimming import Trimming  # noqa: PLC0415 - brings numpy

        return Trimming(self.settings, limits, passages, question).result()


def _identity(passage: Passage) -> tuple[object, ...]:
    """Return all of a passage that decides what becomes of it."""
    return (
        passage.id,
        passage.text,
        passage.title,
        passage.score,
        passage.rank,
        passage.source,
        passage.before,
        passage.after,
        passage.overhead_tokens,
        passage.is_opaque,
    )


def _about(passages: Sequence[Passage], trimmed: Trimmed) -> Trimmed:
    """Return a remembered result, about the caller's own objects: their metadata may be other than last time."""

    def owned(cut: Cut) -> Cut:
        return replace(cut, passage=passages[cut.index], also=tuple(passages[index] for index in cut.also_indices))

    return replace(trimmed, kept=tuple(map(owned, trimmed.kept)), dropped=tuple(map(owned, trimmed.dropped)))


def _check_input(passages: Sequence[object], question: object) -> None:
    if not isinstance(question, str):
        raise TypeError(f"the question must be a string; got {type(question).__name__}")
    for number, passage in enumerate(passages):
        if not isinstance(passage, Passage):
            raise TypeError(f"passage {number} must be a Passage; got {type(passage).__name__}")
        for name in ("text", "title", "before", "after"):
            value: object = getattr(passage, name)
            if not isinstance(value, str):
                raise TypeError(f"the {name} of passage {number} must be a string; got {type(value).__name__}")
