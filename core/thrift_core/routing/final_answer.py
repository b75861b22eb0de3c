"""What an answer comes to: the option it chooses, the number it ends with, and whether two answers agree."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NUMBER = re.compile(r"\d[\d,]*\.?\d*")
WORD = re.compile(r"[^\W_]+")
_OPTION = re.compile(r"(?m)^\s*\(?([A-Z])[.):]\s+(.*)$")
_CHOICE = re.compile(r"(?:answer|option|choice)\s*(?:is|:)?\s*:?\s*\**\(?([A-Z])\b\)?", re.IGNORECASE)
_BARE_CHOICE = re.compile(r"\s*\(?([A-Z])(?:[).:]|\s*$)")
_MOST_CHARACTERS = 20_000
_FEW_WORDS = 12
_LARGEST = 1e15


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt as it is compared with answers.

    Attributes:
        text: all of it.
        stem: the part before the first option.
        options: texts of lettered options by letter; empty where there are none.
        numbers: the numbers of the stem, in order.
        words: all its words, in lower case.
    """

    text: str
    stem: str
    options: dict[str, str] = field(default_factory=dict[str, str])
    numbers: tuple[float, ...] = ()
    words: frozenset[str] = frozenset()


def read_question(text: str) -> Question:
    r"""Return a prompt with its lettered options, if it has two or more.

    Example:
        >>> asked = read_question("Which is odd?\nA. 2\nB. 3")
        >>> asked.stem.strip(), asked.options
        ('Which is odd?', {'A': '2', 'B': '3'})
    """
    text = text[:_MOST_CHARACTERS]
    found = list(_OPTION.finditer(text))
    options = {match[1]: match[2] for match in found} if len(found) > 1 else {}
    stem = text[: found[0].start()] if options else text
    return Question(text, stem, options, tuple(numbers_in(stem)), frozenset(WORD.findall(text.lower())))


def numbers_in(text: str) -> list[float]:
    """Return the numbers of a text, without signs, in order."""
    return [min(float(found.replace(",", "").rstrip(".")), _LARGEST) for found in NUMBER.findall(text)]


def choices(answer: str) -> list[str]:
    """Return the letters that an answer names as its choice, in order."""
    named = [letter.upper() for letter in _CHOICE.findall(answer)]
    if not named and len(answer) < 40 and (bare := _BARE_CHOICE.match(answer)):
        named = [bare[1]]
    return named


def last_line(answer: str) -> str:
    """Return the last line that says something."""
    return next((line for line in reversed(answer.strip().split("\n")) if line.strip()), "")


def final_form(question: Question, answer: str) -> str | None:
    r"""Return what an answer comes to, to be compared with another's; None where that cannot be told.

    Example:
        >>> asked = read_question("How many?")
        >>> final_form(asked, "3 * 4 = 12.\nThe answer is 12."), final_form(asked, "#### 12.0")
        ('12', '12')
    """
    if question.options:
        named = [letter for letter in choices(answer) if letter in question.options]
        return named[-1] if named else None
    if found := numbers_in(last_line(answer)):
        return f"{found[-1]:g}"
    words = WORD.findall(answer.lower())
    return " ".join(words) if 0 < len(words) <= _FEW_WORDS else None


def agreement(question: Question, answer: str, other: str) -> tuple[float, float]:
    """Return whether two answers come to the same (1, 0, or one half where that cannot be told) and their common words.

    Example:
        >>> agreement(read_question("How many?"), "It is 12.", "I get 13.")[0]
        0.0
    """
    one, two = final_form(question, answer), final_form(question, other)
    same = 0.5 if one is None and two is None else float(one == two)
    left, right = set(WORD.findall(answer.lower())), set(WORD.findall(other.lower()))
    return same, len(left & right) / max(1, len(left | right))
