"""Other caches on the same questions and the same embedder, for the speed table."""

# ruff: noqa: PLC0415
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cache_speed import answer, paraphrase, quantile, question
from benchmarks.records import Record

_SYSTEM = "You are the help desk of an office supplier. Answer in three sentences."


def measure(peer: str, entries: int, folder: Path, chosen: Sequence[int], server: Any) -> Record:
    """Fill a peer and time lookups in it, embedding included, since none of them lets it be left out."""
    store, lookup = {"gptcache": _gptcache, "langchain-redis": _langchain_redis, "redisvl": _redisvl}[peer](
        folder, server
    )
    storing: list[float] = []
    for number in range(entries):
        began = time.perf_counter()
        store(question(number), answer(number).payload)
        storing.append(time.perf_counter() - began)
    exact, near, right = [], [], 0
    for number in chosen:
        began = time.perf_counter()
        lookup(question(number))
        exact.append(time.perf_counter() - began)
        began = time.perf_counter()
        found = lookup(paraphrase(number))
        near.append(time.perf_counter() - began)
        right += found == answer(number).payload
    return {
        "system": peer,
        "store": "redis" if server is not None else "sqlite+faiss",
        "entries": entries,
        "n": len(chosen),
        "exact_p50_ms": quantile(exact, 0.5),
        "exact_p99_ms": quantile(exact, 0.99),
        "with_embedder_p99_ms": quantile(near, 0.99),
        "store_p50_ms": quantile(storing, 0.5),
        "right_pct": round(100 * right / len(chosen), 2),
    }


Both = tuple[Callable[[str, str], object], Callable[[str], Any]]


def _embed(text: str) -> list[float]:
    from thrift_core.embedding.static_embedder import shipped_embedder

    return [float(value) for value in shipped_embedder().embed([text])[0]]


def _gptcache(folder: Path, server: Any) -> Both:
    import numpy as np
    from gptcache import Cache
    from gptcache.adapter.api import get, put
    from gptcache.manager import CacheBase, VectorBase, get_data_manager
    from gptcache.processor.pre import get_prompt
    from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation

    cache = Cache()
    cache.init(
        pre_embedding_func=get_prompt,
        embedding_func=lambda text, **_: np.array(_embed(text), np.float32),
        data_manager=get_data_manager(
            CacheBase("sqlite", sql_url=f"sqlite:///{folder / 'gpt.db'}"),
            VectorBase("faiss", dimension=256, index_path=str(folder / "faiss.index")),
            max_size=10_000_000,
        ),
        similarity_evaluation=SearchDistanceEvaluation(),
    )
    return lambda text, given: put(text, given, cache_obj=cache), lambda text: get(text, cache_obj=cache)


def _redisvl(folder: Path, server: Any) -> Both:
    from redisvl.extensions.cache.llm import SemanticCache
    from redisvl.utils.vectorize import CustomTextVectorizer

    cache = SemanticCache(
        name="peer",
        redis_url=server.url,
        vectorizer=CustomTextVectorizer(embed=_embed, embed_many=lambda texts: [_embed(text) for text in texts]),
    )

    def lookup(text: str) -> Any:
        found = cache.check(prompt=text)
        return found[0]["response"] if found else None

    return lambda text, given: cache.store(prompt=text, response=given), lookup


def _langchain_redis(folder: Path, server: Any) -> Both:
    from langchain_core.embeddings import Embeddings
    from langchain_core.load import dumps
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_core.outputs import Generation
    from langchain_redis import RedisSemanticCache

    class Ours(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [_embed(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return _embed(text)

    cache = RedisSemanticCache(Ours(), redis_url=server.url)

    def prompt(text: str) -> str:
        # What LangChain hands to a cache.
        return dumps([SystemMessage(_SYSTEM), HumanMessage(text)])

    def lookup(text: str) -> Any:
        found = cache.lookup(prompt(text), "gpt-4.1-mini")
        return found[0].text if found else None

    return lambda text, given: cache.update(prompt(text), "gpt-4.1-mini", [Generation(text=given)]), lookup
