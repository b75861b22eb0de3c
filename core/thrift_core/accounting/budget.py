"""The limits a user can set: on spend, on sudden spend and on runaway tasks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from thrift_core.accounting.budget_units import Amount, Unit, as_words, dollars_given
from thrift_core.accounting.budget_window import LENGTH_SECONDS, WINDOWS, Window
from thrift_core.accounting.call import Attribution
from thrift_core.errors import ConfigurationError

Per = Literal["feature", "user", "tenant", "task", "model", "run"]
PERS: tuple[Per, ...] = get_args(Per)
_UNIT_FIELDS: tuple[tuple[str, Unit], ...] = (
    ("limit_usd", "usd"),
    ("limit_tokens", "tokens"),
    ("limit_calls", "calls"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit on dollars, tokens or calls. Tokens or calls per minute make a rate limit.

    Exactly one of the three limits is given. Calls that do not say whom they are for share one allowance of their own
    (`no user`, `no feature`...), so that a forgotten attribution does not escape the limit; only limits per task or run
    pass over calls that name none, since such an allowance would never end.

    Attributes:
        limit_usd: dollars, as `Decimal`, text or a number; kept to 10^-12 dollars.
        limit_tokens: input and output tokens together.
        limit_calls: calls.
        per: whose calls are counted together: each `feature`, `user`, `tenant`, `task`, `model` or `run` by itself;
            None counts everything together.
        window: `minute`, `hour`, `day` or `month` of the UTC calendar; `run` for the lifetime of each run; None for
            ever. What is kept per task or run without an end is forgotten 30 days after its last call.
        hard: refuse calls that could pass the limit. A soft limit only tells, once what was really spent has passed it.
        on_exceeded: called once for each window and key: when a soft limit is passed, or a hard one first refuses a
            call. A soft limit without it logs a warning. It runs where the call ends, so it should be quick.
        only: count only calls that carry all the names given here.

    Raises:
        ConfigurationError: none or several limits, a limit that is not above 0, or an unknown `per` or `window`.

    Example:
        >>> str(Budget(limit_usd="5", per="user", window="day"))
        '$5.00 per user per day'
    """

    limit_usd: Decimal | str | float | None = None
    limit_tokens: int | None = None
    limit_calls: int | None = None
    per: Per | None = None
    window: Window | None = None
    hard: bool = True
    on_exceeded: Callable[[BudgetAlert], object] | None = None
    only: Attribution | None = None

    def __post_init__(self) -> None:
        given = [name for name, _ in _UNIT_FIELDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigurationError(
                f"a Budget needs exactly one of limit_usd, limit_tokens and limit_calls; got {_listed(given)}"
            )
        if self.limit_usd is not None:
            object.__setattr__(self, "limit_usd", dollars_given("limit_usd", self.limit_usd))
        else:
            _check_count(given[0], getattr(self, given[0]))
        _check_choice("per", self.per, PERS)
        _check_choice("window", self.window, WINDOWS)
        _check_callable("on_exceeded", self.on_exceeded)
        _check_only(self.only)
        if type(self.hard) is not bool:
            raise ConfigurationError(f"hard must be True or False; got {self.hard!r}")

    @property
    def unit(self) -> Unit:
        """What is limited: `usd`, `tokens` or `calls`."""
        return next(unit for name, unit in _UNIT_FIELDS if getattr(self, name) is not None)

    @property
    def limit(self) -> Amount:
        """The limit in that unit: a `Decimal` of dollars or an `int`."""
        given: Amount = next(value for name, _ in _UNIT_FIELDS if (value := getattr(self, name)) is not None)
        return given

    def __str__(self) -> str:
        words = [as_words(self.unit, self.limit)]
        words += [f"per {self.per}"] if self.per else []
        words += [f"per {self.window}"] if self.window and self.window != self.per else []
        return " ".join(words + _only_words(self.only))


@dataclass(frozen=True, slots=True)
class SpikeAlert:
    """Tells, once for each window, when spend rises far above what it has been.

    The spend of the current window is compared with the mean of the last `history` windows in which anything was spent.
    Idle windows are left out: a quiet night does not make the first call of the morning a spike. Until there are that
    many, nothing is told; after a pause of four times their length, history begins anew.

    Attributes:
        factor: how many times the mean is a spike; above 1.
        window: `minute`, `hour`, `day` or `month` of the UTC calendar.
        on_spike: called with the alert; a warning is logged if it is None.
        per: whose spend is watched by itself, as in `Budget`.
        history: how many windows make the mean.
        min_usd: spend below this is never a spike.
        only: watch only calls that carry all the names given here.

    Raises:
        ConfigurationError: a value that cannot work.
    """

    factor: float
    window: Window
    on_spike: Callable[[BudgetAlert], object] | None = None
    _: KW_ONLY
    per: Per | None = None
    history: int = 7
    min_usd: Decimal | str | float = Decimal("0.01")
    only: Attribution | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.factor) or not math.isfinite(self.factor) or self.factor <= 1:
            raise ConfigurationError(f"factor must be a number above 1, such as 3; got {self.factor!r}")
        _check_choice("window", self.window, tuple(LENGTH_SECONDS), is_optional=False)
        _check_choice("per", self.per, PERS)
        _check_count("history", self.history)
        _check_callable("on_spike", self.on_spike)
        _check_only(self.only)
        object.__setattr__(self, "min_usd", dollars_given("min_usd", self.min_usd))

    def __str__(self) -> str:
        words = [f"more than {self.factor:g} times the mean {self.window}"]
        words += [f"per {self.per}"] if self.per else []
        return " ".join(words + _only_words(self.only))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunawayGuard:
    """Stops a task that goes in circles, with `RunawayStopped` before its next call.

    A task is what the calls' `task` names, or their `run` where there is none; calls with neither are not guarded.
    Tool calls are the same when name and arguments are, whatever the order and spacing of the JSON. A step that asks
    for several tools at once repeats each of them; an answer without tool calls neither counts nor breaks the row. A
    stopped task stays stopped until it has been left alone for 7 days.

    Attributes:
        max_repeats: stop after the same tool call this many times in a row; None to allow any number.
        max_calls_per_task: calls allowed for one task, failed ones included; None to allow any number.

    Raises:
        ConfigurationError: both are None, or a value is too small.
    """

    max_repeats: int | None = 5
    max_calls_per_task: int | None = 100

    def __post_init__(self) -> None:
        if self.max_repeats is None and self.max_calls_per_task is None:
            raise ConfigurationError("a RunawayGuard needs max_repeats, max_calls_per_task or both; got neither")
        if self.max_repeats is not None:
            _check_count("max_repeats", self.max_repeats, least=2)
        if self.max_calls_per_task is not None:
            _check_count("max_calls_per_task", self.max_calls_per_task)

    def __str__(self) -> str:
        repeats = f"{self.max_repeats} equal tool calls in a row" if self.max_repeats else ""
        calls = f"{self.max_calls_per_task} calls" if self.max_calls_per_task else ""
        return f"at most {' and '.join(filter(None, (repeats, calls)))} per task"


Limit = Budget | SpikeAlert | RunawayGuard


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAlert:
    """What an alert tells.

    Attributes:
        limit: the `Budget` or `SpikeAlert` that was passed.
        key: whom it concerns, such as `user=ann`, or `all calls`.
        used: what was spent in the window; where a hard limit refused a call, also what was reserved.
        threshold: what was passed: the limit, or the factor times the mean.
        window_start: when the window began; None if it has no beginning.
        message: the same in one sentence.
    """

    limit: Budget | SpikeAlert
    key: str
    used: Amount
    threshold: Amount
    window_start: datetime | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """How far one limit is used up, for one key in its current window.

    Attributes:
        budget: the limit; without its callables where it was set by another process.
        key: whom it concerns, such as `user=ann`, or `all calls`.
        window_start: when the window began; None if it has no beginning.
        window_end: when it ends; None if it never does.
        used: what was spent.
        reserved: what calls under way may still spend.
        limit: what is allowed, in the same unit.
        unpriced_calls: calls counted against a limit in dollars whose price nobody knows.
    """

    budget: Budget | RunawayGuard
    key: str
    window_start: datetime | None
    window_end: datetime | None
    used: Amount
    reserved: Amount
    limit: Amount
    unpriced_calls: int = 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_count(name: str, value: Any, *, least: int = 1) -> None:
    if type(value) is not int or value < least:
        raise ConfigurationError(f"{name} must be a whole number, {least} or more; got {value!r}")


def _check_choice(name: str, value: object, choices: tuple[str, ...], *, is_optional: bool = True) -> None:
    if value not in choices and not (is_optional and value is None):
        allowed = [*map(repr, choices), *(["None"] if is_optional else [])]
        raise ConfigurationError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _check_callable(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise ConfigurationError(f"{name} must be a callable that takes a BudgetAlert, or None; got {value!r}")


def _check_only(value: Any) -> None:
    if value is not None and not isinstance(value, Attribution):
        raise ConfigurationError(f"only must be an Attribution, such as Attribution(feature='search'); got {value!r}")


def _only_words(only: Attribution | None) -> list[str]:
    names = named(only)
    return [f"only {', '.join(f'{name}={value}' for name, value in names)}"] if names else []


def named(only: Attribution | None) -> list[tuple[Per, str]]:
    """Return the names that an `only` filter asks for, with their values."""
    fields: tuple[Per, ...] = ("feature", "user", "tenant", "task", "run")
    return [(name, value) for name in fields if only is not None and (value := getattr(only, name)) is not None]


def _listed(names: list[str]) -> str:
    return " and ".join(names) if names else "none of them"
