"""Ledgers and budgets as an app gives them, checked at once: a limit that nobody counts must not pass in silence."""

from __future__ import annotations

from thrift_core.accounting.budget import Budget, RunawayGuard, SpikeAlert
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError


def ledger_of(given: object) -> Ledger:
    """Return the ledger given, or one in memory for None.

    Raises:
        ConfigurationError: it is something else.
    """
    if given is None:
        return Ledger()
    if isinstance(given, Ledger):
        return given
    raise ConfigurationError(f"the ledger is a {type(given).__name__}: give a Ledger, such as Ledger('thrift.sqlite')")


def budgets_of(given: object) -> Budgets | None:
    """Return the budgets given.

    Raises:
        ConfigurationError: it is something else, such as a limit alone.
    """
    if given is None or isinstance(given, Budgets):
        return given
    if isinstance(given, Budget | SpikeAlert | RunawayGuard):
        raise ConfigurationError(f"a limit alone is counted nowhere: give Budgets({type(given).__name__}(...))")
    raise ConfigurationError(
        f"the budgets are a {type(given).__name__}: give Budgets(...), such as "
        "Budgets(Budget(limit_usd='5', window='day'))"
    )
