"""The matcher that comes with thrift: guard, verifier and head, in one score that a certificate can be made for."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from thrift_core.caching.matching.head import Head, shipped_head
from thrift_core.caching.matching.near_miss import Comparison, compare
from thrift_core.caching.matching.verifier import Verifier
from thrift_core.caching.semantic.matcher import Candidate, Judgement
from thrift_core.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The rules of the guard and the features; raised whenever a change of theirs moves a score.
RULES = 1
# Pairs that the cheap features alone put below this are not worth a verifier's time.
_HOPELESS = 0.01
_TOO_LONG = 120


class LearnedMatcher:
    """Scores how likely one answer serves both questions; vetoes what differs in an id, an amount or a date.

    Needs a threshold: a certificate of `calibrate_cache`, or a number set by hand. Until then nothing it scores is a
    hit.

    Example:
        >>> matcher = LearnedMatcher(verifier=None)
        >>> judged = matcher.judge("Where is order A-17?", [Candidate("Where is order A-71?", 0.99)])
        >>> judged[0].verdict, judged[0].reason
        ('reject', "id: 'A-17' and 'A-71'")

    Args:
        verifier: reads both questions at once; `shipped` for the one that comes with thrift (extra `matcher`), any
            other cross-encoder, or None for the guard's features alone, which finds fewer paraphrases.
        head: weighs the features; those that come with thrift by default.
        min_similarity: candidates further away are not fetched.

    Raises:
        ConfigurationError: the head was fitted for another verifier, or `min_similarity` is out of range.
        MissingExtra: the verifier's runtime is not installed.
    """

    needs_threshold = True

    def __init__(
        self,
        verifier: Verifier | str | None = "shipped",
        head: Head | None = None,
        *,
        min_similarity: float = 0.3,
    ) -> None:
        if not 0 < min_similarity <= 1:
            raise ConfigurationError(f"min_similarity must be more than 0 and at most 1; got {min_similarity!r}")
        self.min_similarity = min_similarity
        self._verifier = _chosen(verifier)
        self._head = head or shipped_head(with_verifier=self._verifier is not None)
        expected = "" if self._verifier is None else self._verifier.name
        if self._head.verifier != expected:
            raise ConfigurationError(
                f"the head was fitted for the verifier {self._head.verifier or 'none'!r}, and this one is "
                f"{expected or 'none'!r}: fit a head with `thrift train matcher`"
            )
        parts = (str(RULES), self._head.verifier, self._head.version)
        self.version = f"learned-{RULES}-{blake2b('|'.join(parts).encode(), digest_size=5).hexdigest()}"

    def judge(self, question: str, candidates: Sequence[Candidate]) -> list[Judgement]:
        """Return one judgement for each candidate, in order."""
        known = [candidate.question for candidate in candidates]
        compared = [_compare(question, text) for text in known]
        scores = self._scores(question, known, compared)
        return [_judgement(found, score) for found, score in zip(compared, scores, strict=True)]

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the score of each pair, 0 for what is vetoed or cannot be told; what calibration ranks by."""
        judged = [self.judge(one, [Candidate(other, 1.0)])[0] for one, other in pairs]
        return [found.score if found.verdict == "accept" else 0.0 for found in judged]

    def table(self, pairs: Sequence[tuple[str, str]]) -> NDArray[Any]:
        """Return the features of each pair, as the head takes them; what a head is fitted on."""
        from thrift_core.caching.matching.pair_features import feature_table  # noqa: PLC0415 - brings numpy

        return feature_table(pairs, self._verifier)

    @property
    def head(self) -> Head:
        """What weighs the features."""
        return self._head

    def _scores(self, question: str, known: Sequence[str], compared: Sequence[Comparison]) -> list[float]:
        from thrift_core.caching.matching.pair_features import (  # noqa: PLC0415 - brings numpy
            cheap_rows,
            with_verifier,
        )

        wanted = [at for at, found in enumerate(compared) if found.can_tell and found.veto is None]
        scores = [0.0] * len(known)
        if not wanted:
            return scores
        rows = cheap_rows(question, [known[at] for at in wanted], [compared[at] for at in wanted])
        if self._verifier is None:
            chances = self._head.probabilities(rows)
        else:
            cheap = shipped_head(with_verifier=False).probabilities(rows)
            hopeful = [place for place, chance in enumerate(cheap) if chance >= _HOPELESS]
            wanted = [wanted[place] for place in hopeful]
            if not wanted:
                return scores
            pairs = [(question, known[at]) for at in wanted]
            chances = self._head.probabilities(with_verifier(rows[hopeful], pairs, self._verifier))
        for at, chance in zip(wanted, chances, strict=True):
            scores[at] = float(chance)
        return scores


def _compare(question: str, known: str) -> Comparison:
    from thrift_core.caching.matching.words import likeness  # noqa: PLC0415 - brings numpy

    return compare(question, known, likeness)


def _judgement(found: Comparison, score: float) -> Judgement:
    if not found.can_tell:
        return Judgement("abstain", 0.0, "in a script or with signs that are not read here")
    if found.veto is not None:
        return Judgement("reject", 0.0, str(found.veto))
    if len(found.asked.tokens) > _TOO_LONG or len(found.known.tokens) > _TOO_LONG:
        return Judgement("abstain", 0.0, "too long to compare word by word")
    if not score:
        return Judgement("reject", 0.0, found.reason)
    return Judgement("accept", score, found.reason)


def _chosen(verifier: object) -> Verifier | None:
    if verifier is None:
        return None
    if verifier == "shipped":
        from thrift_core.caching.matching.verifier import shipped_verifier  # noqa: PLC0415 - an extra

        return shipped_verifier()
    if isinstance(verifier, str) or not isinstance(verifier, Verifier):
        raise ConfigurationError(
            f"verifier={verifier!r}: give 'shipped', None, or an object with name, outputs and score(pairs)"
        )
    return verifier
