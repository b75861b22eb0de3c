"""What holds for each history that can be: nothing breaks, nothing is lost, the same comes out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from thrift_core.messages import Message, ToolCall, apply_edits, unpaired_calls
from thrift_core.prices import Pricing
from thrift_core.trajectory.summarizer import SummarizerMode

from tests.core.trajectory.histories import (
    SCHEMES,
    edits_as_text,
    histories,
    order,
    reads_back,
    requests,
    sent,
    step,
    summarizer,
    task,
)

MODES = st.sampled_from(get_args(SummarizerMode))
PRICES = st.sampled_from([*SCHEMES, None])
wild = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@wild
@given(histories(), MODES, PRICES)
def test_no_request_is_made_invalid(messages: Sequence[Message], mode: SummarizerMode, pricing: Pricing | None) -> None:
    summary = summarizer(mode)
    for history in requests(messages):
        planned = apply_edits(history, summary.plan(history, pricing))
        assert unpaired_calls(planned)[1] <= unpaired_calls(history)[1]
        assert unpaired_calls(planned)[0] <= unpaired_calls(history)[0]
        assert any(message.role == "user" for message in planned) == any(m.role == "user" for m in history)


@wild
@given(histories(), MODES, PRICES)
def test_a_restart_changes_nothing(messages: Sequence[Message], mode: SummarizerMode, pricing: Pricing | None) -> None:
    warm = summarizer(mode)
    for history in requests(messages):
        assert edits_as_text(warm.plan(history, pricing)) == edits_as_text(summarizer(mode).plan(history, pricing))


@wild
@given(histories(), st.data(), MODES, PRICES)
def test_being_asked_at_odd_times_changes_nothing(
    messages: Sequence[Message], data: st.DataObject, mode: SummarizerMode, pricing: Pricing | None
) -> None:
    summary = summarizer(mode)
    for stop in data.draw(st.lists(st.integers(0, len(messages)), max_size=6)):
        history = messages[:stop]
        assert edits_as_text(summary.plan(history, pricing)) == edits_as_text(summarizer(mode).plan(history, pricing))


@wild
@given(histories(), PRICES)
def test_append_only_never_changes_what_was_sent(messages: Sequence[Message], pricing: Pricing | None) -> None:
    summary = summarizer()
    before: tuple[Message, ...] = ()
    for history in requests(messages):
        planned = apply_edits(history, summary.plan(history, pricing))
        assert planned[: len(before)] == before
        before = planned


_LOOK = Message("assistant", "", (ToolCall("get_order", '{"order_id": "A-0"}', "k0"),))
_ORDERS = json.dumps([order(0)])


@wild
@given(histories(), MODES, PRICES)
# The same list twice, the second time as a stray result; the first is cut once it was read.
@example(
    [
        _LOOK,
        Message("tool", _ORDERS, tool_call_id="k0"),
        Message("tool", _ORDERS, tool_call_id="c1"),
        *(_LOOK, Message("tool", "", tool_call_id="k0")) * 2,
    ],
    "rewrite",
    SCHEMES[0],
)
def test_planning_what_was_planned_changes_nothing_more(
    messages: Sequence[Message], mode: SummarizerMode, pricing: Pricing | None
) -> None:
    summary = summarizer(mode)
    planned = apply_edits(messages, summary.plan(messages, pricing))
    assert summary.plan(planned, pricing) == []
    assert summarizer(mode, store=summary.store).plan(planned, pricing) == []


@wild
@given(histories(), MODES, PRICES)
def test_who_reads_all_that_is_sent_can_read_what_was_shortened(
    messages: Sequence[Message], mode: SummarizerMode, pricing: Pricing | None
) -> None:
    summary = summarizer(mode)
    for history in requests(messages):
        assert reads_back(history, summary.plan(history, pricing))


@wild
@given(histories(), MODES, PRICES)
def test_calls_users_first_words_and_blocks_that_are_opaque_stay(
    messages: Sequence[Message], mode: SummarizerMode, pricing: Pricing | None
) -> None:
    planned = apply_edits(messages, summarizer(mode).plan(messages, pricing))
    first = next((message for message in messages if message.role == "user"), None)
    assert [m for m in planned if m.role == "system"] == [m for m in messages if m.role == "system"]
    assert first is None or first in planned
    assert [m for m in planned if m.opaque] == [m for m in messages if m.opaque]
    known = {call for message in messages for call in message.tool_calls}
    assert all(call in known for message in planned for call in message.tool_calls)


@pytest.mark.parametrize("mode", get_args(SummarizerMode))
def test_parallel_results_stay_with_their_calls(mode: SummarizerMode) -> None:
    messages = task()
    for number in range(30):
        one, two = step(2 * number, order(number)), step(2 * number + 1, order(number, status="late"))
        messages += [Message("assistant", "", one[0].tool_calls + two[0].tool_calls), one[1], two[1]]
        messages += [Message("assistant", "Both are fine."), Message("user", f"And order A-{number + 1}?")]
    planned = sent(summarizer(mode), messages)
    assert unpaired_calls(planned) == (frozenset(), frozenset())


@pytest.mark.soak
@pytest.mark.parametrize(
    "test",
    [
        test_no_request_is_made_invalid,
        test_a_restart_changes_nothing,
        test_planning_what_was_planned_changes_nothing_more,
        test_who_reads_all_that_is_sent_can_read_what_was_shortened,
        test_calls_users_first_words_and_blocks_that_are_opaque_stay,
    ],
)
def test_what_holds_for_a_few_histories_holds_for_thousands(test: Any) -> None:
    settings(wild, max_examples=5000)(given(histories(), MODES, PRICES)(test.hypothesis.inner_test))()


@pytest.mark.soak
def test_being_asked_at_odd_times_changes_nothing_thousands_of_times() -> None:
    check = test_being_asked_at_odd_times_changes_nothing.hypothesis.inner_test
    settings(wild, max_examples=5000)(given(histories(), st.data(), MODES, PRICES)(check))()
