import pytest
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.meter import Meter
from thrift_core.errors import ConfigurationError
from thrift_core.thrift import Thrift


def test_a_limit_alone_is_refused_since_nobody_would_count_it():
    with pytest.raises(ConfigurationError, match=r"give Budgets\(Budget\(\.\.\.\)\)"):
        Meter(budgets=Budget(limit_usd="5"))


@pytest.mark.parametrize("ledger", ["thrift.sqlite", Budgets(Budget(limit_usd="5")), 3])
def test_a_ledger_that_is_none_is_refused(ledger):
    for make in (Meter, lambda given: Thrift(ledger=given)):
        with pytest.raises(ConfigurationError, match="give a Ledger, such as"):
            make(ledger)


def test_budgets_that_are_none_are_refused():
    with pytest.raises(ConfigurationError, match="the budgets are a dict"):
        Meter(budgets={"usd": 5})
