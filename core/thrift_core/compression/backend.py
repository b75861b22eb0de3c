"""The seam for models that shorten prose, such as LLMLingua-2: they say what to keep, we see to the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from thrift_core.compression.compressed import Span


class CompressionBackend(Protocol):
    """Chooses which stretches of a prose text stay.

    What it returns is a proposal: protected spans that it would cut inside are kept whole, and the budget is made to
    hold by exact count, the least wanted stretches leaving first.
    """

    def keep(self, text: str, *, question: str | None, max_tokens: int) -> Sequence[tuple[Span, float]]:
        """Return stretches of the text, as (start, end) in characters, each with how much it is wanted.

        Args:
            text: the text.
            question: what is to be answered from it, if anything is asked.
            max_tokens: about how many tokens may stay.

        Returns:
            stretches in any order, on any scale of worth, higher is better; they may not overlap.
        """
        ...
