"""What the built-in matcher takes for the same question."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.matcher import Candidate, ConservativeMatcher
from thrift_core.caching.semantic.normal_form import normal_form
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.words import significant_words
from thrift_core.calibration.binomial import share_interval
from thrift_core.errors import ConfigurationError

SAME = [
    ("How do I reset my password?", "how can I reset my password"),
    ("How do I reset my password?", "Hi there, how do I reset my password please?"),
    ("What's the refund policy?", "What is the refund policy"),
    ("What is the capital of France?", "Could you tell me what is the capital of France?"),
    ("I'd like to know what the limit is.", "what the limit is"),
    ("Please cancel order 66-B", "cancel order 66-B"),
    ("Where is the shop?", "Where is a shop?"),
    ("is it open on sunday", "Is it open on sunday?"),
    ("Don't you ship to Norway?", "Do not you ship to Norway?"),
    ("When do you open? Thanks!", "When do you open?"),
]
DIFFERENT = [
    ("What is the capital of France?", "What is the capital of Germany?"),
    ("Is there a meeting today?", "Is there no meeting today?"),
    ("How do I freeze my card?", "How do I unfreeze my card?"),
    ("Transfer 5 to Ann", "Transfer 9 to Ann"),
    ("Transfer 5 to Ann", "Transfer -5 to Ann"),
    ("Transfer 1.5 to Ann", "Transfer 15 to Ann"),
    ("Send Ann to Bob", "Send Bob to Ann"),
    ("Where is order A-17?", "Where is order A-71?"),
    ("What is due on 2024-05-01?", "What is due on 2024-01-05?"),
    ("Is it open at 3:30?", "Is it open at 3 30?"),
    ("What is my limit?", "What is your limit?"),
    ("Can I cancel?", "Can't I cancel?"),
    ("What is C++?", "What is C?"),
    ("What is C#?", "What is C++?"),
    ("does IT work on weekends", "does it work on weekends"),
    ("Who called the US office?", "Who called the us office?"),
    ("2*(3+4)", "2*3+4"),
    ("You can cancel any time.", "You can cancel any time?"),
    ("list a\n  b", "list a b"),
    ("Is $5 enough?", "Is 5 enough?"),
    ("Is 5% enough?", "Is 5 enough?"),
    ("我可以取消订单吗", "我不可以取消订单吗"),
    ("Можно отменить заказ?", "Нельзя отменить заказ?"),
    ("before the meeting", "after the meeting"),
    ("refunds with receipt", "refunds without receipt"),
    ("thanks", "please"),
    ("", ""),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_question_in_other_clothes_is_accepted(one: str, other: str) -> None:
    for asked, known in ((one, other), (other, one)):
        (judged,) = ConservativeMatcher().judge(asked, [Candidate(known, 0.95)])
        assert judged.verdict == "accept", (significant_words(asked), significant_words(known))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_may_mean_another_thing_is_not_accepted(one: str, other: str) -> None:
    for asked, known in ((one, other), (other, one)):
        (judged,) = ConservativeMatcher().judge(asked, [Candidate(known, 1.0)])
        assert judged.verdict == "abstain", significant_words(asked)
    if one:
        assert normal_form(one) != normal_form(other)


def test_equal_words_are_not_enough_where_the_embeddings_lie_apart() -> None:
    matcher = ConservativeMatcher(min_similarity=0.9)
    judged = matcher.judge(
        "Where is the shop?", [Candidate("where is a shop", 0.89), Candidate("where is a shop", 0.9)]
    )
    assert [one.verdict for one in judged] == ["abstain", "accept"]


def test_an_abstention_names_the_words_that_differ() -> None:
    (judged,) = ConservativeMatcher().judge("freeze my card", [Candidate("unfreeze my card", 0.99)])
    assert judged.reason == "differs in 'freeze', 'unfreeze'"
    (judged,) = ConservativeMatcher().judge("Ann to Bob", [Candidate("Bob to Ann", 0.99)])
    assert judged.reason == "differs in the order or number of its words"


@pytest.mark.parametrize("wrong", [0, -1, 1.1])
def test_a_similarity_that_cannot_work_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigurationError, match="min_similarity"):
        ConservativeMatcher(min_similarity=wrong)


@given(st.text(max_size=60))
def test_a_text_is_the_same_question_as_itself_and_its_normal_form_is_stable(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text)
    if significant_words(text):
        (judged,) = ConservativeMatcher().judge(text, [Candidate(text, 1.0)])
        assert judged.verdict == "accept"


@given(
    st.lists(st.sampled_from(["how", "do", "I", "not", "5", "Ann", "the", "US", "us", "-", "?", "\n", "(", "x1"])),
    st.data(),
)
def test_no_digit_and_no_negation_is_ever_lost(words: list[str], data: Any) -> None:
    text = " ".join(words)
    kept = significant_words(text)
    assert sum(word in ("5", "-5") for word in kept) == words.count("5")
    assert kept.count("not") == words.count("not")
    assert normal_form(text).split().count("5") == words.count("5")


@pytest.mark.parametrize(
    ("wrong", "checked", "low", "high"),
    # Clopper and Pearson's table values, as R's binom.test gives them.
    [(0, 10, 0.0, 0.308497), (1, 10, 0.002529, 0.445016), (5, 10, 0.187086, 0.812914), (10, 10, 0.691503, 1.0),
     (3, 1000, 0.000619, 0.008742), (0, 0, 0.0, 1.0)],
)  # fmt: skip
def test_the_interval_is_clopper_and_pearsons(wrong: int, checked: int, low: float, high: float) -> None:
    assert share_interval(wrong, checked) == pytest.approx((low, high), abs=2e-6)


def test_an_interval_of_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="no sense"):
        share_interval(5, 3)


class Uncertified(ConservativeMatcher):
    """A matcher whose word is not enough."""

    def __init__(self) -> None:
        super().__init__()
        self.needs_threshold = True


def test_a_cache_whose_matcher_waits_for_a_threshold_says_so_at_once(caplog: pytest.LogCaptureFixture) -> None:
    SemanticCache(matcher=Uncertified(), threshold=0.9)
    SemanticCache(matcher=Uncertified(), settings=CacheSettings(tiers=("exact",)))
    assert caplog.messages == []
    SemanticCache(matcher=Uncertified())
    assert "make a certificate with calibrate_cache" in caplog.text


def test_settings_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="give CacheSettings"):
        SemanticCache(settings={"mode": "shadow"})  # type: ignore[arg-type]
