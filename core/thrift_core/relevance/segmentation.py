"""Finds sentences, clauses and words in text of any script, by Unicode's own character properties.

No language is asked for or guessed. Sentences end after Unicode's sentence terminators (UAX #29, Sentence_Break) and at
line ends; where a script writes no spaces between words (UAX #14, classes ID, CJ and SA), pairs of neighbouring
characters stand for words, which retrieval has found to work as well as dictionaries.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

# A longer stretch without an end mark is a table, a log or a script that marks none; it is cut where it can be.
MAX_SENTENCE = 600
_LONGEST_REMEMBERED = 20_000
# Lines of fewer characters are not wrapped for their length.
_WRAPPED = 40
# Longer runs of letters are no words; they are cut so that nothing is quadratic in their length.
_MAX_WORD = 64
_ASCII_WORD = re.compile(rf"\w{{1,{_MAX_WORD}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Segments:
    """A text taken apart.

    Attributes:
        spans: start and end of each sentence, blanks at both ends left out, in reading order.
        words: the normalised words of each sentence.
        asks: whether each sentence ends in a question mark; empty: not looked at, as if none did.
    """

    spans: tuple[tuple[int, int], ...]
    words: tuple[tuple[str, ...], ...]
    asks: tuple[bool, ...] = ()


def segment(text: str) -> Segments:
    """Return the sentences and words of a text; those of a text of usual length are remembered, for passages return."""
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _segmented(text)


def forget_segments() -> None:
    """Forget all texts, to measure what a new one costs."""
    _remembered.cache_clear()


def _segmented(text: str) -> Segments:
    spans = tuple(sentences(text))
    asks = tuple(_is_question_mark(text[end - 1]) for _, end in spans)
    return Segments(spans, tuple(tuple(words(text[start:end])) for start, end in spans), asks)


_remembered = lru_cache(maxsize=4096)(_segmented)


def sentences(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of a text start and end, without the blanks around them."""
    found: list[tuple[int, int]] = []
    start = len(text) - len(text.lstrip())
    has_word = _word().search
    for mark in _sentence_end().finditer(text, start):
        end = mark.end(1) if mark.end(1) >= 0 else start + len(text[start : mark.start()].rstrip())
        if end - start > MAX_SENTENCE:
            found += _shorter(text, start, end)
        elif has_word(text, start, end) is not None:
            found.append((start, end))
        else:
            continue
        start = mark.end()
    if len(text) - start > MAX_SENTENCE:
        return found + _shorter(text, start, len(text))
    return found + _stripped(text, start, len(text))


def clauses(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the clauses of a sentence: cut after commas, colons and the like of any script."""
    return _cut_at(text, start, end, _clause_end())


def words(text: str) -> list[str]:
    """Return the words of a text, folded so that spellings of the same word are equal."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    folded = unicodedata.normalize("NFKC", text).casefold()
    found: list[str] = []
    for run in _word().findall(folded):
        if run.isascii():
            found.append(run)
        else:
            found += _split_run(run)
    return found


@lru_cache(maxsize=65_536)
def _split_run(run: str) -> tuple[str, ...]:
    """Return the words of a run of letters that may be of several scripts."""
    found: list[str] = []
    for part in _script_run().findall(run):
        if _is_unspaced(part[0]):
            found += [part] if len(part) == 1 else map("".join, pairwise(part))
        else:
            # Decomposed, so that syllables show their letters and an accent more or less is a small difference.
            found.append(unicodedata.normalize("NFD", part))
    return tuple(found)


def _stripped(text: str, start: int, end: int) -> list[tuple[int, int]]:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    return [(start + left, start + right)] if right > left else []


def _shorter(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Cut a stretch that is too long at clauses, or where there are none at blanks, or anywhere."""
    found: list[tuple[int, int]] = []
    for first, last in _packed(clauses(text, start, end)):
        if last - first <= MAX_SENTENCE:
            found.append((first, last))
            continue
        for left, right in _packed(_cut_at(text, first, last, _blank())):
            found += [(at, min(at + MAX_SENTENCE, right)) for at in range(left, right, MAX_SENTENCE)]
    return [piece for first, last in found for piece in _stripped(text, first, last)]


def _packed(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join neighbouring pieces as long as the result is not too long."""
    joined: list[tuple[int, int]] = []
    for start, end in pieces:
        if joined and end - joined[-1][0] <= MAX_SENTENCE // 2:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _cut_at(text: str, start: int, end: int, mark: re.Pattern[str]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for hit in mark.finditer(text, start, end):
        found += _stripped(text, start, hit.end())
        start = hit.end()
    return found + _stripped(text, start, end)


@lru_cache(maxsize=8192)
def _is_question_mark(character: str) -> bool:
    """Whether a character is a question mark of any script, by its name in Unicode; not all scripts write one."""
    return "QUESTION MARK" in unicodedata.name(character, "")


@lru_cache(maxsize=8192)
def _is_unspaced(character: str) -> bool:
    return _unspaced().match(character) is not None


@cache
def _word() -> re.Pattern[str]:
    return _compiled(rf"\w{{1,{_MAX_WORD}}}")


@cache
def _script_run() -> re.Pattern[str]:
    return _compiled(r"[\p{LB=ID}\p{LB=CJ}]+|[\p{LB=SA}][\p{LB=SA}\p{M}]*|[\w--[\p{LB=ID}\p{LB=CJ}\p{LB=SA}]]+")


@cache
def _unspaced() -> re.Pattern[str]:
    return _compiled(r"[\p{LB=ID}\p{LB=CJ}\p{LB=SA}]")


@cache
def _sentence_end() -> re.Pattern[str]:
    # A full stop is also written after initials and short titles, before lower case and inside numbers and names.
    # The first group, if there is one, ends where the sentence does; the blanks after it are nobody's.
    return _compiled(
        r"((?:\p{SB=STerm}+|(?<!\b\p{L})(?<!\b\p{Lu}\p{Ll}{1,2})\p{SB=ATerm}+(?=\W*\s+[^\p{Ll}\s]|\s*\Z))"
        r"[\p{SB=Close}\p{Pe}\p{Pf}'\"]*)\s*"
        # A line of usual length that goes on in lower case was only wrapped.
        rf"|(?<![^\n]{{{_WRAPPED}}})\n\s*|\n(?![^\S\n]*\p{{Ll}})\s*"
    )


@cache
def _clause_end() -> re.Pattern[str]:
    return _compiled(r"[\p{SB=SContinue}\p{Terminal_Punctuation}\p{Pd}]+(?=\s|[\p{LB=ID}\p{LB=CJ}])\s*")


@cache
def _blank() -> re.Pattern[str]:
    return _compiled(r"\s+")


def _compiled(pattern: str) -> re.Pattern[str]:
    # The standard library's patterns, with Unicode's properties besides; it takes long to import and has no types.
    module = importlib.import_module("regex")
    compiled: re.Pattern[str] = module.compile(pattern, module.V1)
    return compiled
