import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from time import thread_time

import pytest
from caching_conversations import SYSTEM, TOOL, Words, loop, request
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.caching.bill import InputBill
from thrift_core.caching.planner import PromptCachePlanner
from thrift_core.caching.prefix_cache_simulator import PrefixCacheSimulator
from thrift_core.caching.provider_rules import CacheRules, rules_for
from thrift_core.messages import CacheBreakpoint, Message, Opaque, Request, ToolCall
from thrift_core.rates import Pricing
from thrift_core.thrift import Thrift

DOLLAR = Pricing(
    input=Decimal(1),
    cache_read=Decimal("0.1"),
    cache_write_5m=Decimal("1.25"),
    cache_write_1h=Decimal(2),
    output=Decimal(5),
    reasoning=Decimal(5),
)
MODELS = [
    ("anthropic", "claude-sonnet-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("openai", "gpt-5"),
    ("openai", "gpt-5.6"),
    ("google", "gemini-2.5-flash"),
    ("aws", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("aws", "anthropic.claude-3-7-sonnet-20250219-v1:0"),
    ("aws", "amazon.nova-pro-v1:0"),
]


def _planner(**given: object) -> PromptCachePlanner:
    return PromptCachePlanner(counter=Words(), warn_of_drift=False, **given)  # type: ignore[arg-type]


def _rules(provider: str, model: str) -> CacheRules:
    rules = rules_for(provider, model)
    assert rules is not None
    return rules


def _points(edits: Sequence[CacheBreakpoint]) -> list[int]:
    return [edit.index for edit in edits]


class Replay:
    """A planner and the provider it plans for."""

    def __init__(self, provider: str = "anthropic", model: str = "claude-sonnet-5", **given: object) -> None:
        self.provider, self.model = provider, model
        self.planner = _planner(**given)
        self.simulator = PrefixCacheSimulator(_rules(provider, model), counter=Words(), latency_seconds=lambda: 1.0)
        self.bills: list[InputBill] = []
        self.plans: list[tuple[CacheBreakpoint, ...]] = []
        self.predictions: list[InputBill] = []

    def send(self, messages: Sequence[Message], now: float, **given: object) -> InputBill:
        asked = request(tuple(messages), provider=self.provider, model=self.model, **given)
        advice = self.planner.advise(asked, DOLLAR, now=now)
        mode = advice.hints.mode or "implicit"
        self.plans.append(advice.edits)
        self.predictions.append(advice.predicted)
        self.bills.append(self.simulator.send(asked, advice.edits, now=now, mode=mode))
        return self.bills[-1]

    @property
    def cost(self) -> Decimal:
        return sum((bill.cost_usd(DOLLAR) for bill in self.bills), Decimal(0))

    @property
    def uncached_cost(self) -> Decimal:
        return Decimal(sum(bill.input_tokens for bill in self.bills)) / 1_000_000


def test_a_loop_reads_everything_but_what_is_new() -> None:
    replay = Replay()
    for n, messages in enumerate(loop(8)):
        replay.send(messages, now=20.0 * n)
    assert all(bill.uncached == 0 for bill in replay.bills)
    new = [bill.cache_write_5m for bill in replay.bills]
    assert new[1:] == [replay.bills[n].input_tokens - replay.bills[n - 1].input_tokens for n in range(1, 8)]
    assert sum(bill.cache_write_1h for bill in replay.bills) == 0


def test_tools_system_the_last_read_and_the_tail_are_marked() -> None:
    replay = Replay()
    for n, messages in enumerate(loop(3)):
        replay.send(messages, now=20.0 * n)
    assert [_points(edits) for edits in replay.plans] == [[-1, 0, 1], [-1, 0, 1, 3], [-1, 0, 3, 5]]


def test_a_turn_of_more_than_twenty_blocks_is_read_through_the_second_anchor() -> None:
    replay = Replay()
    first = loop(1)[0]
    calls = tuple(ToolCall("look_up", "{}", str(n)) for n in range(30))
    answers = tuple(Message("tool", f"value {n}", tool_call_id=str(n)) for n in range(30))
    replay.send(first, now=0)
    bill = replay.send((*first, Message("assistant", "", calls), *answers), now=20)
    assert bill.cache_read == replay.bills[0].input_tokens


def test_prefixes_below_the_minimum_are_not_marked() -> None:
    replay = Replay("anthropic", "claude-haiku-4-5")
    for n, messages in enumerate(loop(6)):
        replay.send(messages, now=20.0 * n)
        assert bool(replay.plans[-1]) == (replay.bills[-1].input_tokens >= 4096)


def test_a_question_that_is_asked_once_is_not_written() -> None:
    replay = Replay()
    for n in range(5):
        asked = (Message("user", f"summarise text {n} " * 600),)
        replay.send(asked, now=5.0 * n, tools=())
    assert replay.plans == [()] * 5
    assert replay.cost == replay.uncached_cost


def test_one_shot_calls_share_their_system_prompt_and_nothing_else() -> None:
    replay = Replay()
    for n in range(10):
        replay.send((SYSTEM, Message("user", f"classify text {n} " * 300)), now=30.0 * n, tools=())
    assert _points(replay.plans[-1]) == [0]
    assert [bill.cache_write_5m > 0 for bill in replay.bills] == [True] + [False] * 9
    assert replay.bills[-1].cache_read > 0


def test_a_workload_that_never_comes_back_stops_being_written() -> None:
    replay = Replay()
    for n in range(60):
        replay.send(
            loop(1, task=f"task {n}", system=Message("system", f"you are number {n} " * 400))[0], now=7200.0 * n
        )
    assert sum(bool(edits) for edits in replay.plans) <= 4
    assert replay.plans[-40:] == [()] * 40
    assert replay.cost < replay.uncached_cost * Decimal("1.02")


def test_a_burst_of_new_conversations_is_not_all_written_before_the_first_comes_back() -> None:
    replay = Replay()
    for n in range(100):
        replay.send(loop(1, task=f"task {n}", system=Message("system", f"you are number {n} " * 400))[0], now=0.1 * n)
    assert sum(any(edit.index >= 0 for edit in edits) for edits in replay.plans) < 15


def test_gaps_of_ten_minutes_are_learned_and_bridged_with_an_hour() -> None:
    replay = Replay()
    for n, messages in enumerate(loop(20)):
        replay.send(messages, now=600.0 * n)
    assert {edit.ttl for edit in replay.plans[-1]} == {"1h"}
    assert all(bill.cache_read > 0 for bill in replay.bills[-10:])


def test_gaps_of_three_hours_are_learned_and_nothing_is_written() -> None:
    replay = Replay()
    for n, messages in enumerate(loop(20)):
        replay.send(messages, now=10_800.0 * n)
    assert replay.plans[-10:] == [()] * 10


def test_bedrocks_older_claude_is_never_asked_for_an_hour() -> None:
    replay = Replay("aws", "anthropic.claude-3-7-sonnet-20250219-v1:0")
    for n, messages in enumerate(loop(15)):
        replay.send(messages, now=600.0 * n)
    assert {edit.ttl for edits in replay.plans for edit in edits} <= {"5m"}


def test_the_marker_goes_before_what_is_replaced_every_time() -> None:
    """The last result is shown in full once and then as a stub, as a summarizer does it."""
    replay = Replay()
    shown = list(loop(1)[0])
    for step in range(8):
        call = ToolCall("look_up", "{}", str(step))
        if shown[-1].role == "tool":
            shown[-1] = replace(shown[-1], text="stub")
        shown += [Message("assistant", "", (call,)), Message("tool", f"page {step} " * 500, tool_call_id=call.id)]
        replay.send(shown, now=20.0 * step)
    last = len(shown) - 1
    assert last not in _points(replay.plans[-1])
    assert last - 1 in _points(replay.plans[-1])
    assert replay.bills[-1].uncached == 1003


def test_examples_before_a_changing_question_are_cached() -> None:
    replay = Replay()
    examples = [Message("user", "q " * 800), Message("assistant", "a " * 800)]
    for n in range(8):
        replay.send([SYSTEM, *examples, Message("user", f"question {n} " * 50)], now=10.0 * n, tools=())
    assert replay.bills[-1].cache_read >= 3200
    assert replay.bills[-1].uncached == 103


def test_interleaved_conversations_share_tools_and_system_prompt() -> None:
    replay = Replay()
    streams = [loop(6, task=f"task{n}") for n in range(5)]
    for n, step in enumerate(step for steps in zip(*streams, strict=True) for step in steps):
        replay.send(step, now=5.0 * n)
    shared = replay.bills[0].input_tokens - 23
    assert all(bill.cache_read >= shared for bill in replay.bills[1:])


@pytest.mark.parametrize(("provider", "model"), MODELS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_markers_are_legal_predictions_are_right_and_everything_repeats(
    provider: str, model: str, data: st.DataObject
) -> None:
    explicit_mode = data.draw(st.booleans())
    runs: list[Replay] = []
    script = data.draw(_SCRIPT)
    for _ in range(2):
        replay = Replay(provider, model, explicit_mode=explicit_mode)
        now = 0.0
        histories: dict[int, list[Message]] = {}
        for conversation, gap, added in script:
            now += gap
            history = histories.setdefault(conversation, [SYSTEM])
            history.extend(added)
            replay.send(history, now=now)
        runs.append(replay)
    first, second = runs
    assert first.plans == second.plans
    assert first.predictions == first.bills
    for bill, edits in zip(first.bills, first.plans, strict=True):
        assert bill.input_tokens == bill.uncached + bill.cache_read + bill.cache_write_5m + bill.cache_write_1h
        assert all(edit.saved_usd >= 0 for edit in edits)


_WORDS = st.integers(0, 900).map(lambda n: "word " * n)
_CONTENT = st.one_of(
    st.builds(Message, st.just("user"), _WORDS),
    st.builds(Message, st.just("assistant"), _WORDS),
    st.builds(Message, st.just("system"), _WORDS),
    st.builds(
        Message, st.just("assistant"), st.sampled_from(["", "so"]), opaque=st.just((Opaque("thinking", "hm " * 50),))
    ),
    st.builds(Message, st.just("user"), _WORDS, opaque=st.just((Opaque("image", {"data": "AAAA"}),))),
    st.builds(
        lambda n: Message("assistant", "", tuple(ToolCall("f", "{}", str(i)) for i in range(n))), st.integers(1, 30)
    ),
    st.builds(Message, st.just("tool"), _WORDS, tool_call_id=st.just("1")),
)
_SCRIPT = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([1.0, 2.0, 30.0, 299.0, 301.0, 900.0, 3700.0]),
        st.lists(_CONTENT, min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=10,
)


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_over_many_conversations_markers_are_never_dearer_than_none(provider: str, model: str) -> None:
    rng = random.Random(3)
    replay = Replay(provider, model, explicit_mode=True)
    bare = PrefixCacheSimulator(_rules(provider, model), counter=Words(), latency_seconds=lambda: 1.0)
    without = Decimal(0)
    now = 0.0
    for n in range(12):
        for messages in loop(rng.randrange(1, 12), task=f"task{n}", words=rng.randrange(20, 300)):
            replay.send(messages, now=now)
            asked = request(messages, provider=provider, model=model)
            without += bare.send(asked, now=now).cost_usd(DOLLAR)
            now += rng.choice((5.0, 20.0, 60.0, 400.0, 5000.0))
    assert replay.cost <= without


def test_predict_changes_nothing_and_goes_with_the_plan_that_was_made() -> None:
    one, two = _planner(), _planner()
    for n, messages in enumerate(loop(5)):
        asked, now = request(messages), 20.0 * n
        before = one.predict(asked, DOLLAR, now=now)
        assert before == one.predict(asked, DOLLAR, now=now)
        advice = one.advise(asked, DOLLAR, now=now)
        assert advice == two.advise(asked, DOLLAR, now=now)
        assert one.predict(asked, DOLLAR, now=now + 1) == advice.predicted
        assert before.cache_read == advice.predicted.cache_read


def test_a_request_that_is_explained_and_then_planned_counts_once() -> None:
    one, two = _planner(), _planner()
    for n, messages in enumerate(loop(6)):
        asked = request(messages)
        explained = one.advise(asked, DOLLAR, now=20.0 * n)
        assert one.advise(asked, DOLLAR, now=20.0 * n + 0.01) == explained
        assert two.advise(asked, DOLLAR, now=20.0 * n) == explained


def test_the_dollars_on_the_edits_add_up_to_what_is_saved() -> None:
    replay = Replay()
    for n in range(4):
        for step, messages in enumerate(loop(8, task=f"task{n}")):
            replay.send(messages, now=1000.0 * n + 20.0 * step)
    credited = sum((edit.saved_usd for edits in replay.plans for edit in edits), Decimal(0))
    assert abs(credited - (replay.uncached_cost - replay.cost)) < Decimal("1E-7")


def test_as_a_lever_it_is_never_passed_over_and_books_what_it_saves() -> None:
    now = [0.0]
    ledger = Ledger()
    planner = PromptCachePlanner(counter=Words(), warn_of_drift=False, clock=lambda: now[0])
    thrift = Thrift(planner=planner, ledger=ledger)
    for messages in loop(6):
        plan = thrift.plan(request(messages))
        [step] = plan.steps
        assert step.edits
        assert step.note == ""
        now[0] += 20.0
    assert sum((saving.cost_usd for saving in ledger.savings()), Decimal(0)) > 0


def test_without_a_price_the_rules_own_multipliers_are_used() -> None:
    planner = _planner()
    edits = planner.plan(request(loop(1)[0]), None, now=0)
    assert _points(edits) == [-1, 0, 1]
    assert {edit.saved_usd for edit in edits} == {Decimal(0)}


def test_where_reading_is_not_cheaper_nothing_is_marked() -> None:
    flat = replace(DOLLAR, cache_read=Decimal(1))
    assert _planner().plan(request(loop(1)[0]), flat, now=0) == []


def test_providers_that_cache_by_themselves_get_no_marker_but_a_prediction_and_a_key() -> None:
    planner = _planner()
    advices = [
        planner.advise(request(messages, provider="openai", model="gpt-5"), DOLLAR, now=20.0 * n)
        for n, messages in enumerate(loop(3))
    ]
    assert [advice.edits for advice in advices] == [()] * 3
    assert advices[-1].predicted.cache_read >= 1024
    assert len({advice.hints.prompt_cache_key for advice in advices}) == 1
    other = planner.advise(request((Message("system", "other"),), provider="openai", model="gpt-5"), DOLLAR, now=99)
    assert other.hints.prompt_cache_key != advices[0].hints.prompt_cache_key


def test_gpt_5_6_by_itself_is_given_the_shared_prefix_only() -> None:
    replay = Replay("openai", "gpt-5.6")
    for n in range(4):
        replay.send(loop(1, task=f"task{n}")[0], now=30.0 * n)
    assert [_points(edits) for edits in replay.plans] == [[0]] * 4
    assert all(bill.cache_read > 1200 for bill in replay.bills[1:])


def test_gpt_5_6_in_explicit_mode_is_asked_to_place_none_of_its_own() -> None:
    planner = _planner(explicit_mode=True)
    advice = planner.advise(request(loop(1)[0], provider="openai", model="gpt-5.6"), DOLLAR, now=0)
    assert advice.hints.mode == "explicit"
    assert _points(advice.edits) == [0, 1]


def test_an_unknown_provider_gets_no_edits() -> None:
    planner = _planner()
    asked = request(loop(1)[0], provider="a-local-server", model="llama")
    assert planner.plan(asked, DOLLAR, now=0) == []
    assert planner.predict(asked) == InputBill()


def test_an_empty_request_is_left_alone() -> None:
    assert _planner().plan(Request((), provider="anthropic"), DOLLAR, now=0) == []


def test_a_read_that_did_not_happen_is_forgotten() -> None:
    planner = _planner()
    first, second, third = (request(messages) for messages in loop(3))
    planner.plan(first, DOLLAR, now=0)
    predicted = planner.advise(second, DOLLAR, now=20).predicted
    assert predicted.cache_read > 0
    planner.observe(second, Usage(input_tokens=predicted.input_tokens))
    assert planner.predict(third, DOLLAR, now=40).cache_read == 0


def test_a_read_that_did_happen_changes_nothing() -> None:
    planner = _planner()
    first, second, third = (request(messages) for messages in loop(3))
    planner.plan(first, DOLLAR, now=0)
    planner.plan(second, DOLLAR, now=20)
    planner.observe(second, Usage(input_tokens=3000, cache_read_tokens=2500))
    assert planner.predict(third, DOLLAR, now=40).cache_read > 0


def test_other_tool_orders_are_made_one() -> None:
    other = {"name": "a_tool"}
    one, two = (
        PromptCachePlanner.canonical(request(loop(1)[0], tools=tools)) for tools in ((TOOL, other), (other, TOOL))
    )
    assert one == two
    assert [tool["name"] for tool in one.tools] == ["a_tool", "look_up"]


def test_drift_is_reported_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    planner = PromptCachePlanner(counter=Words())
    with caplog.at_level(logging.WARNING, logger="thrift"):
        for n in range(3):
            system = Message("system", f"It is 2026-11-20T12:00:0{n}Z. " + "rule " * 2000)
            advice = planner.advise(request((system, Message("user", "hi"))), DOLLAR, now=1_795_176_000.0 + n)
    assert {drift.kind for drift in advice.drift} == {"timestamp"}
    assert len(caplog.records) == 1
    assert "2026-11-20T12:00:00Z" in caplog.text


def test_what_is_remembered_is_bounded() -> None:
    planner = _planner(max_conversations=20)
    for n in range(300):
        messages = (Message("system", f"system {n} " * 10), Message("user", f"task {n}"))
        planner.plan(request(messages, tools=({"name": f"tool{n}"},)), DOLLAR, now=float(n))
    assert len(planner._experience._conversations) <= 20
    assert len(planner._experience._by_opening) <= 20
    assert len(planner._experience._families) <= 20
    assert len(planner._experience._shared_used_at) <= 80
    assert len(planner._predicted) <= 256


def test_a_call_late_in_a_conversation_takes_little_longer_than_an_early_one() -> None:
    """Work grows with what is new: a history 20 times as long may cost a few times as much, never 20 times."""
    calls = loop(600, words=20)

    def seconds(steps: Sequence[tuple[Message, ...]], planner: PromptCachePlanner) -> float:
        taken: list[float] = []
        for n, messages in enumerate(steps):
            asked = request(messages)
            began = thread_time()
            planner.plan(asked, DOLLAR, now=20.0 * n)
            taken.append(thread_time() - began)
        return sorted(taken[-20:])[10]

    early, late = seconds(calls[:30], _planner()), seconds([*calls[:1], *calls[560:600]], _planner())
    assert late < 10 * early


def test_what_an_answered_call_wrote_can_be_read_at_once() -> None:
    planner = PromptCachePlanner(clock=lambda: 1_800_000_000.0)
    request = Request((Message("system", "Rules. " * 3000), Message("user", "Hi")), model="gpt-5", provider="openai")
    assert planner.advise(request).predicted.cache_read == 0
    later = replace(request, messages=(*request.messages, Message("assistant", "Hello"), Message("user", "Bye")))
    assert planner.predict(later).cache_read == 0
    planner.observe(request, Usage(input_tokens=6000))
    assert planner.advise(later).predicted.cache_read > 2000
