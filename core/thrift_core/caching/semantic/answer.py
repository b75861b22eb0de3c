"""An answer as the cache keeps it, and a hit as the app gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Literal

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Attribution, Saving
from thrift_core.accounting.usage import Usage
from thrift_core.messages import ToolCall

Tier = Literal["exact", "normalised", "semantic", "shared"]
"""How a hit was found: the same text, the same but for typing, judged to ask the same, or answered a moment ago by a
call that was under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """What a model answered, in the form that an adapter can bring back.

    Attributes:
        payload: the adapter's own serialisation, JSON as a rule; comes back character for character.
        text: the answer in plain, which shadow checks and the quarantine compare; empty where `payload` is the text.
        finish_reason: why the model stopped, in the provider's words.
        tool_calls: the calls that the answer asks for.
        model: the model that answered.
        usage: what the call used, which is what a hit saves.
        cost_usd: what the call cost; None where no price is known.
        sources: the documents that it rests on, as `purge(source=...)` will name them.
        error: what went wrong, where the answer is no answer.
    """

    payload: str
    text: str = ""
    finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    sources: tuple[str, ...] = ()
    error: str | None = None

    @property
    def plain(self) -> str:
        """The answer's text."""
        return self.text or self.payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An answer from the cache, and where it comes from.

    Attributes:
        answer: the answer as it was stored.
        tier: how it was found.
        question: the question that it answered.
        similarity: of the two questions' embeddings, 1 for the same text.
        score: how sure the matcher was, on its own scale; None where it was not asked.
        reason: why it was taken to be the same question, in words.
        certificate: what vouches for the threshold, such as a calibration; None where nothing does.
        age_seconds: since it was stored.
        id: names the entry, for `forget` and `reject`.
        is_served: the app gets it; False in shadow mode, where it is only measured.
        is_checked: a sample: ask the model as well, and hand its answer to `check`.
        scope: whom the request was for.
        key: the id of the question that was asked.
        partition: the partition it was found in.
    """

    answer: CachedAnswer
    tier: Tier
    question: str
    similarity: float = 1.0
    score: float | None = None
    reason: str = "the same request"
    certificate: str | None = None
    age_seconds: float = 0.0
    id: bytes = b""
    is_served: bool = True
    is_checked: bool = False
    scope: Attribution = field(default_factory=Attribution)
    key: bytes = b""
    partition: bytes = b""

    @property
    def saved_tokens(self) -> int:
        """Tokens that the model was not asked for."""
        return self.answer.usage.total_tokens

    @property
    def saved_usd(self) -> Decimal | None:
        """What the call cost that it stands in for; None where no price is known."""
        return self.answer.cost_usd

    def saving(self) -> Saving:
        """Return the line for the ledger."""
        return Saving(
            lever="cache",
            tokens=self.saved_tokens,
            cost_usd=self.saved_usd,
            is_shadow=not self.is_served,
            attribution=self.scope if self.scope != Attribution() else current_attribution(),
        )


def details_of(answer: CachedAnswer) -> dict[str, Any]:
    """Return all but the payload as plain JSON values, leaving out what has its default."""
    usage = {
        name.name: value
        for name in fields(Usage)
        if (value := getattr(answer.usage, name.name)) and name.name != "other"
    }
    out: dict[str, Any] = {
        "text": answer.text,
        "finish": answer.finish_reason,
        "calls": [[call.name, call.arguments, call.id] for call in answer.tool_calls],
        "model": answer.model,
        "usage": usage,
        "other": {name: str(amount) for name, amount in answer.usage.other.items()},
        "usd": None if answer.cost_usd is None else str(answer.cost_usd),
        "sources": list(answer.sources),
    }
    return {name: value for name, value in out.items() if value}


def answer_from(payload: str, details: Mapping[str, Any]) -> CachedAnswer:
    """Return the answer that `details_of` described.

    Raises:
        ValueError, TypeError, KeyError, ArithmeticError: nothing we wrote.
    """
    other = {name: Decimal(amount) for name, amount in details.get("other", {}).items()}
    return CachedAnswer(
        payload=payload,
        text=details.get("text", ""),
        finish_reason=details.get("finish"),
        tool_calls=tuple(ToolCall(name, arguments, call_id) for name, arguments, call_id in details.get("calls", [])),
        model=details.get("model"),
        usage=Usage(**details.get("usage", {}), other=other),
        cost_usd=Decimal(details["usd"]) if "usd" in details else None,
        sources=tuple(details.get("sources", [])),
    )
