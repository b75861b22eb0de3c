"""Stores of all three kinds, a tiny embedder, and requests."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.memory_store import MemoryStore
from thrift_core.caching.semantic.redis_store import RedisStore
from thrift_core.caching.semantic.sqlite_store import SQLiteStore
from thrift_core.caching.semantic.store import CacheStore
from thrift_core.messages import Message, Request
from thrift_core.testing.embeddings import hashed_vector, words_of

StoreFactory = Callable[[], CacheStore]


class WordEmbedder:
    """Texts that share words lie near each other; counts what it is asked."""

    name = "words-64"
    dimensions = 64

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return [hashed_vector(Counter(words_of(text)), self.dimensions) for text in texts]


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ask() -> Callable[..., Request]:
    def request(text: str, **fields: Any) -> Request:
        return Request(**{"messages": (Message("user", text),), "model": "gpt-4.1-mini", **fields})

    return request


@pytest.fixture
def say() -> Callable[..., CachedAnswer]:
    def answer(payload: str, /, **fields: Any) -> CachedAnswer:
        return CachedAnswer(payload=payload, **fields)

    return answer


@pytest.fixture(params=["memory", "sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreFactory]:
    """Opens one and the same store again and again, as several processes would."""
    opened: list[CacheStore] = []
    prefix = f"test-{uuid.uuid4().hex}"

    def open_one() -> CacheStore:
        if request.param == "memory" and opened:
            return opened[0]
        opened.append(_opened(request, tmp_path, prefix))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: StoreFactory) -> CacheStore:
    return open_store()


def _opened(request: pytest.FixtureRequest, folder: Path, prefix: str) -> CacheStore:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "sqlite":
        return SQLiteStore(folder / "cache.sqlite")
    # Expired keys are only as far from gone as the server's own clock: these tests let no real time pass.
    return RedisStore(request.getfixturevalue("redis_url"), prefix=prefix)
