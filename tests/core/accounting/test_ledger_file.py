"""Files that cannot be used, files that fail later, and files of other versions."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from decimal import Decimal
from pathlib import Path

import pytest
from thrift_core.accounting import ledger_schema, ledger_store
from thrift_core.accounting.call import Call
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import LedgerError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "thrift.sqlite"


def call(**given):
    return Call(model="small", cost_usd=Decimal("0.01"), **given)


def test_what_is_recorded_is_there_when_the_file_is_opened_again(path):
    with Ledger(path) as ledger:
        recorded = ledger.record(call())
    with Ledger(str(path)) as ledger:
        assert list(ledger.calls()) == [recorded]


def test_two_ledgers_on_one_file_see_each_other(path):
    with Ledger(path) as one, Ledger(path) as other:
        one.record(call())
        assert other.total().calls == 1
        other.record(call())
        assert one.total().calls == 2


def test_an_empty_file_becomes_a_ledger(path):
    path.touch()
    with Ledger(path) as ledger:
        ledger.record(call())
        assert ledger.total().calls == 1


def test_a_file_that_is_not_sqlite_is_named_and_left_alone(path):
    path.write_text("my shopping list, not a ledger\n" * 100)
    with pytest.raises(LedgerError, match=r"thrift\.sqlite.*not an SQLite file"):
        Ledger(path)
    assert path.read_text().startswith("my shopping list")


def test_another_programs_database_is_named_and_left_alone(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE shop (item)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a ledger of thrift"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_named_with_what_to_do(path):
    with Ledger(path) as ledger:
        ledger.record(call())
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = b"\xff" * 3996
    path.write_bytes(damaged)
    with pytest.raises(LedgerError, match=r"thrift\.sqlite.*damaged.*recover"):
        Ledger(path)


def test_damage_that_comes_later_is_a_ledger_error(path):
    with Ledger(path) as ledger:
        for _ in range(300):
            ledger.record(call())
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 2 :] = b"\xff" * (len(damaged) - 4096 * 2)
    path.write_bytes(damaged)
    with Ledger(path) as ledger, pytest.raises(LedgerError, match="damaged"):
        list(ledger.calls())


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(LedgerError, match=r"nowhere.*directory exists"):
        Ledger(tmp_path / "nowhere" / "thrift.sqlite")


def test_a_directory_is_no_ledger(tmp_path):
    with pytest.raises(LedgerError, match="it is a file"):
        Ledger(tmp_path)


@pytest.mark.parametrize("what", ["file", "directory"])
@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="needs POSIX users")
def test_a_read_only_file_is_found_when_it_is_opened(what):
    script = f"""
        import os, sys
        from thrift_core.accounting.ledger import Ledger
        from thrift_core.errors import LedgerError
        if os.getuid() == 0:
            os.setresuid(65534, 65534, 65534)  # root may write whatever the permissions say
        try:
            Ledger(sys.argv[1])
        except LedgerError as error:
            print(error)
        else:
            print("opened {what}")
    """
    folder = Path(tempfile.mkdtemp())
    path = folder / "thrift.sqlite"
    Ledger(path).close()
    path.chmod(0o444 if what == "file" else 0o666)
    folder.chmod(0o777 if what == "file" else 0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), path], capture_output=True, text=True, check=True
        )
        assert str(path) in done.stdout
        assert "read-only" in done.stdout or "can be written to" in done.stdout
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_locked_file_costs_one_wait_and_not_one_for_each_call(path, monkeypatch):
    monkeypatch.setattr(ledger_store, "_WAIT_SECONDS", 0.4)
    monkeypatch.setattr(ledger_store, "_WAIT_SECONDS_WHILE_LOCKED", 0.01)
    other = sqlite3.connect(path, isolation_level=None)
    with Ledger(path) as ledger:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another program holds its lock"):
            ledger.record(call())
        started = time.monotonic()
        for _ in range(5):
            with pytest.raises(LedgerError):
                ledger.record(call())
        assert time.monotonic() - started < 0.35
        other.execute("ROLLBACK")
        ledger.record(call())
        assert ledger.total().calls == 1
        assert ledger.store.read("PRAGMA busy_timeout") == [(400,)]
    other.close()


def test_a_file_that_is_locked_at_opening_is_named(path, monkeypatch):
    monkeypatch.setattr(ledger_store, "_WAIT_SECONDS", 0.05)
    Ledger(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match=r"thrift\.sqlite.*lock"):
        Ledger(path)
    other.close()


def test_a_full_disk_fails_the_record_and_keeps_what_was_there(path):
    with Ledger(path) as ledger:
        ledger.record(call())
        ledger.store.read("PRAGMA max_page_count = 1")  # SQLite takes the pages that there are already
        with pytest.raises(LedgerError, match="disk is full"):
            ledger.record(call(tool_calls=("x" * 500_000,)))
        kept = ledger.total().calls
        ledger.store.read("PRAGMA max_page_count = 100000")
        ledger.record(call())
        assert ledger.total().calls == kept + 1


def test_a_file_made_read_only_later_fails_the_record_and_faults_are_kept_in_memory(path, caplog):
    caplog.set_level(logging.INFO, logger="thrift")
    with Ledger(path) as ledger:
        ledger.store.read("PRAGMA query_only = 1")
        with pytest.raises(LedgerError, match="read-only"):
            ledger.record(call())
        ledger.count_fault("ledger", "LedgerError")
        ledger.count_fault("ledger", "LedgerError")
        assert ledger.faults() == {("ledger", "LedgerError"): 2}
        assert [record.levelname for record in caplog.records] == ["INFO"]
        ledger.store.read("PRAGMA query_only = 0")
        ledger.count_fault("cache", "timeout")
    with Ledger(path) as ledger:
        assert ledger.faults() == {("ledger", "LedgerError"): 2, ("cache", "timeout"): 1}


def test_a_file_that_is_moved_away_is_made_again(path, tmp_path):
    with Ledger(path) as ledger:
        ledger.record(call())
        path.rename(tmp_path / "old.sqlite")
        later = ledger.record(call())
        assert list(ledger.calls()) == [later]
    with Ledger(path) as ledger:
        assert list(ledger.calls()) == [later]


def test_an_old_file_is_brought_to_the_new_version(path, monkeypatch):
    with Ledger(path) as ledger:
        recorded = ledger.record(call())
    more = ("ALTER TABLE calls ADD COLUMN colour TEXT", "CREATE TABLE extra (x)")
    monkeypatch.setattr(ledger_schema, "MIGRATIONS", (*ledger_schema.MIGRATIONS, more))
    with Ledger(path) as ledger:
        assert list(ledger.calls()) == [recorded]
        assert ledger.store.read("SELECT colour FROM calls") == [(None,)]
        assert ledger.store.read("PRAGMA user_version") == [(len(ledger_schema.MIGRATIONS),)]


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    Ledger(path).close()
    broken = ("CREATE TABLE extra (x)", "NONSENSE")
    with monkeypatch.context() as patch:
        patch.setattr(ledger_schema, "MIGRATIONS", (*ledger_schema.MIGRATIONS, broken))
        with pytest.raises(LedgerError, match="NONSENSE"):
            Ledger(path)
    with Ledger(path) as ledger:
        assert ledger.store.read("SELECT count(*) FROM sqlite_master WHERE name = 'extra'") == [(0,)]


def test_a_newer_file_asks_for_a_newer_thrift(path):
    with Ledger(path) as ledger:
        ledger.store.read("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match=r"version 99.*pip install -U"):
        Ledger(path)
