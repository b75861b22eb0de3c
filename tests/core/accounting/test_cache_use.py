"""What the report says of the cache: hit rate, the estimate of false hits with its bounds, dollars saved."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from thrift_core.accounting import ledger_schema
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.cache_use import CacheUse
from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.html import report_page
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.ledger_rows import CALL_COLUMNS, call_row
from thrift_core.accounting.lookup import Lookup, LookupOutcome
from thrift_core.accounting.report import summarise
from thrift_core.accounting.report_json import report_json
from thrift_core.accounting.terminal import print_report
from thrift_core.accounting.usage import Usage
from thrift_core.caching.semantic import CachedAnswer, CacheSettings, SemanticCache
from thrift_core.caching.semantic.serving import Serving
from thrift_core.calibration.binomial import share_interval
from thrift_core.cli import main
from thrift_core.errors import LedgerError
from thrift_core.messages import Message, Request

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
WAYS = ("sync", "async")


@pytest.fixture
def ledger() -> Any:
    with Ledger() as ledger:
        yield ledger


def look(ledger: Ledger, outcome: LookupOutcome, times: int = 1, **given: Any) -> None:
    feature = given.pop("feature", None)
    for _ in range(times):
        ledger.book_lookup(Lookup(outcome=outcome, attribution=Attribution(feature=feature), **given))


def only(ledger: Ledger, **filters: Any) -> CacheUse:
    (use,) = summarise(ledger, **filters).cache
    return use


def test_a_ledger_that_knows_no_cache_says_nothing_of_one(ledger: Ledger) -> None:
    ledger.record(Call(model="m", cost_usd=Decimal(1)))
    report = summarise(ledger)
    assert report.cache == []
    assert "cache" not in printed(ledger).lower().replace("cached", "")
    assert "answered from the cache" not in report_page(report)


def test_the_hit_rate_is_the_share_of_all_requests_that_came_by(ledger: Ledger) -> None:
    look(ledger, "miss", 6)
    look(ledger, "hit", 2, tier="exact")
    look(ledger, "hit", 1, tier="semantic")
    look(ledger, "hit", 1, tier="semantic", is_shadow=True)
    use = only(ledger)
    assert (use.requests, use.hits, use.shadow_hits) == (10, {"exact": 2, "semantic": 1}, 1)
    assert use.hit_rate == pytest.approx(0.4)


def test_false_hits_are_estimated_from_the_checks_of_hits_that_are_not_exact(ledger: Ledger) -> None:
    look(ledger, "hit", 100, tier="semantic")
    look(ledger, "hit", 900, tier="exact")
    look(ledger, "agreed", 19, tier="semantic")
    look(ledger, "differed", 1, tier="semantic")
    # A model that answers the very same request otherwise says nothing of the cache.
    look(ledger, "differed", 7, tier="exact", is_shadow=True)
    use = only(ledger)
    assert (use.checks, use.differed) == (20, 1)
    assert use.false_hit_rate == pytest.approx(0.05)
    assert use.false_hits == pytest.approx(5.0)
    assert use.false_hit_interval() == share_interval(1, 20)


def test_nothing_checked_is_not_nothing_false(ledger: Ledger) -> None:
    look(ledger, "hit", 50, tier="semantic")
    use = only(ledger)
    assert use.false_hit_rate is None
    assert use.false_hits is None
    assert use.false_hit_interval() == (0.0, 1.0)
    assert "no hit checked yet" in printed(ledger)
    assert "not checked" in printed(ledger)


@given(agreed=st.integers(0, 400), differed=st.integers(0, 40))
def test_the_bounds_hold_the_estimate(agreed: int, differed: int) -> None:
    use = CacheUse(checks=agreed + differed, differed=differed)
    low, high = use.false_hit_interval()
    assert 0 <= low <= (use.false_hit_rate or 0.0) <= high <= 1


def test_what_was_saved_is_what_the_cache_booked_and_not_what_it_measured(ledger: Ledger) -> None:
    look(ledger, "hit", 3, tier="exact")
    ledger.book(Saving(lever="cache", tokens=100, cost_usd=Decimal("0.25")))
    ledger.book(Saving(lever="cache", tokens=50))
    ledger.book(Saving(lever="cache", tokens=7, cost_usd=Decimal(9), is_shadow=True))
    ledger.book(Saving(lever="summarizer", tokens=7, cost_usd=Decimal(9)))
    use = only(ledger)
    assert (use.saved_tokens, use.saved_usd, use.unpriced_hits) == (150, Decimal("0.25"), 1)


def test_each_feature_has_a_line_behind_that_of_all(ledger: Ledger) -> None:
    look(ledger, "hit", 3, tier="exact", feature="faq")
    look(ledger, "miss", 1, feature="faq")
    look(ledger, "miss", 2, feature="search")
    ledger.book(Saving(lever="cache", cost_usd=Decimal(3), attribution=Attribution(feature="faq")))
    uses = summarise(ledger).cache
    assert [(use.feature, use.requests, use.saved_usd) for use in uses] == [
        (None, 6, Decimal(3)),
        ("faq", 4, Decimal(3)),
        ("search", 2, Decimal(0)),
    ]
    assert only(ledger, feature="search").requests == 2


def test_filters_and_periods_hold_for_lookups(ledger: Ledger) -> None:
    look(ledger, "miss", 2, at=AT)
    look(ledger, "miss", 3, at=AT + timedelta(days=2))
    assert only(ledger, since=AT + timedelta(days=1)).requests == 3
    assert only(ledger, until=AT + timedelta(days=1)).requests == 2
    assert len(list(ledger.lookups(until=AT + timedelta(days=1)))) == 2
    # Lookups belong to no call.
    assert summarise(ledger, model="m").cache == []


def printed(ledger: Ledger) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        print_report(summarise(ledger), console)
        return console.export_text()


def used(ledger: Ledger) -> None:
    look(ledger, "miss", 60, feature="faq")
    look(ledger, "hit", 30, tier="semantic", feature="faq")
    look(ledger, "hit", 10, tier="exact", feature="faq")
    look(ledger, "agreed", 9, tier="semantic", feature="faq")
    look(ledger, "differed", 1, tier="semantic", feature="faq")
    ledger.book(Saving(lever="cache", tokens=9000, cost_usd=Decimal("0.42"), attribution=Attribution(feature="faq")))


def test_the_terminal_and_the_page_show_rate_bounds_and_dollars(ledger: Ledger) -> None:
    used(ledger)
    text, page = printed(ledger), report_page(summarise(ledger))
    for words in ("40%", "$0.42", "10%", "0.3% to 45%"):
        assert words in text.replace(".0%", "%"), (words, text)
    for words in ("answered from the cache", "Semantic cache", "$0.42"):
        assert words in page


def test_the_json_has_what_is_computed(ledger: Ledger) -> None:
    used(ledger)
    (given,) = json.loads(json.dumps(report_json(summarise(ledger))))["cache"]
    assert (given["requests"], given["hits"], given["saved_usd"]) == (100, {"exact": 10, "semantic": 30}, "0.42")
    assert given["hit_rate"] == pytest.approx(0.4)
    assert given["false_hits"] == pytest.approx(3.0)
    assert given["false_hit_interval"] == pytest.approx(list(share_interval(1, 10)))


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        used(ledger)
    assert main(["report", str(path), "--html", str(tmp_path / "page.html")]) == 0
    assert "answered from the cache" in capsys.readouterr().out
    assert "Semantic cache" in (tmp_path / "page.html").read_text()


def test_lookups_travel_from_ledger_to_ledger_once(ledger: Ledger, tmp_path: Path) -> None:
    used(ledger)
    lines = ledger.export_jsonl(tmp_path / "all.jsonl")
    with Ledger() as other:
        assert other.import_jsonl(tmp_path / "all.jsonl") == lines == 111
        assert other.import_jsonl(tmp_path / "all.jsonl") == 0
        assert summarise(other).cache == summarise(ledger).cache
        assert sorted(map(str, other.lookups())) == sorted(map(str, ledger.lookups()))


def test_a_lookup_with_an_unknown_outcome_is_not_imported(ledger: Ledger, tmp_path: Path) -> None:
    line = {"kind": "lookup", "id": "1", "at": AT.isoformat(), "outcome": "perhaps"}
    (tmp_path / "bad.jsonl").write_text(json.dumps(line))
    with pytest.raises(LedgerError, match="unknown outcome 'perhaps'"):
        ledger.import_jsonl(tmp_path / "bad.jsonl")


def test_a_ledger_from_before_lookups_opens_with_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    with monkeypatch.context() as patch:
        patch.setattr(ledger_schema, "MIGRATIONS", ledger_schema.MIGRATIONS[:1])
        with Ledger(path) as old:
            given = dict(zip(CALL_COLUMNS, call_row(Call(model="m", cost_usd=Decimal(1))), strict=True))
            del given["predicted_cache_read_tokens"]
            marks = ", ".join("?" * len(given))
            old.store.write(f"INSERT INTO calls ({', '.join(given)}) VALUES ({marks})", [tuple(given.values())])
    with sqlite3.connect(path) as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lookups'").fetchall()
    connection.close()
    with Ledger(path) as ledger:
        look(ledger, "miss")
        assert (ledger.total().cost_usd, only(ledger).requests) == (Decimal(1), 1)


def ask(serving: Serving, text: str, answer: str, way: str) -> str:
    request = Request(messages=(Message("user", text),), model="m")
    kept = CachedAnswer(payload=answer, usage=Usage(input_tokens=10), cost_usd=Decimal("0.5"))

    async def asynchronously() -> str:
        turn = await serving.abegin(request)
        served = serving.served(turn, lambda found: found.payload)
        if served is None:
            await serving.afinish(turn, lambda: kept)
        return served or answer

    if way == "async":
        return asyncio.run(asynchronously())
    turn = serving.begin(request)
    served = serving.served(turn, lambda found: found.payload)
    if served is None:
        serving.finish(turn, lambda: kept)
    return served or answer


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def serving_of(ledger: Ledger, **settings: Any) -> Serving:
    return Serving(SemanticCache(settings=CacheSettings(**{"checked_share": 0.0, **settings})), ledger)


def test_whatever_comes_by_the_cache_is_booked(ledger: Ledger, way: str) -> None:
    serving = serving_of(ledger)
    with attribute("faq"):
        for _ in range(3):
            assert ask(serving, "How do I reset my password?", "Under Settings.", way) == "Under Settings."
        ask(serving, "Hi, how can I reset my password?", "Under Settings.", way)
        ask(serving, "Where is the office?", "In Oslo.", way)
    use = only(ledger)
    assert (use.feature, use.requests, use.hits) == (None, 5, {"exact": 2, "semantic": 1})
    assert use.saved_usd == Decimal("1.5")
    assert {lookup.attribution.feature for lookup in ledger.lookups()} == {"faq"}


@pytest.mark.parametrize(("second", "false"), [("Under Settings.", 0), ("There is no such thing as that.", 1)])
def test_what_a_check_finds_is_booked(ledger: Ledger, way: str, second: str, false: int) -> None:
    serving = serving_of(ledger, checked_share=1.0)
    ask(serving, "How do I reset my password?", "Under Settings.", way)
    assert ask(serving, "Hi, how can I reset my password?", second, way) == second
    use = only(ledger)
    assert (use.checks, use.differed, use.saved_usd) == (1, false, 0)
    stats = serving.cache.stats()
    assert (stats.checks, stats.false_hits) == (1, false)


def test_in_shadow_every_hit_is_checked_and_none_saved(ledger: Ledger, way: str) -> None:
    serving = serving_of(ledger, mode="shadow")
    ask(serving, "How do I reset my password?", "Under Settings.", way)
    ask(serving, "Hi, how can I reset my password?", "Under Settings.", way)
    ask(serving, "How do I reset my password?", "Otherwise.", way)
    use = only(ledger)
    assert (use.requests, use.hits, use.shadow_hits, use.checks, use.differed) == (3, {}, 2, 1, 0)
    assert use.saved_usd == 0


def test_a_ledger_that_fails_costs_the_app_nothing(tmp_path: Path, way: str) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    serving = serving_of(ledger)
    ledger.close()
    for _ in range(2):
        assert ask(serving, "How do I reset my password?", "Under Settings.", way) == "Under Settings."
    assert ledger.faults()[("cache", "ledger: LedgerError")] >= 1
