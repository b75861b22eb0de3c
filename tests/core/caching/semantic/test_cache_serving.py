"""What adapters do around a call with a cache, whatever framework they are of."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.caching.semantic import CachedAnswer, CacheSettings, SemanticCache
from thrift_core.caching.semantic.serving import FreshIds, Serving, pieces, provenance
from thrift_core.errors import LedgerError
from thrift_core.messages import Message, Request

QUESTION = Request(messages=(Message("user", "How many lamps are there?"),), model="gpt-4.1-mini", provider="openai")
USAGE = Usage(input_tokens=1_000_000, output_tokens=100_000)


def serving(**settings: Any) -> Serving:
    ledger = Ledger()
    return Serving(SemanticCache(settings=CacheSettings(**settings), ledger=ledger), ledger)


def answered(lever: Serving, text: str = "Seven.") -> CachedAnswer:
    cost = lever.cost_of(USAGE, model="gpt-4.1-mini", provider="openai")
    return CachedAnswer(payload=text, model="gpt-4.1-mini", usage=USAGE, cost_usd=cost)


def ask(lever: Serving, text: str = "Seven.") -> str | None:
    turn = lever.begin(QUESTION, scope=Attribution(feature="search"))
    found = lever.served(turn, lambda answer: answer.payload, call_id="c1")
    if found is None:
        lever.finish(turn, lambda: answered(lever, text), call_id="c1")
    return found


def test_a_served_hit_books_what_its_call_cost() -> None:
    lever = serving()
    assert [ask(lever), ask(lever)] == [None, "Seven."]
    (saving,) = lever.ledger.savings()
    assert (saving.lever, saving.tokens, saving.cost_usd) == ("cache", 1_100_000, Decimal("0.56"))
    assert (saving.attribution.feature, saving.call_id, saving.is_shadow) == ("search", "c1", False)


def test_in_shadow_nothing_is_served_and_the_saving_is_marked() -> None:
    lever = serving(mode="shadow")
    assert [ask(lever), ask(lever)] == [None, None]
    assert [saving.is_shadow for saving in lever.ledger.savings()] == [True]
    assert lever.cache.stats().checks == 1


def test_a_checked_hit_asks_the_model_and_saves_nothing() -> None:
    lever = serving(checked_share=1.0)
    ask(lever)
    normalised = Request(
        messages=(Message("user", "how many  lamps are there?"),), model="gpt-4.1-mini", provider="openai"
    )
    turn = lever.begin(normalised, scope=Attribution(feature="search"))
    assert turn.hit is not None
    assert turn.hit.is_checked
    assert lever.served(turn, lambda answer: answer.payload) is None
    lever.finish(turn, lambda: answered(lever))
    assert (list(lever.ledger.savings()), lever.cache.stats().checks) == ([], 1)


def test_an_answer_that_cannot_be_read_is_forgotten_and_asked_for_again() -> None:
    lever = serving()
    ask(lever)

    def broken(answer: CachedAnswer) -> str:
        raise ValueError(answer.payload)

    turn = lever.begin(QUESTION, scope=Attribution(feature="search"))
    assert lever.served(turn, broken) is None
    lever.finish(turn, lambda: answered(lever, "Eight."))
    assert ask(lever) == "Eight."
    assert lever.ledger.faults() == {("cache", "entry: ValueError"): 1}


def test_an_answer_that_cannot_be_written_is_not_kept_and_nobody_waits_for_it() -> None:
    lever = serving()
    turn = lever.begin(QUESTION)
    lever.finish(turn, lambda: {}["payload"])
    assert lever.begin(QUESTION).hit is None
    assert lever.ledger.faults() == {("cache", "answer: KeyError"): 1}


def test_a_ledger_that_cannot_write_costs_nobody_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    lever = serving()
    ask(lever)

    def full(saving: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(lever.ledger, "book", full)
    assert ask(lever) == "Seven."


def test_a_hit_without_callbacks_is_recorded_as_a_call_that_cost_nothing() -> None:
    lever = serving()
    ask(lever)
    turn = lever.begin(QUESTION, scope=Attribution(feature="search"))
    assert turn.hit is not None
    lever.record(turn.hit, QUESTION, call_id="c9", latency_seconds=0.01)
    (call,) = lever.ledger.calls()
    assert (call.outcome, call.cost_usd, call.model) == ("cache_hit", Decimal(0), "gpt-4.1-mini")
    assert call.attribution.feature == "search"


def test_provenance_is_plain_json_that_says_which_question_was_matched() -> None:
    lever = serving()
    ask(lever)
    hit = lever.begin(QUESTION, scope=Attribution(feature="search")).hit
    assert hit is not None
    told = provenance(hit)["cache"]
    assert (told["tier"], told["question"], told["similarity"]) == ("exact", "How many lamps are there?", 1.0)
    assert (told["saved_tokens"], told["saved_usd"], told["certificate"]) == (1_100_000, "0.56", None)


async def test_async_turns_share_one_call() -> None:
    lever = serving()
    calls = 0

    async def aask() -> str:
        nonlocal calls
        turn = await lever.abegin(QUESTION)
        found = lever.served(turn, lambda answer: answer.payload)
        if found is not None:
            return found
        calls += 1
        await asyncio.sleep(0.01)
        await lever.afinish(turn, lambda: answered(lever))
        return "Seven."

    assert set(await asyncio.gather(*(aask() for _ in range(50)))) == {"Seven."}
    assert calls == 1


@given(st.text())
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.lists(st.text(min_size=1), min_size=1))
def test_fresh_ids_are_as_many_as_the_stored_ones_and_none_of_them(stored: list[str]) -> None:
    ids = FreshIds()
    fresh = {ids.of(each) for each in stored}
    assert len(fresh) == len(set(stored))
    assert not fresh & set(stored)
