"""What the guard takes for a difference, what it vetoes, and what it lets pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.caching.matching.near_miss import DIFFERENCE_KINDS, compare
from thrift_core.caching.matching.words import likeness

VETOED = [
    ("Where is order A-17?", "Where is order A-71?", "id"),
    ("Is order 70431 on its way?", "Is order 70413 on its way?", "id"),
    ("What does error E-1042 mean?", "What does error E-1024 mean?", "id"),
    ("Cancel order 70431", "Cancel my order", "id"),
    ("What's new in version 4.2.1?", "What's new in version 4.1.2?", "id"),
    ("Send 250 euros to Ann", "Send €520 to Ann", "amount"),
    ("Pay five dollars", "Pay 50 dollars", "amount"),
    ("a loan of 1.5 million", "a loan of 15 million", "amount"),
    ("Is 5 km far?", "Is 7 kilometres far?", "amount"),
    ("Are you open on Monday?", "Are you open on Tuesday?", "date"),
    ("What was due on 2024-05-01?", "What was due on 2024-01-05?", "date"),
    ("Is the train at 6 pm late?", "Is the train at 6 am late?", "date"),
    ("Who signed up yesterday?", "Who signed up today?", "date"),
    ("show monthly sales", "show weekly sales", "date"),
    ("Revenue in 2022?", "Revenue in 2023?", "date"),
    ("Is it 👍?", "Is it 👎?", "id"),
    ("Is acme.com safe?", "Is example.org safe?", "id"),
]
PASSED = [
    ("Is 250 euros enough?", "is €250 enough"),
    ("Is it two hundred and fifty euros?", "Is it 250 euros?"),
    ("How far is 5 km?", "How far is five kilometres?"),
    ("What changed in 14 days?", "What changed in two weeks?"),
    ("a laptop with 16GB memory", "a laptop with 16 gigabytes memory"),
    ("Is the shop open at 6 pm?", "Is the shop open at 18:00?"),
    ("What is the KYC rule?", "What is the know-your-customer rule?"),
    ("What is a PTO?", "what is a paid time off"),
    ("The FDA rules", "the food drug administration rules"),
    ("Does flight LH 454 leave?", "Does flight LH454 leave?"),
    ("What does HTTP status 502 mean?", "What does HTTP code 502 mean?"),
    ("What's the difference between tea and coffee?", "difference between coffee and tea"),
    ("How do I organise my favourites?", "how do i organize my favorites"),
    ("Could you explain error 1042 (E-1042)?", "Explain error E-1042"),
]
EXPLAINED = [
    ("Is there a meeting today?", "Is there no meeting today?", "negation"),
    ("How do I freeze my card?", "How do I unfreeze my card?", "antonym"),
    ("How do I enable sync?", "How do I disable sync?", "antonym"),
    ("What is the capital of France?", "What is the capital of Germany?", "entity"),
    ("fly from Oslo to Rome", "fly from Rome to Oslo", "direction"),
    ("needs 600 g for 4 people, how much for 6", "needs 600 g for 6 people, how much for 4", "direction"),
    ("What is my limit?", "What is their limit?", "principal"),
    ("delete all files", "delete any files", "quantifier"),
    ("how to say it in French", "how to say it in Spanish", "language"),
    ("Why is it slow?", "When is it slow?", "question"),
    ("limits of the free plan", "limits of the business plan", "tier"),
    ("cancel a booking", "change a booking", "action"),
    ("a cup in grams", "a cup in ounces", "unit"),
    ("explain it as a table", "explain it as a poem", "format"),
]


@pytest.mark.parametrize(("one", "other", "kind"), VETOED)
def test_differing_ids_amounts_and_dates_are_vetoed_either_way_round(one: str, other: str, kind: str) -> None:
    for asked, known in ((one, other), (other, one)):
        found = compare(asked, known, likeness).veto
        assert found is not None
        assert found.kind == kind


@pytest.mark.parametrize(("one", "other"), PASSED)
def test_the_same_amount_id_or_date_in_other_clothes_is_not_vetoed(one: str, other: str) -> None:
    for asked, known in ((one, other), (other, one)):
        comparison = compare(asked, known, likeness)
        assert comparison.veto is None, comparison.reason


@pytest.mark.parametrize(("one", "other", "kind"), EXPLAINED)
def test_what_differs_is_named(one: str, other: str, kind: str) -> None:
    for asked, known in ((one, other), (other, one)):
        comparison = compare(asked, known, likeness)
        assert kind in {difference.kind for difference in comparison.differences}, comparison.reason
        assert comparison.veto is None


def test_the_words_that_differ_are_shown() -> None:
    assert compare("Pay 5 dollars", "Pay 9 dollars").reason.startswith("amount: '5 dollars' and '9 dollars'")
    assert compare("Is there a meeting?", "Is there no meeting?").reason == "negation: 'no' in one only"


def test_two_negations_in_one_text_are_none() -> None:
    comparison = compare("Is it not impossible to never pay?", "Is it impossible to pay?")
    assert "negation" not in {difference.kind for difference in comparison.differences}


@pytest.mark.parametrize("text", ["Где мой заказ?", "我可以取消订单吗", "هل يمكنني الإلغاء؟", "Is it ⌘?", "", "   "])
def test_what_cannot_be_read_is_not_judged(text: str) -> None:
    assert not compare(text, "Where is my order?").can_tell
    assert not compare("Where is my order?", text).can_tell


def test_latin_letters_with_marks_are_read() -> None:
    assert compare("Wo ist das Café in Köln?", "Où est le café à Cologne?").can_tell


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_two_texts_are_compared_and_differ_the_same_either_way_round(one: str, other: str) -> None:
    there, back = compare(one, other), compare(other, one)
    assert there.can_tell == back.can_tell
    assert {found.kind for found in there.differences} <= set(DIFFERENCE_KINDS)
    assert compare(one, one).differences == ()


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_numbers_that_differ_are_vetoed_and_equal_ones_are_not(one: int, other: int) -> None:
    asked, known = f"Is {one} euros the limit?", f"is {other:,} euros the limit"
    found = compare(asked, known).veto
    assert (found is None) == (one == other or 1 in (one, other))
