"""Decides whether one answer may serve two questions; the seam where a learned matcher plugs in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from thrift_core.caching.semantic.words import significant_words
from thrift_core.errors import ConfigurationError

Verdict = Literal["accept", "reject", "abstain"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question that has an answer.

    Attributes:
        question: its text.
        similarity: cosine of its embedding and that of the question asked, -1 to 1.
    """

    question: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a matcher thinks of one candidate.

    Attributes:
        verdict: `accept`: one answer serves both; `reject`: it does not; `abstain`: cannot tell. Only an acceptance
            is a hit, and only where its score reaches the cache's threshold.
        score: how sure it is that one answer serves both, higher for surer, on a scale of the matcher's own.
        reason: why, in words that a user can read.
    """

    verdict: Verdict
    score: float
    reason: str


@runtime_checkable
class Matcher(Protocol):
    """Compares a question with the candidates that retrieval found.

    Attributes:
        version: names the matcher, its weights and its rules; a certificate holds for one version only.
        min_similarity: candidates further away are not fetched.
        needs_threshold: its acceptance alone is not enough: without a threshold, nothing it accepts is a hit.
    """

    @property
    def version(self) -> str:
        """Names the matcher, its weights and its rules."""
        ...

    @property
    def min_similarity(self) -> float:
        """The least cosine of a candidate that is worth judging."""
        ...

    @property
    def needs_threshold(self) -> bool:
        """Whether nothing is a hit until a threshold is calibrated or set by hand."""
        ...

    def judge(self, question: str, candidates: Sequence[Candidate]) -> Sequence[Judgement]:
        """Return one judgement for each candidate, in order."""
        ...


@runtime_checkable
class CertifiedThreshold(Protocol):
    """A threshold on a matcher's score that something vouches for, such as a calibration.

    Attributes:
        matcher: the version of the matcher it was made for.
        threshold: the least score that is a hit; None where nothing could be certified, and then nothing is a hit.
        name: names the certificate in a hit's provenance.
    """

    @property
    def matcher(self) -> str:
        """The version of the matcher."""
        ...

    @property
    def threshold(self) -> float | None:
        """The least score that is a hit."""
        ...

    @property
    def name(self) -> str:
        """Names the certificate."""
        ...


class ConservativeMatcher:
    """Accepts a question that has the same words in the same order, but for words that carry no meaning.

    Two independent checks must agree: the embeddings lie near each other, and the words that may carry meaning are
    equal one by one. So numbers, ids, dates, negation, names, signs and the order of arguments are all equal in what is
    accepted, in any language. Paraphrases with other words are left to a learned matcher.

    Example:
        >>> matcher = ConservativeMatcher()
        >>> asked = "Hi, how can I reset my password, please?"
        >>> [judged.verdict for judged in matcher.judge(asked, [
        ...     Candidate("How do I reset my password?", 0.96),
        ...     Candidate("How do I reset your password?", 0.95),
        ... ])]
        ['accept', 'abstain']

    Args:
        min_similarity: the least cosine of the two embeddings, more than 0 and at most 1.

    Raises:
        ConfigurationError: `min_similarity` is out of range.
    """

    def __init__(self, *, min_similarity: float = 0.8) -> None:
        if not 0 < min_similarity <= 1:
            raise ConfigurationError(f"min_similarity must be more than 0 and at most 1; got {min_similarity!r}")
        self.min_similarity = min_similarity
        self.needs_threshold = False
        self.version = f"conservative-1-{min_similarity:g}"

    def judge(self, question: str, candidates: Sequence[Candidate]) -> list[Judgement]:
        """Return one judgement for each candidate, in order."""
        asked = significant_words(question)
        return [self._judge(asked, candidate) for candidate in candidates]

    def _judge(self, asked: tuple[str, ...], candidate: Candidate) -> Judgement:
        known = significant_words(candidate.question)
        if not asked or asked != known:
            return Judgement("abstain", candidate.similarity, f"differs in {_difference(asked, known)}")
        if candidate.similarity < self.min_similarity:
            return Judgement("abstain", candidate.similarity, "the same words, but the embeddings lie apart")
        return Judgement("accept", candidate.similarity, "the same words that carry meaning, in the same order")


def _difference(asked: Sequence[str], known: Sequence[str]) -> str:
    other = sorted(set(asked) ^ set(known))
    return ", ".join(map(repr, other[:4])) if other else "the order or number of its words"
