import numpy as np
import pytest
from thrift_core.relevance.matching import match
from thrift_core.relevance.segmentation import words
from thrift_core.relevance.word_vectors import WordVectors, shipped_vectors


def _weight(asked: str, said: str) -> float:
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words(said)))}
    return float(match(words(asked), vocabulary).weight.max(initial=0.0))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("dances", "danced"),
        ("музыкальных", "музыкальные"),
        ("الموسيقية", "موسيقية"),
        ("Versicherung", "Versicherungen"),
        ("evlerimizden", "evlerimizde"),
        ("학교에서", "학교에는"),
        ("kitabu", "vitabu"),
    ],
)
def test_inflected_words_match_less_than_equal_ones(asked: str, said: str) -> None:
    assert 0 < _weight(asked, said) < _weight(asked, asked) == 1.0


@pytest.mark.parametrize(("asked", "said"), [("dances", "flower"), ("cat", "car"), ("1984", "1985"), ("年", "月")])
def test_other_words_do_not_match(asked: str, said: str) -> None:
    assert _weight(asked, said) == 0.0


def test_an_equal_word_wins_over_an_alike_one() -> None:
    found = match(["dance", "dances"], {"dances": 0})
    assert found.term.tolist() == [1]


def test_nothing_matches_nothing() -> None:
    assert match([], {"word": 0}).term.tolist() == [-1]
    assert np.array_equal(match(["word"], {}).term, np.zeros(0))


def _vectors() -> WordVectors:
    rows = np.array([[90, 0], [80, 20], [0, 90], [90, 1]], dtype=np.int8)
    return WordVectors(["doctor", "physician", "bread", "dr"], rows)


def test_a_word_of_like_meaning_matches_less_than_an_equal_one() -> None:
    found = match(["doctor"], {"physician": 0, "bread": 1, "doctor": 2}, _vectors())
    assert found.term.tolist() == [0, -1, 0]
    assert 0 < found.weight[0] < found.weight[2] == 1.0


def test_of_words_that_the_vectors_do_not_hold_nothing_is_guessed() -> None:
    assert not _vectors().likeness(["врач", "dr", "unheard"], ["doctor"]).any()
    assert _vectors().likeness([], []).shape == (0, 0)


def test_the_vectors_that_ship_know_synonyms() -> None:
    vectors = shipped_vectors()
    assert vectors is not None
    near, far = vectors.likeness(["physician", "bread"], ["doctor"])[:, 0]
    assert near > 0.4 > far
