"""Amounts of money and tokens as people read them, and names from outside as they may safely be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

_ONE = Decimal(1)
_DIME = Decimal("0.1")
_CENT = Decimal("0.01")
# Controls (escape sequences among them), unassigned and surrogates; and the marks that turn the reading direction.
_UNSHOWABLE = frozenset({"Cc", "Cn", "Cs", "Co"})
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def decimals_for(amounts: Iterable[Decimal]) -> int:
    """Return how many decimals show a column of dollars: enough to tell its largest well from nothing."""
    largest = max((abs(amount) for amount in amounts), default=Decimal(0))
    if largest >= 100:
        return 2
    return 4 if largest >= _DIME else 6


def dollars(amount: Decimal, decimals: int | None = None) -> str:
    """Return dollars for people; what is not 0 never looks like 0.

    Example:
        >>> dollars(Decimal("1234.5")), dollars(Decimal("-0.05")), dollars(Decimal("0.0000001"))
        ('$1,234.50', '-$0.0500', '<$0.000001')
    """
    places = decimals
    if places is None:
        places = 2 if abs(amount) >= _ONE else 4 if abs(amount) >= _CENT else 6
    if not amount:
        return "$0"
    sign = "-" if amount < 0 else ""
    smallest = _ONE.scaleb(-places)
    if abs(amount) < smallest:
        return f"{sign}<${smallest:f}"
    return f"{sign}${abs(amount).quantize(smallest, ROUND_HALF_EVEN):,f}"


def with_unpriced(amount: Decimal, unpriced: int, decimals: int | None = None, *, what: str = "call") -> str:
    """Return dollars together with what they leave out, such as `$1.23 + 4 unpriced calls`."""
    if not unpriced:
        return dollars(amount, decimals)
    left_out = plural(unpriced, f"unpriced {what}")
    return f"{dollars(amount, decimals)} + {left_out}" if amount else left_out


def count(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def plural(number: int, what: str) -> str:
    """Return a number of things, such as `1 call` or `2,000 calls`."""
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def tokens(number: int) -> str:
    """Return a number of tokens in three digits or so, such as `1.25M`."""
    for limit, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{unit}" if abs(number) < 999 * limit else f"{number / limit:,.0f}{unit}"
    return str(number)


def share(part: float) -> str:
    """Return a part of 1 as a percentage."""
    return f"{part:.0%}" if part == 0 or part >= 0.1 else f"{part:.1%}"


def shown(name: str | None, nothing: str = "(none)") -> str:
    """Return a name from outside without anything that could act on a terminal or a page, cut to a readable length."""
    if name is None:
        return nothing
    text = "".join("�" if unicodedata.category(sign) in _UNSHOWABLE or sign in _TURNS else sign for sign in name[:200])
    return text if len(name) <= 80 else f"{text[:79]}…"
