"""The vector index and the embedders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift_core.caching.semantic.embedder import Embedding
from thrift_core.caching.semantic.vector_index import EXACT_UP_TO, VectorIndex
from thrift_core.embedding.wordpiece import WordPiece
from thrift_core.errors import ConfigurationError


def unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def some(count: int, dimensions: int = 64, seed: int = 0) -> Any:
    """Vectors as embedders make them: off centre, a few directions counting most."""
    generator = np.random.default_rng(seed)
    spread = generator.standard_normal((count, dimensions)) / np.sqrt(np.arange(1, dimensions + 1))
    return unit(spread + 0.3)


@pytest.mark.parametrize("count", [1, 3, 900, 5000, 20_000])
def test_the_nearest_are_those_of_a_full_comparison(count: int) -> None:
    vectors = some(count)
    index: VectorIndex[int] = VectorIndex(64)
    index.extend(list(range(count)), vectors)
    asked = unit(vectors[: min(count, 40)] + 0.02 * np.random.default_rng(1).standard_normal((min(count, 40), 64)))
    found_of = total = 0
    for vector in asked:
        truth = np.argsort(-(vectors @ vector))[:8]
        found = index.search(vector, 8)
        assert found[0][0] == truth[0]
        assert found[0][1] == pytest.approx(float(vectors[truth[0]] @ vector), abs=1e-3)
        assert [similarity for _, similarity in found] == sorted((one for _, one in found), reverse=True)
        found_of += len({name for name, _ in found} & set(truth.tolist()))
        total += len(truth)
    assert found_of / total > (0.95 if count > EXACT_UP_TO else 0.99)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.just(-1), st.integers(0, 50)), max_size=120))
def test_adding_and_removing_keeps_names_and_vectors_together(steps: list[int]) -> None:
    vectors = some(200, 8, seed=3)
    index: VectorIndex[int] = VectorIndex(8)
    places: dict[int, int] = {}
    names: list[int] = []
    for number, step in enumerate(steps):
        if step < 0 or not names:
            places[number] = index.add(number, vectors[number])
            names.append(number)
        else:
            gone = names.pop(step % len(names))
            place = places.pop(gone)
            if (moved := index.remove(place)) is not None:
                places[moved] = place
    assert len(index) == len(names)
    for name in names:
        assert index.search(vectors[name], 1)[0][0] == name


def test_removing_most_of_a_large_index_leaves_the_rest_findable() -> None:
    vectors = some(9000, 32, seed=4)
    index: VectorIndex[int] = VectorIndex(32)
    places = {number: index.add(number, vector) for number, vector in enumerate(vectors)}
    for number in range(0, 9000):
        if number % 10:
            place = places.pop(number)
            if (moved := index.remove(place)) is not None:
                places[moved] = place
    assert len(index) == 900
    assert all(index.search(vectors[number], 1)[0][0] == number for number in range(0, 9000, 90))


def test_an_empty_index_finds_nothing() -> None:
    assert VectorIndex[int](8).search(some(1, 8)[0], 3) == []


class Documents:
    model = "text-embedding-9"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[3.0, 4.0] for _ in texts]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[0.0, 2.0] for _ in texts]


class Batches:
    model_name = "bge"

    def get_text_embedding_batch(self, texts: list[str]) -> list[list[float]]:
        return [[3.0, 4.0] for _ in texts]


class Sentences:
    def encode(self, texts: list[str]) -> Any:
        return np.array([[3.0, 4.0]] * len(texts))


def function(texts: Sequence[str]) -> list[list[float]]:
    return [[3.0, 4.0] for _ in texts]


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Documents(), "Documents:text-embedding-9"),
        (Batches(), "Batches:bge"),
        (Sentences(), "Sentences"),
        (function, "function"),
    ],
)
def test_whoever_turns_texts_into_vectors_is_an_embedder(thing: object, name: str) -> None:
    embedding = Embedding(thing)
    assert embedding.name == name
    assert embedding.dimensions() == 2
    assert embedding.embed(["a", "b"]) == pytest.approx(np.array([[0.6, 0.8], [0.6, 0.8]]))


async def test_an_embedder_that_can_be_awaited_is() -> None:
    embedding = Embedding(Documents())
    assert embedding.is_async
    assert (await embedding.aembed(["a"]))[0] == pytest.approx([0.0, 1.0])
    assert not Embedding(function).is_async


@pytest.mark.parametrize("thing", [3, "all-MiniLM", object(), dict])
def test_what_is_no_embedder_is_refused(thing: object) -> None:
    with pytest.raises(ConfigurationError, match=r"embed\(texts\)"):
        Embedding(thing)


def test_words_are_split_as_bert_splits_them() -> None:
    pieces = ["re", "##set", "reset", "my", "password", "!", "cafe", "##s", "中", "文", "'", "s", "-", "1", "##2"]
    tokenizer = WordPiece({piece: number for number, piece in enumerate(pieces)})

    def read(text: str) -> list[str]:
        return [pieces[number] for number in tokenizer.ids(text)]

    assert read("Reset my PASSWORD!") == ["reset", "my", "password", "!"]
    assert read("Cafés") == ["cafe", "##s"]
    assert read("中文my") == ["中", "文", "my"]
    assert read("my's 12-1") == ["my", "'", "s", "1", "##2", "-", "1"]
    assert read("my\tunknownword\u200b my\x00") == ["my", "my"]
    assert read("x" * 200) == []
    assert read("") == []
