"""Counts budgets in an SQLite file, for all processes of one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrift_core.accounting.budget_store import (
    Booking,
    Claim,
    Counter,
    Granted,
    Level,
    Refused,
    Settlement,
    expiry,
    is_too_much,
)
from thrift_core.accounting.budget_streaks import lengthened, longest
from thrift_core.accounting.budget_window import Window, window_end, window_start
from thrift_core.accounting.fork import hold_across_forks
from thrift_core.accounting.ledger_schema import migrate
from thrift_core.errors import ConfigurationError, LedgerError

_WAIT_SECONDS = 5.0
# Amounts are text: SQLite's integers end at 9.2 million dollars of 10^-12, and its sums turn to floats beyond.
_TABLES = """
    CREATE TABLE IF NOT EXISTS budget_counts (
        counter TEXT NOT NULL,
        key TEXT NOT NULL,
        start INTEGER NOT NULL,
        window TEXT,
        used TEXT NOT NULL DEFAULT '0',
        reserved TEXT NOT NULL DEFAULT '0',
        unpriced INTEGER NOT NULL DEFAULT 0,
        streaks TEXT NOT NULL DEFAULT '',
        alerts TEXT NOT NULL DEFAULT '',
        expires_at REAL,
        PRIMARY KEY (counter, key, start)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS budget_counts_by_expiry ON budget_counts (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE IF NOT EXISTS budget_leases (
        id TEXT NOT NULL,
        counter TEXT NOT NULL,
        key TEXT NOT NULL,
        start INTEGER NOT NULL,
        amount TEXT NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (id, counter, key)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS budget_leases_by_expiry ON budget_leases (expires_at);
    CREATE TABLE IF NOT EXISTS budget_limits (name TEXT PRIMARY KEY, description TEXT NOT NULL) WITHOUT ROWID;
"""
_READ = "SELECT used, reserved, unpriced, streaks FROM budget_counts WHERE counter = ? AND key = ? AND start = ?"
_WRITE = """
    INSERT INTO budget_counts (counter, key, start, window, used, reserved, unpriced, streaks, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET used = excluded.used, reserved = excluded.reserved, unpriced = excluded.unpriced,
        streaks = excluded.streaks, expires_at = excluded.expires_at
"""
_EXPIRED = "DELETE FROM budget_leases WHERE expires_at <= ? RETURNING counter, key, start, amount"
_SETTLED = "DELETE FROM budget_leases WHERE id = ? RETURNING counter, key, start, amount"
_GIVE_BACK = "UPDATE budget_counts SET reserved = ? WHERE counter = ? AND key = ? AND start = ?"
_ALERTS = "SELECT alerts FROM budget_counts WHERE counter = ? AND key = ? AND start = ?"
_MARK = "UPDATE budget_counts SET alerts = ? WHERE counter = ? AND key = ? AND start = ?"

_Where = tuple[str, str, int]


@dataclass(slots=True)
class _Count:
    used: int = 0
    reserved: int = 0
    unpriced: int = 0
    streaks: str = ""


class SQLiteBudgetStore:
    """Counts in an SQLite file; it may be the ledger's, or one of its own.

    Each step is one write transaction of a few rows, found by their keys, whatever the file has seen before. A killed
    process leaves at worst reservations, which end with their lease. The async methods take one thread hop, since a
    step waits while another process holds the file's write lock. The machine's clock decides when windows begin.

    Args:
        path: the file, made if absent.
        clock: seconds since 1970.

    Raises:
        ConfigurationError: the file cannot be used; names it and says why.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self.lock = threading.RLock()
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._closer: Callable[[], object] = _nothing
        self._file: tuple[int, int] | None = None
        try:
            with self.lock:
                self._connected()
        except (LedgerError, sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"budgets cannot be kept in {self.path}: {error}; give a path to a ledger or to a new file that may be "
                "written, on a local disk"
            ) from error
        hold_across_forks(self)

    def reserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Hold all the claims or none of them."""
        with self._transaction() as file:
            now = self._clock()
            file.end(now)
            starts = tuple(window_start(claim.counter.window, now) for claim in claims)
            counts = [file.read(claim.counter, claim.key, start) for claim, start in zip(claims, starts, strict=True)]
            for index, (claim, count) in enumerate(zip(claims, counts, strict=True)):
                repeats = longest(count.streaks)
                is_repeated = claim.max_repeats is not None and repeats >= claim.max_repeats
                if is_repeated or is_too_much(claim, count.used + count.reserved):
                    return Refused(index, count.used, count.reserved, starts[index], now, repeats if is_repeated else 0)
            for claim, start, count in zip(claims, starts, counts, strict=True):
                count.reserved += claim.amount
                file.write(claim.counter, claim.key, start, count, now)
                file.lease(reservation_id, claim, start, now + lease_seconds)
            return Granted(starts)

    async def areserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Do what `reserve` does, in a thread."""
        return await asyncio.to_thread(self.reserve, reservation_id, claims, lease_seconds=lease_seconds)

    def settle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Book each settlement and give back its reservation."""
        with self._transaction() as file:
            now = self._clock()
            return [self._settle(file, settlement, now) for settlement in settlements]

    async def asettle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Do what `settle` does, in a thread."""
        return await asyncio.to_thread(self.settle, settlements)

    def history(self, counter: Counter, key: str, *, before: int, count: int) -> list[int]:
        """Return the last windows before `before` that used anything, newest first."""
        query = (
            "SELECT used FROM budget_counts WHERE counter = ? AND key = ? AND start < ? AND used <> '0' "
            "ORDER BY start DESC LIMIT ?"
        )
        with self.lock:
            return [int(used) for (used,) in self._connected().execute(query, (counter.name, key, before, count))]

    def mark(self, counter: Counter, key: str, start: int, alert: str) -> bool:
        """Return True the first time only."""
        with self._transaction() as file:
            now = self._clock()
            file.write(counter, key, start, file.read(counter, key, start), now)
            return file.mark((counter.name, key, start), alert)

    def describe(self, limits: Mapping[str, str]) -> None:
        """Keep descriptions of limits."""
        with self._transaction() as file:
            file.describe(limits)

    def described(self) -> dict[str, str]:
        """Return the descriptions of all limits."""
        with self.lock:
            return dict(
                self._connected().execute("SELECT name, description FROM budget_limits ORDER BY name").fetchall()
            )

    def levels(self) -> list[Level]:
        """Return all counts whose window has not ended."""
        with self._transaction() as file:
            now = self._clock()
            file.end(now)
            return file.levels(now)

    def close(self) -> None:
        """Close the file; it is opened again if it is used again."""
        with self.lock:
            self._disconnect()

    async def aclose(self) -> None:
        """Close the file."""
        self.close()

    def before_fork(self) -> None:
        """Close the file until it is next used.

        SQLite would let a child believe that it holds the locks that its parent's connection holds.
        """
        self._disconnect()

    def _settle(self, file: _File, settlement: Settlement, now: float) -> tuple[int, ...]:
        file.give_back(_SETTLED, settlement.reservation_id)
        return tuple(_book(file, booking, now) for booking in settlement.bookings)

    @contextmanager
    def _transaction(self) -> Generator[_File, None, None]:
        with self.lock:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _File(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and _inode(self.path) != self._file:
            # The file was removed or replaced: what is written to the old one would be lost.
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect()
            self._file = _inode(self.path)
            self._closer = weakref.finalize(self, self._connection.close)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            migrate(connection, self.path, wait_seconds=_WAIT_SECONDS)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        self._closer()
        self._closer = _nothing
        self._connection = None


class _File:
    """The tables, inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute

    def read(self, counter: Counter, key: str, start: int) -> _Count:
        row = self._execute(_READ, (counter.name, key, start)).fetchone()
        return _Count() if row is None else _Count(int(row[0]), int(row[1]), row[2], row[3])

    def write(self, counter: Counter, key: str, start: int, count: _Count, now: float) -> None:
        where = (counter.name, key, start, counter.window)
        what = (str(count.used), str(count.reserved), count.unpriced, count.streaks)
        self._execute(_WRITE, (*where, *what, expiry(counter, start, now)))

    def lease(self, reservation_id: str, claim: Claim, start: int, expires_at: float) -> None:
        values = (reservation_id, claim.counter.name, claim.key, start, str(claim.amount), expires_at)
        self._execute("INSERT INTO budget_leases VALUES (?, ?, ?, ?, ?, ?)", values)

    def end(self, now: float) -> None:
        """End leases and forget counts whose time has come; both are found by an index."""
        self.give_back(_EXPIRED, now)
        self._execute("DELETE FROM budget_counts WHERE expires_at <= ?", (now,))

    def give_back(self, leases: str, value: str | float) -> None:
        """Delete leases and take what they held from what is reserved; one write for each count."""
        held: dict[_Where, int] = {}
        for counter, key, start, amount in self._execute(leases, (value,)).fetchall():
            held[counter, key, start] = held.get((counter, key, start), 0) + int(amount)
        for where, amount in held.items():
            if (row := self._execute(_READ, where).fetchone()) is not None:
                self._execute(_GIVE_BACK, (str(max(0, int(row[1]) - amount)), *where))

    def mark(self, where: _Where, alert: str) -> bool:
        (marked,) = self._execute(_ALERTS, where).fetchone()
        if alert in marked.split("\n"):
            return False
        self._execute(_MARK, (f"{marked}\n{alert}", *where))
        return True

    def describe(self, limits: Mapping[str, str]) -> None:
        for name, description in limits.items():
            self._execute("INSERT OR REPLACE INTO budget_limits VALUES (?, ?)", (name, description))

    def levels(self, now: float) -> list[Level]:
        query = "SELECT counter, key, start, window, used, reserved, unpriced FROM budget_counts"
        return [
            Level(counter, key, start, int(used), int(reserved), unpriced)
            for counter, key, start, window, used, reserved, unpriced in self._execute(query)
            if _is_open(window, start, now)
        ]


def _book(file: _File, booking: Booking, now: float) -> int:
    count = file.read(booking.counter, booking.key, booking.start)
    count.used += booking.actual
    count.unpriced += booking.is_unpriced
    count.streaks = lengthened(count.streaks, booking.tool_calls)
    file.write(booking.counter, booking.key, booking.start, count, now)
    return count.used


def _is_open(window: Window | None, start: int, now: float) -> bool:
    end = window_end(window, start)
    return end is None or end > now


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _nothing() -> Any: ...
