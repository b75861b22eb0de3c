"""The matcher as a cache uses it: the seeds of the problem, vetoes, verifiers of one's own, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from thrift_core.caching.matching import CrossEncoder, LearnedMatcher, WatchedThreshold
from thrift_core.caching.matching.head import Head, fit_head, shipped_head
from thrift_core.caching.matching.pair_features import feature_names
from thrift_core.caching.semantic import CachedAnswer, Candidate, SemanticCache
from thrift_core.calibration.certificate import Certificate
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Request

SAME = [
    ("What's the KYC requirement?", "Can you explain the know-your-customer process?"),
    ("How do I reset my password?", "I forgot my password, how can I set a new one?"),
    ("How far is 5 km in miles?", "How many miles are five kilometres?"),
]
DIFFERENT = [
    ("Is there a meeting today?", "Is there no meeting today?"),
    ("What is the capital of France?", "What is the capital of Germany?"),
    ("Where is order A-17?", "Where is order A-71?"),
    ("Send 250 euros to Ann", "Send 520 euros to Ann"),
    ("How do I freeze my card?", "How do I unfreeze my card?"),
    ("fly from Oslo to Rome", "fly from Rome to Oslo"),
]


@pytest.fixture(scope="module")
def matcher() -> LearnedMatcher:
    return LearnedMatcher()


def judged(matcher: LearnedMatcher, one: str, other: str) -> Any:
    return matcher.judge(one, [Candidate(other, 0.9)])[0]


def test_the_seeds_of_the_problem_are_told_apart(matcher: LearnedMatcher) -> None:
    least_same = min(min(matcher.scores([(a, b), (b, a)])) for a, b in SAME)
    most_different = max(max(matcher.scores([(a, b), (b, a)])) for a, b in DIFFERENT)
    assert least_same > most_different


def test_a_veto_is_a_rejection_with_its_reason_whatever_the_verifier_says(matcher: LearnedMatcher) -> None:
    found = judged(matcher, "Where is order A-17?", "Where is order A-71?")
    assert (found.verdict, found.score, found.reason) == ("reject", 0.0, "id: 'A-17' and 'A-71'")


def test_another_script_is_left_to_the_model(matcher: LearnedMatcher) -> None:
    assert judged(matcher, "Где мой заказ?", "Где мой заказ?").verdict == "abstain"
    assert judged(matcher, "word " * 200, "word " * 200).verdict == "abstain"


def test_the_score_does_not_depend_on_which_question_came_first_or_what_was_beside_it(matcher: LearnedMatcher) -> None:
    one, other = SAME[1]
    there, back = judged(matcher, one, other).score, judged(matcher, other, one).score
    beside = matcher.judge(one, [Candidate(text, 0.9) for text in ("reset password", other, "opening hours?")])[1].score
    assert there == pytest.approx(back, abs=0.02)
    assert there == pytest.approx(beside, abs=0.02)


def test_nothing_is_a_hit_before_a_threshold_is_certified_or_set(matcher: LearnedMatcher) -> None:
    def request(text: str) -> Request:
        return Request(messages=(Message("user", text),), model="m")

    asked, stored = "I forgot my password, how can I set a new one?", "How do I reset my password?"
    cautious, set_by_hand = SemanticCache(matcher=matcher), SemanticCache(matcher=matcher, threshold=0.3)
    for cache in (cautious, set_by_hand):
        cache.store(request(stored), CachedAnswer(payload="Under Settings."))
    assert cautious.lookup(request(asked)) is None
    hit = set_by_hand.lookup(request(asked))
    assert hit is not None
    assert hit.tier == "semantic"
    assert set_by_hand.lookup(request("How do I delete my account?")) is None


def test_checks_of_hits_shut_a_watched_threshold_in_the_cache(matcher: LearnedMatcher) -> None:
    made = Certificate(kind="cache", version=matcher.version, max_loss=0.02, confidence=0.95, n=500, threshold=0.05)
    watched = WatchedThreshold(made)
    cache = SemanticCache(matcher=matcher, threshold=watched, same_answer=lambda one, other: False)

    def request(text: str) -> Request:
        return Request(messages=(Message("user", text),), model="m")

    for number in range(12):
        cache.store(request(f"How do I reset my password in app {number}?"), CachedAnswer(payload="Under Settings."))
        hit = cache.lookup(request(f"how can I reset a password in app {number}"))
        if hit is not None and hit.tier == "semantic":
            cache.check(hit, CachedAnswer(payload="Not at all."))
    assert not watched.is_open
    assert not cache.is_semantic


def test_a_certificate_of_another_matcher_is_refused(matcher: LearnedMatcher) -> None:
    made = Certificate(kind="cache", version="other", max_loss=0.02, confidence=0.95, n=500, threshold=0.9)
    with pytest.raises(ConfigurationError, match="calibrate again"):
        SemanticCache(matcher=matcher, threshold=made)


def test_any_cross_encoder_can_be_the_verifier() -> None:
    def overlap(pairs: list[tuple[str, str]]) -> list[float]:
        return [len(set(a.split()) & set(b.split())) / len(set(a.split()) | set(b.split())) for a, b in pairs]

    encoder = CrossEncoder(overlap, name="overlap-1")
    with pytest.raises(ConfigurationError, match="overlap-1"):
        LearnedMatcher(encoder)
    width = len(feature_names(1))
    rows = np.zeros((4, width))
    rows[:2, feature_names(1).index("verifier_0")] = 1
    head = fit_head(feature_names(1), rows, [True, True, False, False], verifier="overlap-1")
    own = LearnedMatcher(encoder, head)
    near, far = own.scores([("reset my password", "reset my password now"), ("reset my password", "reset a lamp")])
    assert near > 0.5 > far


@pytest.mark.parametrize("verifier", ["none", 5, object()])
def test_what_is_no_verifier_is_refused(verifier: Any) -> None:
    with pytest.raises(ConfigurationError, match="verifier="):
        LearnedMatcher(verifier)


def test_a_verifier_that_gives_nonsense_is_an_error_that_the_cache_catches(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        name, outputs = "broken-1", 1

        def score(self, pairs: Sequence[tuple[str, str]], /) -> Any:
            return [float("nan")] * len(pairs)

    zeros = tuple(0.0 for _ in feature_names(1))
    ones = tuple(1.0 for _ in feature_names(1))
    matcher = LearnedMatcher(Broken(), Head(feature_names(1), zeros, ones, zeros, 0.0, "broken-1"))
    with pytest.raises(ValueError, match="broken-1"):
        judged(matcher, "How do I reset my password?", "reset my password, how")
    cache = SemanticCache(matcher=matcher, threshold=0.1)
    request: Callable[[str], Request] = lambda text: Request(messages=(Message("user", text),), model="m")  # noqa: E731
    cache.store(request("How do I reset my password?"), CachedAnswer(payload="x"))
    assert cache.lookup(request("reset my password, how")) is None
    assert cache.stats().faults
    assert caplog.records


def test_a_head_is_read_back_as_it_was_and_another_file_is_refused() -> None:
    head = shipped_head(with_verifier=False)
    assert Head.from_json(head.to_json()) == head
    for text in ("{}", "[]", "no", head.to_json().replace('"format": 1', '"format": 9')):
        with pytest.raises(ConfigurationError):
            Head.from_json(text)


def test_labels_of_ones_own_move_the_head_and_few_move_it_little() -> None:
    head = shipped_head(with_verifier=False)
    random = np.random.default_rng(0)
    rows = np.asarray(head.means) + random.normal(size=(400, len(head.names))) * np.asarray(head.scales)
    labels = rows[:, 0] > head.means[0]

    def moved(count: int) -> float:
        own = fit_head(head.names, rows[:count], labels[:count], prior=head, strength=20)
        return float(np.abs(np.subtract(own.weights, head.weights)).sum())

    assert 0 < moved(20) < moved(400)
    with pytest.raises(ValueError, match="pairs that do not"):
        fit_head(head.names, rows, np.ones(400))
