"""What the compressor answers: the text to send, what is gone from it, and how to get that back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["prose", "markdown", "mixed", "json", "ndjson", "csv", "log", "trace", "code", "diff", "html", "xml"]
KINDS: tuple[Kind, ...] = (
    "prose",
    "markdown",
    "mixed",
    "json",
    "ndjson",
    "csv",
    "log",
    "trace",
    "code",
    "diff",
    "html",
    "xml",
)
# `bytes`: the text as given can be read back byte for byte. `value`: an equal JSON value or table can.
RoundTrip = Literal["bytes", "value"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A part that is not in the text any more.

    Attributes:
        what: what it was, in words.
        count: how many of these.
    """

    what: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Compressed:
    """A text made shorter, or left as it was.

    Attributes:
        text: what to send; never longer than what was given, in characters and in tokens.
        kind: what the text was taken for.
        confidence: how sure that is, 0 to 1.
        tokens_before: tokens of the text as given.
        tokens: tokens of `text`, by exact count with the counter in use.
        round_trip: set where `text` was proved to read back as the whole of what was given: `bytes` for byte for byte,
            `value` for an equal value; None where something was cut.
        spans: which stretches of the text as given stand in `text` byte for byte, as (start, end) in characters.
            Empty where the text was written in another notation.
        dropped: what is gone.
        handle: where the whole text can be recalled from; None if nothing is gone, or no store was given.
        note: what was done, in words.
    """

    text: str
    kind: Kind
    confidence: float
    tokens_before: int
    tokens: int
    round_trip: RoundTrip | None = "bytes"
    spans: tuple[Span, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    handle: str | None = None
    note: str = "left as it is"

    @property
    def is_lossless(self) -> bool:
        """Whether nothing is gone."""
        return self.round_trip is not None

    @property
    def saved_tokens(self) -> int:
        """How many tokens fewer."""
        return self.tokens_before - self.tokens

    @property
    def saved_pct(self) -> float:
        """The same as a share of the tokens before, 0 to 100."""
        return 100 * self.saved_tokens / self.tokens_before if self.tokens_before else 0.0
