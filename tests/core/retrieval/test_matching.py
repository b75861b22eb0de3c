import numpy as np
import pytest
from thrift_core.retrieval.matching import match
from thrift_core.retrieval.segmentation import words


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
