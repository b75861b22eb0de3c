import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.messages import Message, ToolCall
from thrift_core.routing.agent_signs import failed_results, repeated_calls
from thrift_core.routing.answer_signs import answer_signs
from thrift_core.routing.arithmetic import check_sums
from thrift_core.routing.features import draft_signs, read_prompt
from thrift_core.routing.final_answer import agreement, final_form, read_question


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("12 * 3 = 36", 1, 0),
        ("12 x 3 = 37", 0, 1),
        ("$1,200 / 4 = $300 and 7+5=13", 1, 1),
        ("<<40/100*50=20>>20", 1, 0),
        ("10 / 3 = 3.33", 1, 0),
        ("10 / 3 ≈ 3.3", 1, 0),
        ("(4 + 2) / 3 = 2", 1, 0),
        ("2 - 5 = -3", 1, 0),
        ("20% * 50 = 10", 1, 0),
        ("1 / 0 = 5", 0, 0),
        ("no sums, 5 = five", 0, 0),
    ],
)
def test_sums_are_recomputed(text, right, wrong):
    assert check_sums(text) == (right, wrong)


@given(st.text(alphabet="0123456789+-*/=().,$%x ", max_size=80))
def test_any_soup_of_signs_is_read_without_an_error(text):
    sums = check_sums(text)
    assert sums.right >= 0
    assert sums.wrong >= 0


@given(st.text(max_size=200), st.text(max_size=200), st.none() | st.text(max_size=50))
def test_signs_are_numbers_by_the_same_names_for_any_text(prompt, answer, other):
    signs = draft_signs(read_prompt(prompt), answer, [other])
    assert list(signs) == list(draft_signs(read_prompt("2 + 2?"), "4", [None]))
    missing = {"mean_logprob", "least_logprob"} | ({"agrees_0", "common_0"} if other is None else set())
    assert all(math.isfinite(value) or name in missing for name, value in signs.items())


@pytest.mark.parametrize(
    ("sign", "doubtful", "plain"),
    [
        ("hedges", "It is probably Rome.", "It is Rome."),
        ("refusals", "I'm sorry, but I cannot help with that.", "Sure: Rome."),
        ("wrong_sums", "3 + 4 = 8", "3 + 4 = 7"),
        ("is_cut", "The sum of 3 and", "The sum is 7."),
        ("open_marks", "so <<3*4", "so <<3*4=12>>12"),
        ("unused", "It is 3.", "3 and 5 make 8."),
        ("repeats", "the same again and again " * 40, "a text that says each thing only once, and then stops."),
    ],
)
def test_each_sign_tells_doubtful_from_plain(sign, doubtful, plain):
    asked = read_question("What do 3 and 5 make?")
    assert answer_signs(asked, doubtful)[sign] > answer_signs(asked, plain)[sign]


def test_a_choice_is_compared_by_its_letter():
    asked = read_question("Which is a fruit?\nA. Stone\nB. Pear\nC. Cup")
    assert final_form(asked, "Pears grow on trees. The answer is (B).") == "B"
    assert final_form(asked, "B") == "B"
    assert agreement(asked, "The answer is (B).", "B.")[0] == 1.0
    assert agreement(asked, "The answer is (B).", "The answer is C")[0] == 0.0
    assert agreement(asked, "I cannot say", "who knows")[0] == 0.5


def test_a_number_is_compared_by_its_value():
    asked = read_question("How much?")
    assert agreement(asked, "#### 1,200", "So it is $1200.00")[0] == 1.0


CALL = Message("assistant", "", (ToolCall("look", '{"a": 1, "b": 2}'),))
SAME = Message("assistant", "", (ToolCall("look", '{"b": 2, "a": 1}'),))
OTHER = Message("assistant", "", (ToolCall("look", '{"a": 2}'),))
NOTHING = Message("tool", "nothing found")


def test_the_same_call_again_is_counted_whatever_the_order_of_its_arguments():
    assert repeated_calls([CALL, NOTHING, SAME, NOTHING, CALL, NOTHING]) == 3
    assert repeated_calls([CALL, NOTHING, OTHER, NOTHING]) == 1
    assert repeated_calls([]) == 0


def test_polling_that_brings_something_new_is_no_stall():
    assert repeated_calls([CALL, Message("tool", "10 %"), CALL, Message("tool", "20 %")]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Error: no such order",
        "Traceback (most recent call last):",
        '{"error": "bad id"}',
        "ValueError: x",
        "fatal: not a git",
    ],
)
def test_failed_tool_results_are_told_by_their_text(text):
    assert failed_results([CALL, Message("tool", text), CALL, Message("tool", text)]) == 2


@pytest.mark.parametrize(
    "text", ["42", '{"errors": 0, "error": null}', "no errors were found", "The error rate is 3 %"]
)
def test_results_that_only_speak_of_errors_have_not_failed(text):
    assert failed_results([CALL, Message("tool", text)]) == 0
