"""An answer of a tier before anyone has accepted it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from thrift_core.accounting.usage import Usage
from thrift_core.messages import ToolCall


@dataclass(frozen=True, slots=True)
class Draft:
    """What a tier answered.

    Attributes:
        text: the text of the answer.
        tool_calls: the calls it asks for.
        finish_reason: why it ended, as the provider says: `stop`, `length`, `tool_calls`, `content_filter`...
        logprobs: the natural logarithm of the chance of each token, where the provider gives them.
        structured: whether the answer has the form that was asked for; None: no form was asked for.
        refusal: whether the provider marks it as a refusal.
        usage: what it used.
        seconds: how long it took.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: Sequence[float] | None = None
    structured: Literal["ok", "invalid"] | None = None
    refusal: bool = False
    usage: Usage | None = None
    seconds: float | None = None
