import asyncio
import threading
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.caching.semantic import SemanticCache
from thrift_core.errors import ConfigurationError
from thrift_core.levers import Shadow
from thrift_core.messages import AppendBlock, DropSpan, Message, ReplaceText, Request, ToolCall
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summarizer import TrajectorySummarizer

ASK = Message("assistant", "", (ToolCall("f", "{}", "c1"),))
REQUEST = Request(
    (Message("user", "a long question " * 9), ASK, Message("tool", "r", tool_call_id="c1")),
    model="gpt-4.1-mini",
    provider="openai",
)


def shorten(usd="0.01", index=0):
    return ReplaceText(index=index, text="short", reason="it was long", saved_tokens=30, saved_usd=Decimal(usd))


class Lever:
    def __init__(self, decide):
        self.decide = decide


def lever(*edits):
    return Lever(lambda request, pricing: edits)


@pytest.fixture
def ledger():
    return Ledger()


def test_with_no_lever_on_the_very_request_comes_back():
    assert Thrift().plan(REQUEST).request is REQUEST


def test_the_safe_preset_cuts_nothing_and_the_others_offer_to_recall_what_they_cut():
    lossless = dict.fromkeys(("schemas", "compressor", "summarizer", "planner"), "on")
    assert Thrift.safe().modes == {"cache": "off", **lossless}
    assert Thrift.safe().tools == []
    for thrift in (Thrift.balanced(), Thrift.frugal()):
        assert [tool["function"]["name"] for tool in thrift.tools] == ["recall"]


@pytest.mark.parametrize("lever", ["schemas", "compressor", "summarizer", "planner"])
def test_levers_have_defaults_by_name(lever):
    assert Thrift(**{lever: "shadow"}).modes[lever] == "shadow"


def test_levers_made_here_keep_what_they_cut_in_one_place():
    store = MemoryRecallStore()
    thrift = Thrift.balanced(recall=store)
    assert thrift.store is store
    assert thrift.recall({"id": store.put("cut")}) == "cut"


def test_a_lever_that_is_on_changes_the_request_and_books_its_saving(ledger):
    with attribute(feature="search"):
        plan = Thrift(compressor=lever(shorten()), ledger=ledger).plan(REQUEST)
    assert plan.request.messages[0].text == "short"
    assert REQUEST.messages[0].text != "short"
    (saving,) = ledger.savings()
    assert (saving.lever, saving.tokens, saving.cost_usd, saving.is_shadow) == (
        "compressor",
        30,
        Decimal("0.01"),
        False,
    )
    assert saving.attribution.feature == "search"


def test_a_lever_in_shadow_is_measured_but_not_applied(ledger):
    plan = Thrift(compressor=Shadow(lever(shorten())), ledger=ledger).plan(REQUEST)
    assert plan.request is REQUEST
    assert plan.applied == ()
    assert [saving.is_shadow for saving in ledger.savings()] == [True]


def test_each_lever_sees_what_the_one_before_it_left(ledger):
    seen = []
    second = Lever(lambda request, pricing: seen.append(request.messages[0].text) or ())
    Thrift(compressor=lever(shorten()), summarizer=second, ledger=ledger).plan(REQUEST)
    assert seen == ["short"]


def test_explain_says_what_and_why_and_books_nothing(ledger):
    text = Thrift(compressor=lever(shorten()), planner=Shadow(lever()), ledger=ledger).explain(REQUEST)
    assert "compressor (on): 1 edits, 30 tokens, $0.01" in text
    assert "it was long" in text
    assert "planner (shadow): nothing to do" in text
    assert list(ledger.savings()) == []


def test_what_a_change_costs_is_booked_as_it_is(ledger):
    Thrift(compressor=lever(shorten(usd="-0.002")), ledger=ledger).plan(REQUEST)
    assert [saving.cost_usd for saving in ledger.savings()] == [Decimal("-0.002")]


class Full(Lever):
    """A lever that can do all a lever can."""

    tools = ({"type": "function", "function": {"name": "recall"}},)

    def __init__(self):
        super().__init__(lambda request, pricing: ())
        self.seen = []

    def recall(self, arguments):
        return f"the text of {arguments['id']}"

    def canonical(self, request):
        return replace(request, tools=tuple(sorted(request.tools, key=str)))

    def observe(self, request, usage):
        self.seen.append((request, usage))


def test_a_levers_tools_are_offered_and_answered_and_it_learns_what_was_billed(ledger):
    full = Full()
    thrift = Thrift(summarizer=full, planner=lever(), ledger=ledger)
    plan = thrift.plan(replace(REQUEST, tools=({"name": "b"}, {"name": "a"})))
    thrift.observe(plan, Usage(input_tokens=5))
    assert thrift.tools == [{"type": "function", "function": {"name": "recall"}}]
    assert thrift.recall({"id": "x"}) == "the text of x"
    assert plan.request.tools == ({"name": "a"}, {"name": "b"})
    assert full.seen == [(plan.request, Usage(input_tokens=5))]


def test_a_lever_in_shadow_offers_no_tools_and_changes_no_order(ledger):
    thrift = Thrift(summarizer=Shadow(Full()), ledger=ledger)
    request = replace(REQUEST, tools=({"name": "b"}, {"name": "a"}))
    assert thrift.tools == []
    assert thrift.plan(request).request is request


def test_a_tool_that_fails_is_answered_in_words(ledger):
    thrift = Thrift(summarizer=Full(), ledger=ledger)
    assert thrift.recall({}) == "Nothing can be recalled right now."
    assert Thrift().recall({"id": "x"}) == "Nothing can be recalled right now."


NONSENSE = {
    "raises": lambda request, pricing: 1 / 0,
    "returns None": lambda request, pricing: None,
    "returns text": lambda request, pricing: "shorter",
    "returns a number": lambda request, pricing: 7,
    "points outside": lambda request, pricing: [shorten(index=9)],
    "leaves nothing": lambda request, pricing: [DropSpan(start=0, stop=3, reason="", saved_usd=Decimal(1))],
    "separates a call from its result": lambda r, p: [DropSpan(start=2, stop=3, reason="", saved_usd=Decimal(1))],
    "states no dollars": lambda r, p: [ReplaceText(index=0, text="", reason="", saved_usd=None)],
    "states endless dollars": lambda r, p: [ReplaceText(index=0, text="", reason="", saved_usd=Decimal("Infinity"))],
    "states NaN dollars": lambda r, p: [ReplaceText(index=0, text="", reason="", saved_usd=Decimal("NaN"))],
    "states tokens in words": lambda r, p: [ReplaceText(index=0, text="", reason="", saved_tokens="many")],
    "replaces text by bytes": lambda r, p: [ReplaceText(index=0, text=b"short", reason="", saved_usd=Decimal(1))],
    "appends what is no message": lambda r, p: [AppendBlock(message="x", reason="", saved_usd=Decimal(1))],
    "gives no reason": lambda r, p: [ReplaceText(index=0, text="", reason=None, saved_usd=Decimal(1))],
    "yields, then raises": lambda request, pricing: (1 / 0 for _ in range(2)),
}


@pytest.mark.parametrize("decide", NONSENSE.values(), ids=NONSENSE.keys())
def test_a_lever_that_fails_leaves_the_request_as_it_was_and_is_counted(ledger, decide):
    thrift = Thrift(compressor=Lever(decide), ledger=ledger)
    assert thrift.plan(REQUEST).request is REQUEST
    assert sum(ledger.faults().values()) == 1
    assert list(ledger.savings()) == []


def test_a_lever_that_hangs_is_passed_over_and_the_others_still_work(ledger):
    release = threading.Event()
    hanging = Lever(lambda request, pricing: release.wait(5))
    thrift = Thrift(compressor=hanging, summarizer=lever(shorten()), ledger=ledger, timeout_seconds=0.05)
    assert thrift.plan(REQUEST).request.messages[0].text == "short"
    assert ledger.faults() == {("compressor", "timeout"): 1}
    release.set()


async def test_planning_in_async_code_keeps_the_event_loop_free(ledger):
    release = threading.Event()
    thrift = Thrift(compressor=Lever(lambda request, pricing: release.wait(5) and ()), ledger=ledger)
    planning = asyncio.create_task(thrift.aplan(REQUEST))
    await asyncio.sleep(0.01)
    release.set()
    assert (await planning).request.messages == REQUEST.messages


async def test_the_async_twin_plans_the_same(ledger):
    thrift = Thrift(compressor=lever(shorten()), ledger=ledger)
    assert await thrift.aplan(REQUEST) == thrift.plan(REQUEST)


def test_a_ledger_that_cannot_be_written_does_not_stop_the_plan(ledger, monkeypatch):
    def full(saving):
        raise OSError("disk full")

    monkeypatch.setattr(ledger, "book", full)
    assert Thrift(compressor=lever(shorten()), ledger=ledger).plan(REQUEST).request.messages[0].text == "short"


@pytest.mark.parametrize("setting", [None, True, "yes", 3, object(), Shadow("on")])
def test_a_setting_that_means_nothing_is_refused_saying_what_would_do(setting):
    with pytest.raises(ConfigurationError, match=r"compressor=.*'on', 'shadow', 'off', a lever"):
        Thrift(compressor=setting)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_must_be_positive(timeout):
    with pytest.raises(ConfigurationError, match="timeout_seconds must be more than 0"):
        Thrift(timeout_seconds=timeout)


def test_modes_say_what_is_on():
    thrift = Thrift(compressor=lever(), planner=Shadow(lever()))
    off = dict.fromkeys(("cache", "schemas", "summarizer"), "off")
    assert thrift.modes == {**off, "compressor": "on", "planner": "shadow"}


@given(st.lists(st.sampled_from(sorted(NONSENSE)), max_size=3))
def test_no_mix_of_failing_levers_changes_a_request(kinds):
    names = ("compressor", "summarizer", "planner")
    levers = {name: Lever(NONSENSE[kind]) for name, kind in zip(names, kinds, strict=False)}
    assert Thrift(**levers).plan(REQUEST).request is REQUEST


def test_a_cache_is_a_mode_or_an_object_and_anything_else_is_refused():
    assert Thrift(cache="shadow").modes["cache"] == "shadow"
    cache = SemanticCache()
    assert Thrift(cache=cache).cache is cache
    assert Thrift().cache is None
    with pytest.raises(ConfigurationError, match="cache=3: give 'on', 'shadow', 'off' or a SemanticCache"):
        Thrift(cache=3)


def test_two_levers_that_cut_offer_one_recall_tool_and_each_gives_back_its_own():
    class Cutting(TrajectorySummarizer):
        pass

    one, two = Cutting(mode="rewrite"), Cutting(mode="rewrite")
    thrift = Thrift(compressor=one, summarizer=two)
    assert len(thrift.tools) == 1
    assert thrift.recall({"id": one.store.put("kept by the one")}) == "kept by the one"
    assert thrift.recall({"id": two.store.put("kept by the other")}) == "kept by the other"
