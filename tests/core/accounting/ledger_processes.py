"""Run as a script by test_ledger_processes: processes that record, fork and are killed. Prints what went wrong."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import uuid
from decimal import Decimal

from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.ledger import Ledger

ROUNDS = 20
THREADS = 4


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def call(call_id: str | None = None) -> Call:
    whom = Attribution(feature="search", user="ann", task="t", run="r")
    return Call(model="small", cost_usd=Decimal("0.001"), attribution=whom, id=call_id or uuid.uuid4().hex)


def in_child(work) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def record_for_ever(path: str, acknowledge: int) -> None:
    ledger = Ledger(path)

    def loop() -> None:
        while True:
            done = ledger.record(call())
            os.write(acknowledge, done.id.encode() + b"\n")

    threads = [threading.Thread(target=loop) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def killed(path: str) -> None:
    """Kill a recording process ROUNDS times; whatever it acknowledged must be there each time."""
    acknowledged: set[str] = set()
    for turn in range(ROUNDS):
        reading, writing = os.pipe()
        pid = in_child(lambda end=writing: record_for_ever(path, end))
        os.close(writing)
        told = b""
        while told.count(b"\n") < 20 + 37 * turn:
            told += os.read(reading, 4096)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := os.read(reading, 65536):
            told += more
        os.close(reading)
        acknowledged.update(line.decode() for line in told.split(b"\n") if len(line) == 32)
        with Ledger(path) as ledger:
            lost = acknowledged - {recorded.id for recorded in ledger.calls()}
            if lost:
                say(f"round {turn}: {len(lost)} of {len(acknowledged)} lost")
            check(path, ledger)
    say("acknowledged", len(acknowledged))


def check(path: str, ledger: Ledger) -> None:
    (verdict,) = ledger.store.read("PRAGMA integrity_check")[0]
    if verdict != "ok":
        say(f"{path}: {verdict}")


def shared(path: str) -> None:
    """Four processes make one file at once and record from four threads each."""

    def work(process: int) -> None:
        ledger = Ledger(path)

        def record(thread: int) -> None:
            for number in range(60):
                ledger.record(call(f"{process}-{thread}-{number}"))

        threads = [threading.Thread(target=record, args=(thread,)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ledger.close()

    pids = [in_child(lambda process=process: work(process)) for process in range(4)]
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    with Ledger(path) as ledger:
        say("calls", ledger.total().calls, "failed", sum(map(bool, codes)))
        check(path, ledger)


def forked(path: str) -> None:
    """A ledger goes on in a forked child after the parent has closed its own."""
    ledger = Ledger(path)
    ledger.record(call("parent before"))
    busy = threading.Event()

    def keep_busy() -> None:
        while not busy.is_set():
            ledger.total()

    thread = threading.Thread(target=keep_busy)
    thread.start()
    reading, writing = os.pipe()

    def child() -> None:
        ledger.record(call("child before"))
        os.read(reading, 1)
        ledger.record(call("child after"))
        os.kill(os.getpid(), signal.SIGKILL)

    pid = in_child(child)
    busy.set()
    thread.join()
    ledger.record(call("parent after"))
    while ledger.total().calls < 3:
        pass
    ledger.close()
    os.write(writing, b".")
    os.waitpid(pid, 0)
    with Ledger(path) as again:
        say(sorted(recorded.id for recorded in again.calls()))
        check(path, again)


def forked_in_memory(_path: str) -> None:
    """A ledger in memory is the child's own after a fork."""
    ledger = Ledger()
    ledger.record(call("before"))

    def child() -> None:
        ledger.record(call("child"))
        say("child", ledger.total().calls)

    os.waitpid(in_child(child), 0)
    say("parent", ledger.total().calls)


if __name__ == "__main__":
    {"killed": killed, "shared": shared, "forked": forked, "memory": forked_in_memory}[sys.argv[1]](sys.argv[2])
    assert sqlite3.threadsafety == 3, "this SQLite is not built for threads"
