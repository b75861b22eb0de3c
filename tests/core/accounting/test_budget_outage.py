"""With the store away the app goes on; when it is back, limits hold again."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from thrift_core.accounting import sqlite_budget_store
from thrift_core.accounting.budget import Budget, RunawayGuard
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.memory_budget_store import MemoryBudgetStore
from thrift_core.accounting.redis_budget_store import RedisBudgetStore
from thrift_core.accounting.sqlite_budget_store import SQLiteBudgetStore
from thrift_core.errors import BudgetExceeded, ConfigurationError, MissingExtra

CENT = Decimal("0.01")


def spend(budgets: Budgets, usd: Decimal = CENT) -> None:
    budgets.settle(budgets.reserve(usd=usd, tokens=0), usd=usd, tokens=0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Flaky(MemoryBudgetStore):
    """Works, until it is told to fail."""

    error: Exception | None = None
    tries = 0

    def reserve(self, *given: Any, **named: Any) -> Any:
        self._fail()
        return super().reserve(*given, **named)

    def settle(self, *given: Any) -> Any:
        self._fail()
        return super().settle(*given)

    def _fail(self) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error


def test_redis_killed_in_mid_run_lets_calls_pass_with_one_warning_and_limits_hold_again_when_it_is_back(
    start_redis: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis()
    budgets = Budgets(Budget(limit_usd=2), store=server.url, back_off_seconds=0.2)
    done = []

    def call(number: int) -> None:
        if number == 50:
            server.kill()
        spend(budgets)
        done.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(150)))
    assert len(done) == 150
    (warning,) = warnings(caplog)
    assert warning.startswith("the budget store is unavailable, calls pass unchecked until it is back: ")
    assert budgets.faults["call not checked"] > 50

    server.start()
    time.sleep(0.25)
    for _ in range(4):  # each settlement takes some of those along that could not be booked
        spend(budgets)
    (state,) = budgets.state()
    lost_with_redis = 60  # at most: 50 before the kill and what 8 threads had under way
    assert (150 - lost_with_redis) * CENT <= state.used <= 154 * CENT
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=Decimal("1.1"), tokens=0)
    assert len(warnings(caplog)) == 1
    budgets.close()


async def test_redis_killed_under_an_event_loop_lets_calls_pass(
    start_redis: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis()
    budgets = Budgets(Budget(limit_calls=100), store=server.url, back_off_seconds=0.2)

    async def call() -> None:
        await budgets.asettle(await budgets.areserve(usd=None, tokens=0), usd=None, tokens=0)

    await asyncio.gather(*(call() for _ in range(50)))
    server.kill()
    await asyncio.gather(*(call() for _ in range(50)))
    assert len(warnings(caplog)) == 1
    server.start()
    await asyncio.sleep(0.25)
    await call()
    assert budgets.state()[0].used == 51
    for _ in range(49):
        await budgets.areserve(usd=None, tokens=0)
    with pytest.raises(BudgetExceeded):
        await budgets.areserve(usd=None, tokens=0)
    assert len(warnings(caplog)) == 1
    await budgets.aclose()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield listener.getsockname()[1]


def test_a_redis_that_never_answers_costs_one_short_wait_and_not_one_for_each_call(silent_port: int) -> None:
    budgets = Budgets(Budget(limit_calls=1), store=f"redis://127.0.0.1:{silent_port}", back_off_seconds=30)
    began = time.monotonic()
    with ThreadPoolExecutor(100) as pool:
        list(pool.map(lambda _: spend(budgets), range(300)))
    assert time.monotonic() - began < 5
    assert budgets.faults["call not checked"] == 300
    budgets.close()


async def test_a_redis_that_never_answers_does_not_hold_up_an_event_loop(silent_port: int) -> None:
    budgets = Budgets(Budget(limit_calls=1), store=f"redis://127.0.0.1:{silent_port}", back_off_seconds=30)
    began = time.monotonic()
    await asyncio.gather(*(budgets.areserve(usd=None, tokens=0) for _ in range(300)))
    assert time.monotonic() - began < 5
    assert budgets.faults["call not checked"] == 300
    await budgets.aclose()


def test_an_unavailable_store_can_refuse_calls_instead() -> None:
    store = Flaky()
    store.error = OSError("gone")
    budgets = Budgets(Budget(limit_usd=1), store=store, on_unavailable="block")
    for _ in range(2):
        with pytest.raises(BudgetExceeded, match="the budget store is unavailable, and on_unavailable='block'"):
            budgets.reserve(usd=CENT, tokens=0)
    guarded = Budgets(RunawayGuard(), Budget(limit_usd=1, hard=False), store=store, on_unavailable="block")
    guarded.reserve(usd=CENT, tokens=0)


def test_while_a_store_is_left_alone_it_is_not_asked() -> None:
    store = Flaky()
    store.error = OSError("gone")
    budgets = Budgets(Budget(limit_usd=1), store=store, back_off_seconds=60)
    for _ in range(100):
        spend(budgets)
    assert store.tries == 1


def test_what_was_spent_while_the_store_was_away_is_booked_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    store = Flaky()
    budgets = Budgets(Budget(limit_usd=1), store=store, back_off_seconds=0)
    held = budgets.reserve(usd=Decimal("0.2"), tokens=0)
    store.error = OSError("gone")
    budgets.settle(held, usd=Decimal("0.1"), tokens=0)
    spend(budgets, Decimal("0.3"))
    store.error = None
    spend(budgets, Decimal("0.4"))
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (Decimal("0.8"), Decimal(0))
    store.error = OSError("gone again")
    spend(budgets)
    assert len(warnings(caplog)) == 2


def test_every_failure_is_told_to_whoever_counts_faults() -> None:
    told: list[tuple[str, str]] = []
    store = Flaky()
    store.error = RuntimeError("a defect")
    budgets = Budgets(
        Budget(limit_usd=1), store=store, on_fault=lambda part, reason: told.append((part, reason)), back_off_seconds=60
    )
    spend(budgets)
    assert told == [("budget", "RuntimeError"), ("budget", "call not checked")]
    assert budgets.faults == {"RuntimeError": 1, "call not checked": 1}


def test_a_fault_counter_that_fails_breaks_nothing() -> None:
    store = Flaky()
    store.error = RuntimeError("a defect")

    def fail(part: str, reason: str) -> None:
        raise OSError(part + reason)

    spend(Budgets(Budget(limit_usd=1), store=store, on_fault=fail))


def test_tool_calls_that_cannot_be_read_do_not_break_the_app(caplog: pytest.LogCaptureFixture) -> None:
    budgets = Budgets(RunawayGuard(), Budget(limit_usd=1))
    held = budgets.reserve(usd=CENT, tokens=0)
    budgets.settle(held, usd=CENT, tokens="many", tool_calls=7)  # type: ignore[arg-type]
    assert len(warnings(caplog)) == 1
    assert budgets.state()[0].reserved == 0


class LosesAnswers:
    """Runs a step in Redis, then loses the answer."""

    def __init__(self, script: Callable[..., Any]) -> None:
        self._script = script
        self.to_lose = 0

    def __call__(self, **given: Any) -> Any:
        answer = self._script(**given)
        if self.to_lose:
            self.to_lose -= 1
            raise TimeoutError("too late")
        return answer


def test_an_answer_of_redis_that_is_lost_is_not_booked_twice(redis_url: str, redis_prefix: str) -> None:
    store = RedisBudgetStore(redis_url, prefix=redis_prefix)
    store._here.script = script = LosesAnswers(store._here.script)
    budgets = Budgets(Budget(limit_usd=1), store=store, back_off_seconds=0)
    held = budgets.reserve(usd=Decimal("0.5"), tokens=0)
    script.to_lose = 1
    budgets.settle(held, usd=Decimal("0.1"), tokens=0)
    script.to_lose = 1
    lost = budgets.reserve(usd=Decimal("0.5"), tokens=0)
    assert budgets.state()[0].reserved == Decimal("0.5")
    budgets.settle(lost, usd=Decimal("0.2"), tokens=0)
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (Decimal("0.3"), Decimal(0))
    store.close()


def test_a_step_that_redis_is_asked_twice_counts_once(redis_url: str, redis_prefix: str) -> None:
    store = RedisBudgetStore(redis_url, prefix=redis_prefix)
    run = store._here.script
    store._here.script = lambda **given: (run(**given), run(**given))[1]
    budgets = Budgets(Budget(limit_calls=1), store=store)
    held = budgets.reserve(usd=None, tokens=0)
    assert budgets.state()[0].reserved == 1
    budgets.settle(held, usd=None, tokens=0)
    assert (budgets.state()[0].used, budgets.state()[0].reserved) == (1, 0)
    assert budgets.faults == {}
    store.close()


def test_a_redis_that_lost_everything_still_books_what_is_under_way(redis_url: str, redis_prefix: str) -> None:
    import redis

    store = RedisBudgetStore(redis_url, prefix=redis_prefix)
    budgets = Budgets(Budget(limit_usd=1), store=store)
    held = budgets.reserve(usd=Decimal("0.5"), tokens=0)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(*client.keys(f"{{{redis_prefix}}}:*"))
        client.script_flush()
    budgets.settle(held, usd=Decimal("0.4"), tokens=0)
    with pytest.raises(BudgetExceeded):
        budgets.reserve(usd=Decimal("0.7"), tokens=0)
    store.close()


@pytest.mark.parametrize("decodes", [True, False])
def test_a_redis_client_of_the_app_will_do(redis_url: str, redis_prefix: str, decodes: bool) -> None:
    import redis

    with redis.Redis.from_url(redis_url, decode_responses=decodes) as client:
        budgets = Budgets(Budget(limit_usd=1), store=RedisBudgetStore(client, prefix=redis_prefix))
        spend(budgets)
        asyncio.run(_spend(budgets))
        assert budgets.state()[0].used == 2 * CENT
        budgets.store.close()
        assert client.ping()


async def _spend(budgets: Budgets) -> None:
    await budgets.asettle(await budgets.areserve(usd=CENT, tokens=0), usd=CENT, tokens=0)


def test_budgets_work_on_one_event_loop_after_another(redis_url: str, redis_prefix: str) -> None:
    budgets = Budgets(Budget(limit_usd=1), store=RedisBudgetStore(redis_url, prefix=redis_prefix))

    async def spend_and_close() -> None:
        await _spend(budgets)
        await budgets.store.aclose()

    for _ in range(3):
        asyncio.run(spend_and_close())
    assert budgets.state()[0].used == 3 * CENT
    assert budgets.faults == {}
    budgets.store.close()


def test_an_asyncio_client_is_refused(redis_url: str) -> None:
    import redis.asyncio

    with pytest.raises(ConfigurationError, match="got an asyncio client"):
        RedisBudgetStore(redis.asyncio.Redis.from_url(redis_url))


def test_without_the_redis_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"thrift-core\[redis\]"):
        Budgets(Budget(limit_calls=1), store="redis://localhost")


def _text(path: Path) -> None:
    path.write_text("not a database, but long enough to have a header of sixteen bytes and more")


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()


@pytest.mark.parametrize("spoil", [_text, _foreign, Path.mkdir])
def test_a_file_that_cannot_keep_budgets_is_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "spoilt.sqlite"
    spoil(path)
    with pytest.raises(ConfigurationError, match=r"budgets cannot be kept in .*spoilt.sqlite"):
        Budgets(Budget(limit_calls=1), store=path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        Budgets(Budget(limit_calls=1), store=tmp_path / "nowhere" / "budgets.sqlite")


def test_a_file_that_is_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "budgets.sqlite"
    budgets = Budgets(Budget(limit_usd=1), store=path)
    spend(budgets)
    for name in tmp_path.iterdir():
        name.unlink()
    spend(budgets)
    assert path.exists()
    assert budgets.faults == {}
    budgets.close()


def test_a_file_that_another_program_has_locked_lets_calls_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_budget_store, "_WAIT_SECONDS", 0.1)
    path = tmp_path / "budgets.sqlite"
    budgets = Budgets(Budget(limit_usd=1), store=path, back_off_seconds=60)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(20):
        spend(budgets)
    other.execute("ROLLBACK")
    other.close()
    assert len(warnings(caplog)) == 1
    budgets.close()


def test_a_closed_file_is_opened_again(tmp_path: Path) -> None:
    store = SQLiteBudgetStore(tmp_path / "budgets.sqlite")
    store.close()
    store.close()
    budgets = Budgets(Budget(limit_usd=1), store=store)
    spend(budgets)
    assert budgets.faults == {}
    store.close()


def test_one_file_keeps_budgets_and_ledger_whichever_comes_first(tmp_path: Path) -> None:
    from thrift_core.accounting.call import Call
    from thrift_core.accounting.ledger import Ledger

    for order in (0, 1):
        path = tmp_path / f"{order}.sqlite"
        ledger = Ledger(path) if order else None
        budgets = Budgets(Budget(limit_usd=1), store=path)
        with ledger or Ledger(path) as ledger:
            spend(budgets)
            ledger.record(Call(model="gpt-4o-mini", cost_usd=CENT))
            assert (ledger.total().calls, budgets.state()[0].used) == (1, CENT)
        budgets.close()


def test_many_threads_open_a_new_file_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def spend_there(_: int) -> None:
        together.wait()
        budgets = Budgets(Budget(limit_usd=1), store=tmp_path / "budgets.sqlite")
        spend(budgets)
        budgets.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spend_there, range(8)))
    budgets = Budgets(store=tmp_path / "budgets.sqlite")
    assert budgets.state()[0].used == 8 * CENT
    budgets.close()
