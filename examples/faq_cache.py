"""A cache of answers to frequent questions: measured in shadow first, then on, then with a certificate.

In shadow nothing is served: each hit is compared with what the model answers anyway. Then it is on, with the careful
matcher that needs no labels. A certificate made of labelled pairs lets a matcher that finds more paraphrases serve
them, with a bound on the share of wrong hits. Runs on a provider of this machine, with no key and no network.

    python examples/faq_cache.py
"""

from __future__ import annotations

import itertools
import random
from decimal import Decimal
from typing import Any

from langchain_openai import ChatOpenAI
from langchain_thrift import ThriftChatModel
from pydantic import SecretStr
from thrift_core import SemanticCache, Thrift
from thrift_core.caching.matching.calibrate_cache import calibrate_cache
from thrift_core.caching.matching.learned_matcher import LearnedMatcher
from thrift_core.caching.semantic import CacheSettings
from thrift_core.demo.rates import RATES
from thrift_core.testing import ChatRequest, LocalProvider, Reply

# Each thing can be done in ways that differ, and be asked in words that do not.
THINGS = ("password", "invoice", "address", "card", "newsletter", "order", "phone", "language", "account", "photo")
DOINGS = ("change", "cancel", "print", "share", "translate")
FORMS = ("How do I {} my {}?", "how can I {} my {}", "Hi, how do I {} my {}, please?", "I want to {} my {}, how?")
TOPICS = random.Random(0).sample(list(itertools.product(DOINGS, THINGS)), k=50)


def brain(request: ChatRequest) -> Reply:
    """Stands for the model: one answer for each doing and thing."""
    asked = request.question.lower()
    doing, thing = next(word for word in DOINGS if word in asked), next(word for word in THINGS if word in asked)
    return Reply(text=f"To {doing} your {thing}, open Settings, then {thing}, then {doing}.", reasoning_tokens=60)


def ask_all(thrift: Thrift | None) -> tuple[list[str], Decimal]:
    """Return the answers to every question in every form, and the provider's own bill."""
    with LocalProvider(brain, RATES) as provider:
        model = ChatOpenAI(model="gpt-5-mini", base_url=provider.base_url, api_key=SecretStr("local"))
        asked = model if thrift is None else ThriftChatModel(model, thrift)
        answers = [asked.invoke(form.format(*topic)).text for form in FORMS for topic in TOPICS[:15]]
        return answers, provider.bill.cost_usd or Decimal(0)


def labelled() -> list[tuple[str, str, bool]]:
    """Return pairs of questions and whether one answer serves both.

    Yours should be drawn from your own traffic: the bound holds for questions like those that were labelled.
    """
    forms = list(itertools.combinations(FORMS, 2))
    same = [(one.format(*topic), other.format(*topic), True) for topic in TOPICS[25:] for one, other in forms]
    near = [(one, other) for one, other in itertools.combinations(TOPICS[25:], 2) if {*one} & {*other}]
    return same + [(FORMS[0].format(*one), FORMS[1].format(*other), False) for one, other in near]


def main() -> None:
    """Ask with each cache."""
    # Answers here are the same for everybody, so that users may share them; by default they share none.
    shared: dict[str, Any] = {"isolate_by": ("tenant", "feature"), "checked_share": 0.0, "embed_timeout_seconds": 10.0}
    matcher = LearnedMatcher()
    certificate = calibrate_cache(labelled(), 0.05, matcher=matcher)
    print(f"certificate: {certificate.note}")
    caches = {
        "shadow": SemanticCache(settings=CacheSettings(mode="shadow", **shared)),
        "on": SemanticCache(settings=CacheSettings(**shared)),
        "certified": SemanticCache(matcher=matcher, threshold=certificate, settings=CacheSettings(**shared)),
    }
    expected, full = ask_all(None)
    print(f"{'as it is':10} ${full:.6f}")
    for name, cache in caches.items():
        answers, dollars = ask_all(Thrift(cache=cache))
        wrong = sum(answer != right for answer, right in zip(answers, expected, strict=True))
        stats = cache.stats()
        seen = f"{stats.false_hits} of {stats.checks} checked hits were wrong" if stats.checks else f"{wrong} wrong"
        print(f"{name:10} ${dollars:.6f} ({dollars / full:.0%}), hit rate {stats.hit_rate:.0%}, {seen}")


if __name__ == "__main__":
    main()
