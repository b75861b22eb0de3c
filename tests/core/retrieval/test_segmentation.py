from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.relevance.segmentation import MAX_SENTENCE, clauses, segment, sentences, words


def _cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One ends. Two ends! Three?", ["One ends.", "Two ends!", "Three?"]),
        ("In 3.5 days, e.g. now. Then", ["In 3.5 days, e.g. now.", "Then"]),
        ("Dr. Who met J. Smith. They left.", ["Dr. Who met J. Smith.", "They left."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("一つ目です。二つ目です！三つ目", ["一つ目です。", "二つ目です！", "三つ目"]),
        ("यह एक है। यह दो है।", ["यह एक है।", "यह दो है।"]),
        ("هل هذا واحد؟ نعم هذا.", ["هل هذا واحد؟", "نعم هذا."]),
        ("Սա մեկն է։ Սա երկուսն է։", ["Սա մեկն է։", "Սա երկուսն է։"]),
        ("አንድ ነው። ሁለት ነው።", ["አንድ ነው።", "ሁለት ነው።"]),
        ("first line\nsecond line\n\nthird", ["first line", "second line", "third"]),
        (
            "A line of the usual length that was only\nwrapped goes on in lower case.\nThe next does not.",
            ["A line of the usual length that was only\nwrapped goes on in lower case.", "The next does not."],
        ),
        (
            "A line of the usual length and an empty one\n\nafter it",
            ["A line of the usual length and an empty one", "after it"],
        ),
        ("", []),
        ("  \n ", []),
    ],
)
def test_sentences_end_where_their_script_ends_them(text: str, expected: list[str]) -> None:
    assert _cut(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Bee's 12 hives", ["the", "bee", "s", "12", "hives"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("1466年", ["1466", "年"]),
        ("ARPANET和SITA", ["arpanet", "和", "sita"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ｆｕｌｌ", ["full"]),
    ],
)
def test_words_are_right_in_every_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_scripts_without_spaces_between_words_give_pairs_of_characters() -> None:
    assert len(words("ประเทศไทย")) == len("ประเทศไทย") - 1


def test_clauses_end_at_commas_of_any_script() -> None:
    text = "one, two; three：四，五"
    assert [text[start:end] for start, end in clauses(text, 0, len(text))] == ["one,", "two;", "three：", "四，", "五"]


@pytest.mark.parametrize("text", ["x" * 5000, "word " * 1000, "一" * 3000, "a, " * 900, "\x00" * 4000])
def test_no_sentence_is_too_long(text: str) -> None:
    assert all(end - start <= MAX_SENTENCE for start, end in sentences(text))


@given(st.text(max_size=400))
def test_sentences_are_in_order_apart_and_hold_every_word(text: str) -> None:
    spans = sentences(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    left_out = text
    for start, end in reversed(spans):
        left_out = left_out[:start] + left_out[end:]
    assert not left_out.strip()


@given(st.text(max_size=200))
def test_a_text_is_taken_apart_the_same_each_time(text: str) -> None:
    assert segment(text) == segment(text)
    assert len(segment(text).spans) == len(segment(text).words)


@pytest.mark.parametrize("text", ["Is it one?", "هل هذا واحد؟", "一つですか？"])
def test_a_question_is_told_by_its_mark_in_any_script(text: str) -> None:
    assert segment(f"{text} 2.").asks[0]
    assert segment("It is one. It is two.").asks == (False, False)
