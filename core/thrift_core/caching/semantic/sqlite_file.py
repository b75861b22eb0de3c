"""An SQLite file that threads, forks and processes share: opened, migrated, reopened where it was replaced."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thrift_core.accounting.fork import hold_across_forks
from thrift_core.errors import ConfigurationError

Row = tuple[Any, ...]
# A cache that waits long for its file costs more than a miss; opening may take longer, as many may open at once.
_WAIT_SECONDS = 0.25
_OPEN_WAIT_SECONDS = 5.0
_CHECKPOINT_PAGES = 4000


class SQLiteFile:
    """One connection for each process, behind a lock, in WAL mode with `synchronous=NORMAL`.

    A killed process loses nothing that was committed; a power loss can cost the last moments.

    Args:
        path: the file, made if absent.
        application_id: marks files of this kind.
        migrations: the statements that lead from each version to the next; only ever appended to.

    Raises:
        ConfigurationError: the file cannot be used; names it and says why.
    """

    def __init__(self, path: Path, *, application_id: int, migrations: Sequence[Sequence[str]]) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._application_id = application_id
        self._migrations = migrations
        self._connection: sqlite3.Connection | None = None
        self._closer: Callable[[], object] = _nothing
        self._inode: tuple[int, int] | None = None
        self._is_closed = False
        self.generation = 0
        with self.lock, self.refusing():
            self._connected()
        hold_across_forks(self)

    @contextmanager
    def refusing(self) -> Generator[None]:
        """Turn whatever is wrong with the file into a `ConfigurationError` that names it."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"the cache cannot be kept in {self.path}: {error}; give a path to a cache or to a new file that may "
                "be written, on a local disk, or move a damaged file away"
            ) from error

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Hold the lock over a connection for reading."""
        with self.lock:
            yield self._connected()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Hold the lock and a write transaction, committed at the end or rolled back."""
        with self.lock:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; using it again raises."""
        with self.lock:
            self._is_closed = True
            self._disconnect()

    def before_fork(self) -> None:
        """Close the file until it is next used: a child must not believe that it holds its parent's locks."""
        self._disconnect()

    def _connected(self) -> sqlite3.Connection:
        if self._is_closed:
            raise sqlite3.ProgrammingError(f"the cache {self.path} is closed")
        if self._connection is not None and _inode_of(self.path) != self._inode:
            # The file was deleted or replaced: what is written to the old one would be lost.
            self._disconnect()
        if self._connection is None:
            self._connection = self._opened()
            self._inode = _inode_of(self.path)
            self._closer = weakref.finalize(self, self._connection.close)
            self.generation += 1
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_OPEN_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._check(connection)
            _enter_wal(connection)
            self._migrate(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA busy_timeout={int(_WAIT_SECONDS * 1000)}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")  # one snapshot: another process may be making the tables right now
        application = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        connection.execute("ROLLBACK")
        if application != self._application_id and (application or version or tables):
            raise ConfigurationError(f"{self.path} is an SQLite file, but not a cache of thrift; give another path")
        if version > len(self._migrations):
            raise ConfigurationError(
                f"the cache {self.path} has version {version}, made by a newer thrift; this one knows "
                f"{len(self._migrations)}: upgrade with `pip install -U thrift-core`, or give another path"
            )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statements in self._migrations[_pragma(connection, "user_version") :]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id={self._application_id}")
            connection.execute(f"PRAGMA user_version={len(self._migrations)}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _disconnect(self) -> None:
        self._closer()
        self._closer = _nothing
        self._connection = None


def _enter_wal(connection: sqlite3.Connection) -> None:
    give_up = time.monotonic() + _OPEN_WAIT_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when several processes switch a new file to WAL at once.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise sqlite3.OperationalError("it cannot use a write-ahead log there; a local file system can")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _inode_of(path: Path) -> tuple[int, int] | None:
    # Never open() the file to look at it: closing it again would drop this process's locks on it.
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _nothing() -> None: ...
