"""Finds what may not be cut inside: numbers, dates, names, quotes, code, links, negations, a user's own patterns.

All patterns are linear in the length of the text: runs are bounded or possessive, and nothing is looked for twice from
the same place.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

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
        return _merged(sorted(chain((hit.span() for hit in _builtin().finditer(text)), _quotes(text), own)))


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


@cache
def _builtin() -> Any:
    """Return the pattern of everything that is protected for its form alone."""
    module = importlib.import_module("regex")
    negations = "|".join(sorted({re.escape(word) for word in _NEGATIONS.split()}, key=len, reverse=True))
    address = r"(?:https?://|www\.)[^\s<>\"')\]]{1,2000}+|[\w.+%-]{1,64}+@[\w-]{1,63}+(?:\.[\w-]{1,63}+){1,5}"
    scope = r"(?:[^\S\n]{1,4}[\p{L}\p{M}\p{N}'’-]{1,40}+){0,3}"
    negation = rf"(?:(?<!\w)(?:{negations})(?!\w)){scope}"
    digits = r"[\p{Sc}+-]?\p{L}{0,24}+\p{Nd}[\p{Nd}\p{L}]{0,63}+(?:[.,:/'’-]\p{Nd}[\p{Nd}\p{L}]{0,63}+){0,40}+"
    number = digits + r"(?:[^\S\n]?[%‰°\p{Sc}])?"
    name = r"\p{Lu}[\p{L}\p{M}\p{Nd}'’-]{0,63}+"
    part = rf"(?:{name}|{number})"
    # A name or date goes on over single blanks, initials' full stops and the comma before a year.
    run = rf"{part}(?:(?:[^\S\n]|(?<=\b\p{{Lu}})\.[^\S\n]?|,[^\S\n](?=\p{{Nd}}))(?!(?:{negations})\b){part}){{0,12}}+"
    identifier = r"[\p{L}_][\p{L}\p{Nd}]{0,63}+(?:(?:_|::|\.(?=\p{L})|->)[\p{L}\p{Nd}]{1,64}+){1,20}+(?:\(\))?"
    # Nothing but a shortened negation begins inside a word of Latin letters: looking there would take most of the time.
    return module.compile(
        rf"(?<![A-Za-z0-9_])(?:{address}|{negation}|{identifier}|{run})|(?<=\w)n['’]t(?!\w){scope}", module.V1
    )


def _compiled(pattern: object) -> Any:
    module = importlib.import_module("regex")
    try:
        return module.compile(pattern, module.V1)
    except (module.error, TypeError) as error:
        raise ConfigurationError(f"protect={pattern!r} is not a pattern: {error}; give one like r'INV-\\d+'") from error
