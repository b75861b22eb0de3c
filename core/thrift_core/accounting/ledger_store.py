"""The ledger's SQLite file: opened, migrated and shared safely by threads, forks and processes."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from thrift_core.accounting.exact_sums import add_exact_sums
from thrift_core.accounting.fork import hold_across_forks
from thrift_core.accounting.ledger_rows import Row
from thrift_core.accounting.ledger_schema import migrate
from thrift_core.errors import LedgerError

T = TypeVar("T")

_WAIT_SECONDS = 5.0
# Once a write has waited in vain, the next ones hardly wait: a file that another program holds costs the app one
# pause, not one for each call.
_WAIT_SECONDS_WHILE_LOCKED = 0.05
# Four times SQLite's own 1,000 pages: a checkpoint is the only time a commit waits for the disk.
_CHECKPOINT_PAGES = 4000
_PAGE = 1000
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_ADVICE = {
    sqlite3.SQLITE_NOTADB: "it is not an SQLite file; give another path, or move that file away",
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged; move it away and a new one is made, or save what is left with `sqlite3 FILE .recover`"
    ),
    sqlite3.SQLITE_READONLY: "it is read-only; allow writing to the file and its directory, or give another path",
    sqlite3.SQLITE_CANTOPEN: "check that its directory exists and can be written to, and that it is a file",
    sqlite3.SQLITE_BUSY: "another program holds its lock; end that program or its transaction",
    sqlite3.SQLITE_LOCKED: "another connection holds its lock; end that transaction",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_IOERR: "the disk failed; a ledger needs a local file system, not a network share",
    sqlite3.SQLITE_PERM: "access is denied; check the permissions of the file and its directory",
}


class LedgerStore:
    """One SQLite connection for each process, behind a lock.

    WAL mode lets reports read while apps write. `synchronous=NORMAL` hands each commit to the operating system before
    `write` returns but does not wait for the disk: a killed process loses nothing, only a power loss can cost the last
    moments, and a commit takes some tens of microseconds in place of milliseconds.

    Args:
        path: the file, made if absent; None keeps everything in memory.

    Raises:
        LedgerError: the file cannot be used; names the file and what to do.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closer: Callable[[], object] = _nothing
        self._inode: tuple[int, int] | None = None
        self._process = os.getpid()
        self._is_closed = False
        self._wait_seconds = _WAIT_SECONDS
        with self.lock:
            self._guarded(self._connected)
        hold_across_forks(self)

    def write(self, statement: str, rows: Sequence[Row]) -> int:
        """Run a statement once for each row, all or none, committed on return; returns how many rows changed.

        Raises:
            LedgerError: nothing was written.
        """
        with self.lock:
            try:
                changed = self._guarded(lambda: self._write(statement, rows))
            except UnicodeEncodeError:
                # Half of a surrogate pair, as cut-off JSON brings it: worth a replacement mark, not the whole line.
                clean = [tuple(map(_encodable, row)) for row in rows]
                changed = self._guarded(lambda: self._write(statement, clean))
            self._wait(_WAIT_SECONDS)
            return changed

    def read(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Return the rows of a query.

        Raises:
            LedgerError: the file cannot be read.
        """
        with self.lock:
            return self._guarded(lambda: self._connected().execute(query, tuple(values)).fetchall())

    def pages(
        self, table: str, time: str, columns: Sequence[str], condition: str = "1", values: Sequence[object] = ()
    ) -> Iterator[Row]:
        """Yield the chosen columns of the rows that meet a condition, in order of the column `time`.

        Each page is a query of its own, so that a slow reader holds neither the lock nor an old state of the file.
        """
        query = (
            f"SELECT {time}, seq, {', '.join(columns)} FROM {table} "  # noqa: S608 - names of ours
            f"WHERE {condition} AND ({time}, seq) > (?, ?) ORDER BY {time}, seq LIMIT {_PAGE}"
        )
        last: Row = (-(2**63), 0)
        while rows := self.read(query, (*values, *last)):
            last = rows[-1][:2]
            yield from (row[2:] for row in rows)

    def close(self) -> None:
        """Close the file; what is already recorded stays."""
        with self.lock:
            self._is_closed = True
            self._closer()

    def before_fork(self) -> None:
        """Close the file, if there is one, until it is next used; called with the lock held.

        SQLite keeps its file locks in the process's memory, and a forked child believes that it holds those of its
        parent. It does not: the parent could then remove the write-ahead log under the child's commits. So no
        connection is ever open across a fork.
        """
        if self.path is not None:
            self._disconnect()

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            # The low byte is the kind of error, the others say more of where it happened.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _LOCKED:
                self._wait(_WAIT_SECONDS_WHILE_LOCKED)
            advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
            raise LedgerError(f"the ledger {self.path or 'in memory'} failed: {error}{advice}") from error
        except OverflowError as error:
            raise LedgerError(f"a number is too large for the ledger {self.path or 'in memory'}: {error}") from error

    def _connected(self) -> sqlite3.Connection:
        if self._is_closed:
            raise LedgerError(f"the ledger {self.path or 'in memory'} is closed; make a new Ledger")
        if self._connection is not None and self._process != os.getpid() and self.path is not None:
            # Forked behind Python's back. Even closing the parent's connection here could harm it: leave it.
            _abandoned.append(self._connection)
            self._connection = None
        if self._connection is None:
            self._connect()
        assert self._connection is not None  # noqa: S101 - for the type checker
        return self._connection

    def _connect(self) -> None:
        connection = sqlite3.connect(
            self.path or ":memory:", timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            add_exact_sums(connection)
            migrate(connection, self.path, wait_seconds=_WAIT_SECONDS)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        except BaseException:
            connection.close()
            raise
        self._connection, self._process, self._inode = connection, os.getpid(), self._inode_now()
        self._wait_seconds = _WAIT_SECONDS
        self._closer = weakref.finalize(self, _close, connection, self.lock)

    def _disconnect(self) -> None:
        self._closer()
        self._connection = None

    def _write(self, statement: str, rows: Sequence[Row]) -> int:
        if self._connection is not None and self._inode_now() != self._inode:
            # The file was deleted or replaced, as a log rotation does: what is written to the old one would be lost.
            self._disconnect()
        connection = self._connected()
        if len(rows) == 1:
            return connection.execute(statement, rows[0]).rowcount
        connection.execute("BEGIN IMMEDIATE")
        try:
            changed = connection.executemany(statement, rows).rowcount
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return changed

    def _inode_now(self) -> tuple[int, int] | None:
        # Never open() the file to look at it: closing it again would drop this process's POSIX locks on it.
        try:
            status = os.stat(self.path) if self.path is not None else None
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if status is not None else None

    def _wait(self, seconds: float) -> None:
        if self._connection is not None and seconds != self._wait_seconds:
            self._wait_seconds = seconds
            self._connection.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def _nothing() -> None: ...


def _encodable(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _close(connection: sqlite3.Connection, lock: threading.RLock) -> None:
    with lock:
        connection.close()


_abandoned: list[sqlite3.Connection] = []
