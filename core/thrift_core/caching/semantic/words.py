"""The words of a question that may carry meaning, in order; what is left out is small and listed here."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from thrift_core.caching.semantic.normal_form import folded

# Ways to open and close a request that ask for nothing. Anchored, so that "can you" inside a question stays.
_OPENINGS = re.compile(
    r"^(?:(?:hi|hello|hey|dear (?:team|support)|good (?:morning|afternoon|evening)|thanks|thank you|please|kindly|"
    r"excuse me|sorry to bother you|so|well|okay|ok|um|quick question)(?:\s+(?:there|all|team|everyone))?\b"
    r"[\s,.!:;-]*)+",
    re.IGNORECASE,
)
_REQUESTS = re.compile(
    r"^(?:(?:can|could|would|will) you (?:please |kindly )?(?:(?:tell|let) me know|tell me|explain to me)\b|"
    r"(?:please |kindly )?tell me\b|i(?: would|'d) like to know\b|i want to know\b|do you (?:happen to )?know\b|"
    r"(?:i was|i am|i'm) wondering\b|may i (?:please )?(?:ask|know)\b)[\s,:]*",
    re.IGNORECASE,
)
_CLOSINGS = re.compile(
    r"[\s,.!;-]*\b(?:please|thanks|thank you|thanks (?:a lot|in advance)|thank you (?:very much|in advance)|cheers)"
    r"(?P<end>[\s.!?]*)$",
    re.IGNORECASE,
)
_HOW = re.compile(r"^how (?:do|can|could|would|might) i\b", re.IGNORECASE)
_CONTRACTIONS = {
    "what's": "what is",
    "whats": "what is",
    "where's": "where is",
    "who's": "who is",
    "when's": "when is",
    "how's": "how is",
    "it's": "it is",
    "that's": "that is",
    "there's": "there is",
    "i'm": "i am",
    "i've": "i have",
    "i'll": "i will",
    "you're": "you are",
    "we're": "we are",
    "they're": "they are",
    "isn't": "is not",
    "aren't": "are not",
    "wasn't": "was not",
    "weren't": "were not",
    "don't": "do not",
    "doesn't": "does not",
    "didn't": "did not",
    "can't": "can not",
    "cannot": "can not",
    "couldn't": "could not",
    "won't": "will not",
    "wouldn't": "would not",
    "shouldn't": "should not",
    "haven't": "have not",
    "hasn't": "has not",
    "hadn't": "had not",
}
_HARMLESS = frozenset({"a", "an", "the", "please", "kindly"})
# After one of these a question mark says nothing more.
_ASKING = frozenset(
    {"what", "where", "when", "who", "whom", "whose", "why", "which", "how", "is", "are", "was", "were", "do",
     "does", "did", "can", "could", "will", "would", "should", "may", "might", "has", "have", "had"}
)  # fmt: skip
# A number keeps its sign, its decimals, its groups and what makes it a date, a time, a version or a range.
_TOKEN = re.compile(r"[-+−]?\d[\d.,:/–-]*\d|[-+−]?\d|[^\W\d]\w*(?:['’]\w+)*|\w+|[^\w\s]")
# Signs that only punctuate, where a space or the end of the text follows.
_PUNCTUATION = frozenset(".,;:!\"'“”‘’…-")


@lru_cache(maxsize=8192)
def significant_words(text: str) -> tuple[str, ...]:
    """Return the words, numbers and signs of a text that may carry meaning, in order.

    Left out are greetings, thanks and pleas at its ends, articles, and punctuation. Contractions are written out, and
    `how do I`, `how can I` and `how to` are one. Everything else stays: negation, numbers, pronouns, prepositions,
    signs, and every word of a language that the lists do not know. A text of several lines keeps its line breaks.

    Example:
        >>> significant_words("Hello, what's the refund policy for order 66-B, please?")
        ('what', 'is', 'refund', 'policy', 'for', 'order', '66', '-', 'b')
        >>> significant_words("What is a refund policy for order 66-C?")[-1]
        'c'
    """
    composed = unicodedata.normalize("NFC", text).translate({0x2019: "'", 0x2018: "'"}).strip()
    asked = composed.endswith("?")
    core = _stripped(composed)
    words: list[str] = []
    for match in _TOKEN.finditer(core):
        words += _read(core, match, is_first=not words)
    kept = [word for word in words if word not in _HARMLESS]
    if "\n" in core:
        kept += [f"lines {core.count(chr(10))}"]
    if asked and kept and kept[0] not in _ASKING:
        kept.append("?")
    return tuple(kept)


def _stripped(text: str) -> str:
    opened = _REQUESTS.sub("", _OPENINGS.sub("", text), count=1)
    closed = _CLOSINGS.sub(r"\g<end>", opened)
    return _HOW.sub("how to", closed if closed.strip(" .!?") else text)


def _read(text: str, match: re.Match[str], *, is_first: bool) -> list[str]:
    sign = match.group()
    if sign in _PUNCTUATION and _only_punctuates(text, match):
        return []
    if sign == "?":
        return []
    word = folded(sign, is_first=is_first)
    written = _CONTRACTIONS.get(word.lower())
    return written.split() if written else [word]


def _only_punctuates(text: str, match: re.Match[str]) -> bool:
    before = text[match.start() - 1 : match.start()]
    after = text[match.end() : match.end() + 1]
    return not after or not before or after.isspace() or before.isspace() or not (before.isalnum() and after.isalnum())


def written_out(word: str) -> list[str]:
    """Return a word in small letters as the words that it contracts, itself if it contracts none."""
    return (_CONTRACTIONS.get(word) or word).split()
