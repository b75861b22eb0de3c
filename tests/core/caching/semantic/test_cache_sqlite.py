"""The SQLite store: killed, full, locked, damaged, old, replaced, forked."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.sqlite_store import SQLiteStore
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Request

Ask = Callable[..., Request]
Say = Callable[..., CachedAnswer]
PROCESSES = Path(__file__).with_name("cache_processes.py")
# Version 1 as it was first made; a file of today's or any later thrift must open it.
VERSION_1 = """
    CREATE TABLE entries (seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, partition BLOB NOT NULL,
        expires_at INTEGER NOT NULL, vector BLOB, record BLOB NOT NULL);
    CREATE INDEX entries_by_partition ON entries (partition, seq) WHERE vector IS NOT NULL;
    CREATE TABLE uses (seq INTEGER PRIMARY KEY, scope BLOB NOT NULL, tenant BLOB NOT NULL, user BLOB NOT NULL,
        feature BLOB NOT NULL, corpus BLOB NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        last_used_at INTEGER NOT NULL, uses INTEGER NOT NULL, worth REAL NOT NULL, bytes INTEGER NOT NULL);
    CREATE INDEX uses_by_expiry ON uses (expires_at);
    CREATE TABLE sources (source BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (source, seq)) WITHOUT ROWID;
    CREATE INDEX sources_by_entry ON sources (seq);
    CREATE TABLE scopes (scope BLOB PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE denied (pair BLOB PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE counts (name TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TRIGGER uses_added AFTER INSERT ON uses BEGIN
        INSERT INTO scopes VALUES (new.scope, 1, new.bytes), (x'', 1, new.bytes)
        ON CONFLICT DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes; END;
    CREATE TRIGGER uses_removed AFTER DELETE ON uses BEGIN
        UPDATE scopes SET entries = entries - 1, bytes = bytes - old.bytes WHERE scope IN (old.scope, x'');
        DELETE FROM scopes WHERE scope = old.scope AND entries = 0; END;
    CREATE TRIGGER entries_removed AFTER DELETE ON entries BEGIN
        DELETE FROM uses WHERE seq = old.seq; DELETE FROM sources WHERE seq = old.seq; END;
    PRAGMA application_id=1953002083;
    PRAGMA user_version=1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


@pytest.fixture
def make(path: Path, embedder: Any) -> Callable[..., SemanticCache]:
    def cache(**settings: Any) -> SemanticCache:
        return SemanticCache(SQLiteStore(path), embedder, settings=CacheSettings(**settings))

    return cache


Make = Callable[..., SemanticCache]


def run(*words: str | Path | int, seconds: float = 100) -> int:
    done = subprocess.run(
        [sys.executable, PROCESSES, *map(str, words)], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_fifty_kills_lose_nothing_that_was_kept(path: Path) -> None:
    assert run("kill", path, 50) > 50


def test_a_full_disk_stops_the_storing_not_the_answers(path: Path) -> None:
    assert run("full", path, 8_000_000) > 100


def test_processes_write_and_read_at_once(path: Path) -> None:
    assert run("share", path, 3, 60) == 180


def test_what_was_kept_is_there_when_the_file_is_opened_again(make: Make, ask: Ask, say: Say) -> None:
    first = make()
    first.store(ask("one two three"), say("a"))
    first.close()
    second = make()
    for text in ("one two three", "the one two three"):
        hit = second.lookup(ask(text))
        assert hit is not None
        assert hit.answer.payload == "a"


def test_a_locked_file_costs_one_short_wait(path: Path, make: Make, ask: Ask, say: Say) -> None:
    cache = make(retry_seconds=0.5)
    cache.store(ask("q"), say("a"))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    began = time.perf_counter()
    for number in range(20):
        assert not cache.store(ask(f"q{number}"), say("a"))
    assert time.perf_counter() - began < 1
    holder.execute("ROLLBACK")
    holder.close()
    time.sleep(0.6)
    assert cache.store(ask("r"), say("a"))
    assert cache.lookup(ask("q")) is not None


def test_a_file_that_another_writes_is_still_read(path: Path, make: Make, ask: Ask, say: Say) -> None:
    cache = make()
    cache.store(ask("q"), say("a"))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert cache.lookup(ask("q")) is not None
    writer.close()


def test_a_file_that_is_no_cache_is_refused_by_name(tmp_path: Path) -> None:
    text, ledger, folder = tmp_path / "notes.txt", tmp_path / "ledger.sqlite", tmp_path
    text.write_text("not a database, but long enough to be looked at " * 20)
    Ledger(ledger).close()
    for file in (text, ledger, folder, tmp_path / "missing" / "cache.sqlite"):
        with pytest.raises(ConfigurationError, match=str(file)):
            SQLiteStore(file)


def test_a_file_of_a_newer_thrift_is_refused(path: Path) -> None:
    SQLiteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"version 99.*upgrade"):
        SQLiteStore(path)


def test_a_file_of_version_1_opens_with_what_it_holds(path: Path, make: Make, ask: Ask, say: Say) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.close()
    cache = make()
    cache.store(ask("one two three"), say("a"))
    cache.close()
    assert make().lookup(ask("one two three")) is not None


def test_a_damaged_file_is_refused_at_the_start_by_name(path: Path, make: Make, ask: Ask, say: Say) -> None:
    cache = make(retry_seconds=0)
    for number in range(200):
        cache.store(ask(f"question {number}"), say("x" * 500))
    cache.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 8192))
    with pytest.raises(ConfigurationError, match=f"{path}.*damaged"):
        make()


def test_a_file_that_is_damaged_while_it_is_open_gives_misses(path: Path, make: Make, ask: Ask, say: Say) -> None:
    cache = make(retry_seconds=0)
    for number in range(200):
        cache.store(ask(f"question {number}"), say("x" * 500))
    cache.close()
    cache = make(retry_seconds=0)
    content = bytearray(path.read_bytes())
    for place in range(5 * 4096, len(content), 4096):
        content[place + 100 : place + 4000] = os.urandom(3900)
    with path.open("r+b") as file:
        file.write(content)
    for number in range(200):
        hit = cache.lookup(ask(f"question {number}"))
        assert hit is None or hit.answer.payload == "x" * 500
    assert cache.stats().faults


def test_a_file_that_is_removed_or_replaced_is_begun_anew(path: Path, make: Make, ask: Ask, say: Say) -> None:
    cache = make()
    cache.store(ask("one two three"), say("old"))
    assert cache.lookup(ask("the one two three")) is not None
    for file in path.parent.glob("cache.sqlite*"):
        file.unlink()
    assert cache.lookup(ask("the one two three")) is None
    assert cache.store(ask("one two three"), say("new"))
    hit = cache.lookup(ask("the one two three"))
    assert hit is not None
    assert hit.answer.payload == "new"


def test_a_forked_child_and_its_parent_go_on(make: Make, ask: Ask, say: Say) -> None:
    cache = make()
    cache.store(ask("one two three"), say("a"))
    child = os.fork()
    if not child:
        is_fine = cache.lookup(ask("the one two three")) is not None and cache.store(ask("four five"), say("b"))
        os._exit(0 if is_fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.lookup(ask("four five")) is not None
    assert cache.lookup(ask("the four five")) is not None


def test_the_mirror_of_partitions_is_bounded(path: Path, embedder: Any, ask: Ask, say: Say) -> None:
    store = SQLiteStore(path, mirror_bytes=5_000)
    cache = SemanticCache(store, embedder)
    for number in range(30):
        cache.store(ask("one two three", model=f"m{number}"), say(f"{number}"))
    for _ in range(2):
        for number in range(30):
            hit = cache.lookup(ask("the one two three", model=f"m{number}"))
            assert hit is not None
            assert hit.answer.payload == str(number)
    assert store._mirrored_bytes() <= 5_000


def test_expired_entries_leave_the_file(path: Path, embedder: Any, clock: Any, ask: Ask, say: Say) -> None:
    store = SQLiteStore(path)
    cache = SemanticCache(store, embedder, clock=clock, settings=CacheSettings(ttl_seconds=10))
    for number in range(50):
        cache.store(ask(f"q{number}"), say("a"))
    clock.now += 11
    cache.store(ask("new"), say("a"))
    assert store.size().entries == 1


def test_a_counted_use_is_written_with_the_next_entry(path: Path, make: Make, ask: Ask, say: Say) -> None:
    cache = make()
    cache.store(ask("q"), say("a"))
    for _ in range(5):
        cache.lookup(ask("q"))
    cache.store(ask("r"), say("a"))
    connection = sqlite3.connect(path)
    assert sorted(uses for (uses,) in connection.execute("SELECT uses FROM uses")) == [1, 6]
    connection.close()
