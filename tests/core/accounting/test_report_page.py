"""The page: well-formed, self-contained, and deaf to what names say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.day_chart import day_chart
from thrift_core.accounting.html import report_page
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.report import summarise
from thrift_core.accounting.spend import Spend
from thrift_core.accounting.usage import Usage

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "'; DROP TABLE calls; --",
    "{title} %s {0}",
    "\x1b[31m\x00\u202e",
    "]]>&amp;<!--",
]
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "article", "footer", "div"),
    *("h1", "h2", "p", "span", "strong", "bdi", "i", "table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "rect", "line"),
}


def page_of(names):
    with Ledger() as ledger:
        for number, name in enumerate(names):
            whom = Attribution(feature=name, user=name, tenant=name, task=name, run=name)
            at = AT + timedelta(days=number)
            usage = Usage(input_tokens=40_000, output_tokens=2000)
            ledger.record(
                Call(model=name, usage=usage, cost_usd=Decimal("0.5"), attribution=whom, started_at=at, outcome="error")
            )
            ledger.record(Call(model=name, unpriced=name, attribution=whom, started_at=at))
            ledger.book(Saving(lever=name, cost_usd=Decimal(-1), at=at, is_shadow=number % 2 == 0))
            ledger.resolve(name, success=number % 2 == 0)
            ledger.count_fault(name, name)
        report = summarise(
            ledger, by=("feature", "model", "day", "user"), feature=names[0] if len(names) == 1 else None
        )
        return report_page(report)


def parsed(page):
    assert page.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def tags(root):
    return {element.tag.rpartition("}")[2] for element in root.iter()}


@pytest.mark.parametrize("names", [HOSTILE, *([name] for name in HOSTILE)])
def test_hostile_names_are_text_and_nothing_else(names):
    root = parsed(page_of(names))
    assert tags(root) <= ALLOWED
    for element in root.iter():
        assert not any(name.startswith("on") or name in ("src", "href") for name in element.attrib)
    assert "alert(1)" in "".join(root.itertext()) or "alert" not in "".join(names)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=20))
def test_any_name_leaves_the_page_well_formed(name):
    assert tags(parsed(page_of([name]))) <= ALLOWED


def test_the_page_loads_nothing():
    page = page_of(["search"])
    assert "default-src 'none'" in page
    assert re.findall(r"https?://[^\"'\s]+", page) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_shows_every_chart():
    text = " ".join(parsed(page_of(["search", "chat"])).itertext())
    for title in (
        "Spend by day",
        "Spend by feature",
        "Spend by model",
        "waste",
        "Savings by lever",
        "Cost per resolved",
    ):
        assert title in text
    assert "+ 2 unpriced calls" in text


def test_a_page_of_nothing_says_so():
    with Ledger() as ledger:
        assert "holds no calls" in report_page(summarise(ledger))


def test_the_longest_bar_is_the_dearest():
    with Ledger() as ledger:
        for feature, cost in (("search", "4"), ("chat", "1")):
            whom = Attribution(feature=feature)
            ledger.record(Call(model="m", cost_usd=Decimal(cost), attribution=whom, started_at=AT))
        page = report_page(summarise(ledger, by=("feature",)))
    assert re.findall(r"width:([\d.]+)%", page) == ["100.00", "25.00"]


def day(key, cost):
    return Spend(key=key, calls=1, usage=Usage(), cost_usd=Decimal(cost))


def titles(chart):
    return [element.text for element in ElementTree.fromstring(chart).iter() if element.tag.endswith("title")]


def test_a_day_without_calls_is_a_gap_in_the_chart():
    assert titles(day_chart([day("2026-02-27", 1), day("2026-03-02", 2)])) == [
        "2026-02-27: $1.00, 1 call",
        "2026-02-28: $0, 0 calls",
        "2026-03-01: $0, 0 calls",
        "2026-03-02: $2.00, 1 call",
    ]


def test_long_periods_are_drawn_by_month_and_wrong_clocks_do_not_draw_for_ever():
    assert len(titles(day_chart([day("2025-10-31", 1), day("2026-03-02", 2)]))) == 6
    assert len(titles(day_chart([day("0001-01-01", 1), day("9999-12-31", 2)]))) == 2


def test_columns_of_nothing_have_no_height():
    assert 'height="0.00"' in day_chart([day("2026-03-02", 0)])
