"""BERT's uncased WordPiece tokenizer over a vocabulary of ours, without a tokenizer library."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

# As BERT has it: a longer word is one unknown token.
_LONGEST_WORD = 100
# Words seen before are looked up; the least recent half goes when there are this many.
_MOST_REMEMBERED = 20_000
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """Splits text into the ids of word pieces, as `BertTokenizer` with `do_lower_case=True` does.

    Pieces the vocabulary lacks are left out, and so are the marks that BERT puts around a text.

    Example:
        >>> WordPiece({"re": 0, "##set": 1, "password": 2}).ids("Reset password!")
        [0, 1, 2]

    Args:
        vocabulary: pieces to ids; pieces inside a word begin with `##`.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._remembered: dict[str, tuple[int, ...]] = {}

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text's pieces, in order."""
        out: list[int] = []
        for word in _words(text):
            known = self._remembered.get(word)
            out += self._split(word) if known is None else known
        return out

    def _split(self, word: str) -> tuple[int, ...]:
        ids = tuple(self._pieces(word))
        if len(self._remembered) >= _MOST_REMEMBERED:
            # A new dictionary, not a smaller one: another thread may be reading it.
            self._remembered = dict(list(self._remembered.items())[_MOST_REMEMBERED // 2 :])
        self._remembered[word] = ids
        return ids

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return []
        ids: list[int] = []
        start = 0
        while start < len(word):
            stop, piece = self._longest(word, start)
            if piece is None:
                return []  # a word with one unknown piece is unknown, as in BERT
            ids.append(piece)
            start = stop
        return ids

    def _longest(self, word: str, start: int) -> tuple[int, int | None]:
        prefix = "##" if start else ""
        for stop in range(len(word), start, -1):
            piece = self._vocabulary.get(prefix + word[start:stop])
            if piece is not None:
                return stop, piece
        return start, None


def _words(text: str) -> Iterator[str]:
    word: list[str] = []
    lowered = text.lower()
    plain = lowered if lowered.isascii() else unicodedata.normalize("NFD", lowered)
    for sign in plain:
        if sign.isalnum() and (sign.isascii() or not _is_cjk(sign)):
            word.append(sign)
            continue
        category = unicodedata.category(sign)
        if category == "Mn" or _is_control(sign, category):
            continue
        if sign.isspace() or category == "Zs" or _stands_alone(sign, category):
            if word:
                yield "".join(word)
                word.clear()
            if not (sign.isspace() or category == "Zs"):
                yield sign
            continue
        word.append(sign)
    if word:
        yield "".join(word)


def _stands_alone(sign: str, category: str) -> bool:
    if sign.isascii():
        return not sign.isalnum()
    return category.startswith("P") or _is_cjk(sign)


def _is_control(sign: str, category: str) -> bool:
    return (category.startswith("C") and sign not in "\t\n\r") or sign == "\ufffd"


def _is_cjk(sign: str) -> bool:
    return any(low <= ord(sign) <= high for low, high in _CJK)
