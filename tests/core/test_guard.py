import logging
import threading
import time
from contextvars import ContextVar

import pytest
from thrift_core.guard import Guard


class Faults:
    def __init__(self):
        self.counted = []

    def count_fault(self, lever, reason):
        self.counted.append((lever, reason))


@pytest.fixture
def faults():
    return Faults()


def test_work_that_succeeds_is_returned(faults):
    assert Guard(faults).run("compressor", lambda: 7) == 7
    assert faults.counted == []


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), RecursionError(), MemoryError()]
)
def test_whatever_a_lever_raises_is_counted_and_swallowed(faults, error):
    def work():
        raise error

    assert Guard(faults).run("compressor", work) is None
    assert faults.counted == [("compressor", type(error).__name__)]


def test_the_same_trouble_is_warned_of_once_and_counted_each_time(faults, caplog):
    guard = Guard(faults)
    with caplog.at_level(logging.WARNING, logger="thrift"):
        for _ in range(3):
            guard.run("compressor", lambda: 1 / 0)
    assert len(caplog.records) == 1
    assert "division by zero" in caplog.text
    assert len(faults.counted) == 3


def test_a_hanging_lever_costs_its_timeout_once_and_is_passed_over_until_it_ends(faults):
    guard, release, calls = Guard(faults, timeout_seconds=0.05), threading.Event(), []

    def hang():
        calls.append(1)
        release.wait(5)

    started = time.monotonic()
    assert guard.run("summarizer", hang) is None
    assert guard.run("summarizer", hang) is None
    assert guard.run("compressor", lambda: "others still run") == "others still run"
    assert time.monotonic() - started < 1
    assert len(calls) == 1
    assert faults.counted == [("summarizer", "timeout"), ("summarizer", "still hanging")]
    release.set()
    while threading.active_count() > 1 and any(t.name == "thrift-summarizer" for t in threading.enumerate()):
        time.sleep(0.005)
    assert guard.run("summarizer", lambda: "back") == "back"


def test_a_fault_counter_that_fails_is_ignored():
    class Broken:
        def count_fault(self, lever, reason):
            raise OSError("disk full")

    assert Guard(Broken()).run("compressor", lambda: 1 / 0) is None


def test_work_sees_the_context_it_was_asked_in(faults):
    who = ContextVar("who")
    who.set("ann")
    assert Guard(faults).run("compressor", who.get) == "ann"
