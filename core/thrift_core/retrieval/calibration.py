"""Turns a golden set into how much must be kept so that the answer is lost as seldom as asked.

Split conformal prediction (Vovk et al. 2005): sentences are kept in the order of their worth until their estimated
chances add up to a threshold. For each golden question, the sum at which its answer is in is measured; the right
quantile of these sums is the threshold that keeps the answer of a new question of the same kind with the chance asked
for. Nothing else is assumed about the estimates. With too few golden questions no threshold will do, and everything is
kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thrift_core.errors import ConfigurationError
from thrift_core.relevance.passage import Passage

if TYPE_CHECKING:
    from thrift_core.retrieval.trimmer import TopKTrimmer


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a golden set said.

    Attributes:
        needed: for each golden question whose answer is in its passages, how much of the estimated chance had to be
            kept to keep the answer, in ascending order.
    """

    needed: tuple[float, ...]

    def threshold(self, quality_floor: float) -> float | None:
        """Return how much of the estimated chance to keep, or None if there are too few questions to say.

        Args:
            quality_floor: with which chance the answer is to be kept.
        """
        place = math.ceil((len(self.needed) + 1) * quality_floor)
        return self.needed[place - 1] if place <= len(self.needed) else None


def calibrate_trimmer(
    trimmer: TopKTrimmer, examples: Iterable[tuple[Sequence[Passage], str, Sequence[str]]]
) -> Calibration:
    """Measure on a golden set how much must be kept; hand the result to a new trimmer of the same settings.

    Args:
        trimmer: the trimmer, with the scorer and corpus that it will work with.
        examples: passages, the question, and the answers as they stand in the passages; any of them will do.

    Raises:
        ConfigurationError: in no example an answer stands in a passage.

    Example:
        >>> from thrift_core.retrieval.trimmer import TopKTrimmer
        >>> passages = [Passage("a", "Bees dance. They point to flowers."), Passage("b", "Ants march.")]
        >>> calibrate_trimmer(TopKTrimmer(), [(passages, "Where do bees point?", ["flowers"])]).threshold(0.9) is None
        True
    """
    from thrift_core.retrieval.trimming import chance_needed  # noqa: PLC0415 - brings numpy

    found = (
        chance_needed(trimmer.settings, passages, question, answers)
        for passages, question, answers in examples
        if passages
    )
    needed = tuple(sorted(value for value in found if value is not None))
    if not needed:
        raise ConfigurationError("no example has an answer that stands in one of its passages; write answers verbatim")
    return Calibration(needed)
