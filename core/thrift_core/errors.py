"""Every error thrift raises on purpose.

ThriftError
├── ConfigurationError (ValueError)   a setting that cannot work, found at construction
├── MissingExtra (ImportError)        an optional dependency is not installed; names the extra
├── LedgerError                       the ledger file cannot be opened, read or written
├── CascadeExhausted                  no tier of a cascade gave an answer that can be used
└── BudgetExceeded                    a hard limit would be passed; raised before the call goes out
    └── RunawayStopped                a task repeats itself or makes too many calls
"""


class ThriftError(Exception):
    """Whatever thrift raises on purpose."""


class ConfigurationError(ThriftError, ValueError):
    """A setting cannot work. The message says what was given and what would do."""


class MissingExtra(ThriftError, ImportError):
    """An optional dependency is missing. The message names the extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install '{extra}'")


class LedgerError(ThriftError):
    """The ledger file cannot be opened, read or written."""


class CascadeExhausted(ThriftError):
    """No tier of a cascade gave an answer that can be used. The message says what each of them did."""


class BudgetExceeded(ThriftError):
    """A hard budget would be passed by this call, so the call was not made.

    Attributes:
        budget: the limit in words, such as ``$5.00 per user per day``.
        scope: whom it stopped, such as ``user=ann``.
        used: what was spent and reserved before this call, in the budget's unit.
        asked: what this call could have cost at worst, in the budget's unit.
    """

    def __init__(self, message: str, *, budget: str, scope: str, used: object, asked: object) -> None:
        super().__init__(message)
        self.budget = budget
        self.scope = scope
        self.used = used
        self.asked = asked


class RunawayStopped(BudgetExceeded):
    """A task repeats the same tool call or makes too many calls, so the next call was not made."""
