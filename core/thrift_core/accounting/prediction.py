"""What was predicted of a call, beside what it was billed as."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from thrift_core.accounting.ledger_store import LedgerStore

_predicted: ContextVar[int | None] = ContextVar("thrift_predicted_cache_read", default=None)


@contextmanager
def predicting(cache_read_tokens: int | None) -> Generator[None]:
    """Say how many tokens the calls that start inside the block are predicted to read from the prompt cache.

    Args:
        cache_read_tokens: how many; None where nothing is predicted.
    """
    token = _predicted.set(cache_read_tokens)
    try:
        yield
    finally:
        _predicted.reset(token)


def predicted_cache_read() -> int | None:
    """Return what the enclosing block predicts."""
    return _predicted.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePrediction:
    """Tokens read from the prompt cache, as predicted and as billed, over all calls that both are known of.

    Attributes:
        calls: how many calls those are.
        predicted_tokens: what was predicted.
        billed_tokens: what the providers billed.
        missed_tokens: the differences, over and under, added up call by call.
    """

    calls: int = 0
    predicted_tokens: int = 0
    billed_tokens: int = 0
    missed_tokens: int = 0


def cache_prediction(store: LedgerStore, condition: str, values: list[Any]) -> CachePrediction:
    """Return what was predicted beside what was billed; calls whose tokens were counted by us prove nothing."""
    predicted, billed = "predicted_cache_read_tokens", "cache_read_tokens"
    rows = store.read(
        f"SELECT count(*), total({predicted}), total({billed}), total(abs({predicted} - {billed})) FROM calls "  # noqa: S608
        f"WHERE {predicted} IS NOT NULL AND NOT is_estimated AND outcome NOT IN ('cache_hit', 'error') AND {condition}",
        values,
    )
    calls, predicted_tokens, billed_tokens, missed = rows[0]
    return CachePrediction(
        calls=calls,
        predicted_tokens=int(predicted_tokens),
        billed_tokens=int(billed_tokens),
        missed_tokens=int(missed),
    )
