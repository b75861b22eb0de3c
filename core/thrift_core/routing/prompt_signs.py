"""Signs in a prompt of how hard it is."""

from __future__ import annotations

import math
import re

from thrift_core.routing.final_answer import NUMBER, WORD, Question

_SYMBOL = re.compile(r"[^\w\s.,;:?!'\"()-]")
_SENTENCE = re.compile(r"[.?!](?:\s|$)")
_FRACTION = re.compile(r"\d/\d|\b(?:half|third|quarter|twice|double|triple|times|percent)\b")
_NEGATION = re.compile(r"\b(?:not|except|never|least|no|incorrect|false)\b")
_RELATION = re.compile(
    r"\b(?:if|then|each|every|per|more than|less than|remaining|left|rest|total|average|difference|compare|because)\b"
)
_CODE = re.compile(r"```|\bdef \w+\(|[{};]\s*$|\bfunction\b|\bclass \w+", re.MULTILINE)
_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
NUMBER_WORDS = {word: float(value) for value, word in enumerate(_SMALL)}


def prompt_signs(question: Question) -> dict[str, float]:
    """Return signs by name, on scales that a linear model can use.

    Example:
        >>> from thrift_core.routing.final_answer import read_question
        >>> signs = prompt_signs(read_question("What is 2 + 3?"))
        >>> round(signs["numbers"], 2), signs["questions"]
        (1.1, 1.0)
    """
    text, lower = question.text, question.text.lower()
    words = WORD.findall(lower)
    stem_words = WORD.findall(question.stem.lower())
    return {
        "words": math.log1p(len(words)),
        "stem": math.log1p(len(stem_words)),
        "numbers": math.log1p(len(question.numbers)),
        "number_words": float(sum(word in NUMBER_WORDS for word in words)),
        "questions": float(text.count("?")),
        "sentences": float(len(_SENTENCE.findall(question.stem))),
        "word_length": sum(map(len, stem_words)) / max(1, len(stem_words)),
        "longest_word": float(max(map(len, words), default=0)),
        "symbols": 100 * len(_SYMBOL.findall(text)) / (1 + len(text)),
        "capitals": sum(map(str.isupper, text)) / (1 + len(text)),
        "percents": float(text.count("%")),
        "money": float(text.count("$")),
        "fractions": float(len(_FRACTION.findall(lower))),
        "negations": float(len(_NEGATION.findall(lower))),
        "relations": float(len(_RELATION.findall(lower))),
        "largest": math.log1p(max(question.numbers, default=0.0)),
        "decimals": float(sum(not number.is_integer() for number in question.numbers)),
        "statements": float("statement" in lower),
        "blanks": float("__" in text),
        "code": float(len(_CODE.findall(text))),
        **_option_signs(list(question.options.values())),
    }


def _option_signs(options: list[str]) -> dict[str, float]:
    if not options:
        return dict.fromkeys(("options", "option_length", "option_numbers", "option_spread"), 0.0)
    lengths = [len(option) for option in options]
    mean = sum(lengths) / len(lengths)
    spread = math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths))
    return {
        "options": float(len(options)),
        "option_length": math.log1p(mean),
        "option_numbers": sum(NUMBER.search(option) is not None for option in options) / len(options),
        "option_spread": spread / (1 + mean),
    }
