"""Keeps the cache in an SQLite file, for all processes of one machine."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrift_core.caching.semantic.sqlite_file import Row, SQLiteFile
from thrift_core.caching.semantic.sqlite_schema import APPLICATION_ID, MIGRATIONS, RANKS
from thrift_core.caching.semantic.store import (
    Limits,
    Near,
    Selection,
    Stored,
    StoreSize,
    VectorSpace,
    surplus,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from thrift_core.caching.semantic.vector_index import VectorIndex

_DEFAULT_MAX_ENTRIES = 1_000_000
_MIRROR_BYTES = 512 * 2**20
_OWNERS = ("tenant", "user", "feature")
# Uses are written together with the next entry, or when there are this many, or this long after the last time.
_MOST_PENDING = 256
_PENDING_SECONDS = 10.0
# Each new entry takes out a few that have expired, so that none stays for long and no put takes long.
_EXPIRED_AT_ONCE = 100
_READ_AT_ONCE = 4096
_INSERT = (
    "INSERT INTO entries (id, partition, expires_at, vector, record) VALUES (?, ?, ?, ?, ?)",
    "INSERT INTO uses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
)
_SWEEP = "DELETE FROM entries WHERE seq IN (SELECT seq FROM uses WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
_NEW = "SELECT seq, vector FROM entries WHERE partition = ? AND seq > ? AND vector IS NOT NULL ORDER BY seq"
_USE = (
    "UPDATE uses SET uses = uses + ?, last_used_at = max(last_used_at, ?) "
    "WHERE seq = (SELECT seq FROM entries WHERE id = ?)"
)
_CLAIM = "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO NOTHING"


class SQLiteStore:
    """Entries in an SQLite file; each process keeps the vectors that it searches in memory, too.

    A search first asks the file for what came into the partition since the last one, which an index answers in some
    microseconds; what another process removed is noticed when it turns up. A commit is handed to the operating system
    before `put` returns: a killed process loses nothing and leaves nothing half done.

    Args:
        path: the file, made if absent; one of its own, not the ledger's.
        mirror_bytes: memory for the vectors of the partitions searched last.

    Raises:
        ConfigurationError: the file cannot be used; names it and says why.
    """

    def __init__(self, path: str | Path, *, mirror_bytes: int = _MIRROR_BYTES) -> None:
        self.path = Path(path)
        self._file = SQLiteFile(self.path, application_id=APPLICATION_ID, migrations=MIGRATIONS)
        self._mirror_bytes = mirror_bytes
        self._mirrors: OrderedDict[bytes, _Mirror] = OrderedDict()
        self._generation = self._file.generation
        self._mirrored: bytes | None = None
        self._pending: dict[bytes, tuple[int, int]] = {}
        self._flushed_at = time.monotonic()
        with self._file.refusing():
            self.secret()
            self.size()

    def secret(self) -> bytes:
        """Return the key that the file was made with."""
        return self._fact("secret", secrets.token_bytes(32))

    def space(self) -> VectorSpace | None:
        """Return which vectors the file holds."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = 'space'").fetchone()
        return None if row is None else _space(row[0])

    def claim(self, space: VectorSpace) -> VectorSpace:
        """Take the vectors of this space if there are none yet."""
        return _space(self._fact("space", f"{space.dimensions} {space.embedder}".encode()))

    def check(self, limits: Limits) -> None:
        """Hold any limits."""

    def get(self, entry_id: bytes, now_ms: int) -> bytes | None:
        """Return a record that has not expired."""
        with self._file.reading() as connection:
            row = connection.execute(
                "SELECT record FROM entries WHERE id = ? AND expires_at > ?", (entry_id, now_ms)
            ).fetchone()
        return None if row is None else row[0]

    def nearest(self, partition: bytes, vector: NDArray[Any], k: int, min_similarity: float, now_ms: int) -> list[Near]:
        """Return the nearest entries of a partition."""
        with self._file.reading() as connection:
            mirror = self._fresh_mirror(connection, partition, len(vector))
            while mirror is not None:
                found = mirror.index.search(vector, k, min_similarity)
                rows = _rows(connection, [seq for seq, _ in found])
                gone = [seq for seq, _ in found if seq not in rows or rows[seq][2] <= now_ms]
                if not gone:
                    return [Near(rows[seq][0], similarity, rows[seq][1]) for seq, similarity in found]
                for seq in gone:
                    mirror.drop(seq)
            return []

    def put(self, stored: Stored, limits: Limits, now_ms: int) -> None:
        """Keep an entry and evict others, in one transaction."""
        vector = None if stored.vector is None else stored.vector.astype("<f2").tobytes()
        with self._file.writing() as connection:
            self._write_uses(connection)
            connection.execute(_SWEEP, (now_ms, _EXPIRED_AT_ONCE))
            connection.execute("DELETE FROM entries WHERE id = ?", (stored.id,))
            entry = (stored.id, stored.partition, stored.expires_ms, vector, stored.record)
            seq = connection.execute(_INSERT[0], entry).lastrowid
            times = (stored.created_ms, stored.expires_ms, now_ms)
            use = (seq, stored.scope, *stored.owners, stored.corpus, *times, stored.worth_usd, stored.size)
            connection.execute(_INSERT[1], use)
            if stored.sources:
                rows = [(source, seq) for source in stored.sources]
                connection.executemany("INSERT OR IGNORE INTO sources VALUES (?, ?)", rows)
            _make_room(connection, stored, seq or 0, limits)

    def touch(self, entry_id: bytes, limits: Limits, now_ms: int) -> None:
        """Note a use; a killed process forgets the last few."""
        with self._file.lock:
            uses, _ = self._pending.get(entry_id, (0, 0))
            self._pending[entry_id] = (uses + 1, now_ms)
            is_due = time.monotonic() > self._flushed_at + _PENDING_SECONDS
            if is_due or len(self._pending) >= _MOST_PENDING:
                with self._file.writing() as connection:
                    self._write_uses(connection)

    def delete(self, ids: Collection[bytes]) -> int:
        """Remove entries."""
        with self._file.writing() as connection:
            return sum(connection.execute("DELETE FROM entries WHERE id = ?", (entry_id,)).rowcount for entry_id in ids)

    def purge(self, selection: Selection) -> int:
        """Remove a selection."""
        conditions, values = ["1"], list[object]()
        for name, owner in zip(_OWNERS, selection.owners, strict=True):
            if owner:
                conditions.append(f"{name} = ?")
                values.append(owner)
        if selection.corpus is not None:
            conditions.append("corpus = ?")
            values.append(selection.corpus)
        if selection.created_before_ms is not None:
            conditions.append("created_at < ?")
            values.append(selection.created_before_ms)
        if selection.source is not None:
            conditions.append("seq IN (SELECT seq FROM sources WHERE source = ?)")
            values.append(selection.source)
        query = f"SELECT seq FROM uses WHERE {' AND '.join(conditions)}"  # noqa: S608 - names of ours
        with self._file.writing() as connection:
            gone = connection.execute(query, values).fetchall()
            _remove(connection, gone)
            return len(gone)

    def deny(self, pair: bytes, expires_ms: int) -> None:
        """Put a pair on the negative list."""
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO denied VALUES (?, ?)", (pair, expires_ms))

    def is_denied(self, pair: bytes, now_ms: int) -> bool:
        """Return whether a pair is on the negative list."""
        with self._file.reading() as connection:
            query = "SELECT 1 FROM denied WHERE pair = ? AND expires_at > ?"
            return connection.execute(query, (pair, now_ms)).fetchone() is not None

    def count(self, name: str, times: int = 1) -> None:
        """Add to a counter."""
        with self._file.writing() as connection:
            connection.execute(
                "INSERT INTO counts VALUES (?, ?) ON CONFLICT DO UPDATE SET times = times + excluded.times",
                (name, times),
            )

    def counts(self) -> Mapping[str, int]:
        """Return all counters."""
        with self._file.reading() as connection:
            return dict(connection.execute("SELECT name, times FROM counts").fetchall())

    def size(self) -> StoreSize:
        """Return what it holds."""
        with self._file.reading() as connection:
            return StoreSize(*_held(connection, b""))

    def close(self) -> None:
        """Write what is pending and close the file."""
        with self._file.lock:
            if self._pending:
                try:
                    with self._file.writing() as connection:
                        self._write_uses(connection)
                except sqlite3.Error:
                    self._pending.clear()  # uses are a hint; the file may be gone or locked
            self._file.close()

    def _fact(self, name: str, value: bytes) -> bytes:
        """Return a fact of the file, set to a value the first time."""
        query = "SELECT value FROM facts WHERE name = ?"
        with self._file.reading() as connection:
            row = connection.execute(query, (name,)).fetchone()
        if row is None:
            with self._file.writing() as connection:
                connection.execute(_CLAIM, (name, value))
                row = connection.execute(query, (name,)).fetchone()
        return bytes(row[0])

    def _fresh_mirror(self, connection: sqlite3.Connection, partition: bytes, dimensions: int) -> _Mirror | None:
        """Return what the file holds of a partition now."""
        if self._generation != self._file.generation or self._mirrored is None:
            # Opened anew: another file may lie at the path now, and its numbers mean other entries.
            secret, self._generation = self.secret(), self._file.generation
            if secret != self._mirrored:
                self._mirrors.clear()
            self._mirrored = secret
        mirror = self._mirrors.get(partition)
        new = connection.execute(_NEW, (partition, mirror.last_seq if mirror else 0)).fetchall()
        if mirror is None:
            if not new:
                return None
            mirror = self._mirrors[partition] = _Mirror(dimensions)
        mirror.add(new)
        self._mirrors.move_to_end(partition)
        while len(self._mirrors) > 1 and self._mirrored_bytes() > self._mirror_bytes:
            self._mirrors.popitem(last=False)
        return mirror

    def _mirrored_bytes(self) -> int:
        return sum(mirror.bytes for mirror in self._mirrors.values())

    def _write_uses(self, connection: sqlite3.Connection) -> None:
        pending, self._pending = self._pending, {}
        self._flushed_at = time.monotonic()
        connection.executemany(_USE, [(uses, last, entry_id) for entry_id, (uses, last) in pending.items()])


class _Mirror:
    """The vectors of one partition, by the numbers of their rows."""

    def __init__(self, dimensions: int) -> None:
        from thrift_core.caching.semantic.vector_index import VectorIndex  # noqa: PLC0415 - brings numpy

        self.index: VectorIndex[int] = VectorIndex(dimensions)
        self.last_seq = 0
        self._places: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        return self.index.bytes + 100 * len(self._places)

    def add(self, rows: Sequence[Row]) -> None:
        import numpy as np  # noqa: PLC0415 - importing thrift_core must stay quick

        size = 2 * self.index.dimensions
        for at in range(0, len(rows), _READ_AT_ONCE):
            whole = [(seq, blob) for seq, blob in rows[at : at + _READ_AT_ONCE] if len(blob) == size]
            first = len(self.index)
            vectors = np.frombuffer(b"".join(blob for _, blob in whole), "<f2").reshape(-1, self.index.dimensions)
            self.index.extend([seq for seq, _ in whole], vectors.astype(np.float32))
            self._places.update((seq, first + place) for place, (seq, _) in enumerate(whole))
        if rows:
            self.last_seq = rows[-1][0]

    def drop(self, seq: int) -> None:
        place = self._places.pop(seq)
        moved = self.index.remove(place)
        if moved is not None:
            self._places[moved] = place


def _space(value: bytes) -> VectorSpace:
    dimensions, _, embedder = value.decode().partition(" ")
    return VectorSpace(embedder, int(dimensions))


def _rows(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, tuple[bytes, bytes, int]]:
    marks = ",".join("?" * len(seqs))
    query = f"SELECT seq, id, record, expires_at FROM entries WHERE seq IN ({marks})"  # noqa: S608 - marks only
    return {seq: (entry_id, record, expires) for seq, entry_id, record, expires in connection.execute(query, seqs)}


def _held(connection: sqlite3.Connection, scope: bytes) -> tuple[int, int]:
    row = connection.execute("SELECT entries, bytes FROM scopes WHERE scope = ?", (scope,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def _make_room(connection: sqlite3.Connection, new: Stored, seq: int, limits: Limits) -> None:
    own = surplus(_held(connection, new.scope)[0], limits.max_entries_per_scope)
    if own:
        _evict(connection, "scope = ?", (new.scope,), seq, limits, entries=own, too_many_bytes=0)
    entries, held_bytes = _held(connection, b"")
    total = surplus(entries, limits.max_entries or _DEFAULT_MAX_ENTRIES)
    too_many_bytes = surplus(held_bytes, limits.max_bytes)
    if total or too_many_bytes:
        _evict(connection, "1", (), seq, limits, entries=total, too_many_bytes=too_many_bytes)
    if new.size > (limits.max_bytes or new.size):
        _remove(connection, [(seq,)])


def _evict(
    connection: sqlite3.Connection,
    condition: str,
    values: tuple[object, ...],
    new_seq: int,
    limits: Limits,
    *,
    entries: int,
    too_many_bytes: int,
) -> None:
    query = (
        f"SELECT seq, bytes FROM uses WHERE {condition} AND seq <> ? "  # noqa: S608 - statements of ours
        f"ORDER BY {RANKS[limits.eviction]}"
    )
    gone: list[Row] = []
    freed = 0
    for seq, size in connection.execute(query, (*values, new_seq)):
        if len(gone) >= entries and freed >= too_many_bytes:
            break
        gone.append((seq,))
        freed += size
    _remove(connection, gone)


def _remove(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    connection.executemany("DELETE FROM entries WHERE seq = ?", rows)
