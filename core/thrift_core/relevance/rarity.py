"""How rare a word is outside the passages at hand.

Twenty passages about one thing say little about which words of the question matter. A tokenizer's merge ranks do: it
gave the first numbers to what it saw most often, in a large corpus of many languages, so the logarithm of a token's
number is close to minus the logarithm of its frequency (Zipf's law), and a word of several tokens is rarer still.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from thrift_core.errors import ConfigurationError
from thrift_core.relevance.segmentation import words
from thrift_core.token_counters import DEFAULT_ENCODING, TiktokenCounter

# Makes a word of one common token 0.7 and of three rare ones 3.5, near the range of the rarity within 20 passages.
_PER_LOG_RANK = 0.11
_FIRST_RANKS = 50
# Without ranks: fitted to them on the words of CPython's manual, in UTF-8 bytes.
_WITHOUT_RANKS = (0.75, 0.09)


class CorpusRarity:
    """How rare words are in the user's own documents.

    Args:
        texts: the documents or chunks, for example all that the vector store holds. Read once, not kept.

    Raises:
        ConfigurationError: there is no text.

    Example:
        >>> rarity = CorpusRarity(["the cat", "the dog", "the bird"])
        >>> rarity.of("dog") > rarity.of("the")
        True
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._documents = 0
        self._frequencies: Counter[str] = Counter()
        for text in texts:
            self._documents += 1
            self._frequencies.update(set(words(text)))
        if not self._documents:
            raise ConfigurationError("CorpusRarity needs at least one text; got none")

    def of(self, word: str) -> float:
        """Return how rare a normalised word is, on the scale of `tokenizer_rarity`."""
        frequency = self._frequencies[word]
        rarity = math.log(1 + (self._documents - frequency + 0.5) / (frequency + 0.5))
        return 2.5 * rarity / math.log(2 * self._documents + 2)


@lru_cache(maxsize=65_536)
def tokenizer_rarity(word: str) -> float:
    """Return how rare a normalised word is by the ranks of `o200k_base`, by its length where they are not on disk."""
    encoding = _encoding()
    if encoding is None:
        start, per_byte = _WITHOUT_RANKS
        return start + per_byte * len(word.encode("utf-8", "replace"))
    ranks = encoding.encoding.encode_ordinary(" " + word)
    return _PER_LOG_RANK * sum(math.log(rank + _FIRST_RANKS) for rank in ranks)


@lru_cache(maxsize=1)
def _encoding() -> TiktokenCounter | None:
    try:
        return TiktokenCounter(DEFAULT_ENCODING)
    except ConfigurationError:
        return None
