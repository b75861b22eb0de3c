"""The ledger under SIGKILL, forks and several processes; the processes are those of ledger_processes.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def told_by(scene, tmp_path):
    script = Path(__file__).with_name("ledger_processes.py")
    done = subprocess.run(
        # Fork warnings of newer Pythons are about other people's locks: ours are what is tested here.
        [sys.executable, "-W", "ignore::DeprecationWarning", script, scene, tmp_path / "thrift.sqlite"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_killed_process_loses_no_call_that_was_acknowledged(tmp_path):
    (acknowledged,) = told_by("killed", tmp_path)
    assert int(acknowledged.split()[1]) > 5000


def test_processes_and_threads_that_record_at_once_lose_nothing(tmp_path):
    assert told_by("shared", tmp_path) == ["calls 960 failed 0"]


def test_a_ledger_survives_a_fork_with_other_threads_at_work(tmp_path):
    assert told_by("forked", tmp_path) == ["['child after', 'child before', 'parent after', 'parent before']"]


def test_a_ledger_in_memory_is_copied_by_a_fork(tmp_path):
    assert sorted(told_by("memory", tmp_path)) == ["child 2", "parent 1"]
