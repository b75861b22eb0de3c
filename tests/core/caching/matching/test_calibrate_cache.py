"""A certificate is given where labels support it, holds as often as it says, and is refused everywhere else."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.caching.matching.calibrate_cache import ScoredPairs, calibrate_cache, certify, grid
from thrift_core.caching.matching.curve import curve, curve_page, text_plot
from thrift_core.caching.matching.labelled_pairs import LabelledPair, pairs_of, read_pairs
from thrift_core.caching.matching.partitions import PartitionedCertificate, calibrate_partitions
from thrift_core.caching.matching.watch import WatchedThreshold
from thrift_core.caching.semantic import Candidate, Judgement
from thrift_core.calibration.binomial import share_at_most
from thrift_core.calibration.certificate import Certificate
from thrift_core.errors import ConfigurationError


class ByLength:
    """Scores a pair by the number that its second text is."""

    version = "by-number"
    min_similarity = 0.1
    needs_threshold = True

    def judge(self, question: str, candidates: list[Candidate]) -> list[Judgement]:
        return [Judgement("accept", float(candidate.question), question) for candidate in candidates]


def drawn(count: int, chance: random.Random) -> ScoredPairs:
    """Pairs whose chance to match is their score, cubed towards certainty."""
    scores = [chance.random() for _ in range(count)]
    return ScoredPairs(tuple(scores), tuple(chance.random() < 1 - (1 - score) ** 2 for score in scores))


def test_enough_right_hits_are_certified_and_the_loosest_threshold_is_taken() -> None:
    pairs = [("q", "0.99", True)] * 900 + [("q", "0.9", True)] * 300 + [("q", "0.3", False)] * 900
    certificate = calibrate_cache(pairs, 0.01, matcher=ByLength())
    assert certificate.threshold is not None
    assert 0.3 < certificate.threshold <= 0.9
    assert certificate.figures["recall"] == 1
    assert certificate.matcher == "by-number"


def test_fifty_pairs_say_what_they_support() -> None:
    pairs = [("q", "0.99", True)] * 40 + [("q", "0.2", False)] * 10
    certificate = calibrate_cache(pairs, 0.01, matcher=ByLength())
    assert not certificate.is_certified
    assert certificate.bound is not None
    assert 0.01 < certificate.bound < 0.15
    assert certificate.note.startswith("cannot certify 1 % from 50 pairs; ")
    assert certificate.note.endswith("is what they support")


def test_what_is_supported_is_never_less_than_the_plain_bound() -> None:
    certificate = calibrate_cache([("q", "0.99", True)] * 50, 0.01, matcher=ByLength())
    assert certificate.bound is not None
    assert certificate.bound >= share_at_most(0, 50, confidence=0.95)


def test_a_false_hit_at_the_top_is_not_certified_away() -> None:
    pairs = [("q", "0.999", False)] * 30 + [("q", "0.99", True)] * 300
    assert not calibrate_cache(pairs, 0.01, matcher=ByLength()).is_certified


def test_the_statement_is_true_at_least_as_often_as_it_says() -> None:
    chance = random.Random(7)
    broken = certified = 0
    for _ in range(100):
        certificate = certify(drawn(1000, chance), "m", 0.05)
        if certificate.threshold is not None:
            certified += 1
            # The true rate above a threshold t of this traffic: the mean of (1 - score)² over scores from t to 1.
            broken += (1 - certificate.threshold) ** 2 / 3 > 0.05
    assert certified > 60
    assert broken <= 11


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.floats(0.001, 0.5))
def test_what_is_certified_was_true_of_the_labels_themselves(rows: list[tuple[float, bool]], limit: float) -> None:
    scored = ScoredPairs(tuple(score for score, _ in rows), tuple(same for _, same in rows))
    certificate = certify(scored, "m", limit)
    if certificate.threshold is not None:
        hits, wrong = scored.at(certificate.threshold)
        assert hits
        assert wrong / hits <= limit
    elif certificate.bound is not None:
        assert certificate.bound > limit


def test_a_prior_needs_fewer_labels() -> None:
    pairs = [("q", "0.97", True)] * 340
    alone = calibrate_cache(pairs, 0.01, matcher=ByLength())
    prior = Certificate(kind="cache", version="by-number", max_loss=0.01, confidence=0.95, n=9, threshold=0.95)
    with_prior = calibrate_cache([*pairs, *[("q", "0.97", True)] * 20], 0.01, matcher=ByLength(), prior=prior)
    assert not alone.is_certified
    assert with_prior.is_certified


def test_a_prior_of_another_matcher_is_refused() -> None:
    prior = Certificate(kind="cache", version="other", max_loss=0.01, confidence=0.95, n=9, threshold=0.95)
    with pytest.raises(ConfigurationError, match="other"):
        calibrate_cache([("q", "0.9", True)], 0.01, matcher=ByLength(), prior=prior)


@pytest.mark.parametrize("limit", [0, 1, -0.1, 2])
def test_a_rate_that_cannot_be_is_refused(limit: float) -> None:
    with pytest.raises(ConfigurationError, match="max_false_hit_rate"):
        calibrate_cache([("q", "0.9", True)], limit, matcher=ByLength())


def test_parts_have_their_own_threshold_and_the_others_the_shared_one(tmp_path: Path) -> None:
    easy = [LabelledPair("q", "0.8", same=True, partition="easy")] * 900
    easy += [LabelledPair("q", "0.1", same=False, partition="easy")] * 100
    hard = [LabelledPair("q", "0.99", same=True, partition="hard")] * 900
    hard += [LabelledPair("q", "0.8", same=False, partition="hard")] * 900
    made = calibrate_partitions([*easy, *hard], 0.01, matcher=ByLength())
    loose, tight = made.threshold_for("easy"), made.threshold_for("hard")
    assert loose is not None
    assert tight is not None
    assert loose <= 0.8 < tight
    assert made.threshold_for("unheard of") == made.shared.threshold
    made.save(tmp_path / "parts.json")
    again = PartitionedCertificate.load(tmp_path / "parts.json", version="by-number")
    assert again.threshold_for("easy") == loose
    with pytest.raises(ConfigurationError, match="by-number"):
        PartitionedCertificate.load(tmp_path / "parts.json", version="another")
    strict = PartitionedCertificate(made.shared, made.parts, strict=True)
    assert strict.threshold_for("unheard of") is None


def made_certificate(limit: float = 0.02) -> Certificate:
    return Certificate(kind="cache", version="m1", max_loss=limit, confidence=0.95, n=900, threshold=0.9)


def test_checks_that_agree_keep_the_lever_open_and_drift_shuts_it(caplog: pytest.LogCaptureFixture) -> None:
    watched = WatchedThreshold(made_certificate())
    for _ in range(200):
        watched.observe(0.95, agrees=True)
    assert watched.threshold == 0.9
    assert watched.state.at_most < 0.05
    for _ in range(100):
        watched.observe(0.95, agrees=False)
    assert watched.threshold is None
    assert not watched.is_open
    assert "calibrate again" in caplog.text
    assert len(caplog.records) == 1


def test_a_rate_that_is_kept_is_seldom_called_broken() -> None:
    shut = 0
    for seed in range(40):
        chance = random.Random(seed)
        watched = WatchedThreshold(made_certificate(0.05))
        for _ in range(400):
            watched.observe(0.95, agrees=chance.random() >= 0.05)
        shut += not watched.is_open
    assert shut <= 4


def test_a_shut_lever_opens_with_labels_that_support_a_threshold() -> None:
    watched = WatchedThreshold(made_certificate(0.05))
    for _ in range(60):
        watched.observe(0.91, agrees=False)
    assert not watched.is_open
    for _ in range(400):
        watched.label(0.999, same=True)
    assert watched.recertify().is_certified
    assert watched.is_open
    assert (watched.threshold or 0) > 0.91
    with pytest.raises(ConfigurationError, match="another"):
        watched.renew(Certificate(kind="cache", version="another", max_loss=0.1, confidence=0.95, n=9, threshold=0.5))


def test_pairs_and_groups_are_read_and_bad_lines_named(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    group = {"domain": "pay", "same": ["a", "b", "c"], "near": [["d", "id"]]}
    file.write_text(json.dumps({"a": "x", "b": "y", "same": False, "kind": None}) + "\n" + json.dumps(group) + "\n")
    found = read_pairs(file)
    assert [pair.same for pair in found] == [False, True, True, True, False, False, False]
    assert {pair.partition for pair in found} == {"", "pay"}
    for line, words in (("{", "not JSON"), ("[]", "JSON object"), ('{"a": "x"}', "the keys a")):
        file.write_text(line + "\n")
        with pytest.raises(ConfigurationError, match=words):
            read_pairs(file)
    file.write_text("")
    with pytest.raises(ConfigurationError, match="no pair"):
        read_pairs(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_pairs(tmp_path / "absent.jsonl")
    assert pairs_of([{"a": "x", "b": "y", "same": True}])[0].same


def test_the_curve_falls_with_the_threshold_and_the_page_stands_alone() -> None:
    scored = drawn(400, random.Random(1))
    points = curve(scored, list(grid()))
    assert [point.hits for point in points] == sorted(point.hits for point in points)
    assert all(point.low <= point.false_hit_rate <= point.high for point in points)
    page = curve_page(scored, certify(scored, "m<1>", 0.05))
    assert "<svg" in page
    assert "m&lt;1&gt;" in page
    assert "http" not in page
    assert text_plot(scored).count("*") > 3
