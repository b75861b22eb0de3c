import random

import pytest
from thrift_core.errors import ConfigurationError
from thrift_core.relevance.passage import Passage
from thrift_core.retrieval.calibration import Calibration, calibrate_trimmer
from thrift_core.retrieval.trimmer import TopKTrimmer

NAMES = [f"{a}{b}" for a in ("kor", "mal", "tin", "ves", "zub") for b in ("ada", "ebo", "ilu", "ona", "umi")]


def _example(rng: random.Random) -> tuple[list[Passage], str, list[str]]:
    """Make a golden question that names the thing asked about in four cases of five."""
    asked = rng.randrange(10)
    facts = [(rng.choice(NAMES), rng.choice(NAMES), f"code{rng.randrange(10**6)}") for _ in range(10)]
    passages = [
        Passage(str(n), f"The {thing} of {place} is old. It carries {code} on its side. Nobody knows why.")
        for n, (thing, place, code) in enumerate(facts)
    ]
    thing, place, code = facts[asked]
    question = f"What does the {thing} of {place} carry?" if rng.random() < 0.8 else "What does it carry?"
    return passages, question, [code]


def test_a_calibrated_floor_keeps_the_answer_as_often_as_asked() -> None:
    rng = random.Random(5)
    calibration = calibrate_trimmer(TopKTrimmer(), [_example(rng) for _ in range(200)])
    trimmer = TopKTrimmer(quality_floor=0.9, calibration=calibration)
    kept, share = 0, 0.0
    for _ in range(200):
        passages, question, [answer] = _example(rng)
        trimmed = trimmer.trim(passages, question)
        kept += any(answer in cut.text for cut in trimmed.kept)
        share += sum(len(cut.text) for cut in trimmed.kept) / sum(len(passage.text) for passage in passages) / 200
    assert kept >= 170
    assert share < 0.9


def test_a_floor_without_a_calibration_cuts_nothing_and_says_so() -> None:
    passages, question, _ = _example(random.Random(1))
    trimmed = TopKTrimmer(quality_floor=0.9).trim(passages, question)
    assert trimmed.dropped == ()
    assert "no calibration" in trimmed.note


def test_too_few_golden_questions_give_no_threshold() -> None:
    assert Calibration((0.5,) * 18).threshold(0.95) is None
    assert Calibration((0.5,) * 19).threshold(0.95) == 0.5


def test_the_threshold_rises_with_the_floor() -> None:
    calibration = Calibration(tuple(n / 100 for n in range(100)))
    thresholds = [calibration.threshold(floor) for floor in (0.5, 0.8, 0.9, 0.95)]
    assert thresholds == sorted(thresholds, key=lambda value: value or 0)


def test_answers_that_stand_nowhere_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="verbatim"):
        calibrate_trimmer(TopKTrimmer(), [([Passage("a", "Text.")], "What?", ["not there"])])


def test_a_floor_stays_inside_the_budget() -> None:
    rng = random.Random(2)
    calibration = calibrate_trimmer(TopKTrimmer(), [_example(rng) for _ in range(50)])
    passages, question, _ = _example(rng)
    trimmed = TopKTrimmer(20, quality_floor=0.9, calibration=calibration).trim(passages, question)
    assert 0 < trimmed.tokens <= 20
