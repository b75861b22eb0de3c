"""Follows one call from before it goes out to its line in the ledger; both adapters drive it."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict

from thrift_core.accounting.attribution import current_attribution, merged
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution, Call, Outcome
from thrift_core.accounting.counting import counted, estimated
from thrift_core.accounting.given import budgets_of, ledger_of
from thrift_core.accounting.ledger import Ledger, priced
from thrift_core.accounting.prediction import predicted_cache_read
from thrift_core.accounting.reading import read_usage
from thrift_core.accounting.recorded import tell
from thrift_core.accounting.reservation import Reservation
from thrift_core.accounting.usage import Usage
from thrift_core.errors import BudgetExceeded
from thrift_core.messages import Request, ToolCall
from thrift_core.prices import Unpriced

logger = logging.getLogger("thrift")
_MILLION = Decimal(1_000_000)
# Calls whose end is never told (an abandoned generator, a killed task) must not pile up for ever.
_MOST_OPEN_CALLS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an adapter knows when a call has ended.

    Attributes:
        payload: the provider's own response body or usage block, if the framework kept it; read first.
        usage: the framework's own account of it, in the words frameworks share, or read already; looked at only where
            there is no payload or it cannot be read.
        text: the answer's text, counted by us only where nobody reported usage.
        tool_calls: the calls that the answer asks for.
        model: the model that answered, if the answer names it.
        provider: the provider's id, or the name the framework gives it.
        service_tier: the tier that billed it.
        is_batch: whether a batch API billed it.
        is_cache_hit: a cache answered; nothing was sent.
        outcome: how it ended, where that is more than `ok`.
    """

    payload: Mapping[str, Any] | None = None
    usage: Usage | Mapping[str, Any] | None = None
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    provider: str | None = None
    service_tier: str | None = None
    is_batch: bool = False
    is_cache_hit: bool = False
    outcome: Outcome = "ok"


@dataclass(slots=True)
class _Open:
    build: Callable[[], Request]
    model: str
    provider: str | None
    api_url: str | None
    attribution: Attribution
    outer: Hashable | None
    siblings: Hashable | None
    parent: Hashable | None
    call_id: str
    predicted: int | None
    built: Request | None = None
    inner: Usage | None = None
    inner_each: list[Usage] = field(default_factory=list[Usage])
    reservation: Reservation | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)

    @property
    def request(self) -> Request:
        """The request, read from the framework's objects only when somebody has to count it."""
        if self.built is None:
            self.built = self.build()
        return self.built


class Meter:
    """Reserves a call's worst case, then prices it, records it and settles the reservation.

    Only `start` raises, and only `BudgetExceeded`: whatever else goes wrong is logged once, counted in the ledger's
    faults, and the app's call goes on.

    A model that wraps another is told twice, once for itself and once for the model it calls. The inner call is the
    one that was billed: an outer call that reports the same usage as the calls made inside it, or as one of them (a
    cascade passes on one of several answers), or none, is not counted.

    Args:
        ledger: where calls are recorded; a new one in memory if none is given.
        budgets: the limits that hold; none by default.
        attribution: whom calls are for that nobody else attributes.
        on_call: called with each recorded call, such as an OpenTelemetry exporter.
        default_max_output_tokens: the worst case for a request that sets no limit on its answer.
    """

    def __init__(
        self,
        ledger: Ledger | None = None,
        budgets: Budgets | None = None,
        *,
        attribution: Attribution | None = None,
        on_call: Iterable[Callable[[Call], object]] = (),
        default_max_output_tokens: int = 4096,
    ) -> None:
        self.ledger = ledger_of(ledger)
        self.budgets = budgets_of(budgets)
        self._attribution = attribution or Attribution()
        self._on_call = tuple(on_call)
        self._default_max_output_tokens = default_max_output_tokens
        self._open: dict[Hashable, _Open] = {}
        self._last_failed: dict[Hashable, str] = {}
        # The calls that a new one is made inside of, the innermost last. A framework may tell of an end in a context of
        # its own, so those that have ended are passed over.
        self._around: ContextVar[tuple[Hashable, ...]] = ContextVar("thrift_calls_around", default=())
        # Reentrant: the garbage collector may close an abandoned stream, and so end a call, while it is held.
        self._lock = threading.RLock()
        self._warned: set[str] = set()

    def start(
        self,
        key: Hashable,
        request: Callable[[], Request],
        *,
        model: str | None = None,
        provider: str | None = None,
        api_url: str | None = None,
        attribution: Attribution | None = None,
        siblings: Hashable | None = None,
        parent: Hashable | None = None,
        is_retry: bool = False,
        call_id: str | None = None,
    ) -> None:
        """Open a call and reserve its worst case.

        Args:
            key: names the call until it ends; a key that is open already is left as it is.
            request: builds the view of what is about to be sent; called only if its tokens must be counted.
            model: the model's name, if known before the request is built.
            provider: the provider's id or the framework's name for it, likewise.
            api_url: the address it goes to, which tells providers with one client apart.
            attribution: whom it is for; names it does not give come from the enclosing `attribute` blocks, then from
                the meter's own attribution.
            siblings: calls that were started together share it, so that none is taken to be inside another.
            parent: the step of the app that makes the call, where the framework tells.
            is_retry: the parent makes the call because one before it failed; that one is then `retried` in the ledger.
            call_id: the id of the call in the ledger, where the framework has one; two meters over one ledger then
                count it once.

        Raises:
            BudgetExceeded: a hard limit would be passed; the call must not go out.
        """
        around = tuple(outer for outer in self._around.get() if outer in self._open)
        opened = _Open(
            build=request,
            model=model or "unknown",
            provider=provider,
            api_url=api_url,
            attribution=merged(merged(self._attribution, current_attribution()), attribution or Attribution()),
            outer=around[-1] if around else None,
            siblings=siblings,
            parent=parent,
            call_id=call_id or uuid.uuid4().hex,
            predicted=predicted_cache_read(),
        )
        with self._lock:
            if key in self._open:
                return
            self._open[key] = opened
            stale = self._open.pop(next(iter(self._open))) if len(self._open) > _MOST_OPEN_CALLS else None
            retried = self._last_failed.pop(parent, None) if is_retry else None
        if stale is not None:
            self._release(stale)
        if retried is not None:
            self._amend(retried, "retried")
        if self.budgets is not None:
            self._reserve(self.budgets, key, opened)
        self._around.set((*around, key))

    def finish(self, key: Hashable, answer: Answer) -> Call | None:
        """Record how a call ended.

        Returns:
            The call as recorded; None if it was never started, or if it wraps calls that were counted.
        """
        opened = self._close(key)
        if opened is None:
            return None
        latency = time.perf_counter() - opened.clock
        try:
            usage, call = self._call(opened, answer, latency)
            if self._was_counted_inside(opened, usage):
                self._skip(opened)
                return None
            call = priced(call, self.ledger.prices, api_url=opened.api_url)
        except Exception as error:  # an answer we cannot read is still a call
            self.note_fault("ledger", error)
            call = replace(self._bare(opened, latency), unpriced=f"the usage could not be read: {error}")
        return self._keep(opened, call)

    def fail(self, key: Hashable, error: BaseException, answer: Answer | None = None) -> Call | None:
        """Record that a call failed; where part of an answer had come, its tokens count as spent."""
        if answer is not None and (answer.text or answer.tool_calls or answer.payload or answer.usage):
            return self.finish(key, replace(answer, outcome="error"))
        opened = self._close(key)
        if opened is None:
            return None
        if opened.inner is not None:
            self._skip(opened)
            return None
        logger.debug("a call of %s failed: %s", opened.model, type(error).__name__)
        call = replace(self._bare(opened, time.perf_counter() - opened.clock), cost_usd=Decimal(0), outcome="error")
        return self._keep(opened, call)

    def note_fault(self, part: str, error: BaseException) -> None:
        """Count a failure of our own, and warn of the first of each part and kind."""
        reason = type(error).__name__
        try:
            self.ledger.count_fault(part, reason)
        except Exception:
            logger.debug("a fault could not be counted", exc_info=True)
        if (name := f"{part}: {reason}") not in self._warned:
            self._warned.add(name)
            logger.warning("thrift's %s failed, the app's call goes on: %s: %s", part, reason, error)

    def _close(self, key: Hashable) -> _Open | None:
        with self._lock:
            opened = self._open.pop(key, None)
        around = self._around.get()
        if opened is not None and key in around:
            self._around.set(tuple(outer for outer in around if outer != key))
        return opened

    def _skip(self, opened: _Open) -> None:
        """Leave a wrapper uncounted; what was counted inside it was counted inside its own wrapper, too."""
        self._release(opened)
        for usage in opened.inner_each:
            self._tell_outer(opened, usage)

    def _release(self, opened: _Open) -> None:
        if opened.reservation is not None and self.budgets is not None:
            self.budgets.release(opened.reservation)

    def _reserve(self, budgets: Budgets, key: Hashable, opened: _Open) -> None:
        with self._lock:
            outer = self._outer(opened)
            held = None if outer is None else outer.reservation
            if outer is not None:
                outer.reservation = None  # the inner call is the one that will be billed
        try:
            if held is not None:
                budgets.release(held)
            opened.reservation = budgets.reserve(
                **self._worst_case(opened), attribution=opened.attribution, model=opened.model
            )
        except BudgetExceeded:
            with self._lock:
                self._open.pop(key, None)
            raise
        except Exception as error:  # the app's call goes on, whatever our limits trip over
            self.note_fault("budget", error)

    def _worst_case(self, opened: _Open) -> _WorstCase:
        tokens_in = counted(opened.request)
        tokens_out = opened.request.max_output_tokens or self._default_max_output_tokens
        pricing = self.ledger.prices.pricing(
            opened.model, opened.provider, api_url=opened.api_url, input_tokens=tokens_in
        )
        if isinstance(pricing, Unpriced):
            return {"usd": None, "tokens": tokens_in + tokens_out}
        # The dearest an input token can be is a cache write, where the provider bills those above plain input.
        dearest = max(pricing.input, pricing.cache_write_5m)
        usd = (tokens_in * dearest + tokens_out * pricing.output) / _MILLION
        return {"usd": usd, "tokens": tokens_in + tokens_out}

    def _call(self, opened: _Open, answer: Answer, latency: float) -> tuple[Usage | None, Call]:
        """Return the usage that was reported, and the call with it or with our estimate."""
        reading = self._read(opened, answer)
        call = replace(
            self._bare(opened, latency),
            model=answer.model or reading.model or opened.model,
            provider=reading.provider or answer.provider or opened.provider,
            outcome=answer.outcome,
            tool_calls=tuple(f"{call.name}({call.arguments})" for call in answer.tool_calls),
            service_tier=answer.service_tier or reading.service_tier,
            is_batch=answer.is_batch,
        )
        if answer.is_cache_hit:
            return None, replace(call, cost_usd=Decimal(0), outcome="cache_hit")
        if reading.usage is not None:
            return reading.usage, replace(call, usage=reading.usage)
        if opened.inner is not None:
            return None, call
        return None, replace(call, usage=estimated(opened.request, answer.text, answer.tool_calls), is_estimated=True)

    def _bare(self, opened: _Open, latency: float) -> Call:
        return Call(
            model=opened.model,
            provider=opened.provider,
            attribution=opened.attribution,
            latency_seconds=latency,
            started_at=opened.at,
            id=opened.call_id,
            predicted_cache_read_tokens=opened.predicted,
        )

    def _read(self, opened: _Open, answer: Answer) -> _Reported:
        """Return what was reported of the usage, from the best source that can be read."""
        if answer.is_cache_hit:
            return _Reported()
        for source in (answer.payload, answer.usage):
            if isinstance(source, Usage):
                return _Reported(source)
            if source is None:
                continue
            try:
                reading = read_usage(source, provider=answer.provider or opened.provider)
                return _Reported(reading.usage, reading.model, reading.provider, reading.service_tier)
            except ValueError as error:
                self.note_fault("usage", error)
        return _Reported()

    def _was_counted_inside(self, opened: _Open, usage: Usage | None) -> bool:
        if opened.inner is None or usage is None:
            return opened.inner is not None
        # A wrapper may pass on the totals without all of their parts.
        totals = {(inner.input_tokens, inner.output_tokens) for inner in (opened.inner, *opened.inner_each)}
        return (usage.input_tokens, usage.output_tokens) in totals

    def _keep(self, opened: _Open, call: Call) -> Call:
        try:
            call = self.ledger.record(call)
        except Exception as error:  # a full disk must not cost the app its answer
            self.note_fault("ledger", error)
        tell(self.ledger, call)
        self._tell_outer(opened, call.usage)
        self._note_failed(opened, call)
        if self.budgets is not None:
            self._settle(self.budgets, opened, call)
        for told in self._on_call:
            try:
                told(call)
            except Exception as error:  # an exporter's trouble is not the app's
                self.note_fault("on_call", error)
        return call

    def _note_failed(self, opened: _Open, call: Call) -> None:
        if opened.parent is not None and call.outcome == "error":
            with self._lock:
                self._last_failed[opened.parent] = call.id
                if len(self._last_failed) > _MOST_OPEN_CALLS:
                    del self._last_failed[next(iter(self._last_failed))]

    def _amend(self, call_id: str, outcome: Outcome) -> None:
        try:
            self.ledger.amend(call_id, outcome)
        except Exception as error:  # a label is not worth a call
            self.note_fault("ledger", error)

    def _settle(self, budgets: Budgets, opened: _Open, call: Call) -> None:
        usd, tokens = call.cost_usd, call.usage.total_tokens
        try:
            if opened.reservation is None:
                # A call inside it took its reservation over, yet it was billed by itself: nothing can be refused now.
                opened.reservation = budgets.reserve(
                    usd=Decimal(0), tokens=0, attribution=opened.attribution, model=opened.model
                )
            budgets.settle(opened.reservation, usd=usd, tokens=tokens, tool_calls=call.tool_calls)
        except Exception as error:  # it is paid for already
            self.note_fault("budget", error)

    def _tell_outer(self, opened: _Open, usage: Usage) -> None:
        with self._lock:
            if (outer := self._outer(opened)) is not None:
                outer.inner = usage if outer.inner is None else outer.inner + usage
                outer.inner_each.append(usage)

    def _outer(self, opened: _Open) -> _Open | None:
        outer = self._open.get(opened.outer) if opened.outer is not None else None
        return None if outer is None or (opened.siblings is not None and outer.siblings == opened.siblings) else outer


class _WorstCase(TypedDict):
    usd: Decimal | None
    tokens: int


@dataclass(frozen=True, slots=True)
class _Reported:
    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    service_tier: str | None = None
