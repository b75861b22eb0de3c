"""Counts budgets in Redis, for many machines."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import weakref
from collections import Counter as Multiset
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thrift_core.accounting.budget_store import Claim, Counter, Granted, Level, Refused, Settlement
from thrift_core.errors import ConfigurationError, MissingExtra

_SCHEMES = ("redis://", "rediss://", "unix://")
_TIMEOUT_SECONDS = 0.25
_CONNECTIONS = 32
# A settlement whose answer was lost is sent again within moments; after this it would count twice.
_REMEMBER_SECONDS = 300
_LEVELS_AT_ONCE = 100


class RedisBudgetStore:
    """Counts in Redis 6.2 or newer; each step is one run of a Lua script, so one round trip and atomic.

    Windows begin by the server's clock, so that machines whose clocks differ share them. All keys carry one hash tag:
    in a cluster they live on one node. Counts go away by themselves some time after their window; give Redis the
    eviction policy `noeviction` or a database where nothing else pushes them out. A Redis without persistence forgets
    all counts when it restarts.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.Redis` with time limits of its own;
            the async methods then use that client in a thread, and it must not be shared with a forked child. From a
            URL, connections are made on first use, anew in each process, and wait at most 0.25 seconds, twice.
        prefix: the hash tag; stores with different prefixes do not see one another.
        clock: seconds since 1970, for tests; None takes the server's.

    Raises:
        ConfigurationError: the URL cannot be understood.
        MissingExtra: `redis` is not installed.
    """

    def __init__(self, url_or_client: Any, *, prefix: str = "thrift", clock: Callable[[], float] | None = None) -> None:
        if not prefix or set(prefix) & set("{}"):
            raise ConfigurationError(f"prefix must be some text without braces, such as 'thrift'; got {prefix!r}")
        self._tag = f"{{{prefix}}}"
        self._clock = clock
        self._url = url_or_client if isinstance(url_or_client, str) else None
        if self._url is None:
            _check_client(url_or_client)
        self._lua = Path(__file__).with_name("redis_budget.lua").read_text(encoding="utf-8")
        self._process_client = _ProcessClient(url_or_client, self._lua)
        self._parents_clients: list[_ProcessClient] = []
        self._loop_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClient]
        self._loop_clients = weakref.WeakKeyDictionary()
        self._failures = 0

    def reserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Hold all the claims or none of them."""
        return _read_reply(self._run(*self._reserving(reservation_id, claims, lease_seconds)))

    async def areserve(self, reservation_id: str, claims: Sequence[Claim], *, lease_seconds: int) -> Granted | Refused:
        """Do what `reserve` does, on the asyncio client."""
        return _read_reply(await self._arun(*self._reserving(reservation_id, claims, lease_seconds)))

    def settle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Book each settlement and give back its reservation; one that was booked before is not booked again."""
        return _read_used(settlements, self._run(*self._settling(settlements)))

    async def asettle(self, settlements: Sequence[Settlement]) -> list[tuple[int, ...]]:
        """Do what `settle` does, on the asyncio client."""
        return _read_used(settlements, await self._arun(*self._settling(settlements)))

    def history(self, counter: Counter, key: str, *, before: int, count: int) -> list[int]:
        """Return the last windows before `before` that used anything, newest first."""
        fields: dict[Any, Any] = self._here.client.hgetall(self._count_keys(counter.name, key)[0])
        past: dict[int, int] = {}
        for field, value in fields.items():
            start, _, name = _text(field).partition(":")
            if name == "used" and int(start) < before and int(value):
                past[int(start)] = int(value)
        return [past[start] for start in sorted(past, reverse=True)[:count]]

    def mark(self, counter: Counter, key: str, start: int, alert: str) -> bool:
        """Return True the first time only."""
        values = [*_counter_values(counter, key), str(start), alert]
        keys = [self._index, *self._count_keys(counter.name, key)]
        return int(self._run(keys, ["mark", self._time(), *values])) == 1

    def describe(self, limits: Mapping[str, str]) -> None:
        """Keep descriptions of limits."""
        if limits:
            self._here.client.hset(f"{self._tag}:limits", mapping=dict(limits))

    def described(self) -> dict[str, str]:
        """Return the descriptions of all limits."""
        found: dict[Any, Any] = self._here.client.hgetall(f"{self._tag}:limits")
        return {_text(name): _text(description) for name, description in sorted(found.items())}

    def levels(self) -> list[Level]:
        """Return all counts whose window has not ended."""
        names = [_text(name) for name in self._here.client.zrange(self._index, 0, -1)]
        chunks = [names[at : at + _LEVELS_AT_ONCE] for at in range(0, len(names), _LEVELS_AT_ONCE)]
        return [level for chunk in chunks for level in self._levels(chunk)]

    def close(self) -> None:
        """Close the connections, if they were made from a URL; they are made again on the next use."""
        if self._url is not None:
            self._here.client.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop and those of `close`."""
        connected = self._loop_clients.pop(asyncio.get_running_loop(), None)
        if connected is not None:
            await connected.client.aclose()
        self.close()

    @property
    def _index(self) -> str:
        return f"{self._tag}:counts"

    def _count_keys(self, counter: str, key: str) -> tuple[str, str]:
        name = _name(counter, key)
        return f"{self._tag}:count:{name}", f"{self._tag}:leases:{name}"

    def _time(self) -> str:
        return "" if self._clock is None else repr(float(self._clock()))

    def _reserving(self, reservation_id: str, claims: Sequence[Claim], lease_seconds: int) -> _Step:
        keys, values = [self._index], ["reserve", self._time(), reservation_id, str(lease_seconds)]
        for claim in claims:
            keys += self._count_keys(claim.counter.name, claim.key)
            values += _counter_values(claim.counter, claim.key)
            values += [str(claim.amount), _or_empty(claim.ceiling), _or_empty(claim.max_repeats)]
        return keys, values

    def _settling(self, settlements: Sequence[Settlement]) -> _Step:
        keys, values = [self._index], ["settle", self._time()]
        for settlement in settlements:
            keys.append(f"{self._tag}:settled:{settlement.reservation_id}")
            values += [settlement.reservation_id, str(_REMEMBER_SECONDS), str(len(settlement.bookings))]
            for booking in settlement.bookings:
                keys += self._count_keys(booking.counter.name, booking.key)
                values += _counter_values(booking.counter, booking.key)
                values += [str(booking.start), str(booking.reserved), str(booking.actual)]
                values += ["1" if booking.is_unpriced else "0", _multiset(booking.tool_calls)]
        return keys, values

    def _levels(self, names: list[str]) -> list[Level]:
        counts = [_split(name) for name in names]
        keys = [key for counter, key in counts for key in self._count_keys(counter, key)]
        reply = [int(value) for value in self._run([self._index, *keys], ["levels", self._time()])]
        rows = [reply[at : at + 5] for at in range(0, len(reply), 5)]
        return [Level(*counts[at], start, used, reserved, unpriced) for at, start, used, reserved, unpriced in rows]

    @property
    def _here(self) -> _ProcessClient:
        if self._process_client.process != os.getpid():
            # A forked child finds locks that threads of its parent held, and must not touch what they belong to.
            self._parents_clients.append(self._process_client)
            given = self._process_client.client if self._url is None else self._url
            self._process_client = _ProcessClient(given, self._lua)
        return self._process_client

    def _run(self, keys: list[str], values: list[str]) -> Any:
        failures = self._failures
        connected = self._here
        with connected.slots:
            self._check_nobody_failed_since(failures)
            try:
                return connected.script(keys=keys, args=values)
            except Exception:
                self._failures += 1
                raise

    async def _arun(self, keys: list[str], values: list[str]) -> Any:
        if self._url is None:
            return await asyncio.to_thread(self._run, keys, values)
        loop = asyncio.get_running_loop()
        if (connected := self._loop_clients.get(loop)) is None:
            connected = self._loop_clients[loop] = _LoopClient(self._url, self._lua)
        failures = self._failures
        async with connected.slots:
            self._check_nobody_failed_since(failures)
            try:
                return await connected.script(keys=keys, args=values)
            except Exception:
                self._failures += 1
                raise

    def _check_nobody_failed_since(self, failures: int) -> None:
        # Whoever waited for a connection while Redis went away must not wait for a time limit of its own.
        if self._failures != failures:
            raise ConnectionError("Redis failed for another call a moment ago")


_Step = tuple[list[str], list[str]]


class _ProcessClient:
    """The client of one process."""

    def __init__(self, url_or_client: Any, lua: str) -> None:
        self.process = os.getpid()
        self.client: Any = _sync_client(url_or_client) if isinstance(url_or_client, str) else url_or_client
        self.script: Any = self.client.register_script(lua)
        self.slots = threading.BoundedSemaphore(_CONNECTIONS)


class _LoopClient:
    """The asyncio client of one event loop; its connections cannot be used on another."""

    def __init__(self, url: str, lua: str) -> None:
        self.client = _async_client(url)
        self.script: Any = self.client.register_script(lua)
        self.slots = asyncio.Semaphore(_CONNECTIONS)


def _check_client(client: Any) -> None:
    if not hasattr(client, "register_script"):
        raise ConfigurationError(f"a RedisBudgetStore needs a URL or a redis client; got {client!r}")
    if inspect.iscoroutinefunction(getattr(client, "aclose", None)):
        raise ConfigurationError("a RedisBudgetStore needs a URL or a sync redis client; got an asyncio client")


def _sync_client(url: str) -> Any:
    try:
        import redis  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise MissingExtra("RedisBudgetStore", "thrift-core[redis]") from error
    if not url.startswith(_SCHEMES):
        raise ConfigurationError(f"a Redis URL begins with one of {', '.join(_SCHEMES)}; got one that does not")
    try:
        client: Any = redis.Redis
        return client.from_url(url, **_settings())
    except ValueError:
        # What is wrong may quote the password, so it is not repeated.
        raise ConfigurationError("the Redis URL cannot be understood; use redis://USER:PASSWORD@HOST:PORT/DB") from None


def _async_client(url: str) -> Any:
    import redis.asyncio  # noqa: PLC0415 - an optional dependency

    client: Any = redis.asyncio.Redis
    return client.from_url(url, **_settings(is_async=True))


def _settings(*, is_async: bool = False) -> dict[str, Any]:
    from redis.asyncio.retry import Retry as AsyncRetry  # noqa: PLC0415 - an optional dependency
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return {
        "decode_responses": True,
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        # Once more, at once: on a busy event loop an answer that is already there can look late. Each step may be
        # repeated without harm.
        "retry": AsyncRetry(NoBackoff(), 1) if is_async else Retry(NoBackoff(), 1),
    }


def _name(counter: str, key: str) -> str:
    return f"{counter}|{key}"


def _split(name: str) -> tuple[str, str]:
    counter, _, key = name.partition("|")
    return counter, key


def _counter_values(counter: Counter, key: str) -> list[str]:
    return [_name(counter.name, key), counter.window or "", _or_empty(counter.keep_seconds)]


def _or_empty(number: int | None) -> str:
    return "" if number is None else str(number)


def _multiset(signatures: Sequence[str]) -> str:
    return " ".join(f"{name}={times}" for name, times in sorted(Multiset(signatures).items()))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read_reply(reply: list[Any]) -> Granted | Refused:
    outcome, *values = map(_text, reply)
    if outcome == "granted":
        return Granted(tuple(map(int, values)))
    index, used, reserved, start, now, repeats = values
    return Refused(int(index), int(used), int(reserved), int(start), float(now), int(repeats))


def _read_used(settlements: Sequence[Settlement], reply: list[Any]) -> list[tuple[int, ...]]:
    used = [int(_text(value) or 0) for value in reply]
    out: list[tuple[int, ...]] = []
    for settlement in settlements:
        out.append(tuple(used[: len(settlement.bookings)]))
        used = used[len(settlement.bookings) :]
    return out
