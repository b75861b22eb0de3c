"""Where what was cut is kept, byte for byte, under a handle made from its content."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from pathlib import Path
from typing import Protocol, runtime_checkable

from thrift_core.errors import ConfigurationError

# Ten hex digits: 40 bits, so one in a million for two of 1,500 texts to share a handle, which `put` would notice.
HANDLE_LENGTH = 10


@runtime_checkable
class RecallStore(Protocol):
    """Keeps texts under handles."""

    def put(self, text: str) -> str:
        """Keep a text and return its handle; the same text always gets the same handle."""
        ...

    def get(self, handle: str) -> str | None:
        """Return the text under a handle, or None if it is not here."""
        ...


@runtime_checkable
class NoteStore(Protocol):
    """Keeps texts under keys of one's own, too; the stores made here are such."""

    def note(self, key: str, text: str) -> str:
        """Keep a text and return what is kept under the key: the first text stays, whoever comes later."""
        ...

    def noted(self, key: str) -> str | None:
        """Return the text under a key, or None if there is none."""
        ...


def handle_of(text: str, length: int = HANDLE_LENGTH) -> str:
    """Return the handle of a text: the first hex digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


class MemoryRecallStore:
    """Keeps texts in memory, as long as the process lives.

    Example:
        >>> store = MemoryRecallStore()
        >>> store.get(store.put("a long result"))
        'a long result'
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._notes: dict[str, str] = {}

    def put(self, text: str) -> str:
        """Keep a text and return its handle."""
        length = HANDLE_LENGTH
        while self._texts.setdefault(handle := handle_of(text, length), text) != text:
            length += 2
        return handle

    def get(self, handle: str) -> str | None:
        """Return the text under a handle, or None."""
        return self._texts.get(handle)

    def note(self, key: str, text: str) -> str:
        """Keep a text under a key of one's own, and return what is kept there: the first text stays."""
        return self._notes.setdefault(key, text)

    def noted(self, key: str) -> str | None:
        """Return the text under a key of one's own, or None."""
        return self._notes.get(key)


class SQLiteRecallStore:
    """Keeps texts in an SQLite file, so that they survive a restart and are shared between processes.

    Args:
        path: the file; created if it is not there.

    Raises:
        ConfigurationError: the file cannot be opened or is no database.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(self.path, check_same_thread=False, timeout=10.0)
            with self._connection:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS recall (handle TEXT PRIMARY KEY, text BLOB NOT NULL)"
                )
                self._connection.execute("CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, text BLOB NOT NULL)")
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"cannot keep texts for recall in {self.path}: {error}; give a path that can be written"
            ) from error

    def put(self, text: str) -> str:
        """Keep a text and return its handle; it is on disk when this returns."""
        data = text.encode("utf-8", "surrogatepass")
        length = HANDLE_LENGTH
        with self._lock, self._connection:
            while True:
                handle = handle_of(text, length)
                self._connection.execute("INSERT OR IGNORE INTO recall VALUES (?, ?)", (handle, data))
                if self._read(handle) == data:
                    return handle
                length += 2

    def get(self, handle: str) -> str | None:
        """Return the text under a handle, or None."""
        with self._lock:
            data = self._read(handle)
        return None if data is None else data.decode("utf-8", "surrogatepass")

    def note(self, key: str, text: str) -> str:
        """Keep a text under a key of one's own, and return what is kept there: the first text stays."""
        with self._lock, self._connection:
            data = text.encode("utf-8", "surrogatepass")
            self._connection.execute("INSERT OR IGNORE INTO notes VALUES (?, ?)", (key, data))
            return self._read_note(key) or text

    def noted(self, key: str) -> str | None:
        """Return the text under a key of one's own, or None."""
        with self._lock:
            return self._read_note(key)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _read(self, handle: str) -> bytes | None:
        row = self._connection.execute("SELECT text FROM recall WHERE handle = ?", (handle,)).fetchone()
        return None if row is None else bytes(row[0])

    def _read_note(self, key: str) -> str | None:
        row = self._connection.execute("SELECT text FROM notes WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0]).decode("utf-8", "surrogatepass")
