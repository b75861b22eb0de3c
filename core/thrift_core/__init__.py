"""The framework-free core of thrift: what LLM calls cost, limits that hold, and the levers that cut the bill."""

from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.budget import Budget, RunawayGuard, SpikeAlert
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.errors import (
    BudgetExceeded,
    ConfigurationError,
    LedgerError,
    MissingExtra,
    RunawayStopped,
    ThriftError,
)
from thrift_core.prices import PriceBook
from thrift_core.thrift import Shadow, Thrift
from thrift_core.tokens import TokenCounter

__all__ = [
    "Attribution",
    "Budget",
    "BudgetExceeded",
    "Budgets",
    "Call",
    "ConfigurationError",
    "Ledger",
    "LedgerError",
    "MissingExtra",
    "PriceBook",
    "RunawayGuard",
    "RunawayStopped",
    "Saving",
    "Shadow",
    "SpikeAlert",
    "Thrift",
    "ThriftError",
    "TokenCounter",
    "Usage",
    "attribute",
]
