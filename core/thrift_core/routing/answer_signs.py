"""Signs in an answer that it may be wrong, found without knowing what is right."""

from __future__ import annotations

import math
import re
import zlib

from thrift_core.routing.arithmetic import check_sums
from thrift_core.routing.final_answer import WORD, Question, choices, last_line, numbers_in
from thrift_core.routing.prompt_signs import NUMBER_WORDS

_MOST_CHARACTERS = 20_000
_HEDGES = re.compile(
    r"\b(?:i'?m not (?:entirely |completely |quite )?(?:sure|certain)|not (?:entirely |completely )?(?:sure|certain)"
    r"|i (?:think|believe|guess|assume)|it (?:seems|appears)|might be|may be|could be|possibly|perhaps|probably"
    r"|presumably|most likely|unclear|ambiguous|hard to say|difficult to (?:say|determine)|cannot be determined"
    r"|not enough information|none of the (?:above|options|choices)|closest (?:answer|option)|approximately correct"
    r"|let'?s assume|assuming|there (?:seems|appears) to be (?:an? )?(?:error|mistake|typo))\b",
    re.IGNORECASE,
)
_REFUSALS = re.compile(
    r"\b(?:i (?:can'?t|cannot|am unable to|'?m unable to|am not able to|'?m not able to) (?:help|assist|answer|provide"
    r"|do|fulfil|comply|access|browse|determine)|i (?:don'?t|do not) (?:know"
    r"|have (?:access|enough|information|the ability))"
    r"|as an ai(?: language)? model|i'?m sorry,? but|i apologi[sz]e,? but|unable to answer)\b",
    re.IGNORECASE,
)
_TURNS = re.compile(
    r"\b(?:wait|however|but|let me (?:re|try|correct|check)\w*|actually|on second thought|correction|re-?check"
    r"|mistake|instead|alternatively)\b",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"final answer|the answer is|answer:|####|\\boxed|therefore|thus|hence|so the|in total|in conclusion", re.IGNORECASE
)
_END = re.compile(r"[.!?\)\]\}\"'`>*:\d]\s*$")
_VARIABLES = re.compile(r"\b[a-zA-Z]\s*=|\b\d+[a-zA-Z]\b|\blet\b")
_CHAINS = re.compile(r"=\s*[^=\n]{1,40}=")
_LONG_DECIMALS = re.compile(r"\d\.\d{3,}")
_VERDICTS = re.compile(r"\b(?:incorrect|correct|wrong|false|true)\b", re.IGNORECASE)
_NEGATIVE_END = re.compile(r"-\s?\$?\d[\d.,]*\W*$")
_FINAL_SIGNS = ("whole", "copied", "size", "relative", "repeated", "negative", "zero", "small")
_CHOICE_SIGNS = ("chosen", "letters", "place", "support", "lead", "rivals", "computed", "distance", "mentioned")


def answer_signs(question: Question, answer: str) -> dict[str, float]:
    """Return signs by name: counts, logarithms of counts, and shares; 0 for nothing to see.

    Example:
        >>> from thrift_core.routing.final_answer import read_question
        >>> signs = answer_signs(read_question("What is 2 + 3 times 4?"), "I think 3 * 4 = 13, so the answer is 15.")
        >>> signs["hedges"] > 0, signs["wrong_sums"] > 0, signs["refusals"] > 0
        (True, True, False)
    """
    text = answer[:_MOST_CHARACTERS]
    last = last_line(text)
    numbers = numbers_in(text)
    return {
        **_style(text, last),
        **_sums(question, text, numbers),
        **_final(question, text, last, numbers),
        **_choice(question, text),
    }


def _style(text: str, last: str) -> dict[str, float]:
    words = WORD.findall(text.lower())
    size = math.log1p(len(words))
    end = text.rstrip()[-1:]
    return {
        "hedges": math.log1p(len(_HEDGES.findall(text))),
        "refusals": float(len(_REFUSALS.findall(text[:600]))),
        "turns": math.log1p(len(_TURNS.findall(text))),
        "final": float(_FINAL.search(text[-300:]) is not None),
        "is_cut": float(bool(text) and _END.search(text) is None),
        "repeats": _repeats(text),
        "answer_words": size,
        "answer_words_squared": size * size,
        "lines": math.log1p(text.count("\n")),
        "last_line": math.log1p(len(last)),
        "marked": float("####" in text or "\\boxed" in text),
        "ends_sentence": float(end in (".", "!")),
        "ends_digit": float(end.isdigit()),
        "open_marks": float(text.count("<<") != text.count(">>")),
        "open_brackets": float(text.count("(") != text.count(")")),
        "verdicts": math.log1p(len(_VERDICTS.findall(text))),
    }


def _sums(question: Question, text: str, numbers: list[float]) -> dict[str, float]:
    sums = check_sums(text)
    seen = set(numbers)
    given = [*question.numbers, *(NUMBER_WORDS[w] for w in WORD.findall(question.stem.lower()) if w in NUMBER_WORDS)]
    unused = sum(number not in seen for number in given)
    own = set(WORD.findall(text.lower()))
    return {
        "right_sums": math.log1p(sums.right),
        "wrong_sums": math.log1p(sums.wrong),
        "answer_numbers": math.log1p(len(numbers)),
        "unused_share": unused / len(given) if given else 0.0,
        "unused": float(len({number for number in given if number not in seen})),
        "answer_decimals": sum(not number.is_integer() for number in numbers) / (1 + len(numbers)),
        "long_decimals": math.log1p(len(_LONG_DECIMALS.findall(text))),
        "variables": math.log1p(len(_VARIABLES.findall(text))),
        "chains": math.log1p(len(_CHAINS.findall(text))),
        "equations": math.log1p(text.count("=")),
        "echo": len(question.words & own) / (1 + len(own)),
    }


def _final(question: Question, text: str, last: str, numbers: list[float]) -> dict[str, float]:
    ending = numbers_in(last)
    signs = {"ends_in_number": float(bool(ending)), **dict.fromkeys(_FINAL_SIGNS, 0.0)}
    if question.options or not numbers:
        return signs
    value = ending[-1] if ending else numbers[-1]
    largest = max(question.numbers, default=0.0)
    return signs | {
        "whole": float(value.is_integer()),
        "copied": float(value in question.numbers),
        "size": math.log1p(value),
        "relative": math.log1p(value) - math.log1p(largest),
        "repeated": math.log1p(numbers.count(value)),
        "negative": float(_NEGATIVE_END.search(last) is not None),
        "zero": float(value == 0),
        "small": float(value <= 1),
    }


def _choice(question: Question, text: str) -> dict[str, float]:
    signs: dict[str, float] = dict.fromkeys(_CHOICE_SIGNS, 0.0)
    if not question.options:
        return signs
    named = [letter for letter in choices(text) if letter in question.options]
    reasoning = text[: max(0, text.lower().rfind("answer"))] or text
    signs["mentioned"] = float(sum(f"({letter})" in reasoning for letter in question.options))
    signs["letters"] = float(len(set(named)))
    if not named:
        return signs
    chosen, letters = named[-1], list(question.options)
    said = set(WORD.findall(reasoning.lower()))
    support = {letter: _support(option, said) for letter, option in question.options.items()}
    rivals = [value for letter, value in support.items() if letter != chosen]
    return signs | {
        "chosen": 1.0,
        "place": letters.index(chosen) / len(letters),
        "support": support[chosen],
        "lead": support[chosen] - max(rivals),
        "rivals": sum(value >= support[chosen] for value in rivals) / len(rivals),
        **_computed(question.options[chosen], reasoning),
    }


def _support(option: str, said: set[str]) -> float:
    words = WORD.findall(option.lower())
    return sum(word in said for word in words) / len(words) if words else 0.0


def _computed(option: str, reasoning: str) -> dict[str, float]:
    """Say whether the chosen option's number is one that the reasoning came to, and how far from its last ones."""
    stated, found = numbers_in(option), numbers_in(reasoning)
    if not stated or not found:
        return {}
    value = stated[-1]
    nearest = min(abs(value - number) / (abs(value) + 1e-9) for number in found[-3:])
    return {"computed": 1.0 if value in found else -1.0, "distance": min(1.0, nearest)}


def _repeats(text: str) -> float:
    """Return how much better a text can be squeezed than plain writing of its length, 0 to 1."""
    if len(text) < 200:
        return 0.0
    raw = text.encode("utf-8", "replace")
    return max(0.0, min(1.0, (0.33 - len(zlib.compress(raw, 1)) / len(raw)) / 0.33))
