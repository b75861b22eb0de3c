"""The embedder that comes with thrift."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import thrift_core.embedding
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.embedding.static_embedder import shipped_embedder
from thrift_core.messages import Message, Request

DATA = Path(thrift_core.embedding.__file__).parent / "data"

# Our own sentences: two ways to ask, and something else. It does not tell near misses apart: that is a matcher's work.
TRIPLES = [
    ("How do I reset my password?", "I forgot my password, what now?", "What are your opening hours?"),
    ("Where is my parcel?", "Can you track my package?", "How do I change my email address?"),
    ("How much is shipping to Norway?", "What does delivery to Norway cost?", "Do you hire in Norway?"),
    ("My laptop will not turn on", "The notebook does not start", "Which bus goes to the airport?"),
    ("Is this medicine safe during pregnancy?", "Can pregnant women take this drug?", "How tall is the tower?"),
    ("How do I sort a list in Python?", "python order items of a list", "How do I install Python?"),
    ("Cancel my subscription", "I want to end my membership", "Do you sell gift cards?"),
    ("What's the weather like in Rome?", "Is it sunny in Rome right now?", "Who founded Rome?"),
]


@pytest.mark.parametrize(("asked", "same", "other"), TRIPLES)
def test_two_ways_to_ask_lie_nearer_than_questions_about_something_else(asked: str, same: str, other: str) -> None:
    one, near, far = shipped_embedder().embed([asked, same, other])
    assert one @ near > one @ far


def test_the_other_way_to_ask_is_among_the_nearest_eight() -> None:
    texts = [text for triple in TRIPLES for text in triple]
    vectors = shipped_embedder().embed(texts)
    for place in range(0, len(texts), 3):
        nearest = np.argsort(-(vectors @ vectors[place]))[:9]
        assert place + 1 in nearest


def test_vectors_have_length_one_and_nothing_has_none() -> None:
    vectors = shipped_embedder().embed(["How are you?", "", "\u200b", "a" * 100_000, "日本語"])
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[[0, 4]] == pytest.approx([1, 1], abs=1e-5)
    assert lengths[[1, 2]] == pytest.approx([0, 0])
    assert vectors.shape == (5, 256)


def test_a_text_without_a_known_word_matches_exactly_or_not_at_all() -> None:
    cache = SemanticCache()
    for text in ("\U00013000\U00013001", "\U00013002"):
        request = Request(messages=(Message("user", text),))
        assert cache.lookup(request) is None
        assert cache.store(request, CachedAnswer(payload=text))
        hit = cache.lookup(request)
        assert hit is not None
        assert hit.answer.payload == text


def test_a_batch_gives_what_single_texts_give() -> None:
    texts = [text for triple in TRIPLES for text in triple]
    together = shipped_embedder().embed(texts)
    alone = np.concatenate([shipped_embedder().embed([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)


def test_threads_embed_alike() -> None:
    texts = [f"{text} {number}" for number in range(40) for triple in TRIPLES for text in triple]
    expected = shipped_embedder().embed(texts)
    results: list[bool] = []

    def run() -> None:
        results.append(bool(np.array_equal(shipped_embedder().embed(texts), expected)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


def test_the_arrays_are_small_and_their_card_says_what_they_are() -> None:
    assert (DATA / "static_embedder.npz").stat().st_size < 8_000_000
    card = (DATA / "MODEL_CARD.md").read_text()
    assert shipped_embedder().name in card
    for word in ("all-MiniLM-L6-v2", "Apache-2.0", "distill_embedder.py", "recall@8", "Limits"):
        assert word in card


def test_importing_the_cache_brings_no_third_party_package() -> None:
    code = (
        "import sys, thrift_core.caching.semantic.cache, thrift_core.caching.semantic.sqlite_store,"
        " thrift_core.caching.semantic.redis_store\n"
        "print([name for name in ('numpy', 'redis', 'redisvl', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
