"""Stores of every kind for the tests of budgets, on one clock that the test moves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from thrift_core.accounting.budget_store import BudgetStore
from thrift_core.accounting.budgets import Budgets, Reservation
from thrift_core.accounting.memory_budget_store import MemoryBudgetStore
from thrift_core.accounting.redis_budget_store import RedisBudgetStore
from thrift_core.accounting.sqlite_budget_store import SQLiteBudgetStore

STORES = ("memory", "sqlite", "redis")


class Clock:
    """A clock that stands still until it is moved. It is ahead of the real one, by which Redis lets keys expire."""

    def __init__(self) -> None:
        self.now = datetime(2031, 1, 15, 10, 30, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now

    def set(self, *when: int) -> None:
        self.now = datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


class Waiting:
    """Runs the async methods of budgets as if they were the sync ones."""

    def __init__(self, budgets: Budgets, runner: asyncio.Runner) -> None:
        self._budgets = budgets
        self._runner = runner

    def reserve(self, **given: Any) -> Reservation:
        return self._runner.run(self._budgets.areserve(**given))

    def settle(self, reservation: Reservation, **given: Any) -> None:
        self._runner.run(self._budgets.asettle(reservation, **given))

    def release(self, reservation: Reservation) -> None:
        self._runner.run(self._budgets.arelease(reservation))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._budgets, name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    import redis

    prefix = uuid.uuid4().hex
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{{{prefix}}}:*"):
            client.delete(key)


@pytest.fixture(params=STORES)
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., BudgetStore]]:
    """Makes stores that share what they count (in memory, the same store again)."""
    made: list[BudgetStore] = []

    def make(clock: Callable[[], float] | None = None) -> BudgetStore:
        made.append(_store(request, tmp_path / "budgets.sqlite", clock, made))
        return made[-1]

    yield make
    for store in made:
        store.close()


def _store(
    request: pytest.FixtureRequest, path: Path, clock: Callable[[], float] | None, made: list[BudgetStore]
) -> BudgetStore:
    timed = {} if clock is None else {"clock": clock}
    match request.param:
        case "memory":
            return made[0] if made else MemoryBudgetStore(**timed)
        case "sqlite":
            return SQLiteBudgetStore(path, **timed)
        case _:
            prefix = request.getfixturevalue("redis_prefix")
            return RedisBudgetStore(request.getfixturevalue("redis_url"), prefix=prefix, **timed)


@pytest.fixture
def store(make_store: Callable[..., BudgetStore], clock: Clock) -> BudgetStore:
    return make_store(clock)


@pytest.fixture(params=["sync", "async"])
def driven(request: pytest.FixtureRequest, store: BudgetStore) -> Iterator[Callable[..., Any]]:
    """Makes budgets on the store, to be driven by the sync methods or by their async twins."""
    with asyncio.Runner() as runner:

        def make(*limits: Any, **settings: Any) -> Any:
            budgets = Budgets(*limits, store=store, **settings)
            return budgets if request.param == "sync" else Waiting(budgets, runner)

        yield make
        if request.param == "async":
            runner.run(store.aclose())
