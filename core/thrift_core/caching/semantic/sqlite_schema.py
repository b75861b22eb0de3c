"""The tables of a cache file, version by version, and the statements that use them."""

from __future__ import annotations

from typing import Final

# "thrc": tells a cache from any other SQLite file, for us and for `file(1)`.
APPLICATION_ID: Final = 0x74687263

_VERSION_1 = (
    # AUTOINCREMENT: a number is never used twice, so whoever knows all up to one asks only for what came after it.
    # Long values come last, so that a look at the short ones reads no overflow pages.
    """
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        partition BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        vector BLOB,
        record BLOB NOT NULL
    )
    """,
    "CREATE INDEX entries_by_partition ON entries (partition, seq) WHERE vector IS NOT NULL",
    # What eviction and purges sort and select by, in a narrow table of its own: using an entry rewrites a few bytes.
    """
    CREATE TABLE uses (
        seq INTEGER PRIMARY KEY,
        scope BLOB NOT NULL,
        tenant BLOB NOT NULL,
        user BLOB NOT NULL,
        feature BLOB NOT NULL,
        corpus BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        last_used_at INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        worth REAL NOT NULL,
        bytes INTEGER NOT NULL
    )
    """,
    "CREATE INDEX uses_by_expiry ON uses (expires_at)",
    "CREATE TABLE sources (source BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (source, seq)) WITHOUT ROWID",
    "CREATE INDEX sources_by_entry ON sources (seq)",
    "CREATE TABLE scopes (scope BLOB PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE denied (pair BLOB PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE counts (name TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # Counts that cannot drift: they change in the statement that changes what is counted. The row '' is the total.
    """
    CREATE TRIGGER uses_added AFTER INSERT ON uses BEGIN
        INSERT INTO scopes VALUES (new.scope, 1, new.bytes), (x'', 1, new.bytes)
        ON CONFLICT DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
    END
    """,
    """
    CREATE TRIGGER uses_removed AFTER DELETE ON uses BEGIN
        UPDATE scopes SET entries = entries - 1, bytes = bytes - old.bytes WHERE scope IN (old.scope, x'');
        DELETE FROM scopes WHERE scope = old.scope AND entries = 0;
    END
    """,
    """
    CREATE TRIGGER entries_removed AFTER DELETE ON entries BEGIN
        DELETE FROM uses WHERE seq = old.seq;
        DELETE FROM sources WHERE seq = old.seq;
    END
    """,
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_VERSION_1,)
"""The statements that lead from each version to the next; an empty file is version 0. Only ever append."""

RANKS: Final = {
    "lru": "last_used_at",
    "lfu": "uses, last_used_at",
    "cost": "worth * uses / max(bytes, 1), last_used_at",
}
"""What orders entries for eviction, as `store.rank` does in memory."""
