"""OpenAI's embeddings API over hashed bags of words: texts that share words lie near each other."""

from __future__ import annotations

import base64
import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import sqrt
from typing import Any

from thrift_core.testing.chat import ApiError
from thrift_core.testing.json_values import Json, as_limit, as_list, as_text

PATH = "/v1/embeddings"
DEFAULT_DIMENSIONS = 256
_WORD = re.compile(r"\w+")


def hashed_vector(weights: Mapping[str, float], dimensions: int = DEFAULT_DIMENSIONS) -> list[float]:
    """Return a unit vector of weighted words, the same in every process; all zeros for no words.

    Args:
        weights: how much each word counts.
        dimensions: the vector's length.
    """
    vector = [0.0] * dimensions
    for word, weight in weights.items():
        place = _place(word)
        # The sign keeps words that fall on one place from always adding up.
        vector[place % dimensions] += weight if place & (1 << 40) else -weight
    length = sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector


def words_of(text: str) -> list[str]:
    """Return the lower-cased words of a text."""
    return _WORD.findall(text.lower())


def embeddings_body(body: Mapping[str, Any], count: Callable[[str], int]) -> Json:
    """Answer a request for embeddings of a text, texts, tokens or lists of tokens; `count` counts a text's tokens."""
    inputs = [_words(item) for item in _inputs(body.get("input"))]
    dimensions = as_limit(body.get("dimensions")) or DEFAULT_DIMENSIONS
    vectors = [hashed_vector(Counter(words), dimensions) for words in inputs]
    is_base64 = body.get("encoding_format") == "base64"
    tokens = sum(count(item) if isinstance(item, str) else len(as_list(item)) for item in _inputs(body.get("input")))
    return {
        "object": "list",
        "model": as_text(body.get("model")),
        "data": [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if is_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _inputs(given: object) -> list[Any]:
    items = as_list(given)
    if isinstance(given, str) or (items and isinstance(items[0], int)):
        return [given]
    if not items:
        raise ApiError(400, "'$.input' is invalid. Please check the API reference.", param="input")
    return items


def _words(item: object) -> list[str]:
    return words_of(item) if isinstance(item, str) else [str(token) for token in as_list(item)]


@lru_cache(maxsize=65536)
def _place(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=6).digest())


def _base64(vector: list[float]) -> str:
    # array("f") is IEEE single precision on every platform CPython supports; OpenAI sends it little-endian.
    return base64.b64encode(array("f", vector).tobytes()).decode()
