"""Reads a question into tokens of known kinds: words, numbers with their units, dates, ids."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from thrift_core.caching.matching import lexicon
from thrift_core.caching.semantic.words import written_out

TokenKind = Literal["word", "number", "date", "id"]
_LONGEST = 4000
_TOKEN = re.compile(
    r"(?P<web>https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.]+|[\w-]+\.(?:com|org|net|io|dev|co|edu|gov)\b)"
    r"|(?P<picture>[\U0001F300-\U0001FAFF\u2600-\u27BF])"
    r"|(?P<iso>\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[/.]\d{1,2}[/.]\d{2,4})"
    r"|(?P<clock>\d{1,2}:\d{2}(?:\s?[ap]\.?m\b\.?)?|\d{1,2}\s?[ap]m\b)"
    r"|(?P<version>v?\d+(?:\.\d+){2,}|v\d+(?:\.\d+)*\b)"
    r"|(?P<ordinal>\d+(?:st|nd|rd|th)\b)"
    r"|(?P<amount>[-+−]?\d+(?:[,']\d{3})*(?:\.\d+)?(?:\s?(?:k|bn|lakh|lakhs|crore|crores|million|billion|thousand)\b)?)"
    r"(?!\w*[^\W\d_]|-\w*\d|-[^\W\d_]{1,2}\b)"
    r"|(?P<code>(?=[\w/#-]*\d)(?=[\w/#-]*[^\W\d_])[^\W_][\w/#-]*[^\W_]|[A-Z]+\d+|\d+[A-Z]+)"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*[+#]*)"
    r"|(?P<sign>°[CF]?|[$€£¥₹%<>=+*^&|~≤≥≠→])|(?P<loose>\d+)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
# "600g", "16GB", "5km": a number and its unit. One digit before a single letter is a name: "4g", "6s".
_GLUED = re.compile(
    r"(?<![\w.-])(\d+(?:[.,]\d+)*)(km|kg|gb|mb|tb|cm|mm|ml|mi|mins?|hrs?|lbs?|oz|ft|secs?|usd|eur|(?<=\d\d)[gs])\b",
    re.IGNORECASE,
)
_PICTURE = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_LATIN = re.compile(r"[a-z]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a question.

    Attributes:
        kind: what it is.
        key: its canonical form; equal keys mean the same.
        text: as it was written.
        unit: of a number, in a canonical form; empty for none.
        plain: of a number, its value in the unit in which it was written.
        is_name: it has a capital inside a sentence, as names have.
    """

    kind: TokenKind
    key: str
    text: str
    unit: str = ""
    plain: str = ""
    is_name: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """A question as tokens.

    Attributes:
        tokens: in order.
        is_readable: the text is in a script whose words are known here.
        is_negated: an odd number of its words negate.
        asks: the question words in it, such as `why` and `how`.
    """

    tokens: tuple[Token, ...]
    is_readable: bool
    is_negated: bool
    asks: frozenset[str]


@lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """Return a question's tokens.

    Example:
        >>> [token.key for token in read("Is €250 more than two hundred euros?").tokens]
        ['is', '250', 'more', 'than', '200']
        >>> read("Где мой заказ?").is_readable
        False
    """
    plain = unicodedata.normalize("NFC", text[:_LONGEST]).replace("’", "'")
    tokens = tuple(_with_units(_numbers(list(_raw(_GLUED.sub(r"\1 \2", plain))))))
    is_readable = len(text) <= _LONGEST and (plain.isascii() or all(map(_is_known, plain)))
    words = [token.key for token in tokens if token.kind == "word"]
    negations = sum(word in lexicon.NEGATIONS for word in words)
    asks = frozenset(lexicon.ASKING[word] for word in words if word in lexicon.ASKING)
    return Reading(tokens, is_readable and bool(tokens), negations % 2 == 1, asks)


def _is_known(sign: str) -> bool:
    """Whether a letter is Latin, and a sign one that may be compared."""
    if sign.isascii():
        return True
    if sign.isalpha():
        return bool(_LATIN.match(unicodedata.normalize("NFD", sign)))
    return bool(_PICTURE.match(sign)) or unicodedata.category(sign) not in {"So", "Cs", "Co", "Cn"}


def _raw(text: str) -> Iterator[Token]:
    is_start = True
    for match in _TOKEN.finditer(text):
        kind, sign = match.lastgroup or "word", match.group()
        if kind == "word":
            is_name = sign[0].isupper() and not is_start and sign.lower() not in {"i", "i'm", "i've", "i'd", "i'll"}
            for word in _words(sign.lower()):
                yield Token("word", word, sign, is_name=is_name)
        else:
            yield _special(kind, sign)
        is_start = text[match.end() : match.end() + 2].strip()[:1] in {".", "?", "!", ":"}


def _words(word: str) -> list[str]:
    written = written_out(word)
    # What the list of contractions does not know is a possessive: "my wife's account" is about the wife.
    return [word.removesuffix("'s").removesuffix("'")] if written == [word] else written


def _special(kind: str, sign: str) -> Token:
    lowered = sign.lower()
    if kind == "iso":
        return Token("date", "-".join(part.lstrip("0") for part in re.split(r"[-/.]", lowered)), sign)
    if kind == "clock":
        return Token("date", _clock(lowered), sign)
    if kind in {"ordinal", "sign"} or lowered in lexicon.EXPANSIONS:
        return Token("word", lowered, sign)
    if kind in {"web", "version", "code", "picture"}:
        return Token("id", re.sub(r"[-/#]", "", lowered), sign)
    return Token("date", lowered, sign) if _YEAR.fullmatch(lowered) else _number(lowered, sign)


def _number(text: str, sign: str) -> Token:
    key = _amount(text)
    return Token("number", key, sign, plain=key)


def _clock(text: str) -> str:
    """Return a time of day in 24 hours, such as `18:00` for `6 pm`."""
    match = re.match(r"(\d{1,2})(?::(\d{2}))?\s?([ap])?", text)
    if match is None:
        return text
    hour = int(match.group(1)) % 12 + 12 * (match.group(3) == "p") if match.group(3) else int(match.group(1))
    return f"{hour}:{match.group(2) or '00'}"


def _amount(text: str) -> str:
    match = re.fullmatch(r"([-+−]?[\d,'.]+?)\s?([a-z]*)", text)
    if match is None:
        return text
    try:
        return _plain(float(match.group(1).replace(",", "").replace("'", "").replace("−", "-"))
                      * lexicon.SCALES.get(match.group(2), 1))  # fmt: skip
    except ValueError:
        return text


def _plain(value: float) -> str:
    return f"{value:.10g}"


def _numbers(tokens: Sequence[Token]) -> Iterator[Token]:
    """Turn numbers in words into digits, and numbers after a naming word into ids."""
    at = 0
    while at < len(tokens):
        stop, value = _spelled(tokens, at)
        if stop > at:
            key = _plain(value)
            yield Token("number", key, " ".join(token.text for token in tokens[at:stop]), plain=key)
            at = stop
            continue
        token = tokens[at]
        if token.key == "no" and at + 1 < len(tokens) and tokens[at + 1].kind in {"number", "id"}:
            # "Order no. 5" denies nothing.
            token = Token("word", "number", token.text)
        before = tokens[at - 1].key if at else ""
        if token.kind in {"number", "date"} and token.key.isdigit() and before in lexicon.NAMING:
            token = Token("id", token.key, token.text)
        yield token
        at += 1


def _spelled(tokens: Sequence[Token], at: int) -> tuple[int, float]:
    """Return where a number in words that begins here ends, and its value; the same place for none."""
    total, current, place = 0.0, 0.0, at
    while place < len(tokens) and tokens[place].kind == "word":
        word = tokens[place].key
        value = lexicon.SMALL_NUMBERS.get(word)
        if value is not None and _fits(current, value, is_first=place == at):
            current += value
        elif word in _LARGE and (place > at or word in {"hundred", "thousand", "dozen"}):
            scale = lexicon.SCALES[word]
            if scale < 1000:
                current = max(current, 1) * scale
            else:
                total, current = total + max(current, 1) * scale, 0.0
        elif not (place > at and word == "and" and _continues(tokens, place)):
            break
        place += 1
    if place > at and [token.key for token in tokens[place : place + 3]] == ["and", "a", "half"]:
        return place + 3, total + current + 0.5
    # "one" alone is seldom a number.
    return (at, 0.0) if place == at + 1 and tokens[at].key == "one" else (place, total + current)


_LARGE = frozenset({"hundred", "thousand", "million", "billion", "dozen"})


def _fits(current: float, value: int, *, is_first: bool) -> bool:
    """Whether a small number goes on the number before: "twenty five" does, "twelve fifteen" is two numbers."""
    if is_first or current == 0 or current % 100 == 0:
        return True
    return value < 10 and current % 10 == 0 and current % 100 >= 20


def _continues(tokens: Sequence[Token], place: int) -> bool:
    following = tokens[place + 1].key if place + 1 < len(tokens) else ""
    return tokens[place - 1].key in {"hundred", "thousand"} and following in lexicon.SMALL_NUMBERS


def _with_units(tokens: Iterator[Token]) -> Iterator[Token]:
    """Join numbers with the units beside them, on a common scale."""
    held = list(tokens)
    at = 0
    while at < len(held):
        token = held[at]
        following = held[at + 1] if at + 1 < len(held) else None
        if token.kind == "word" and token.key in "$€£¥₹" and following and following.kind == "number":
            yield _scaled(following, token.key, f"{token.text}{following.text}")
            at += 2
        elif _counts(token) and following and following.kind == "word" and following.key in lexicon.UNITS:
            yield _scaled(token, following.key, f"{token.text} {following.text}")
            at += 2
        else:
            yield _day(token)
            at += 1


def _counts(token: Token) -> bool:
    """Whether a token is a number, or a year that a unit after it would make one."""
    return token.kind == "number" or (token.kind == "date" and token.key.isdigit())


def _scaled(number: Token, unit: str, text: str) -> Token:
    name, factor = lexicon.UNITS[unit]
    try:
        return Token("number", _plain(float(number.key) * factor), text, unit=name, plain=number.key)
    except ValueError:
        return Token("number", number.key, text, unit=name, plain=number.key)


def _day(token: Token) -> Token:
    if token.kind != "word":
        return token
    if (
        token.key in lexicon.WEEKDAYS
        or token.key in lexicon.DAYS
        or (token.key in lexicon.MONTHS and (token.key != "may" or token.is_name))
    ):
        return Token("date", token.key, token.text)
    if token.key in lexicon.MONTH_SHORT and token.is_name:
        return Token("date", lexicon.MONTH_SHORT[token.key], token.text)
    return token
