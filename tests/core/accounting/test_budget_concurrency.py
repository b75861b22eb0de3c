"""However many calls go out at once, a hard limit is never passed, and what they did not use can be used again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budget_store import BudgetStore
from thrift_core.accounting.budgets import Budgets, Reservation
from thrift_core.accounting.redis_budget_store import RedisBudgetStore
from thrift_core.accounting.sqlite_budget_store import SQLiteBudgetStore
from thrift_core.errors import BudgetExceeded

CALLS = 1000
WORST, ACTUAL = Decimal("0.01"), Decimal("0.004")
WORKER = Path(__file__).with_name("budget_worker.py")
# 500 calls fit at first; settled, they have used 2.00, so 300 more fit.
LIMIT = Budget(limit_usd=5)


def test_1000_calls_from_threads_never_pass_a_limit(make_store: Callable[..., BudgetStore]) -> None:
    budgets = Budgets(LIMIT, store=make_store())
    together = threading.Barrier(50)

    def reserve(number: int) -> Reservation | None:
        if number < 50:
            together.wait()
        try:
            return budgets.reserve(usd=WORST, tokens=0)
        except BudgetExceeded:
            return None

    with ThreadPoolExecutor(50) as pool:
        for fitting in (500, 300):
            held = [one for one in pool.map(reserve, range(CALLS)) if one is not None]
            assert len(held) == fitting
            (state,) = budgets.state()
            assert state.used + state.reserved == 5
            list(pool.map(lambda one: budgets.settle(one, usd=ACTUAL, tokens=0), held))
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (800 * ACTUAL, 0)
    assert budgets.faults == {}


async def test_1000_calls_from_tasks_never_pass_a_limit(make_store: Callable[..., BudgetStore]) -> None:
    store = make_store()
    budgets = Budgets(LIMIT, store=store)

    async def reserve() -> Reservation | None:
        try:
            return await budgets.areserve(usd=WORST, tokens=0)
        except BudgetExceeded:
            return None

    for fitting in (500, 300):
        held = [one for one in await asyncio.gather(*(reserve() for _ in range(CALLS))) if one is not None]
        assert len(held) == fitting
        await asyncio.gather(*(budgets.asettle(one, usd=ACTUAL, tokens=0) for one in held))
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (800 * ACTUAL, 0)
    assert budgets.faults == {}
    await store.aclose()


@contextmanager
def workers(place: str, prefix: str, *, calls: int) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, str(WORKER), place, prefix, str(calls), "5"]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def tell_all(running: list[subprocess.Popen[str]]) -> list[list[str]]:
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.stdout.readline().split() for process in running if process.stdout is not None]


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "budgets.sqlite")
    url: str = request.getfixturevalue("redis_url")
    return url


def shared_store(place: str, prefix: str) -> BudgetStore:
    return RedisBudgetStore(place, prefix=prefix) if "://" in place else SQLiteBudgetStore(place)


def test_1000_calls_from_4_processes_never_pass_a_limit(place: str, redis_prefix: str) -> None:
    store = shared_store(place, redis_prefix)
    with workers(place, redis_prefix, calls=CALLS // 4) as running:
        for fitting in (500, 300):
            answers = tell_all(running)
            assert sum(int(passed) for passed, _ in answers) == fitting
            assert [faults for _, faults in answers] == ["0"] * 4
            (state,) = Budgets(store=store).state()
            assert state.used + state.reserved == 5
            assert tell_all(running) == [["settled"]] * 4
    (state,) = Budgets(store=store).state()
    assert (state.used, state.reserved) == (800 * ACTUAL, 0)
    store.close()


def test_what_killed_processes_had_reserved_is_given_back(place: str, redis_prefix: str) -> None:
    with workers(place, redis_prefix, calls=CALLS // 4) as running:
        tell_all(running)
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.wait()
    later = shared_store(place, redis_prefix)
    budgets = Budgets(LIMIT, store=later)
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=WORST, tokens=0)
    in_15_minutes = shared_store(place, redis_prefix)
    in_15_minutes._clock = lambda: time.time() + 901  # type: ignore[attr-defined]
    Budgets(LIMIT, store=in_15_minutes).reserve(usd=Decimal(5), tokens=0)
    later.close()
    in_15_minutes.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_spends_from_the_same_budget(place: str, redis_prefix: str) -> None:
    store = shared_store(place, redis_prefix)
    budgets = Budgets(Budget(limit_calls=20), store=store)
    inherited = [budgets.reserve(usd=None, tokens=0) for _ in range(5)]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for _ in range(10):
                budgets.settle(budgets.reserve(usd=None, tokens=0), usd=None, tokens=0)
            code = 0 if budgets.faults == {} else 2
        finally:
            os._exit(code)
    for one in inherited:
        budgets.settle(one, usd=None, tokens=0)
    assert os.waitpid(child, 0)[1] == 0
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (15, 0)
    assert budgets.faults == {}
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_parent_that_closes_the_file_takes_nothing_from_its_child(tmp_path: Path) -> None:
    store = SQLiteBudgetStore(tmp_path / "budgets.sqlite")
    budgets = Budgets(Budget(limit_calls=100), store=store)
    budgets.settle(budgets.reserve(usd=None, tokens=0), usd=None, tokens=0)
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        code = 1
        try:
            for _ in range(2):
                for _ in range(5):
                    budgets.settle(budgets.reserve(usd=None, tokens=0), usd=None, tokens=0)
                there.sendall(b".")
                there.recv(1)
            code = len(budgets.faults)
        finally:
            os._exit(code)
    there.close()
    with here:
        here.settimeout(20)
        assert here.recv(1)
        store.close()
        here.sendall(b".")
        assert here.recv(1)
        assert budgets.state()[0].used == 11
    assert os.waitpid(child, 0)[1] == 0
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forking_while_threads_spend_leaves_no_lock_behind(make_store: Callable[..., BudgetStore]) -> None:
    store = make_store()
    budgets = Budgets(Budget(limit_usd=100), store=store)
    is_over = threading.Event()

    def spend() -> None:
        while not is_over.is_set():
            budgets.settle(budgets.reserve(usd=Decimal("0.000001"), tokens=0), usd=Decimal("0.000001"), tokens=0)

    threads = [threading.Thread(target=spend) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                budgets.reserve(usd=Decimal("0.01"), tokens=0)
                os._exit(len(budgets.faults))
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    store.close()


async def test_a_cancelled_task_is_booked_all_the_same(make_store: Callable[..., BudgetStore]) -> None:
    store = make_store()
    budgets = Budgets(LIMIT, store=store)
    held = await budgets.areserve(usd=WORST, tokens=0)
    settling = asyncio.ensure_future(budgets.asettle(held, usd=ACTUAL, tokens=0))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    async with asyncio.timeout(5):
        while budgets.state()[0].used != ACTUAL:
            await asyncio.sleep(0.01)
    await store.aclose()
