import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.messages import (
    AppendBlock,
    CacheBreakpoint,
    DropSpan,
    Edit,
    Message,
    Opaque,
    ReplaceText,
    ToolCall,
    apply_edits,
    unpaired_calls,
)

TASK = Message("user", "Where is order 7?")
ASK = Message("assistant", "", (ToolCall("get_order", '{"id": 7}', "c1"),))
TOLD = Message("tool", "shipped", tool_call_id="c1", opaque=(Opaque("image", {"url": "x"}),))
REPLY = Message("assistant", "It has shipped.")
HISTORY = (TASK, ASK, TOLD, REPLY)


def test_no_edits_leave_the_messages_as_they_are():
    assert apply_edits(HISTORY, []) == HISTORY


def test_a_replaced_text_keeps_ids_calls_and_opaque_blocks():
    edited = apply_edits(HISTORY, [ReplaceText(index=2, text="sent", reason="shorter")])
    assert edited[2].text == "sent"
    assert edited[2].tool_call_id == "c1"
    assert edited[2].opaque[0].value is TOLD.opaque[0].value
    assert edited[:2] + edited[3:] == HISTORY[:2] + HISTORY[3:]


def test_indices_refer_to_the_messages_as_given_even_after_a_drop():
    edits = [DropSpan(start=1, stop=3, reason="old"), ReplaceText(index=3, text="Shipped.", reason="shorter")]
    assert apply_edits(HISTORY, edits) == (TASK, Message("assistant", "Shipped."))


def test_an_appended_block_comes_last():
    note = Message("user", "so far: order 7 has shipped")
    assert apply_edits(HISTORY, [AppendBlock(message=note, reason="summary")])[-1] == note


def test_a_breakpoint_changes_no_message():
    edits = [CacheBreakpoint(index=-1, reason="tools"), CacheBreakpoint(index=3, reason="tail")]
    assert apply_edits(HISTORY, edits) == HISTORY


@pytest.mark.parametrize("dropped", [(1, 2), (2, 3)])
def test_a_call_is_never_separated_from_its_result(dropped):
    with pytest.raises(ValueError, match="separate tool calls from their results: c1"):
        apply_edits(HISTORY, [DropSpan(start=dropped[0], stop=dropped[1], reason="old")])


def test_an_answered_call_may_go_with_its_result_where_its_id_comes_up_again_without_one():
    edited = apply_edits([*HISTORY, ASK], [DropSpan(start=1, stop=3, reason="old")])
    assert edited == (TASK, REPLY, ASK)


def test_a_result_may_not_stay_alone_because_another_call_of_its_id_waits():
    with pytest.raises(ValueError, match="separate"):
        apply_edits([ASK, *HISTORY], [DropSpan(start=2, stop=3, reason="old")])


def test_a_history_that_was_broken_before_may_stay_broken():
    orphaned = (TASK, TOLD, REPLY)
    assert apply_edits(orphaned, [ReplaceText(index=2, text="ok", reason="shorter")])[1] == TOLD


@pytest.mark.parametrize(
    "edit",
    [
        ReplaceText(index=4, text="", reason=""),
        ReplaceText(index=-1, text="", reason=""),
        DropSpan(start=0, stop=5, reason=""),
        DropSpan(start=-1, stop=1, reason=""),
        CacheBreakpoint(index=9, reason=""),
    ],
)
def test_an_edit_outside_the_messages_is_refused(edit):
    with pytest.raises(ValueError, match="there are 4"):
        apply_edits(HISTORY, [edit])


def test_an_empty_or_reversed_span_is_refused():
    with pytest.raises(ValueError, match="DropSpan from 2 to 1"):
        apply_edits(HISTORY, [DropSpan(start=2, stop=1, reason="")])


def test_two_edits_of_one_message_are_refused():
    edits = [ReplaceText(index=0, text="a", reason=""), ReplaceText(index=0, text="b", reason="")]
    with pytest.raises(ValueError, match="two edits change message 0"):
        apply_edits(HISTORY, edits)


def test_a_replacement_inside_a_dropped_span_is_refused():
    edits = [DropSpan(start=1, stop=3, reason=""), ReplaceText(index=2, text="b", reason="")]
    with pytest.raises(ValueError, match="two edits change message 2"):
        apply_edits(HISTORY, edits)


def test_a_bare_edit_is_refused():
    with pytest.raises(ValueError, match="unknown edit Edit"):
        apply_edits(HISTORY, [Edit(reason="")])


def test_unpaired_calls_names_open_calls_and_orphaned_results():
    assert unpaired_calls((ASK, Message("tool", "?", tool_call_id="c9"))) == ({"c1"}, {"c9"})


messages = st.lists(
    st.one_of(
        st.builds(Message, st.sampled_from(["system", "user"]), st.text(max_size=5)),
        st.builds(lambda i: Message("assistant", "", (ToolCall("f", "{}", f"c{i}"),)), st.integers(0, 3)),
        st.builds(lambda i: Message("tool", "r", tool_call_id=f"c{i}"), st.integers(0, 3)),
    ),
    max_size=8,
)
edits = st.lists(
    st.one_of(
        st.builds(ReplaceText, index=st.integers(-1, 8), text=st.text(max_size=3), reason=st.just("")),
        st.builds(DropSpan, start=st.integers(-1, 8), stop=st.integers(-1, 9), reason=st.just("")),
    ),
    max_size=4,
)


@given(messages, edits)
def test_edits_are_refused_or_leave_every_pair_as_whole_as_it_was(history, proposed):
    try:
        edited = apply_edits(history, proposed)
    except ValueError:
        return
    for before, after in zip(unpaired_calls(history), unpaired_calls(edited), strict=True):
        assert after <= before
