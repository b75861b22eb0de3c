"""The vectors of one partition in memory, and the nearest of them to a question's.

Vectors are kept as 16-bit floats: half the memory, and a cosine off by some 0.0002. A small partition is compared in
full. From `EXACT_UP_TO` on, each vector also has a code of 256 bits, the sides of 256 random planes it lies on
(Charikar 2002); the vectors whose codes differ in the fewest bits are then compared in full. Unlike a graph, codes are
made in microseconds, take 32 bytes, and forget what is removed at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 1024
_CODE_BITS = 256
_WORDS = _CODE_BITS // 64
# How many vectors are compared in full after the codes: enough that of the true nearest next to none is missed.
_SHORTLIST = 512
_CHUNK = 8192
# Whole chunks of codes are compared at once; chunks keep growth from copying what is there.
_SMALLEST_CHUNK = 4

T = TypeVar("T")
Vector = NDArray[Any]


class VectorIndex(Generic[T]):
    """Unit vectors by name; `search` finds those with the greatest cosine.

    Not safe across threads: whoever holds it holds a lock.

    Args:
        dimensions: length of each vector.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._names: list[T] = []
        self._chunks: list[_Chunk] = []
        self._middle: Vector | None = None

    def __len__(self) -> int:
        return len(self._names)

    @property
    def bytes(self) -> int:
        """Bytes that the vectors and codes take."""
        return sum(chunk.bytes for chunk in self._chunks)

    def add(self, name: T, vector: Vector) -> int:
        """Add a unit vector; returns its place, which stays until `remove` says otherwise."""
        place = len(self._names)
        chunk, row = divmod(place, _CHUNK)
        if chunk == len(self._chunks):
            self._chunks.append(_Chunk(self.dimensions, has_codes=self._middle is not None))
        self._chunks[chunk].put(row, vector, self._code(vector))
        self._names.append(name)
        if len(self._names) > EXACT_UP_TO and self._middle is None:
            self._make_codes()
        return place

    def extend(self, names: list[T], vectors: Vector) -> None:
        """Add many at once, as when a file is read; the codes of thousands take one product of matrices."""
        done = 0
        while done < len(names) and self._middle is None:
            self.add(names[done], vectors[done])
            done += 1
        while done < len(names):
            chunk, row = divmod(len(self._names), _CHUNK)
            count = min(len(names) - done, _CHUNK - row)
            if chunk == len(self._chunks):
                self._chunks.append(_Chunk(self.dimensions, has_codes=True))
            batch = np.asarray(vectors[done : done + count], np.float32)
            self._chunks[chunk].put_many(row, batch, self._codes(batch))
            self._names += names[done : done + count]
            done += count

    def remove(self, place: int) -> T | None:
        """Take out what is at a place; what was last moves there and is returned, None if it was itself the last."""
        last = len(self._names) - 1
        moved = self._names.pop()
        if place == last:
            return None
        from_chunk, from_row = divmod(last, _CHUNK)
        to_chunk, to_row = divmod(place, _CHUNK)
        self._chunks[to_chunk].copy(to_row, self._chunks[from_chunk], from_row)
        self._names[place] = moved
        if from_row == 0:
            del self._chunks[from_chunk:]
        return moved

    def search(self, vector: Vector, k: int, min_similarity: float = -1.0) -> list[tuple[T, float]]:
        """Return up to k names with their cosines, the nearest first."""
        if not self._names or k < 1:
            return []
        if self._middle is None:
            places = np.arange(len(self._names))
            similarities = self._chunks[0].rows[: len(self._names)].astype(np.float32) @ vector
        else:
            places = self._shortlist(vector)
            similarities = self._rows(places) @ vector
        near = np.flatnonzero(similarities >= min_similarity)
        best = near[np.argsort(-similarities[near], kind="stable")[:k]]
        return [(self._names[places[at]], float(similarities[at])) for at in best]

    def _rows(self, places: NDArray[Any]) -> Vector:
        out = np.empty((len(places), self.dimensions), np.float32)
        bounds = np.searchsorted(places, np.arange(len(self._chunks) + 1) * _CHUNK)
        for number, chunk in enumerate(self._chunks):
            start, stop = bounds[number], bounds[number + 1]
            out[start:stop] = chunk.rows[places[start:stop] - number * _CHUNK]
        return out

    def _shortlist(self, vector: Vector) -> NDArray[Any]:
        """Return the places whose codes are nearest, in order of place."""
        code = self._code(vector)
        assert code is not None  # noqa: S101 - for the type checker
        distances = np.concatenate(
            [chunk.distances(code, min(_CHUNK, len(self) - at * _CHUNK)) for at, chunk in enumerate(self._chunks)]
        )
        # Counting sort: distances are small whole numbers, so the cut costs one pass.
        up_to = np.cumsum(np.bincount(distances, minlength=_CODE_BITS + 1))
        return np.flatnonzero(distances <= np.searchsorted(up_to, min(_SHORTLIST, len(self))))

    def _make_codes(self) -> None:
        known = self._chunks[0].rows[: len(self)].astype(np.float32)
        # Planes through the middle of the vectors tell them apart; many embedders put all of theirs on one side.
        self._middle = known.mean(axis=0)
        self._chunks[0].add_codes()
        self._chunks[0].put_many(0, known, self._codes(known))

    def _code(self, vector: Vector) -> NDArray[Any] | None:
        return None if self._middle is None else self._codes(vector[None, :])[0]

    def _codes(self, vectors: Vector) -> NDArray[Any]:
        sides = (vectors - self._middle) @ _planes(self.dimensions) > 0
        return np.packbits(sides, axis=1).view(np.uint64)


class _Chunk:
    """Up to `_CHUNK` vectors and codes; codes lie word by word, so that comparing them reads memory in order."""

    def __init__(self, dimensions: int, *, has_codes: bool) -> None:
        size = _CHUNK if has_codes else _SMALLEST_CHUNK
        self.rows = np.empty((size, dimensions), np.float16)
        self._codes: NDArray[Any] | None = np.zeros((_WORDS, size), np.uint64) if has_codes else None

    @property
    def bytes(self) -> int:
        return self.rows.nbytes + (0 if self._codes is None else self._codes.nbytes)

    def put(self, row: int, vector: Vector, code: NDArray[Any] | None) -> None:
        if row >= len(self.rows):
            self._grow(min(_CHUNK, len(self.rows) * 2))
        self.rows[row] = vector
        if self._codes is not None and code is not None:
            self._codes[:, row] = code

    def put_many(self, row: int, vectors: Vector, codes: NDArray[Any]) -> None:
        while row + len(vectors) > len(self.rows):
            self._grow(min(_CHUNK, len(self.rows) * 2))
        self.rows[row : row + len(vectors)] = vectors
        if self._codes is not None:
            self._codes[:, row : row + len(vectors)] = codes.T

    def copy(self, row: int, source: _Chunk, source_row: int) -> None:
        self.rows[row] = source.rows[source_row]
        if self._codes is not None and source._codes is not None:
            self._codes[:, row] = source._codes[:, source_row]

    def add_codes(self) -> None:
        self._codes = np.zeros((_WORDS, len(self.rows)), np.uint64)

    def distances(self, code: NDArray[Any], count: int) -> NDArray[Any]:
        assert self._codes is not None  # noqa: S101 - for the type checker
        total = np.zeros(count, np.uint16)
        for words, word in zip(self._codes, code, strict=True):
            total += np.bitwise_count(words[:count] ^ word)
        return total

    def _grow(self, size: int) -> None:
        rows = np.empty((size, self.rows.shape[1]), np.float16)
        rows[: len(self.rows)] = self.rows
        self.rows = rows
        if self._codes is not None:
            codes = np.zeros((_WORDS, size), np.uint64)
            codes[:, : self._codes.shape[1]] = self._codes
            self._codes = codes


@lru_cache(maxsize=8)
def _planes(dimensions: int) -> Vector:
    return np.random.default_rng(256).standard_normal((dimensions, _CODE_BITS)).astype(np.float32)
