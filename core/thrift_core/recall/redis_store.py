"""Keeps what was cut in Redis, for many machines."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from thrift_core.errors import ConfigurationError, MissingExtra
from thrift_core.recall.store import HANDLE_LENGTH, handle_of

T = TypeVar("T")
_SCHEMES = ("redis://", "rediss://", "unix://")
_TIMEOUT_SECONDS = 0.25
_CONNECTIONS = 32
# A Redis that hangs would make each call of the app wait for its time limit; it is asked again after this long.
_PAUSE_SECONDS = 5.0


class RedisRecallStore:
    """Keeps texts in Redis 6.2 or newer, so that they survive a restart and are shared between machines.

    While Redis cannot be reached, `put` and `get` raise, at once for a few seconds after a failure: then nothing new is
    cut, and the model is told that nothing can be recalled right now. Give Redis persistence and an eviction policy
    that keeps these keys, or what it loses can be recalled no more; an application still has its messages whole.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, or a client of `redis.Redis` without `decode_responses`
            and with time limits of its own. From a URL, connections are made on first use, anew in each process.
        prefix: what keys begin with; stores with different prefixes do not see one another.
        ttl: seconds that a text is kept after it was last kept or read, as a number or a `timedelta`; None for ever.
            Make it longer than a conversation may pause.

    Raises:
        ConfigurationError: the URL, the client, the prefix or the time to live cannot be used.
        MissingExtra: `redis` is not installed.
    """

    def __init__(
        self, url_or_client: Any, prefix: str = "thrift-recall", *, ttl: float | timedelta | None = None
    ) -> None:
        if not prefix or any(map(str.isspace, prefix)):
            raise ConfigurationError(f"prefix must be a word such as 'thrift-recall'; got {prefix!r}")
        self._prefix = prefix
        self._ttl_ms = _milliseconds(ttl)
        self._url = url_or_client if isinstance(url_or_client, str) else None
        client = _sync_client(self._url) if self._url is not None else _checked(url_or_client)
        self._process: tuple[int, Any] = os.getpid(), client
        # Clients of a parent process: closing them here would talk on its connections.
        self._left: list[Any] = []
        self._asked_again_at = 0.0

    def put(self, text: str) -> str:
        """Keep a text and return its handle; Redis has it when this returns."""
        data = text.encode("utf-8", "surrogatepass")
        length = HANDLE_LENGTH
        while self._first(f"text:{(handle := handle_of(text, length))}", data) != data:
            length += 2
        return handle

    def get(self, handle: str) -> str | None:
        """Return the text under a handle, or None."""
        return self._read(f"text:{handle}")

    def note(self, key: str, text: str) -> str:
        """Keep a text under a key of one's own, and return what is kept there: the first text stays."""
        return self._first(f"note:{key}", text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def noted(self, key: str) -> str | None:
        """Return the text under a key of one's own, or None."""
        return self._read(f"note:{key}")

    def close(self) -> None:
        """Close the connections, if they were made from a URL; they are made again on the next use."""
        if self._url is not None:
            self._client.close()

    def _read(self, name: str) -> str | None:
        key = f"{self._prefix}:{name}"
        data: bytes | None = self._run(
            lambda client: client.get(key) if self._ttl_ms is None else client.getex(key, px=self._ttl_ms)
        )
        return None if data is None else data.decode("utf-8", "surrogatepass")

    def _first(self, name: str, data: bytes) -> bytes:
        """Return what is kept under a name, which is `data` if nothing was."""
        key = f"{self._prefix}:{name}"

        def keep(client: Any) -> bytes:
            while True:
                if client.set(key, data, nx=True, px=self._ttl_ms):
                    return data
                found: bytes | None = client.get(key) if self._ttl_ms is None else client.getex(key, px=self._ttl_ms)
                # It may have expired in between.
                if found is not None:
                    return found

        return self._run(keep)

    def _run(self, work: Callable[[Any], T]) -> T:
        if time.monotonic() < self._asked_again_at:
            raise ConnectionError(f"Redis failed a moment ago and is asked again after {_PAUSE_SECONDS:g} seconds")
        try:
            return work(self._client)
        except Exception:
            self._asked_again_at = time.monotonic() + _PAUSE_SECONDS
            raise

    @property
    def _client(self) -> Any:
        if self._url is not None and self._process[0] != os.getpid():
            self._left.append(self._process)
            self._process = os.getpid(), _sync_client(self._url)
        return self._process[1]


def _milliseconds(ttl: float | timedelta | None) -> int | None:
    if ttl is None:
        return None
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not seconds >= 1 or seconds == float("inf"):
        raise ConfigurationError(f"ttl={ttl!r}: give a second or more, or None to keep texts for ever")
    return round(1000 * seconds)


def _checked(client: Any) -> Any:
    if not hasattr(client, "getex"):
        raise ConfigurationError(f"a RedisRecallStore needs a URL or a redis client; got {client!r}")
    if inspect.iscoroutinefunction(getattr(client, "aclose", None)):
        raise ConfigurationError("a RedisRecallStore needs a URL or a sync redis client; got an asyncio client")
    pool: Any = getattr(client, "connection_pool", None)
    if getattr(pool, "connection_kwargs", {}).get("decode_responses"):
        raise ConfigurationError("a RedisRecallStore needs a client without decode_responses: texts are kept as bytes")
    return client


def _sync_client(url: str) -> Any:
    try:
        import redis  # noqa: PLC0415 - an optional dependency
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("RedisRecallStore", "thrift-core[redis]") from error
    if not url.startswith(_SCHEMES):
        raise ConfigurationError(f"a Redis URL begins with one of {', '.join(_SCHEMES)}; got one that does not")
    pool: Any = redis.BlockingConnectionPool
    try:
        made = pool.from_url(
            url,
            decode_responses=False,
            max_connections=_CONNECTIONS,
            timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            # Once more, at once, for a connection that the server closed meanwhile; each step may be repeated.
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError:
        # What is wrong may quote the password, so it is not repeated.
        raise ConfigurationError("the Redis URL cannot be understood; use redis://USER:PASSWORD@HOST:PORT/DB") from None
    return redis.Redis.from_pool(made)
