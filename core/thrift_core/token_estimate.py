"""Estimates how many tokens a text has, where no tokenizer is at hand.

The estimate is a weighted sum of counts that can be taken at millions of characters a second: words by length, runs of
punctuation, numbers, white space, and runs and characters of each script. It follows how OpenAI's `o200k_base` splits
text before it looks tokens up: a word takes the space before it along, digits go three by three, white space goes in
runs.

Mean error on texts of about 3,000 characters that the weights were not fitted on, against tiktoken 0.14 (`python
core/training/fit_token_estimate.py --data FOLDER`, which also fits them):

    English prose                     2.4 to 4.5 %    manual, meetings, questions, encyclopedia, reviews, forum posts
    code                              3.0 %           Python's standard library
    JSON                              1.0 to 2.2 %    tool results and function schemas
    logs                              1.1 to 4.6 %
    agents' terminals                 1.5 to 7.2 %
    prose in ru, ar, hi, zh           3.9, 7.5, 6.7, 9.5 %
    program messages, 30 languages    3 to 10 %       ar bg bn cs de el es fa fr gu he hi hu hy ja ka kk ko mr pl pt...
    program messages, 8 languages     11 to 16 %      sv tr da nl it ta fi id

Single sentences scatter more. Other tokenizers count otherwise, Claude's and Gemini's among them; no factor is applied,
because none is published that holds across texts.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from types import MappingProxyType

_FOREIGN = r"\u00c0-\u024f\u1e00-\u1eff"
_SCRIPTS = {
    "greek": r"\u0370-\u03ff\u1f00-\u1fff",
    "cyrillic": r"\u0400-\u052f",
    "armenian": r"\u0530-\u058f",
    "hebrew": r"\u0590-\u05ff",
    "arabic": r"\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff",
    "devanagari": r"\u0900-\u097f",
    "indic": r"\u0980-\u0dff",
    "thai": r"\u0e00-\u0eff",
    "southeast": r"\u0f00-\u109f\u1780-\u17ff",
    "georgian": r"\u10a0-\u10ff",
    "hangul": r"\u1100-\u11ff\uac00-\ud7af",
    "kana": r"\u3040-\u30ff",
    "han": r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
}
# Longer words of these scripts cost more than their share; the number is where "longer" starts.
_LONG = {"cyrillic": 6, "arabic": 5, "greek": 6, "hebrew": 4, "devanagari": 5, "armenian": 6, "kana": 4}
_RUNS = {name: re.compile(f"[{ranges}]+") for name, ranges in _SCRIPTS.items()}
_ANY_OTHER = re.compile(f"[^\x00-\x7f{_FOREIGN}{''.join(_SCRIPTS.values())}]")
_NOT_ASCII = re.compile("[^\x00-\x7f]+")
_ACCENTED_WORD = re.compile(f"(?<![A-Za-z{_FOREIGN}])[A-Za-z]*+[{_FOREIGN}][A-Za-z{_FOREIGN}]*+")
_ACCENTED = re.compile(f"[{_FOREIGN}]")
# Letters that Russian, Arabic and simplified Chinese hardly use; where they are found, text costs more.
_NOT_RUSSIAN = re.compile("[\u044a\u0400\u0402-\u040f\u0450\u0452-\u052f]")
_NOT_SIMPLIFIED = re.compile(
    "[\u9019\u500b\u5011\u4f86\u8aaa\u6642\u6703\u5c0d\u70ba\u5b78\u570b\u904e\u5f8c\u9ebc\u767c\u7d93\u9084\u9032\u6a23\u5f9e\u52d5"
    "\u958b\u9ede\u73fe\u7121\u95dc\u554f\u8207\u7576\u5be6\u65bc\u5c07\u6a94\u932f\u8a2d\u9805\u8b8a\u6578]"
)
_NOT_ARABIC = re.compile("[\u0679\u067e\u0686\u0688\u0691\u0698\u06a9\u06af\u06ba\u06be\u06c1\u06cc\u06d2]")


def _class_of(code: int) -> str:
    """Return a byte's class: a letter, A capital, 0 digit, q apostrophe, _, space, t tab, n line end, . the rest."""
    char = chr(code)
    if code > 126 or (code < 32 and char not in "\t\n\r"):
        return "u"
    if char.isalpha():
        return "a" if char.islower() else "A"
    if char.isdigit():
        return "0"
    return {"\t": "t", "\n": "n", "\r": "n", "'": "q", " ": " ", "_": "_"}.get(char, ".")


_CLASSES = bytes(ord(_class_of(code)) for code in range(256))
_ENGLISH = "the of and to in is a for that with it on you are this be not I we was"
# Common words of other languages in Latin letters that English and code hardly use.
_FOREIGN_WORDS = (
    "de la les des et que el los una di il che della del und der das mit ist nicht het een voor niet och att som og til"
    " af ikke yang dan untuk dengan tidak ve bir na je nie si se pentru un az ja ei"
)
_WORD = re.compile(rb"A?a+|A+(?!a)")
_CAPITALS = re.compile(rb"AA+")
_DIGITS = re.compile(rb"0+")
_PUNCTUATION = re.compile(rb"[._q]+")
_SPACE = re.compile(rb"[ t]{2,}|n+[ t]*|t")
_COMMON_ENGLISH = tuple(f" {word} " for word in _ENGLISH.split())
_COMMON_FOREIGN = tuple(f" {word} " for word in _FOREIGN_WORDS.split())
# Neighbours that split or join tokens.
_PAIRS = {
    "capitalised": (b"Aa",),
    "names": (b"a Aa",),
    "digits_after_space": (b" 0",),
    "letter_after_punctuation": (b".a", b".A"),
    "punctuation_between_space_and_letter": (b" .a", b" .A", b"n.a", b"n.A"),
    "letter_after_underscore": (b"_a", b"_A"),
    "letter_after_digit": (b"0a", b"0A"),
    "letter_at_line_start": (b"na", b"nA"),
    "contractions": (b"aqa",),
}
_LONGEST_WORD = 15
# A language shows in a few pages; three parts of this length are looked at.
_SAMPLE = 8_000
_LONGEST_PUNCTUATION = 5
_MAX_REPEATS = 40

# Written by core/training/fit_token_estimate.py.
WEIGHTS = MappingProxyType(
    {
        "accented_chars": 0.42,
        "accents": 0.079,
        "arabic_chars": 0.197,
        "arabic_long": 0.432,
        "arabic_runs": 0.597,
        "armenian_chars": 0.223,
        "armenian_long": 0.107,
        "armenian_runs": 0.985,
        "capitalised": 0.114,
        "capitals_chars": 0.037,
        "capitals_runs": 0.025,
        "contractions": -1.522,
        "cyrillic_chars": 0.164,
        "cyrillic_long": 0.099,
        "cyrillic_runs": 0.578,
        "devanagari_chars": 0.35,
        "devanagari_long": 0.362,
        "digits": 0.943,
        "digits_after_space": 1.327,
        "foreign_chars": 0.312,
        "foreign_words": -1.32,
        "georgian_chars": 0.103,
        "georgian_runs": 2.039,
        "greek_chars": 0.368,
        "greek_long": 0.219,
        "han_chars": 0.585,
        "han_runs": 0.948,
        "hangul_chars": 0.554,
        "hangul_runs": 0.516,
        "hebrew_chars": 0.378,
        "hebrew_long": 0.19,
        "hebrew_runs": 0.285,
        "indic_chars": 0.429,
        "indic_runs": 0.153,
        "kana_chars": 0.443,
        "kana_runs": 0.605,
        "letter_after_digit": 0.344,
        "letter_after_punctuation": -0.592,
        "letter_after_underscore": -0.764,
        "letter_at_line_start": -0.423,
        "names": 0.103,
        "not_english_chars": 0.074,
        "not_english_words": -0.296,
        "other_arabic_chars": 0.037,
        "other_chars": 0.999,
        "other_cyrillic_chars": -0.082,
        "other_cyrillic_runs": 1.219,
        "other_han_chars": 0.275,
        "punctuation_1": 0.977,
        "punctuation_2": 1.211,
        "punctuation_3": 1.478,
        "punctuation_4": 1.471,
        "punctuation_5": 2.964,
        "punctuation_between_space_and_letter": 0.601,
        "repeats": 0.007,
        "southeast_chars": 28.736,
        "southeast_runs": 28.734,
        "space_chars": 0.015,
        "space_runs": 1.216,
        "thai_chars": 0.403,
        "thai_runs": 0.209,
        "word_1": 0.884,
        "word_10": 1.254,
        "word_11": 1.094,
        "word_12": 0.87,
        "word_13": 0.988,
        "word_14": 1.053,
        "word_2": 0.955,
        "word_3": 0.947,
        "word_4": 0.939,
        "word_5": 0.967,
        "word_6": 1.034,
        "word_7": 1.001,
        "word_8": 0.93,
        "word_9": 1.128,
        "word_rest": 0.475,
    }
)


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `o200k_base` makes of a text; never 0 for a text that is not empty.

    The error on text that the weights were not fitted on is in the module's table below `WEIGHTS`.
    """
    if not text:
        return 0
    return max(1, round(sum(WEIGHTS.get(name, 0.0) * count for name, count in features(text).items())))


def features(text: str) -> dict[str, float]:
    """Return the counts that the estimate is made of, in time linear in the length of the text."""
    counts: defaultdict[str, float] = defaultdict(float)
    accents = 0
    if not text.isascii():
        accents, text = _count_scripts(text, counts)
    _count_ascii(text, accents, counts)
    return counts


def _count_scripts(text: str, counts: defaultdict[str, float]) -> tuple[int, str]:
    """Count what is not ASCII; return how many accented letters there were, and the text with a mark for the rest."""
    rest = " ".join(_NOT_ASCII.findall(text))
    accents = len(_ACCENTED.findall(rest))
    if accents:
        words = _ACCENTED_WORD.findall(text)
        counts["accents"] = accents
        counts["accented_words"] = len(words)
        counts["accented_chars"] = sum(map(len, words))
        text = _ACCENTED_WORD.sub("\x00", text)
    for script, pattern in _RUNS.items():
        if runs := pattern.findall(rest):
            counts[f"{script}_runs"] = len(runs)
            counts[f"{script}_chars"] = sum(map(len, runs))
            if cut := _LONG.get(script):
                counts[f"{script}_long"] = sum(len(run) - cut for run in runs if len(run) > cut)
    if letters := counts["cyrillic_chars"]:
        share = min(1.0, 20 * len(_NOT_RUSSIAN.findall(rest)) / letters)
        counts["other_cyrillic_chars"] = share * letters
        counts["other_cyrillic_runs"] = share * counts["cyrillic_runs"]
    if letters := counts["arabic_chars"]:
        counts["other_arabic_chars"] = min(letters, 10 * len(_NOT_ARABIC.findall(rest)))
    if (letters := counts["han_chars"]) and not counts["kana_runs"]:
        counts["other_han_chars"] = min(letters, 8 * len(_NOT_SIMPLIFIED.findall(rest)))
    counts["other_chars"] = len(_ANY_OTHER.findall(rest))
    return accents, _NOT_ASCII.sub("\x00", text)


def _count_ascii(text: str, accents: int, counts: defaultdict[str, float]) -> None:
    classes = text.encode("ascii").translate(_CLASSES)
    by_length = Counter(map(len, _WORD.findall(classes)))
    words = letters = 0
    for length, number in by_length.items():
        words += number
        letters += length * number
        counts[f"word_{min(length, _LONGEST_WORD)}"] += number
        counts["word_rest"] += max(0, length - _LONGEST_WORD) * number
    # English words are mostly one token each, words of other languages in Latin letters are not; accents and common
    # words tell them apart.
    by_accents = 12 * accents / max(1.0, letters + counts["accented_chars"])
    sample = text if len(text) <= 3 * _SAMPLE else text[:_SAMPLE] + text[len(text) // 2 :][:_SAMPLE] + text[-_SAMPLE:]
    per_word = words / max(1, len(text)) * len(sample) or 1.0
    foreign = min(1.0, max(by_accents, 5 * sum(map(sample.count, _COMMON_FOREIGN)) / per_word))
    counts["foreign_words"] = foreign * words
    counts["foreign_chars"] = foreign * letters
    not_english = 1 - min(1.0, 4 * sum(map(sample.count, _COMMON_ENGLISH)) / per_word)
    counts["not_english_words"] = not_english * words
    counts["not_english_chars"] = not_english * letters
    capitals = _CAPITALS.findall(classes)
    counts["capitals_runs"] = len(capitals)
    counts["capitals_chars"] = sum(map(len, capitals))
    counts["digits"] = sum(-(-len(run) // 3) for run in _DIGITS.findall(classes))
    for length, number in Counter(map(len, _PUNCTUATION.findall(classes))).items():
        counts[f"punctuation_{min(length, _LONGEST_PUNCTUATION)}"] += number
        counts["repeats"] += max(0, length - _MAX_REPEATS) * number
        counts["punctuation_rest"] += (min(length, _MAX_REPEATS) - min(length, _LONGEST_PUNCTUATION)) * number
    spaces = _SPACE.findall(classes)
    counts["space_runs"] = len(spaces)
    counts["space_chars"] = sum(min(len(run), _MAX_REPEATS) for run in spaces)
    counts["repeats"] += sum(max(0, len(run) - _MAX_REPEATS) for run in spaces)
    for name, pairs in _PAIRS.items():
        counts[name] = sum(map(classes.count, pairs))
