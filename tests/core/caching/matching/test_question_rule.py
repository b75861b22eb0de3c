"""Which questions are never answered from a cache, and which are."""

from __future__ import annotations

import pytest
from thrift_core.caching.semantic.question_rule import live_question

ACTS = [
    "Cancel my order, please", "Can you book a table for two?", "transfer 50 dollars to Ann", "Turn off the lights",
    "Please delete this file", "Could you freeze my card?", "I'd like you to reset my password", "remind me to call",
    "Hi, would you please activate my card?", "ok, submit it",
]  # fmt: skip
FRESH = [
    "Is there a meeting today?", "What's the weather in Oslo?", "what time is it", "What is the stock price of Acme?",
    "Which trains run tomorrow?", "what is the latest version of the driver", "Is the server down?",
    "What are the exchange rates?", "who is on duty this week", "what should I do now?",
]  # fmt: skip
OWN = [
    "What is my balance?", "Where is my order?", "show me my transactions", "How much do I owe?",
    "when is my next appointment", "What's the status of my application?", "do I have any new messages",
    "how much is in my savings balance", "Are there any messages?",
]  # fmt: skip
LASTING = [
    "How do I cancel my order?", "How can I check my balance?", "What is the capital of France?",
    "What does a balance sheet show?", "Why was my card declined?", "What documents do I need for KYC?",
    "Explain photosynthesis to a child", "How to turn off the lights?", "Write a poem about the sea",
    "Is it legal to record a call?", "What's the refund policy?", "What happens to my files after a downgrade?",
    "Who wrote Hamlet?", "How long does a transfer take?", "Summarise this text", "Where can I see my bills?",
]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "why"),
    [(one, "action request") for one in ACTS] + [(one, "fresh state") for one in FRESH]
    + [(one, "personal state") for one in OWN],
)  # fmt: skip
def test_requests_to_act_and_what_is_true_only_now_have_no_lasting_answer(question: str, why: str) -> None:
    assert live_question(question) is not None
    if why == "action request":
        assert live_question(question) == why


@pytest.mark.parametrize("question", LASTING)
def test_questions_about_how_things_are_have_one(question: str) -> None:
    assert live_question(question) is None


@pytest.mark.parametrize("question", ["", "?", "Где мой заказ?", "a" * 10_000])
def test_what_is_not_english_is_not_guessed_at(question: str) -> None:
    assert live_question(question) is None
