"""What the trajectory summarizer does to an ordinary agent's history."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random

import pytest
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Opaque, ReplaceText, Request, ToolCall, apply_edits
from thrift_core.recall.store import SQLiteRecallStore
from thrift_core.thrift import Thrift
from thrift_core.tokens import EstimatedCounter
from thrift_core.trajectory.summarizer import TrajectorySummarizer

from tests.core.trajectory.histories import order, prices, reads_back, requests, sent, step, summarizer, task


def chat(conversations: int) -> list[Message]:
    """Return a thread of conversations, each about orders of its own."""
    messages = task("Where is order A-1000?")
    for number in range(1000, 1000 + conversations):
        messages += step(4 * number, order(number))
        messages += step(4 * number + 1, order(number, status="returned"), tool="return_order", order_id=f"A-{number}")
        messages += [Message("assistant", f"Order A-{number} is on its way back."), Message("user", "Thank you!")]
        messages += [Message("assistant", "You are welcome."), Message("user", f"Where is order A-{number + 1}?")]
    return messages


def test_json_is_written_compactly_when_first_seen() -> None:
    messages = task() + step(1, order(1))
    (edit,) = summarizer().plan(messages, prices())
    assert isinstance(edit, ReplaceText)
    assert edit.index == 3
    assert "order_id=A-1" in edit.text
    assert edit.saved_tokens > 0
    assert edit.saved_usd > 0


def test_keys_of_a_tools_results_are_not_repeated() -> None:
    messages = task() + step(1, order(1)) + step(2, order(2, status="late", address="Mill Lane 4"))
    first, second = sent(summarizer(), messages)[3].text, sent(summarizer(), messages)[5].text
    assert "quantity" in first
    assert "quantity" not in second
    assert "Mill Lane 4" in second


def test_keys_that_are_not_repeated_are_in_the_order_in_which_they_were_last_read() -> None:
    words = ("departure", "arrival", "airline", "cabin", "meal", "seat", "gate", "status")
    trips = [{f"{word}_of_the_journey": f"{word[:3]}{number}" for word in words} for number in range(3)]
    late = dict(reversed((trips[0] | {"status_of_the_journey": "late"}).items()))
    messages = [*task(), *step(1, trips[0], "get_trip"), *step(2, late, "change_trip")]
    messages += step(3, dict(reversed(trips[2].items())), "change_trip")
    edits = summarizer().plan(messages, prices())
    assert "§get_trip#1" in edits[1].text.replace("(that earlier result, changed)", "")
    assert edits[2].text.endswith("= dep2 arr2 air2 cab2 mea2 sea2 gat2 sta2")
    assert reads_back(messages, edits)


def test_a_second_look_costs_only_what_changed() -> None:
    messages = task() + step(1, order(1)) + step(2, order(1, status="late"))
    text = sent(summarizer(), messages)[5].text
    assert "status=late" in text
    assert "mug" not in text
    assert len(text) < 60


def test_a_list_that_comes_again_is_a_pointer() -> None:
    orders = [order(1), order(2)]
    messages = task() + step(1, orders) + step(2, orders)
    assert sent(summarizer(), messages)[5].text == "§(that earlier result, changed)get_order#1 "


def test_an_exact_repetition_is_a_pointer_however_far_back() -> None:
    messages = task()
    for number in range(20):
        messages += step(number, order(number))
    messages += step(99, order(0))
    assert sent(summarizer(), messages)[-1].text == "§get_order#1 "


def test_repeated_lines_of_a_text_become_references() -> None:
    listing = [f"{number}:    total += price_of(item_{number * 7})" for number in range(1, 60)]
    changed = [*listing[:30], "31:    total -= discount", *listing[31:]]
    messages = task() + step(1, "\n".join(listing), "bash") + step(2, "\n".join(changed), "bash")
    text = sent(summarizer(), messages)[5].text
    assert "bash#1:1-30" in text
    assert "total -= discount" in text
    assert "bash#1:32-59" in text


def test_lines_whose_numbers_moved_are_still_recognised() -> None:
    lines = [f"    total += price_of(item_{number * 7})" for number in range(1, 60)]
    before = "\n".join(f"{number}:{line}" for number, line in enumerate(lines, 1))
    after = "\n".join(f"{number}:{line}" for number, line in enumerate(["import sums", *lines], 1))
    text = sent(summarizer(), task() + step(1, before, "bash") + step(2, after, "bash"))[5].text
    assert "1:import sums" in text
    assert "bash#1:1-59 +1" in text


def test_the_provider_never_sees_a_changed_byte_in_append_only_mode() -> None:
    summary, before = summarizer(), list[Message]()
    for history in requests(chat(6)):
        planned = sent(summary, history)
        assert planned[: len(before)] == before
        before = planned


def words(number: int) -> str:
    """Return some words that hardly two numbers share, so that lines of them are not alike."""
    chance = Random(number)
    return " ".join(
        chance.choices(
            ["much", "of", "what", "is", "said", "in", "a", "long", "report", "about", "nothing", "at", "all"],
            k=3 + number % 5,
        )
    )


def test_a_result_is_whole_when_first_read_and_a_stub_with_its_facts_after() -> None:
    report = "\n".join(f"{words(number)} in line {number} of it" for number in range(300))
    first = task() + step(1, report + "\nticket HD-4711 is open", "read_report")
    later = [*first, Message("assistant", "I have read it."), Message("user", "Good.")]
    summary = summarizer("rewrite")
    assert sent(summary, first)[3].text == first[3].text
    stub = sent(summary, later)[3].text
    assert len(stub) < len(report) / 4
    assert summary.recall({"id": stub.split()[2].rstrip(":")}) == first[3].text


def test_turns_that_are_done_with_become_a_block_whose_facts_stay() -> None:
    planned = sent(summarizer("rewrite"), chat(8))
    assert len(planned) < len(chat(8)) / 2
    text = "\n".join(message.text for message in planned)
    assert "A-1003" in text
    assert planned[1] == chat(8)[1]
    assert planned[-1] == chat(8)[-1]


def test_a_block_gives_back_its_messages_byte_for_byte() -> None:
    summary, messages = summarizer("rewrite"), chat(8)
    block = next(message.text for message in sent(summary, messages) if message.text.startswith("§earlier"))
    rows = [json.loads(line) for line in summary.recall({"id": block.split("\n")[0].split()[-1]}).split("\n")]
    assert len(rows) > 3
    assert all(any(message.text == row["text"] for message in messages) for row in rows)


def test_recall_can_be_asked_for_some_lines() -> None:
    summary = summarizer("rewrite")
    handle = summary.store.put("\n".join(f"row {number}" for number in range(50)))
    assert summary.recall({"id": handle, "query": "row 17"}).split("\n")[0] == "row 0"
    assert summary.recall({"id": handle, "query": "17"}) == "row 16\nrow 17\nrow 18"


def test_an_unknown_handle_is_answered_in_words() -> None:
    assert "Nothing is kept" in summarizer("rewrite").recall({"id": "nope"})


def test_recall_survives_a_restart(tmp_path) -> None:
    store = SQLiteRecallStore(tmp_path / "recall.db")
    handle = store.put("what was cut \ud800 é")
    store.close()
    assert SQLiteRecallStore(tmp_path / "recall.db").get(handle) == "what was cut \ud800 é"


def test_a_file_that_is_no_database_is_refused(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("not a database at all " * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        SQLiteRecallStore(tmp_path / "notes.txt")


def test_the_tool_list_is_the_same_from_first_to_last() -> None:
    summary = summarizer("rewrite")
    tools = summary.tools
    for history in requests(chat(5)):
        summary.plan(history, prices())
        assert summary.tools == tools
    assert [tool["function"]["name"] for tool in tools] == ["recall"]
    assert summarizer().tools == []


def test_nothing_is_cut_where_later_messages_think_on_it() -> None:
    messages = chat(8)
    messages.insert(6, Message("assistant", "Let me see.", opaque=(Opaque("thinking"),)))
    planned = sent(summarizer("rewrite"), messages)
    assert len(planned) == len(messages)


def test_a_stub_behind_a_block_is_counted_by_references_to_later_results() -> None:
    towns = "\n".join(f"row {row}: city_{row * 7} has {row * 13} people" for row in range(900))
    messages = [Message("user", "Which towns are there?")]
    for number in range(3):
        messages += step(number, " ".join(f"town_{number}_{row}" for row in range(80)), "sql", land=number)
        messages += [Message("assistant", "That is all."), Message("user", f"And in land {number + 1}?")]
    messages += [*step(7, "word " * 70, "sql"), *step(8, towns, "sql"), *step(9, towns, "sql")]
    summary = summarizer("rewrite")
    for history in requests(messages):
        edits = summary.plan(history, prices())
        assert reads_back(history, edits)
    kept = [message.text for message in apply_edits(messages, edits)]
    block = next(at for at, text in enumerate(kept) if text.startswith("§earlier"))
    assert any(text.startswith("§cut") for text in kept[block:])
    assert kept[-1].endswith("sql#2:1-900")


def test_the_tool_of_a_call_is_known_where_another_call_has_no_id() -> None:
    calls = (ToolCall("search", "{}", None), ToolCall("get_order", '{"order_id": "A-1"}', "c1"))
    orders = Message("tool", json.dumps(order(1)), tool_call_id="c1")
    messages = [*task(), Message("assistant", "", calls), orders, *step(2, order(1))]
    assert sent(summarizer(), messages)[-1].text.endswith("get_order#1 ")


def test_what_follows_a_cut_made_elsewhere_is_shortened_only_where_that_needs_nothing_else() -> None:
    report = "\n".join(f"{words(number)} in line {number} of it" for number in range(300))
    first = [*task(), *step(1, report, "read_report"), Message("assistant", "Read."), Message("user", "Good.")]
    summary = summarizer("rewrite")
    cut = sent(summary, first)
    assert cut[3].text.startswith("§cut")
    lines = "\n".join(f"{number}: {words(number)}" for number in range(40))
    later = [*cut, *step(2, order(1)), *step(3, lines, "bash"), *step(4, lines, "bash")]
    planned = sent(summary, later)
    assert planned[: len(cut)] == cut
    assert planned[7].text.startswith("§(JSON")
    assert planned[9].text == planned[11].text == lines


def test_no_price_means_care() -> None:
    messages = chat(3)
    assert apply_edits(messages, summarizer().plan(messages)) == tuple(sent(summarizer(), messages))


def test_short_requests_are_left_long_enough_for_the_cache() -> None:
    messages = [Message("system", "Be brief."), Message("user", "Go.")]
    for number in range(1, 6):
        messages += step(number, order(number))
    assert summarizer().plan(messages[:6], prices()) == []
    assert summarizer().plan(messages[:6], prices("1", "1")) != []


def test_it_is_a_lever_of_thrift() -> None:
    messages = tuple(task() + step(1, order(1)) + step(2, order(1, status="late")))
    plan = Thrift(summarizer=summarizer()).plan(Request(messages, model="gpt-4.1-mini", provider="openai"))
    assert plan.request.messages == tuple(sent(summarizer(), messages))
    assert plan.applied[0].saved_usd > Decimal(0)


def test_tool_definitions_count_towards_the_cached_prefix() -> None:
    messages = (Message("user", "Go."), *step(1, order(1)))
    tools = ({"name": "search", "description": "find things " * 600},)
    assert summarizer().decide(Request(messages), prices()) == []
    assert summarizer().decide(Request(messages, tools=tools), prices()) != []


@pytest.mark.parametrize("settings", [{"mode": "lossy"}, {"minimum_cached": -1}])
def test_wrong_settings_are_refused_at_once(settings) -> None:
    with pytest.raises(ConfigurationError):
        TrajectorySummarizer(**settings)


def test_the_work_for_a_step_does_not_grow_with_the_history() -> None:
    class Counting(EstimatedCounter):
        characters = 0

        def count(self, text: str) -> int:
            self.characters += len(text)
            return super().count(text)

    counter = Counting()
    summary = TrajectorySummarizer(mode="rewrite", counter=counter)
    messages, counted = task(), list[int]()
    for number in range(300):
        messages += step(number, order(number))
        counter.characters = 0
        summary.plan(messages, prices())
        counted.append(counter.characters)
    assert max(counted[200:]) <= 2 * max(counted[5:40])


def test_calls_keep_their_arguments_to_the_byte() -> None:
    odd = '{ "order_id" :  "A-1" }'
    messages = [*task(), Message("assistant", "", (ToolCall("get_order", odd, "c"),))]
    messages.append(Message("tool", json.dumps(order(1)), tool_call_id="c"))
    assert sent(summarizer(), messages)[2].tool_calls[0].arguments == odd
