"""What goes into the trimmer and what comes out: passages, the spans kept of them, and why the rest went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SEPARATOR = "\n\n"
GAP = "\n"


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrieved passage.

    Attributes:
        id: the caller's name for it; need not be unique.
        text: what may be cut.
        title: its title, or who speaks; read when scoring, never part of the text that comes out.
        score: the retriever's own score, higher is better; None where it gave none.
        rank: its place in the retriever's order, from 1; None where the order means nothing.
        source: the document that it is a piece of. Short pieces of one source, given in reading order, are read as a
            transcript.
        before: what the prompt shows before its text, such as metadata; counted with it, never cut.
        after: what the prompt shows after its text.
        overhead_tokens: what keeping any part of it costs besides, such as an image.
        is_opaque: holds what cannot be cut, such as an image: always kept, whole, even over the budget.
        metadata: carried along, never read.
    """

    id: str
    text: str
    title: str = ""
    score: float | None = None
    rank: int | None = None
    source: str | None = None
    before: str = ""
    after: str = ""
    overhead_tokens: int = 0
    is_opaque: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a passage that was kept, byte for byte.

    Attributes:
        id: the passage's id.
        start: where it starts in the passage's text, in characters.
        end: where it ends, not included.
        score: the chance, as estimated, that it holds evidence for the answer.
    """

    id: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Cut:
    """What became of one passage.

    Attributes:
        passage: the passage as given.
        index: its place among the passages given.
        text: what is left of its text: the spans in reading order, joined by the trimmer's `gap`; empty if dropped.
        spans: where these stand in the passage.
        tokens: what it costs in the prompt, with all that the prompt shows of it.
        score: how relevant it is: the chance, as estimated, that the answer is in it. The chances add up to 1.
        reason: why it was kept, cut or dropped, in words.
        also: the passages that say nearly the same and were merged into this one.
        also_indices: their places among the passages given.
        handle: where a dropped or cut passage's whole text can be recalled from, if a store was given.
    """

    passage: Passage
    index: int
    text: str
    spans: tuple[Span, ...]
    tokens: int
    score: float
    reason: str
    also: tuple[Passage, ...] = ()
    also_indices: tuple[int, ...] = ()
    handle: str | None = None

    @property
    def id(self) -> str:
        """The passage's id."""
        return self.passage.id

    @property
    def rendered(self) -> str:
        """What the prompt shows of it."""
        return self.passage.before + self.text + self.passage.after

    @property
    def is_whole(self) -> bool:
        """Whether nothing was cut from it."""
        return self.text == self.passage.text


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What is left of the passages.

    Attributes:
        kept: what goes into the prompt, in the order asked for.
        dropped: what does not, most relevant first.
        tokens: what the kept passages cost, joined by the separator; never more than the budget.
        risk: the estimated chance that the answer was in what is gone.
        note: what was done, in words.
        separator: what `text` joins the passages with.
    """

    kept: tuple[Cut, ...]
    dropped: tuple[Cut, ...]
    tokens: int
    risk: float
    note: str
    separator: str = SEPARATOR

    @property
    def text(self) -> str:
        """What the prompt shows of the kept passages, joined."""
        return self.separator.join(cut.rendered for cut in self.kept)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every kept span, in the order of `kept`."""
        return tuple(span for cut in self.kept for span in cut.spans)
