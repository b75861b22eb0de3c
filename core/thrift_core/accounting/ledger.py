"""The ledger: every call and what it cost, every saving, every task that was resolved."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Unpack

from thrift_core.accounting.call import OUTCOMES, Call, Outcome, Saving
from thrift_core.accounting.filters import Filters, calls_where, lookups_where, savings_where
from thrift_core.accounting.ledger_rows import (
    CALL_COLUMNS,
    INSERT_CALL,
    INSERT_FAULT,
    INSERT_LOOKUP,
    INSERT_RESOLUTION,
    INSERT_SAVING,
    LOOKUP_COLUMNS,
    SAVING_COLUMNS,
    call_from,
    call_row,
    lookup_from,
    lookup_row,
    microseconds,
    saving_from,
    saving_row,
)
from thrift_core.accounting.ledger_store import LedgerStore
from thrift_core.accounting.lookup import Lookup
from thrift_core.accounting.spend import Spend, SpendKey, spend_by, spend_total
from thrift_core.accounting.transfer import export_lines, import_lines
from thrift_core.errors import LedgerError
from thrift_core.prices import PriceBook, Unpriced

logger = logging.getLogger("thrift")
_MAX_REASON = 200


class Ledger:
    """Keeps every call, saving, resolution and fault, safely across threads, asyncio, forks and processes.

    What `record` and `book` were given is in the file when they return, even if the process is killed the moment
    after.

    Example:
        >>> from decimal import Decimal
        >>> from thrift_core.accounting.call import Attribution, Call
        >>> ledger = Ledger()
        >>> call = Call(model="gpt-4o-mini", cost_usd=Decimal("0.002"), attribution=Attribution(feature="search"))
        >>> _ = ledger.record(call)
        >>> [(line.key, line.calls, line.cost_usd) for line in ledger.spend("feature")]
        [('search', 1, Decimal('0.002'))]

    Args:
        path: an SQLite file, made if absent; None keeps everything in memory.
        prices: what prices calls that come without a cost; the published prices by default.

    Raises:
        LedgerError: the file is damaged, read-only, locked, not a ledger, or its directory is missing.
    """

    def __init__(self, path: str | Path | None = None, *, prices: PriceBook | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self.store = LedgerStore(self.path)
        self._prices = prices
        self._pending_faults: Counter[tuple[str, str]] = Counter()
        self._fault_lock = threading.Lock()
        self._has_warned = False

    @property
    def prices(self) -> PriceBook:
        """The price book; the published prices are loaded when first needed."""
        if self._prices is None:
            self._prices = PriceBook()
        return self._prices

    def record(self, call: Call) -> Call:
        """Keep a call, priced if it is not; the same id is kept once, as it first came.

        Returns:
            The call with its cost, or with the reason why there is none.

        Raises:
            LedgerError: the file could not be written, and nothing was.
            ValueError: the cost is not a finite amount of 0 or more, or the time has no time zone.
        """
        call = self.priced(call)
        self.store.write(INSERT_CALL, [call_row(call)])
        return call

    def amend(self, call_id: str, outcome: Outcome) -> None:
        """Say how a recorded call ended, now that more is known, such as that it was tried again.

        Raises:
            LedgerError: the file could not be written.
            ValueError: there is no such outcome.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}; got {outcome!r}")
        self.store.write("UPDATE calls SET outcome = ? WHERE id = ?", [(outcome, call_id)])

    def priced(self, call: Call) -> Call:
        """Return the call as `record` would keep it, without keeping it."""
        # Asking for `self.prices` loads them: not for a call that needs none.
        return call if call.cost_usd is not None or call.unpriced is not None else priced(call, self.prices)

    def book(self, saving: Saving) -> None:
        """Keep a saving; raises as `record` does."""
        self.store.write(INSERT_SAVING, [saving_row(saving)])

    def book_lookup(self, lookup: Lookup) -> None:
        """Keep what a cache had for a request, or what came of checking a hit; raises as `record` does."""
        self.store.write(INSERT_LOOKUP, [lookup_row(lookup)])

    def resolve(self, task: str, *, success: bool, at: datetime | None = None) -> None:
        """Say that a task is done, and whether it succeeded; of several words on one task the latest counts."""
        self.store.write(INSERT_RESOLUTION, [(task, success, microseconds(at or datetime.now(UTC)))])

    def count_fault(self, lever: str, reason: str) -> None:
        """Count something of ours that failed. Never raises: counted in memory until the file takes it."""
        with self._fault_lock:
            self._pending_faults[lever, reason[:_MAX_REASON]] += 1
        self._keep_faults()

    def faults(self, *, since: datetime | None = None, until: datetime | None = None) -> dict[tuple[str, str], int]:
        """Return how often each (lever, reason) was counted."""
        bounds = (microseconds(since) if since else None, microseconds(until) if until else None)
        try:
            rows = self.store.read(
                "SELECT lever, reason, sum(times) FROM faults "
                "WHERE at >= coalesce(?1, at) AND at < coalesce(?2, at + 1) GROUP BY 1, 2 ORDER BY 1, 2",
                bounds,
            )
        except LedgerError:
            rows = []
        found = Counter({(lever, reason): times for lever, reason, times in rows})
        with self._fault_lock:
            found.update(self._pending_faults)
        return dict(found)

    def calls(
        self, *, since: datetime | None = None, until: datetime | None = None, **filters: Unpack[Filters]
    ) -> Iterator[Call]:
        """Yield the calls from `since` to just before `until` in the order they were sent, a page at a time.

        Raises:
            LedgerError: the file cannot be read.
            ValueError: a time without a time zone, or an unknown outcome.
        """
        condition, values = calls_where(since, until, filters)
        return map(call_from, self.store.pages("calls", "started_at", CALL_COLUMNS, condition, values))

    def savings(
        self, *, since: datetime | None = None, until: datetime | None = None, **filters: Unpack[Filters]
    ) -> Iterator[Saving]:
        """Yield the savings likewise; `model`, `provider` and `outcome` are those of the call that was changed."""
        condition, values = savings_where(since, until, filters)
        return map(saving_from, self.store.pages("savings", "at", SAVING_COLUMNS, condition, values))

    def lookups(
        self, *, since: datetime | None = None, until: datetime | None = None, **filters: Unpack[Filters]
    ) -> Iterator[Lookup]:
        """Yield the lookups likewise; they belong to no call, so that a filter by its model leaves none."""
        condition, values = lookups_where(since, until, filters)
        return map(lookup_from, self.store.pages("lookups", "at", LOOKUP_COLUMNS, condition, values))

    def resolutions(self) -> dict[str, bool]:
        """Return the tasks that are done, each with whether it succeeded."""
        return {task: bool(success) for task, success in self.store.read("SELECT task, success FROM resolutions")}

    def spend(
        self,
        by: SpendKey = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        **filters: Unpack[Filters],
    ) -> list[Spend]:
        """Return what was spent for each value of a key, the dearest first; days (of UTC) in order.

        Args:
            by: `model`, `feature`, `user`, `tenant`, `task`, `run`, `day`, `provider` or `outcome`.
            since: the first moment that counts.
            until: the first moment that no longer counts.
            **filters: only calls with this `feature`, `user`, `tenant`, `task`, `run`, `model`, `provider`, `outcome`.
        """
        return spend_by(self.store, by, *calls_where(since, until, filters))

    def total(
        self, *, since: datetime | None = None, until: datetime | None = None, **filters: Unpack[Filters]
    ) -> Spend:
        """Return what was spent on all of these calls."""
        return spend_total(self.store, *calls_where(since, until, filters))

    def export_jsonl(self, path: str | Path, *, on_line: Callable[[], object] | None = None) -> int:
        """Write everything as lines of JSON and return how many.

        Args:
            path: the file, replaced if it is there.
            on_line: called after each line, to show progress.

        Raises:
            LedgerError: the file cannot be written or the ledger cannot be read.
        """
        return export_lines(self.store, Path(path), on_line=on_line)

    def import_jsonl(self, path: str | Path, *, on_line: Callable[[], object] | None = None) -> int:
        """Add the lines of a file to the ledger and return how many were new; those already there are passed over.

        Calls without a cost are priced as of when they were made. Good lines are kept even if others are malformed.

        Args:
            path: a file as `export_jsonl` writes it.
            on_line: called after each line, to show progress.

        Raises:
            LedgerError: the file cannot be read, the ledger cannot be written, or lines are malformed; names them.
        """
        return import_lines(self.store, Path(path), self.priced, on_line=on_line)

    def close(self) -> None:
        """Close the file; recording afterwards raises `LedgerError`."""
        self._keep_faults()
        self.store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({str(self.path) if self.path else None!r})"

    def _keep_faults(self) -> None:
        with self._fault_lock:
            faults, self._pending_faults = self._pending_faults, Counter()
        if not faults:
            return
        now = microseconds(datetime.now(UTC))
        rows = [(uuid.uuid4().hex, now, lever, reason, times) for (lever, reason), times in faults.items()]
        try:
            self.store.write(INSERT_FAULT, rows)
        except LedgerError as error:
            with self._fault_lock:
                self._pending_faults.update(faults)
                is_first, self._has_warned = not self._has_warned, True
            if is_first:
                logger.info("faults are counted in memory only: %s", error)


def priced(call: Call, prices: PriceBook, *, api_url: str | None = None) -> Call:
    """Return the call with its cost, or with the reason why it has none; never raises.

    A call that has either already comes back as it is, and a cache hit costs nothing.

    Args:
        call: the call.
        prices: what knows the prices.
        api_url: the address that answered, which tells compatible providers apart.
    """
    if call.cost_usd is not None or call.unpriced is not None:
        return call
    if call.outcome == "cache_hit":
        return replace(call, cost_usd=Decimal(0))
    try:
        price = prices.price(
            call.usage,
            call.model,
            call.provider,
            at=call.started_at,
            service_tier=call.service_tier,
            is_batch=call.is_batch,
            api_url=api_url,
        )
    except Exception as error:  # a price that cannot be had must not cost us the count of tokens
        logger.debug("%s could not be priced", call.model, exc_info=True)
        return replace(call, unpriced=f"pricing failed: {type(error).__name__}: {error}")
    if isinstance(price, Unpriced):
        return replace(call, unpriced=price.reason)
    return replace(call, cost_usd=price.cost_usd)
