"""What a codec is asked to do, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from thrift_core.compression.compressed import Dropped, RoundTrip, Span

if TYPE_CHECKING:
    from thrift_core.compression.backend import CompressionBackend
    from thrift_core.compression.protected import Protector


@dataclass(frozen=True, slots=True)
class Job:
    """One text to shorten.

    Attributes:
        count: counts tokens; its word is final.
        protector: finds what may not be cut inside.
        question: what is to be answered from the text, if anything is asked.
        max_tokens: the budget, mark and all; None: none.
        tokens: tokens of the text as given.
        is_lossless: whether only what can be read back is allowed.
        backend: a model that chooses what stays of prose.
    """

    count: Callable[[str], int]
    protector: Protector
    question: str | None = None
    max_tokens: int | None = None
    tokens: int = 0
    is_lossless: bool = False
    backend: CompressionBackend | None = None

    @property
    def must_cut(self) -> bool:
        """Whether there is a budget that the text does not keep."""
        return self.max_tokens is not None and self.tokens > self.max_tokens

    @property
    def may_cut(self) -> bool:
        """Whether something may be lost: there is a budget to reach, or none and losing is allowed."""
        return not self.is_lossless and (self.max_tokens is None or self.must_cut)

    def part(self, tokens: int, max_tokens: int | None) -> Job:
        """Return the same job for a part of the text."""
        return replace(self, tokens=tokens, max_tokens=max_tokens)


@dataclass(frozen=True, slots=True)
class Draft:
    """A text made shorter.

    Attributes:
        text: the text.
        note: what was done, in words.
        round_trip: how it was proved to read back; None where something was cut.
        spans: which stretches of the text as given stand in it.
        dropped: what is gone.
    """

    text: str
    note: str
    round_trip: RoundTrip | None = None
    spans: tuple[Span, ...] = ()
    dropped: tuple[Dropped, ...] = field(default=())
