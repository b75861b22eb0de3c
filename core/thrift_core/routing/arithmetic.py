"""Recomputes the plain sums that an answer writes down."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

# 12 * 3.5 = 42, (4 + 2) / 3 = 2, <<3*12=36>>, $1,200 x 3 = $3,600; a run of numbers and signs before each =.
_NUMBER = r"-?\$?\s?(?:\d[\d,]*\.?\d*|\.\d+)%?"
_SUM = re.compile(
    r"(?P<left>[(\s]*" + _NUMBER + r"(?:[)\s]*(?:[-+*/x×÷·−]|\\times|\\cdot|\\div)[(\s]*" + _NUMBER + r")+[)\s]*)"
    r"(?P<sign>[=≈])\s*(?P<right>" + _NUMBER + r")",
)
_SIGNS = str.maketrans({"x": "*", "×": "*", "·": "*", "÷": "/", "−": "-"})
_MOST_SUMS = 60
_MOST_CHARACTERS = 20_000
_TOKEN = re.compile(r"\d+\.?\d*|\.\d+|[-+*/()]")


class Sums(NamedTuple):
    """What recomputing found.

    Attributes:
        right: sums that are right, up to the rounding that their result shows.
        wrong: sums that are not.
    """

    right: int
    wrong: int


def check_sums(text: str) -> Sums:
    """Recompute the sums in a text.

    Example:
        >>> check_sums("That is <<3*12=36>>36 pens, and $1,200 / 4 = $310")
        Sums(right=1, wrong=1)
    """
    right = wrong = 0
    for number, found in enumerate(_SUM.finditer(text[:_MOST_CHARACTERS])):
        if number >= _MOST_SUMS:
            break
        value, stated = _value(found["left"]), _value(found["right"])
        if value is None or stated is None:
            continue
        if _agree(value, stated, found["right"], is_about=found["sign"] == "≈"):
            right += 1
        else:
            wrong += 1
    return Sums(right, wrong)


def _agree(value: float, stated: float, written: str, *, is_about: bool) -> bool:
    decimals = len(written.strip(" $%").partition(".")[2])
    slack = 10.0**-decimals if decimals or is_about else 0.51 if abs(value) > 20 else 1e-9
    return math.isclose(value, stated, rel_tol=0.01 if is_about else 2e-3 if decimals else 1e-9, abs_tol=slack)


def _value(text: str) -> float | None:
    plain = text.replace("\\times", "*").replace("\\cdot", "*").replace("\\div", "/").translate(_SIGNS)
    plain = re.sub(r"[$,\s]", "", plain)
    plain = re.sub(r"(\d+\.?\d*)%", r"(\1/100)", plain) if "%" in plain else plain
    tokens = _TOKEN.findall(plain)
    if "".join(tokens) != plain:
        return None
    try:
        value, rest = _sum_of(tokens, 0)
    except (ValueError, IndexError, ZeroDivisionError, OverflowError, RecursionError):
        return None
    return value if rest == len(tokens) and math.isfinite(value) else None


def _sum_of(tokens: list[str], at: int) -> tuple[float, int]:
    value, at = _product_of(tokens, at)
    while at < len(tokens) and tokens[at] in "+-":
        other, after = _product_of(tokens, at + 1)
        value, at = (value + other if tokens[at] == "+" else value - other), after
    return value, at


def _product_of(tokens: list[str], at: int) -> tuple[float, int]:
    value, at = _single(tokens, at)
    while at < len(tokens) and tokens[at] in "*/":
        other, after = _single(tokens, at + 1)
        value, at = (value * other if tokens[at] == "*" else value / other), after
    return value, at


def _single(tokens: list[str], at: int) -> tuple[float, int]:
    if tokens[at] == "-":
        value, at = _single(tokens, at + 1)
        return -value, at
    if tokens[at] == "(":
        value, at = _sum_of(tokens, at + 1)
        if tokens[at] != ")":
            raise ValueError(tokens[at])
        return value, at + 1
    return float(tokens[at]), at + 1
