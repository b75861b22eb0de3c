"""Amounts of dollars, tokens and calls as the whole numbers that the stores count."""

from __future__ import annotations

import logging
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Any, Literal

from thrift_core.errors import ConfigurationError

Unit = Literal["usd", "tokens", "calls"]
Amount = Decimal | int

# Published prices have at most 6 decimals of a dollar per million tokens, so every token costs a whole number of
# 10^-12 dollars and sums of them are exact. Python's default context would round them at 28 digits.
_DIGITS = 12
_SMALLEST = Decimal(1).scaleb(-_DIGITS)
_TOO_MUCH = Decimal(10) ** 15
_EXACT = Context(prec=200)
logger = logging.getLogger("thrift")


def to_count(unit: Unit, amount: Amount) -> int:
    """Return an amount as a whole number: of 10^-12 dollars, rounded up, or of tokens or calls."""
    if unit != "usd":
        return int(amount)
    return int(_EXACT.scaleb(Decimal(amount), _DIGITS).to_integral_value(ROUND_CEILING))


def from_count(unit: Unit, count: int) -> Amount:
    """Return the amount that a store's whole number stands for."""
    if unit != "usd":
        return count
    amount = _EXACT.normalize(_EXACT.scaleb(Decimal(count), -_DIGITS))
    # 500 dollars are 500 and not 5E+2.
    return amount if int(amount) != amount else _EXACT.quantize(amount, Decimal(1))


def as_words(unit: Unit, amount: Amount) -> str:
    """Return an amount for people, such as `$5.00`, `1,000 tokens` or `1 call`."""
    if unit == "usd":
        text = f"{amount:,f}"
        whole, _, decimals = text.partition(".")
        return f"${whole}.{decimals.rstrip('0').ljust(2, '0')}"
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"


def dollars_given(name: str, value: Any) -> Decimal:
    """Return a sum of dollars that a user set.

    Raises:
        ConfigurationError: it is not a number above 0, or is below what the stores can count.
    """
    amount = _as_decimal(value)
    if amount is not None and _is_payable(amount):
        counted = amount.quantize(_SMALLEST, ROUND_FLOOR, context=_EXACT)
        if counted > 0:
            return amount if amount == counted else counted
    raise ConfigurationError(f'{name} must be an amount of dollars above 0, such as "5.00"; got {value!r}')


def dollars_or_none(value: Any) -> Decimal | None:
    """Return the cost of a call, None where it is unknown or is no amount of money."""
    amount = _as_decimal(value)
    if amount is not None and _is_payable(amount):
        return amount
    if value is not None:
        logger.warning("a call's cost of %r is no amount of money; it counts as unpriced", value)
    return None


def _is_payable(amount: Decimal) -> bool:
    return amount.is_finite() and 0 <= amount < _TOO_MUCH


def _as_decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        return None
    try:
        return value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        return None
