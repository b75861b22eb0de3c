"""What rules a draft out whatever its quality: invalid calls, the wrong form, nothing in it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from thrift_core.messages import Request
from thrift_core.routing.draft import Draft
from thrift_core.routing.tool_checks import call_problems, grounded_share

_LEAST_GROUNDED = 0.5
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "MAX_TOKENS"})
_BLOCKED = frozenset({"content_filter", "safety", "SAFETY", "refusal", "RECITATION"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftProblem:
    """Why a draft will not do.

    Attributes:
        reason: in words.
        is_final: it may not be passed on even from the strongest tier: its calls must not run, its form is not kept.
        is_useless: nobody can use it, so it may not answer in an outage either.
    """

    reason: str
    is_final: bool = False
    is_useless: bool = False


def draft_problem(draft: Draft, request: Request, side_effects: AbstractSet[str]) -> DraftProblem | None:
    """Return what rules a draft out, the gravest first; None where nothing does."""
    if wrong := call_problems(draft.tool_calls, request.tools):
        return DraftProblem(reason=f"invalid tool call: {wrong[0]}", is_final=True, is_useless=True)
    if draft.structured == "invalid":
        return DraftProblem(reason="the answer has not the form asked for", is_final=True, is_useless=True)
    return _unfinished(draft, request) or _ungrounded(draft, request, side_effects)


def _unfinished(draft: Draft, request: Request) -> DraftProblem | None:
    if draft.refusal or draft.finish_reason in _BLOCKED:
        return DraftProblem(reason="refused")
    if draft.finish_reason in _CUT and request.max_output_tokens is None:
        return DraftProblem(reason="cut off")
    if not draft.text.strip() and not draft.tool_calls and draft.structured is None:
        return DraftProblem(reason="empty", is_useless=True)
    return None


def _ungrounded(draft: Draft, request: Request, side_effects: AbstractSet[str]) -> DraftProblem | None:
    for call in draft.tool_calls:
        least = 1.0 if call.name in side_effects else _LEAST_GROUNDED
        if (share := grounded_share(call, request.tools, request.messages)) < least:
            return DraftProblem(
                reason=f"{call.name}: {1 - share:.0%} of its arguments stand nowhere in the conversation"
            )
    return None
