"""The policy without labels: careful rules; what they are not sure of goes to the strongest tier."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from thrift_core.messages import Request
from thrift_core.routing.answer_signs import answer_signs
from thrift_core.routing.decision import Attempt
from thrift_core.routing.draft import Draft
from thrift_core.routing.final_answer import read_question
from thrift_core.routing.policy import Estimate

_MOST_WORDS = 80
_FEW_WORDS = 14
_HARD = re.compile(
    r"\b(?:prove|proof|derive|theorem|integral|equation|optimi[sz]\w*|debug\w*|refactor\w*|implement\w*|algorithm\w*"
    r"|architect\w*|design\w*|analy[sz]\w*|evaluat\w*|diagnos\w*|compar\w*|trade-?offs?|strateg\w*|step by step"
    r"|explain why|why (?:does|do|did|is|are)|how many|how much|calculat\w*|estimat\w*|probabilit\w*|legal\w*"
    r"|contract\w*|lawsuit|medical|symptoms?|dosage|diagnosis|investment|tax(?:es)?|essay|report|plan)\b|```|[∑∫√≤≥∂]",
    re.IGNORECASE,
)
_EASY = re.compile(
    r"\b(?:translate|summari[sz]e|classify|categori[sz]e|extract|rephrase|rewrite|proofread|spell|correct the"
    r"|convert|format|list|label|tag|title for|sentiment|yes or no|true or false|what is|what's|who is|who was"
    r"|when (?:is|was|did)|where (?:is|was)|define|synonym\w*|hello|hi|hey|thanks?|thank you|good morning)\b",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\w+")
_LOW_LOGPROB = math.log(0.7)


class Rules:
    """Sends to the cheapest tier only what is short and plainly simple, and takes only answers without a doubt.

    Nothing of it is calibrated: its gains are 0 or 1, for go ahead and go up. English cues; other languages are not
    understood and go up.

    Example:
        >>> from thrift_core.messages import Message
        >>> rules = Rules()
        >>> asked = [Request((Message("user", text),)) for text in ("Translate 'bread' into French", "Prove it")]
        >>> [rules.before(request, "cheap").gain for request in asked]
        [0.0, 1.0]
    """

    version = "zero-label-1"

    def before(self, request: Request, tier: str) -> Estimate:
        """Say whether a request is plainly simple."""
        doubt = _doubt_of_request(request)
        return _estimate(doubt or "short and plainly simple", is_doubtful=doubt is not None)

    def after(self, request: Request, tier: str, draft: Draft, earlier: Sequence[Attempt] = ()) -> Estimate:
        """Say whether an answer leaves no doubt."""
        signs = answer_signs(read_question(_asked(request)), draft.text)
        doubt = _doubt_of_answer(draft, signs)
        return _estimate(doubt or "nothing doubtful in the answer", is_doubtful=doubt is not None, signals=signs)


def _estimate(reason: str, *, is_doubtful: bool, signals: dict[str, float] | None = None) -> Estimate:
    return Estimate(gain=float(is_doubtful), threshold=0.5, reason=reason, signals=signals or {})


def _asked(request: Request) -> str:
    return next((message.text for message in reversed(request.messages) if message.role == "user"), "")


def _doubt_of_request(request: Request) -> str | None:
    text = _asked(request)
    words = len(_WORDS.findall(text))
    doubts = (
        (not words, "no question that could be read"),
        (words > _MOST_WORDS, f"long: {words} words"),
        (any(message.role == "tool" for message in request.messages), "the agent is in the middle of its work"),
        (any(message.opaque for message in request.messages if message.role == "user"), "holds more than text"),
        (bool(_HARD.search(text)), "sounds hard"),
        (text.count("?") > 1, "several questions"),
        (words > _FEW_WORDS and not _EASY.search(text), "not plainly simple"),
        (not _EASY.search(text) and not text.isascii(), "a language that the rules do not know"),
    )
    return next((reason for is_so, reason in doubts if is_so), None)


def _doubt_of_answer(draft: Draft, signs: dict[str, float]) -> str | None:
    doubts = (
        (not draft.text.strip() and not draft.tool_calls, "empty"),
        (signs["refusals"] > 0, "reads like a refusal"),
        (signs["hedges"] > 0, "hedges"),
        (signs["wrong_sums"] > 0, "a sum in it is wrong"),
        (signs["repeats"] > 0.3, "repeats itself"),
        (_mean(draft) < _LOW_LOGPROB, "the model was not sure of its words"),
    )
    return next((reason for is_so, reason in doubts if is_so), None)


def _mean(draft: Draft) -> float:
    return sum(draft.logprobs) / len(draft.logprobs) if draft.logprobs else 0.0
