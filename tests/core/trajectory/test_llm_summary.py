"""Summaries by a model: wanted only where they pay, used only where they can be believed, the same after a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Opaque, Request, apply_edits, unpaired_calls
from thrift_core.prices import Pricing
from thrift_core.recall.store import MemoryRecallStore, RecallStore, SQLiteRecallStore
from thrift_core.thrift import Thrift
from thrift_core.trajectory import llm_summary
from thrift_core.trajectory.summarizer import TrajectorySummarizer
from thrift_core.trajectory.summary_task import LlmSummary, SummaryTask

from tests.core.trajectory.fuzzer import draw_history
from tests.core.trajectory.histories import prices, reads_back, requests, step, summarizer, task

CHEAP = Pricing(
    input=Decimal("0.05"),
    cache_read=Decimal("0.005"),
    cache_write_5m=Decimal("0.06"),
    cache_write_1h=Decimal("0.1"),
    output=Decimal("0.4"),
    reasoning=Decimal("0.4"),
)
SUMMARY = LlmSummary(model="small", provider="anthropic", pricing=CHEAP)
SAID = "The log was read part by part; parts 1 and 2 hold nothing of note."
Answer = Callable[[SummaryTask], str | None]


def work(count: int) -> list[Message]:
    """Return a task with many steps whose results are full of names, so that no stub of facts pays."""
    messages = task()
    for number in range(count):
        words = " ".join(f"part_{number}_{word}" for word in range(60))
        messages += step(number, f"Part {number}: {words}", "read_log", part=number)
    return messages


def lever(store: RecallStore | None = None, summary: LlmSummary = SUMMARY) -> TrajectorySummarizer:
    made = summarizer("rewrite", **({"store": store} if store is not None else {}))
    made.summarize_with(summary)
    return made


def drive(
    made: TrajectorySummarizer, messages: Sequence[Message], answer: Answer, *, model: str | None = "large"
) -> list[tuple[Message, ...]]:
    """Return what is sent at each call, summaries answered between the calls."""
    sent: list[tuple[Message, ...]] = []
    for history in requests(messages):
        edits, wanted = made.decision(Request(tuple(history), model=model, provider="anthropic"), prices())
        sent.append(apply_edits(history, edits))
        if wanted is not None:
            made.summarized(wanted, answer(wanted))
    return sent


def say(_: SummaryTask) -> str:
    return SAID


def blocks_in(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages if SAID in message.text]


def test_old_steps_become_a_summary_that_holds_their_facts_and_can_be_recalled() -> None:
    made = lever()
    messages = work(40)
    last = drive(made, messages, say)[-1]
    (block, *_) = blocks_in(last)
    assert len(last) < len(messages)
    assert last[:2] == tuple(messages[:2])
    assert unpaired_calls(last) == (frozenset(), frozenset())
    rows = [json.loads(line) for line in made.recall({"id": block.split("\n")[0].split()[-1]}).split("\n")]
    assert [row["text"] for row in rows] == [message.text for message in messages[2 : 2 + len(rows)]]
    assert "part_0_3" in block


def test_it_pays_in_tokens_sent() -> None:
    def bill(sent: Sequence[Sequence[Message]]) -> int:
        return sum(len(message.text) for messages in sent for message in messages)

    messages = work(60)
    assert bill(drive(lever(), messages, say)) < 0.8 * bill(drive(lever(), messages, lambda _: None))


def test_steps_behind_a_summary_are_never_sent_in_full_again_and_what_stands_before_it_stays() -> None:
    sent = drive(lever(), work(60), say)
    known: dict[int, str] = {}
    for messages in sent:
        for at, message in enumerate(messages):
            if SAID in message.text:
                assert known.setdefault(at, message.text) == message.text
    assert known


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "   ",
        "word " * 2000,
        "§ a=1",
        "Order X-99812 was shipped on 2031-01-01.",
    ],
)
def test_a_summary_that_failed_is_too_long_or_says_what_nobody_said_changes_nothing(answer: str | None) -> None:
    messages = work(30)
    assert drive(lever(), messages, lambda _: answer) == drive(summarizer("rewrite"), messages, say)


def test_a_failed_summary_is_not_asked_for_again_at_every_call() -> None:
    asked: list[SummaryTask] = []
    drive(lever(), work(60), asked.append)  # type: ignore[func-returns-value]
    assert 1 <= len(asked) <= 6


@pytest.mark.parametrize("late", [1, 5, 12])
def test_a_late_summary_is_used_when_it_comes_or_not_at_all_where_it_pays_no_more(late: int) -> None:
    made, waiting = lever(), list[tuple[int, SummaryTask]]()
    for number, history in enumerate(requests(work(50))):
        edits, wanted = made.decision(Request(tuple(history), model="large"), prices())
        planned = apply_edits(history, edits)
        assert unpaired_calls(planned) == (frozenset(), frozenset())
        if wanted is not None:
            waiting.append((number + late, wanted))
        while waiting and waiting[0][0] <= number:
            made.summarized(waiting.pop(0)[1], SAID)
    assert bool(blocks_in(planned)) == (late < 12)


def test_a_resumed_conversation_is_sent_the_same_bytes(tmp_path) -> None:
    messages, path = work(50), tmp_path / "recall.db"
    sent = drive(lever(SQLiteRecallStore(path)), messages, say)
    histories = requests(messages)
    assert blocks_in(sent[-1])
    for at in range(4, len(sent), 5):
        resumed = lever(SQLiteRecallStore(path))
        edits, _ = resumed.decision(Request(tuple(histories[at]), model="large", provider="anthropic"), prices())
        assert apply_edits(histories[at], edits) == sent[at]


def test_a_store_that_takes_no_notes_will_do_as_long_as_the_process_lives() -> None:
    class Plain:
        def __init__(self) -> None:
            self._kept = MemoryRecallStore()

        def put(self, text: str) -> str:
            return self._kept.put(text)

        def get(self, handle: str) -> str | None:
            return self._kept.get(handle)

    messages = work(50)
    made = lever(Plain())
    sent = drive(made, messages, say)
    assert blocks_in(sent[-1])
    again = apply_edits(
        messages, made.decision(Request(tuple(messages), model="large", provider="anthropic"), prices())[0]
    )
    assert again == sent[-1]


def test_without_prices_or_where_it_would_cost_more_than_it_saves_no_summary_is_wanted() -> None:
    wanted: list[SummaryTask] = []

    def note(task_: SummaryTask) -> None:
        wanted.append(task_)

    dear = Pricing(**{name: 400 * getattr(CHEAP, name) for name in CHEAP.__dataclass_fields__})
    for summary in (LlmSummary(model="small"), LlmSummary(model="small", pricing=dear)):
        drive(lever(summary=summary), work(40), note)  # type: ignore[arg-type]
    drive(lever(), work(6), note)  # type: ignore[arg-type]
    made = lever()
    for history in requests(work(40)):
        assert made.decision(Request(tuple(history)), None)[1] is None
    assert wanted == []


def test_the_conversations_own_model_is_asked_with_its_prefix_and_another_with_the_steps_alone() -> None:
    tasks: list[SummaryTask] = []

    def note(task_: SummaryTask) -> str:
        tasks.append(task_)
        return SAID

    own = LlmSummary(model="large", provider="anthropic", pricing=prices())
    drive(lever(summary=own), work(80), note)
    assert tasks[0].shares_prefix
    assert "part_0_3" not in tasks[0].instruction.text
    tasks.clear()
    drive(lever(), work(40), note)
    assert not tasks[0].shares_prefix
    assert "part_0_3" in tasks[0].instruction.text


def test_a_users_words_after_the_task_are_not_summarized_with_the_steps_after_them() -> None:
    messages = [*work(20), Message("assistant", "That is all."), Message("user", "Now look at the second log, B-77.")]
    messages += [
        item
        for number in range(30, 60)
        for item in step(number, " ".join(f"row_{number}_{row}" for row in range(60)), "read_log", part=number)
    ]
    for planned in drive(lever(), messages, say)[-8:]:
        assert sum("second log" in message.text for message in planned) == 1


def test_nothing_is_summarized_once_thoughts_hang_on_it() -> None:
    messages = work(40)
    messages[10] = Message("assistant", "", messages[10].tool_calls, opaque=(Opaque("thinking"),))
    assert not blocks_in(drive(lever(), messages, say)[-1])


def test_only_a_summarizer_that_may_rewrite_takes_summaries_and_only_of_one_model() -> None:
    with pytest.raises(ConfigurationError, match="rewrite"):
        summarizer().summarize_with(SUMMARY)
    with pytest.raises(ConfigurationError, match="balanced"):
        Thrift(planner="on").summarize_with(SUMMARY)
    made = lever()
    made.summarize_with(SUMMARY)
    with pytest.raises(ConfigurationError, match="small"):
        made.summarize_with(LlmSummary(model="other"))
    with pytest.raises(ConfigurationError, match="max_tokens"):
        LlmSummary(max_tokens=1)


def test_explaining_takes_no_task_away_and_a_refused_summary_is_counted() -> None:
    thrift = Thrift(summarizer=summarizer("rewrite"))
    thrift.summarize_with(SUMMARY)
    model: dict[str, Any] = {"model": "claude-sonnet-4-5", "provider": "anthropic"}
    wanted = None
    for history in requests(work(60)):
        request = Request(tuple(history), **model)
        thrift.explain(request)
        wanted = thrift.plan(request).summary
        if wanted is not None:
            break
    assert wanted is not None
    thrift.summarized(wanted, "word " * 3000)
    assert thrift.ledger.faults() == {("summarizer", "SummaryRefused"): 1}


def check_wild(seed: int) -> int:
    """Check that no summary makes a wild history invalid or reads otherwise after a restart; return how many came."""
    random = Random(seed)
    history, store = draw_history(random, longest=30), MemoryRecallStore()
    made = lever(store)
    waiting: list[SummaryTask] = []
    for part in requests(history):
        request = Request(tuple(part), model="large", provider="anthropic")
        edits, wanted = made.decision(request, prices())
        planned = apply_edits(part, edits)
        asked, orphans = unpaired_calls(planned)
        assert asked <= unpaired_calls(part)[0], seed
        assert orphans <= unpaired_calls(part)[1], seed
        assert any(m.role == "user" for m in planned) == any(m.role == "user" for m in part), seed
        assert [m for m in planned if m.opaque] == [m for m in part if m.opaque], seed
        assert reads_back(part, edits), seed
        assert apply_edits(part, lever(store).decision(request, prices())[0]) == planned, seed
        waiting += [] if wanted is None else [wanted]
        if waiting and random.random() < 0.5:
            made.summarized(waiting.pop(0), random.choice((SAID, SAID, "", None)))
    return len(blocks_in(planned))


def test_wild_histories_are_valid_and_the_same_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_summary, "_FEWEST_TOKENS", 120)
    monkeypatch.setattr(llm_summary, "_gain", lambda *_: 1.0)
    assert sum(check_wild(seed) for seed in range(16)) > 2


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_thousands_of_wild_histories_are_valid_and_the_same_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_summary, "_FEWEST_TOKENS", 120)
    monkeypatch.setattr(llm_summary, "_gain", lambda *_: 1.0)
    for seed in range(5000):
        check_wild(seed)
