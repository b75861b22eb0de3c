"""Finds what may not be cut inside: numbers, dates, names, quotes, code, links, negations, a user's own patterns.

All patterns are linear in the length of the text: runs are bounded or possessive, and nothing is looked for twice from
the same place.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

from thrift_core.compression.character_classes import characters, has_rare_letters
from thrift_core.compression.compressed import Span
from thrift_core.errors import ConfigurationError

# A user's own pattern may be slow on some text; what takes longer than this leaves the text as it is.
_OWN_PATTERN_SECONDS = 0.4
_LONGEST_QUOTE = 300
# Words that turn a statement round, in some of the languages with the most speakers. Their scope is taken to be the
# next three words: a negation that loses its verb says nothing.
_NEGATIONS = (
    "not no never none nor neither nothing nobody nowhere without cannot except unless hardly barely"
    " nicht kein keine keinen keiner nie niemals ohne weder pas jamais aucun aucune sans nunca ningún ninguna sin"
    " non mai nessun nessuna senza não nenhum sem niet geen nooit nie bez inte aldrig utan ikke aldri uten değil yok"
    " не нет ни никогда без नहीं मत ना لا لم لن ليس غير不"
)


class Protector:
    """Finds the protected stretches of texts.

    Args:
        own: a user's own patterns, in the syntax of the `regex` module.

    Raises:
        ConfigurationError: a pattern cannot be compiled; says which and why.
    """

    def __init__(self, own: Iterable[str] = ()) -> None:
        self._own = [_compiled(pattern) for pattern in own]

    def spans(self, text: str) -> list[Span]:
        """Return the protected stretches in reading order; those that touch or overlap are one.

        Raises:
            TimeoutError: a user's own pattern takes too long on this text.
        """
        own = (
            hit.span()
            for pattern in self._own
            for hit in pattern.finditer(text, timeout=_OWN_PATTERN_SECONDS)
            if hit[0]
        )
        return _merged(sorted(chain(_forms(text), _quotes(text), own)))


def cuts_inside(spans: Sequence[Span], at: int) -> bool:
    """Say whether a cut at a place would be inside one of the stretches, which stand in reading order."""
    before = bisect_left(spans, (at, at)) - 1
    return before >= 0 and spans[before][0] < at < spans[before][1]


def overlapping(spans: Sequence[Span], start: int, end: int) -> Sequence[Span]:
    """Return those of the stretches, which stand in reading order and do not overlap, that share a character."""
    first = max(0, bisect_right(spans, (start, start)) - 1)
    if first < len(spans) and spans[first][1] <= start:
        first += 1
    return spans[first : bisect_left(spans, (end, end))]


def _merged(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for start, end in spans:
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _quotes(text: str) -> Iterator[Span]:
    for pattern in _QUOTES:
        for hit in pattern.finditer(text):
            yield hit.span()


# Opening marks are told from closing ones where the script does; straight quotes must open after a blank.
_QUOTES = (
    re.compile(rf'(?<![^\s(\[])"[^"\n]{{1,{_LONGEST_QUOTE}}}+"'),
    re.compile(
        rf"“[^“”\n]{{1,{_LONGEST_QUOTE}}}+”|«[^«»\n]{{1,{_LONGEST_QUOTE}}}+»|「[^「」\n]{{1,{_LONGEST_QUOTE}}}+」"
    ),
    re.compile(rf"„[^„“”\n]{{1,{_LONGEST_QUOTE}}}+[“”]|`[^`\n]{{1,{_LONGEST_QUOTE}}}+`"),
)


def _forms(text: str) -> Iterator[Span]:
    """Yield the stretches that are protected for their form alone."""
    found = (_by_properties() if has_rare_letters(text) else _by_ranges()).finditer(text)
    return (hit.span() for hit in found if hit.lastindex is None)


@cache
def _by_properties() -> Any:
    module = importlib.import_module("regex")
    return module.compile(_pattern(str), module.V1)


@cache
def _by_ranges() -> re.Pattern[str]:
    return re.compile(_pattern(characters))


def _pattern(members: Callable[[str], str]) -> str:
    """Return the pattern of everything that is protected for its form; its one group is what need not be looked at.

    Args:
        members: says how a class of characters is written for the module that compiles it.
    """
    letter, upper, lower = members(r"\p{L}"), members(r"\p{Lu}"), members(r"\p{Ll}")
    mark, digit, currency = members(r"\p{M}"), members(r"\p{Nd}"), members(r"\p{Sc}")
    numeral, inner, word = members(r"\p{N}"), members(r"\p{L}\p{Nd}"), members(r"\w")
    negations = _alternatives(sorted(set(_NEGATIONS.split())))
    begins, ends = rf"(?<![{word}])", rf"(?![{word}])"
    address = rf"(?:https?://|www\.)[^\s<>\"')\]]{{1,2000}}+|[{word}.+%-]{{1,64}}+@[{word}-]{{1,63}}+"
    address += rf"(?:\.[{word}-]{{1,63}}+){{1,5}}"
    scope = rf"(?:[^\S\n]{{1,4}}[{letter}{mark}{numeral}'’-]{{1,40}}+){{0,3}}"
    negation = rf"(?:{begins}{negations}{ends}){scope}"
    digits = rf"[{currency}+-]?[{letter}]{{0,24}}+[{digit}][{inner}]{{0,63}}+"
    digits += rf"(?:[.,:/'’-][{digit}][{inner}]{{0,63}}+){{0,40}}+"
    number = rf"{digits}(?:[^\S\n]?[%‰°{currency}])?"
    name = rf"[{upper}][{letter}{mark}{digit}'’-]{{0,63}}+"
    part = rf"(?:{name}|{number})"
    # A name or date goes on over single blanks, initials' full stops and the comma before a year.
    joint = rf"(?:[^\S\n]|(?<=(?<![{word}])[{upper}])\.[^\S\n]?|,[^\S\n](?=[{digit}]))"
    run = rf"{part}(?:{joint}(?!{negations}{ends}){part}){{0,12}}+"
    identifier = rf"[{letter}_][{inner}]{{0,63}}+(?:(?:_|::|\.(?=[{letter}])|->)[{inner}]{{1,64}}+){{1,20}}+(?:\(\))?"
    # Most of a text is small words between blanks, of which only negations begin anything.
    plain = rf"({begins}(?:(?!{negations}{ends})[{lower}]++(?:[ ,;\n]++|[.:][ \n]++))++)"
    # Nothing but a shortened negation begins inside a word of Latin letters: looking there would take most of the time.
    return rf"{plain}|(?<![A-Za-z0-9_])(?:{address}|{negation}|{identifier}|{run})|(?<=[{word}])n['’]t{ends}{scope}"


def _alternatives(words: Sequence[str]) -> str:
    """Return a pattern of words, longer ones first, in which no letter is tried twice at the same place."""
    rests: dict[str, list[str]] = {}
    for word in words:
        rests.setdefault(word[:1], []).append(word[1:])
    may_end = rests.pop("", None) is not None
    found = "|".join(re.escape(letter) + _alternatives(rest) for letter, rest in rests.items())
    return f"(?:{found}){'?' if may_end else ''}" if found else ""


def _compiled(pattern: object) -> Any:
    module = importlib.import_module("regex")
    try:
        return module.compile(pattern, module.V1)
    except (module.error, TypeError) as error:
        raise ConfigurationError(f"protect={pattern!r} is not a pattern: {error}; give one like r'INV-\\d+'") from error
