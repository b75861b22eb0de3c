"""What turns questions into vectors: one method, and the ways in which others spell it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from thrift_core.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from thrift_core.embedding.static_embedder import StaticEmbedder

# What frameworks and libraries call it: LangChain, LlamaIndex, sentence-transformers and model2vec.
_SPELLINGS = ("embed_documents", "get_text_embedding_batch", "encode")
_ASYNC_SPELLINGS = ("aembed", "aembed_documents", "aget_text_embedding_batch")
_NAMES = ("model", "model_name", "model_id", "deployment", "name")
_PROBE = "What is a lamp?"


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors.

    An embedder may also have a `name` that says which model and version it is, `dimensions`, and `aembed`.
    """

    def embed(self, texts: Sequence[str], /) -> Any:
        """Return one vector for each text: a list of lists of floats or a matrix."""
        ...


class Embedding:
    """An embedder under one roof: named, checked, normalised.

    Args:
        thing: an object with `embed(texts)`, a LangChain `Embeddings`, a LlamaIndex embedding, a sentence transformer,
            or a function of texts.
        name: which model it is; found out where the thing says.

    Raises:
        ConfigurationError: the thing is none of these.
    """

    def __init__(self, thing: object, name: str | None = None) -> None:
        self._embed = _method(thing)
        self._aembed = next((found for found in (getattr(thing, way, None) for way in _ASYNC_SPELLINGS) if found), None)
        self._thing = thing
        self._name = name
        self._dimensions: int | None = None

    @property
    def name(self) -> str:
        """Which model it is."""
        if self._name is None:
            self._name = _name(self._thing)
        return self._name

    @property
    def is_async(self) -> bool:
        """Whether it can be awaited."""
        return self._aembed is not None

    def dimensions(self) -> int:
        """Return the length of its vectors; asks for one if it does not say."""
        if self._dimensions is None:
            given = getattr(self._thing, "dimensions", None)
            if isinstance(given, int) and given > 0:
                self._dimensions = given
            else:
                self.embed([_PROBE])
        return self._dimensions or 0

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return one vector of length 1 for each text; all zeros where there is nothing to compare.

        Raises:
            ValueError: the embedder answered nonsense.
        """
        return self._read(self._embed(list(texts)), len(texts))

    async def aembed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Do what `embed` does, where `is_async`."""
        if self._aembed is None:
            return self.embed(texts)
        return self._read(await self._aembed(list(texts)), len(texts))

    def _read(self, given: object, count: int) -> NDArray[Any]:
        import numpy as np  # noqa: PLC0415 - importing thrift_core must stay quick

        vectors = np.asarray(given, np.float32)
        if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
            raise ValueError(f"{self.name} gave vectors of shape {vectors.shape} for {count} texts")
        if self._dimensions not in (None, vectors.shape[1]):
            raise ValueError(f"{self.name} gave {vectors.shape[1]} dimensions, and {self._dimensions} before")
        self._dimensions = int(vectors.shape[1])
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        if not math.isfinite(float(lengths.sum())):
            raise ValueError(f"{self.name} gave a vector that is not finite")
        lengths[lengths == 0] = 1
        unit: NDArray[Any] = vectors / lengths[:, None]
        return unit


class Shipped:
    """The embedder that comes with thrift, loaded when it is first needed."""

    @property
    def name(self) -> str:
        """Which arrays these are."""
        return self._loaded.name

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return self._loaded.dimensions

    def embed(self, texts: Sequence[str], /) -> Any:
        """Return one row for each text."""
        return self._loaded.embed(texts)

    @property
    def _loaded(self) -> StaticEmbedder:
        from thrift_core.embedding.static_embedder import shipped_embedder  # noqa: PLC0415 - brings numpy

        return shipped_embedder()


def _method(thing: object) -> Callable[[list[str]], object]:
    for spelling in () if isinstance(thing, str | bytes) else ("embed", *_SPELLINGS):  # text has an `encode`, too
        if callable(found := getattr(thing, spelling, None)):
            return cast("Callable[[list[str]], object]", found)
    if callable(thing) and not isinstance(thing, type):
        return cast("Callable[[list[str]], object]", thing)
    raise ConfigurationError(
        f"embedder={thing!r}: give an object with embed(texts), a LangChain Embeddings, a LlamaIndex embedding, a "
        "SentenceTransformer, or None for the one that comes with thrift"
    )


def _name(thing: object) -> str:
    if isinstance(named := getattr(thing, "name", None), str) and named:
        return named
    kind = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    given = (getattr(thing, name, None) for name in _NAMES)
    model = next((value for value in given if isinstance(value, str) and value), "")
    return f"{kind}:{model}" if model else str(kind)
