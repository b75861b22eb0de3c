"""What adapters need of `Thrift` beside its decisions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.advice import CacheAdvice, CacheHints
from thrift_core.caching.bill import InputBill
from thrift_core.levers import Shadow
from thrift_core.messages import CacheBreakpoint, Edit, Message, ReplaceText, Request
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summarizer import TrajectorySummarizer

REQUEST = Request((Message("user", "long"),), model="gpt-5")


class Shortening:
    def decide(self, request: Request, pricing: Any) -> Sequence[Edit]:
        return [ReplaceText(reason="shorter", index=0, text="s", saved_tokens=1)]


class Advising:
    """A planner that must be asked once for each request."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def decide(self, request: Request, pricing: Any) -> Sequence[Edit]:
        raise AssertionError("decide is asked where advise is there")

    def advise(self, request: Request, pricing: Any) -> CacheAdvice:
        self.asked.append(request.messages[0].text)
        return CacheAdvice(
            edits=(CacheBreakpoint(reason="mark", index=0),),
            predicted=InputBill(uncached=7),
            hints=CacheHints(prompt_cache_key="k"),
        )


def test_the_plan_carries_the_advice_on_what_is_really_sent() -> None:
    planner = Advising()
    plan = Thrift(compressor=Shortening(), planner=planner).plan(REQUEST)
    assert planner.asked == ["s"]
    assert plan.advice is not None
    assert (plan.advice.predicted.uncached, plan.advice.hints.prompt_cache_key) == (7, "k")
    assert [step.lever for step in plan.applied] == ["compressor", "planner"]


def test_advice_in_shadow_is_not_passed_on() -> None:
    plan = Thrift(planner=Shadow(Advising())).plan(REQUEST)
    assert plan.advice is None
    assert plan.steps[0].edits


def test_a_lever_that_is_skipped_is_neither_asked_nor_booked() -> None:
    planner, ledger = Advising(), Ledger()
    plan = Thrift(compressor=Shortening(), planner=planner, ledger=ledger).plan(REQUEST, skip=("planner",))
    assert planner.asked == []
    assert plan.advice is None
    assert [saving.lever for saving in ledger.savings()] == ["compressor"]
    assert "skipped" in str(plan)


async def test_async_plans_skip_as_well() -> None:
    plan = await Thrift(compressor=Shortening()).aplan(REQUEST, skip=("compressor",))
    assert plan.request == REQUEST


class Slow:
    """Takes long before its first decision."""

    is_ready = 0

    def prepare(self) -> None:
        time.sleep(0.3)
        self.is_ready += 1

    def decide(self, request: Request, pricing: Any) -> Sequence[Edit]:
        return Shortening().decide(request, pricing) if self.is_ready else [ReplaceText(reason="", index=9, text="")]


def test_a_lever_may_take_its_time_to_get_ready_and_is_then_asked_as_others() -> None:
    lever, ledger = Slow(), Ledger()
    thrift = Thrift(compressor=lever, ledger=ledger, timeout_seconds=0.2)
    assert [thrift.plan(REQUEST).request.messages[0].text for _ in range(2)] == ["s", "s"]
    assert lever.is_ready == 1
    assert ledger.faults() == {}


def test_a_lever_that_cannot_get_ready_is_counted_and_asked_all_the_same() -> None:
    class Unready(Slow):
        def prepare(self) -> None:
            raise OSError("no such file")

    ledger = Ledger()
    plan = Thrift(compressor=Unready(), ledger=ledger).plan(REQUEST)
    assert plan.request == REQUEST
    assert ledger.faults()[("compressor", "OSError")] == 1


def test_the_store_is_that_of_the_lever_that_cuts() -> None:
    store = MemoryRecallStore()
    assert Thrift(summarizer=TrajectorySummarizer(store=store)).store is store
    assert Thrift(summarizer=Shadow(TrajectorySummarizer(store=store))).store is None
    assert Thrift().store is None


def test_adapters_fail_open_in_the_same_guard(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    assert Thrift(ledger=ledger).guard.run("view", lambda: 1 // 0) is None
    assert ledger.faults() == {("view", "ZeroDivisionError"): 1}
    assert "view was passed over" in caplog.text


def test_levers_that_cut_are_named_so_that_an_adapter_without_tools_leaves_them_out() -> None:
    assert Thrift.balanced().needing_tools == ("compressor", "summarizer")
    assert Thrift.safe().needing_tools == ()
