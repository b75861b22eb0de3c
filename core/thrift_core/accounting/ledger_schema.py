"""The tables of a ledger file, version by version."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

from thrift_core.errors import LedgerError

# "thrf": tells a ledger from any other SQLite file, for us and for `file(1)`.
APPLICATION_ID: Final = 0x74687266

_VERSION_1 = (
    """
    CREATE TABLE calls (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        started_at INTEGER NOT NULL,
        model TEXT NOT NULL,
        provider TEXT,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL,
        cache_write_tokens INTEGER NOT NULL,
        cache_write_1h_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        input_audio_tokens INTEGER NOT NULL,
        output_audio_tokens INTEGER NOT NULL,
        other TEXT,
        cost_usd TEXT,
        unpriced TEXT,
        is_estimated INTEGER NOT NULL,
        feature TEXT,
        user TEXT,
        tenant TEXT,
        task TEXT,
        run TEXT,
        outcome TEXT NOT NULL,
        latency_seconds REAL,
        tool_calls TEXT,
        service_tier TEXT,
        is_batch INTEGER NOT NULL
    )
    """,
    "CREATE INDEX calls_by_time ON calls (started_at)",
    # Partial, so that what nobody attributes costs nothing to write; in order of time, so that a page is one range.
    "CREATE INDEX calls_by_feature ON calls (feature, started_at) WHERE feature IS NOT NULL",
    "CREATE INDEX calls_by_user ON calls (user, started_at) WHERE user IS NOT NULL",
    "CREATE INDEX calls_by_tenant ON calls (tenant, started_at) WHERE tenant IS NOT NULL",
    "CREATE INDEX calls_by_task ON calls (task, started_at) WHERE task IS NOT NULL",
    "CREATE INDEX calls_by_run ON calls (run, started_at) WHERE run IS NOT NULL",
    """
    CREATE TABLE savings (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        at INTEGER NOT NULL,
        lever TEXT NOT NULL,
        tokens INTEGER NOT NULL,
        cost_usd TEXT,
        is_shadow INTEGER NOT NULL,
        feature TEXT,
        user TEXT,
        tenant TEXT,
        task TEXT,
        run TEXT,
        call_id TEXT
    )
    """,
    "CREATE INDEX savings_by_time ON savings (at)",
    "CREATE TABLE resolutions (task TEXT PRIMARY KEY, success INTEGER NOT NULL, at INTEGER NOT NULL)",
    """
    CREATE TABLE faults (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        at INTEGER NOT NULL,
        lever TEXT NOT NULL,
        reason TEXT NOT NULL,
        times INTEGER NOT NULL
    )
    """,
)

_VERSION_2 = (
    """
    CREATE TABLE lookups (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        at INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        tier TEXT,
        is_shadow INTEGER NOT NULL,
        feature TEXT,
        user TEXT,
        tenant TEXT,
        task TEXT,
        run TEXT
    )
    """,
    "CREATE INDEX lookups_by_time ON lookups (at)",
)

_VERSION_3 = ("ALTER TABLE calls ADD COLUMN predicted_cache_read_tokens INTEGER",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2, _VERSION_3)
"""The statements that lead from each version to the next; an empty file is version 0. Only ever append."""


def migrate(connection: sqlite3.Connection, path: Path | None, *, wait_seconds: float) -> None:
    """Bring a file to the newest version, in WAL mode; an empty one becomes a ledger.

    Raises:
        LedgerError: the file is not a ledger, or a newer thrift made it.
        sqlite3.Error: the file cannot be read or written.
    """
    version = _version(connection, path)
    _enter_wal(connection, path, wait_seconds)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version < len(MIGRATIONS):
            _upgrade(connection)
        # Changes nothing, but finds a read-only file now and not at the first call: BEGIN alone does not.
        connection.execute("DELETE FROM calls WHERE 0")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path | None) -> int:
    connection.execute("BEGIN")  # one snapshot: another process may be making the tables right now
    try:
        application = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        connection.execute("ROLLBACK")
    if application != APPLICATION_ID and (application or version or tables):
        raise LedgerError(f"{path} is an SQLite file, but not a ledger of thrift; give another path")
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger {path} has version {version}, made by a newer thrift; this one knows {len(MIGRATIONS)}: "
            "upgrade with `pip install -U thrift-core`"
        )
    return version


def _enter_wal(connection: sqlite3.Connection, path: Path | None, wait_seconds: float) -> None:
    give_up = time.monotonic() + wait_seconds
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when several processes switch a new file to WAL at once.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
    if path is not None and mode != "wal":
        raise LedgerError(f"the ledger {path} cannot use a write-ahead log there; put it on a local file system")


def _upgrade(connection: sqlite3.Connection) -> None:
    for statements in MIGRATIONS[_pragma(connection, "user_version") :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
