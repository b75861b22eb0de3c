"""Turns limits into what the stores count, and what the stores refuse into words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import cast
from urllib.parse import quote

from thrift_core.accounting.budget import Budget, Limit, Per, RunawayGuard, SpikeAlert, named
from thrift_core.accounting.budget_store import Claim, Counter, Refused
from thrift_core.accounting.budget_units import Unit, as_words, from_count, to_count
from thrift_core.accounting.budget_window import LENGTH_SECONDS, Window, window_end
from thrift_core.accounting.call import Attribution
from thrift_core.errors import BudgetExceeded, RunawayStopped

ALL_CALLS = "all calls"
_DAY = 86_400
_KEEP_SECONDS: dict[Window, int] = {"minute": 7200, "hour": _DAY, "day": 3 * _DAY, "month": 93 * _DAY}
_KEEP_TASKS_SECONDS = 30 * _DAY
_KEEP_GUARDED_SECONDS = 7 * _DAY
_LONGEST_NAME = 200


@dataclass(slots=True)
class Watch:
    """One counter, and the limits that look at it.

    Several limits on the same thing, such as a soft one at $4 and a hard one at $5, share a counter. The limit itself
    is no part of the counter's name: a limit that is raised keeps what was spent.
    """

    counter: Counter
    unit: Unit
    per: Per | None
    only: tuple[tuple[Per, str], ...]
    hard: Budget | None = None
    soft: list[Budget] = field(default_factory=list[Budget])
    spikes: list[SpikeAlert] = field(default_factory=list[SpikeAlert])
    guard: RunawayGuard | None = None

    def claim(self, attribution: Attribution, model: str, *, usd: int | None, tokens: int) -> Claim | None:
        """Return what a call asks of this counter, None if it does not concern the call."""
        if any(getattr(attribution, name) != value for name, value in self.only):
            return None
        key = self._key(attribution, model)
        if key is None:
            return None
        amount = self._amount(usd, tokens)
        # A call without a price asks for nothing, and who asks for nothing is not refused.
        ceiling = self.ceiling if amount else None
        max_repeats = self.guard.max_repeats if self.guard else None
        return Claim(self.counter, key, amount, ceiling, max_repeats)

    def used(self, reserved: int, *, usd: int | None, tokens: int) -> int:
        """Return what a call that asked for `reserved` has used; without a price, no more is known than that."""
        return reserved if self.unit == "usd" and usd is None else self._amount(usd, tokens)

    @property
    def used_if_released(self) -> int:
        """What a call has used that was not made: a task that fails for ever runs away too."""
        return 1 if self.guard else 0

    @property
    def ceiling(self) -> int | None:
        """The most that may be used and reserved together; None if nothing is refused."""
        if self.hard is not None:
            return to_count(self.unit, self.hard.limit)
        return self.guard.max_calls_per_task if self.guard else None

    @property
    def can_refuse(self) -> bool:
        """Whether a call can be refused here."""
        return self.hard is not None or self.guard is not None

    def refusal(self, claim: Claim, refused: Refused) -> BudgetExceeded:
        """Return the error that says what was refused, and why."""
        scope = claim.key
        if refused.repeats:
            message = (
                f"{scope} has asked for the same tool call {refused.repeats} times in a row, so its next call was not "
                f"made ({self.guard}); start the work again as another task once the cause is found"
            )
            return RunawayStopped(message, budget=str(self.guard), scope=scope, used=refused.repeats, asked=1)
        limit = self.hard or self.guard
        message = f"{limit} would be passed for {scope}: {self._figures(claim, refused)}"
        error = RunawayStopped if self.guard else BudgetExceeded
        held, asked = from_count(self.unit, refused.used + refused.reserved), from_count(self.unit, claim.amount)
        return error(message, budget=str(limit), scope=scope, used=held, asked=asked)

    def _amount(self, usd: int | None, tokens: int) -> int:
        return {"usd": usd or 0, "tokens": tokens, "calls": 1}[self.unit]

    def _key(self, attribution: Attribution, model: str) -> str | None:
        if self.guard is not None:
            name: Per = "run" if attribution.task is None else "task"
            return _named(name, getattr(attribution, name))
        names: list[Per] = [] if self.per is None else [self.per]
        if self.counter.window == "run" and self.per != "run":
            names.append("run")
        parts = [_named(name, model if name == "model" else getattr(attribution, name)) for name in names]
        if None in parts:
            return None
        words = cast(list[str], parts)
        if len(words) > 1:
            # A space inside a name must not look like the end of it.
            words = [quote(word, safe="=@:/+") for word in words]
        return " ".join(words) or ALL_CALLS

    def _figures(self, claim: Claim, refused: Refused) -> str:
        used, reserved, asked = (
            as_words(self.unit, from_count(self.unit, count))
            for count in (refused.used, refused.reserved, claim.amount)
        )
        text = f"{used} used, {reserved} reserved by calls under way, this call could take up to {asked}"
        if self.ceiling is not None and claim.amount > self.ceiling:
            text += ", more than the whole limit: shorten it or lower its max_tokens"
        end = window_end(self.counter.window, refused.start)
        if end is None:
            return text
        left = max(0, round(end - refused.now))
        ends_at = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC"
        return f"{text}; the {self.counter.window} ends at {ends_at}, in {_span(left)}"


def watches(limits: Iterable[Limit]) -> list[Watch]:
    """Return the counters that these limits need, those that can refuse first."""
    found: dict[str, Watch] = {}
    for limit in limits:
        made = _watch(limit)
        watch = found.setdefault(made.counter.name, made)
        if isinstance(limit, RunawayGuard):
            watch.guard = _stricter(watch.guard, limit)
        elif isinstance(limit, SpikeAlert):
            watch.spikes.append(limit)
        elif not limit.hard:
            watch.soft.append(limit)
        elif watch.hard is None or limit.limit < watch.hard.limit:
            watch.hard = limit
    return sorted(found.values(), key=lambda watch: not watch.can_refuse)


def _watch(limit: Limit) -> Watch:
    match limit:
        case RunawayGuard():
            return Watch(Counter("guard:task", None, _KEEP_GUARDED_SECONDS), "calls", None, ())
        case SpikeAlert():
            length = LENGTH_SECONDS[limit.window]
            keep = length * (4 * limit.history + 1)
            name = f"spike{limit.history}:{_counter_name('usd', limit.per, limit.window, limit.only)}"
            return Watch(Counter(name, limit.window, keep), "usd", limit.per, tuple(named(limit.only)))
        case Budget():
            name = _counter_name(limit.unit, limit.per, limit.window, limit.only)
            counter = Counter(name, limit.window, _keep_seconds(limit.per, limit.window))
            return Watch(counter, limit.unit, limit.per, tuple(named(limit.only)))


def counter_name(limit: Limit) -> str:
    """Return the name of the counter that a limit looks at."""
    return _watch(limit).counter.name


def _counter_name(unit: Unit, per: Per | None, window: Window | None, only: Attribution | None) -> str:
    filters = [f"{name}={quote(_short(value), safe='')}" for name, value in named(only)]
    return ":".join([unit, per or "all", window or "ever", *filters])


def _keep_seconds(per: Per | None, window: Window | None) -> int | None:
    if window is not None and window != "run":
        return _KEEP_SECONDS[window]
    return _KEEP_TASKS_SECONDS if window == "run" or per in ("task", "run") else None


def _stricter(one: RunawayGuard | None, other: RunawayGuard) -> RunawayGuard:
    if one is None:
        return other
    return RunawayGuard(
        max_repeats=_least(one.max_repeats, other.max_repeats),
        max_calls_per_task=_least(one.max_calls_per_task, other.max_calls_per_task),
    )


def _least(one: int | None, other: int | None) -> int | None:
    given = [value for value in (one, other) if value is not None]
    return min(given) if given else None


def _named(name: Per, value: str | None) -> str | None:
    if value is not None:
        return f"{name}={_short(value)}"
    return None if name in ("task", "run") else f"no {name}"


def _short(value: str) -> str:
    """Return a name that every store can keep; long ones end in a digest that tells them apart."""
    text = str(value).encode(errors="backslashreplace").decode().replace("\0", "\\0")
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[:100]}...{sha256(text.encode()).hexdigest()[:32]}"


def _span(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"
