"""Signs in an answer that it may be wrong, found without knowing what is right."""

from __future__ import annotations

import re
import zlib

from thrift_core.routing.arithmetic import check_sums

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
    r"(?:final answer|the answer is|answer:|####|\\boxed|therefore|thus|hence|so the|in total|in conclusion)",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"\d[\d,]*\.?\d*")
_END = re.compile(r"[.!?\)\]\}\"'`>*:\d]\s*$")


def answer_signs(question: str, answer: str) -> dict[str, float]:
    """Return signs by name; each is a count or a share, 0 for nothing to see.

    Example:
        >>> signs = answer_signs("What is 2 + 3 times 4?", "I think 3 * 4 = 13, so the answer is 15.")
        >>> signs["hedges"], signs["wrong_sums"], signs["final"]
        (1.0, 1.0, 1.0)
    """
    text = answer[:_MOST_CHARACTERS]
    sums = check_sums(text)
    numbers = _NUMBERS.findall(text)
    return {
        "hedges": float(len(_HEDGES.findall(text))),
        "refusals": float(len(_REFUSALS.findall(text[:600]))),
        "turns": float(len(_TURNS.findall(text))),
        "right_sums": float(sums.right),
        "wrong_sums": float(sums.wrong),
        "repeats": _repeats(text),
        "final": float(bool(_FINAL.search(text[-300:]))),
        "is_cut": float(bool(text) and _END.search(text) is None),
        "numbers": float(len(numbers)),
    }


def _repeats(text: str) -> float:
    """Return how much better a text can be squeezed than plain writing of its length, 0 to 1."""
    if len(text) < 200:
        return 0.0
    squeezed = len(zlib.compress(text.encode("utf-8", "replace"), 6)) / len(text.encode("utf-8", "replace"))
    return max(0.0, min(1.0, (0.33 - squeezed) / 0.33))
