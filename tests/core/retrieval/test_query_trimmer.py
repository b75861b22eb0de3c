import logging
from collections.abc import Sequence
from decimal import Decimal

import pytest
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.prices import PriceBook
from thrift_core.relevance.passage import Passage
from thrift_core.retrieval.query_trimmer import QueryTrimmer, tokens_of
from thrift_core.retrieval.trimmer import TopKTrimmer

PASSAGES = [Passage(str(n), f"Bees dance in hive {n}. Ants march past it all day long.") for n in range(10)]
QUESTION = "Who dances in hive 3?"
PRICES = {"reader": {"input": "2", "output": "8", "cache_read": "0.2"}}


def _ledger() -> Ledger:
    return Ledger(prices=PriceBook(PRICES))


def test_a_query_books_its_tokens_and_dollars() -> None:
    ledger, trimmer = _ledger(), TopKTrimmer(40)
    with attribute(feature="search"):
        trimmed = QueryTrimmer(trimmer, ledger, model="reader").trim(PASSAGES, QUESTION)
    assert trimmed is not None
    [saving] = ledger.savings()
    saved = tokens_of(PASSAGES, trimmer) - trimmed.tokens
    assert (saving.lever, saving.tokens, saving.attribution.feature) == ("trimmer", saved, "search")
    assert saving.cost_usd == Decimal(2) * saved / 1_000_000


def test_without_a_model_tokens_alone_are_booked() -> None:
    ledger = _ledger()
    QueryTrimmer(TopKTrimmer(40), ledger).trim(PASSAGES, QUESTION)
    [saving] = ledger.savings()
    assert saving.tokens > 0
    assert saving.cost_usd is None


def test_in_shadow_nothing_is_cut_and_the_saving_is_marked() -> None:
    ledger = _ledger()
    assert QueryTrimmer(TopKTrimmer(40), ledger, model="reader", mode="shadow").trim(PASSAGES, QUESTION) is None
    [saving] = ledger.savings()
    assert saving.is_shadow


def test_passages_in_a_cached_prefix_are_left_where_cutting_them_would_cost(caplog: pytest.LogCaptureFixture) -> None:
    ledger = _ledger()
    queries = QueryTrimmer(TopKTrimmer(40), ledger, model="reader", is_in_cached_prefix=True, cached_tokens_after=5000)
    with caplog.at_level(logging.WARNING, "thrift"):
        assert queries.trim(PASSAGES, QUESTION) is None
        assert queries.trim(PASSAGES, "Another question?") is None
    assert list(ledger.savings()) == []
    assert len(caplog.records) == 1
    assert "cached prefix" in caplog.text


def test_passages_in_a_cached_prefix_are_cut_where_that_still_pays() -> None:
    ledger = _ledger()
    long = [Passage(p.id, p.text * 20) for p in PASSAGES]
    trimmed = QueryTrimmer(TopKTrimmer(40), ledger, model="reader", is_in_cached_prefix=True).trim(long, QUESTION)
    assert trimmed is not None
    [saving] = ledger.savings()
    read = Decimal("0.2") * tokens_of(long, TopKTrimmer(40))
    assert saving.cost_usd == (read - 2 * trimmed.tokens) / 1_000_000


def test_passages_in_a_cached_prefix_are_left_where_no_price_is_known() -> None:
    assert QueryTrimmer(TopKTrimmer(40), is_in_cached_prefix=True).trim(PASSAGES, QUESTION) is None


def test_a_failure_leaves_the_passages_counts_itself_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def score(self, question: str, texts: Sequence[str]) -> list[float]:
            raise RuntimeError("model gone")

    ledger = _ledger()
    queries = QueryTrimmer(TopKTrimmer(40, scorer=Broken()), ledger)
    with caplog.at_level(logging.WARNING, "thrift"):
        assert [queries.trim(PASSAGES, f"{QUESTION} {n}") for n in range(3)] == [None] * 3
    assert ledger.faults() == {("trimmer", "RuntimeError"): 3}
    assert len(caplog.records) == 1


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="cached_tokens_after"):
        QueryTrimmer(TopKTrimmer(), cached_tokens_after=-1)
    with pytest.raises(ConfigurationError, match="mode"):
        QueryTrimmer(TopKTrimmer(), mode="maybe")  # type: ignore[arg-type]


def test_nothing_costs_nothing() -> None:
    assert tokens_of([], TopKTrimmer()) == 0
