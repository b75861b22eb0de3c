"""Which answers may be kept at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.question_rule import live_question
from thrift_core.messages import Request

QuestionRule = str | re.Pattern[str] | Callable[[str], bool]
"""Names questions that are never cached: a part of their text (capitals do not count), a pattern, or a function."""

# Why providers say that a model stopped before it was done, or would not answer.
_CUT_SHORT = frozenset({"length", "max_tokens", "max_output_tokens", "incomplete", "model_length", "pause_turn"})
_WITHHELD = frozenset({"content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii"})
_FAILED = frozenset({"error", "malformed_function_call", "other"})
_CALLS = frozenset({"tool_calls", "tool_use", "function_call"})
_REFUSAL = re.compile(
    r"^\W*(?:"
    r"(?:i'?m|i am|we're|we are) (?:really |very |so )?sorry\b.{0,40}?\b(?:but )?(?:i|we) "
    r"(?:can'?t|cannot|can not|am unable|am not able|are unable)"
    r"|sorry, (?:but )?i (?:can'?t|cannot|am unable)"
    r"|i (?:can'?t|cannot|can not|won't) (?:help|assist|answer|provide|comply|do that|discuss)"
    r"|i(?:'m| am) (?:unable|not able) to (?:help|assist|answer|provide|comply)"
    r"|as an ai(?: language)? (?:model|assistant),? i (?:can'?t|cannot|do not|don'?t|am)"
    r")",
    re.IGNORECASE | re.DOTALL,
)
_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,30}\b(?:previous|prior|above|earlier|all|your|system)\b.{0,20}"
    r"\b(?:instruction|prompt|rule|guideline|direction)s?\b|\bsystem prompt\b|<\|im_(?:start|end)\|>|\[/?INST\]|"
    r"\b(?:you are now|act as|pretend to be)\b.{0,20}\b(?:dan|jailbroken|unrestricted|developer mode)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Refuses what must not be served twice: errors, refusals, cut or empty answers, tool calls, injected questions.

    Attributes:
        max_payload_bytes: larger answers are not kept.
        allow_tool_calls: whether an answer that calls tools may be kept; replaying one acts again on the world.
        never: questions that are neither looked up nor kept.
        allow_live_questions: whether requests to act, and questions about live or personal state ("my balance",
            "today"), are cached like others; none of them has an answer that lasts.
        admit: asked last; returns True to keep the answer, False or a reason not to.
    """

    max_payload_bytes: int = 1_000_000
    allow_tool_calls: bool = False
    never: Sequence[QuestionRule] = ()
    allow_live_questions: bool = False
    admit: Callable[[Request, CachedAnswer], bool | str] | None = None

    def bars(self, question: str, *, is_exact_only: bool = False) -> bool:
        """Return whether the question must not touch the cache.

        Args:
            question: the last user text.
            is_exact_only: only the very same request can match, tool results and all; what is live is then in it.
        """
        if not self.allow_live_questions and not is_exact_only and live_question(question) is not None:
            return True
        return any(_matches(rule, question) for rule in self.never)

    def refusal(self, request: Request, question: str, answer: CachedAnswer) -> str | None:
        """Return why an answer is not kept, in a word or two; None if it may be."""
        reason = _flaw(answer) or self._not_allowed(answer)
        if reason is not None:
            return reason
        if _INJECTION.search(question):
            return "injection"
        if self.admit is None:
            return None
        verdict = self.admit(request, answer)
        return None if verdict is True else verdict or "not admitted"

    def _not_allowed(self, answer: CachedAnswer) -> str | None:
        finish = (answer.finish_reason or "").lower()
        if not self.allow_tool_calls and (answer.tool_calls or finish in _CALLS):
            return "tool call"
        # Characters first: encoding ten megabytes to learn that they are too many takes time.
        size = len(answer.payload)
        if size > self.max_payload_bytes or len(answer.payload.encode("utf-8", "replace")) > self.max_payload_bytes:
            return "too large"
        return None


def _flaw(answer: CachedAnswer) -> str | None:
    finish = (answer.finish_reason or "").lower()
    if answer.error is not None or finish in _FAILED:
        return "error"
    if finish in _CUT_SHORT:
        return "truncated"
    if finish in _WITHHELD:
        return "refusal"
    if not answer.tool_calls and not answer.plain.strip():
        return "empty"
    return "refusal" if _REFUSAL.search(answer.plain[:400]) else None


def _matches(rule: QuestionRule, question: str) -> bool:
    if isinstance(rule, str):
        return rule.casefold() in question.casefold()
    if isinstance(rule, re.Pattern):
        return rule.search(question) is not None
    return rule(question)
