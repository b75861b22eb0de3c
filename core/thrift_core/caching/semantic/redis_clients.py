"""The clients of one Redis: one for each process, and one for each event loop."""

from __future__ import annotations

import asyncio
import inspect
import os
import weakref
from importlib import import_module
from typing import Any

from thrift_core.errors import ConfigurationError, MissingExtra

_SCHEMES = ("redis://", "rediss://", "unix://")
_TIMEOUT_SECONDS = 0.5
_CONNECTIONS = 32


class RedisClients:
    """Makes clients on first use, anew in each process and event loop.

    Args:
        url_or_client: a URL, or a sync client that answers in bytes; a client of one's own has time limits of its own,
            and async work then uses it in a thread.

    Raises:
        ConfigurationError: neither of these.
        MissingExtra: `redis` or `redisvl` is not installed.
    """

    def __init__(self, url_or_client: Any) -> None:
        _check_installed()
        self._url = url_or_client if isinstance(url_or_client, str) else None
        self._given = None if self._url is not None else _checked(url_or_client)
        if self._url is not None and not self._url.startswith(_SCHEMES):
            raise ConfigurationError(f"a Redis URL begins with one of {', '.join(_SCHEMES)}; got one that does not")
        self._process: tuple[int, Any] | None = None
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()
        # Those of a parent process: closing them here would talk on its connections.
        self._left: list[Any] = []
        if self._url is not None:
            self._process = (os.getpid(), _sync_client(self._url))

    @property
    def is_async(self) -> bool:
        """Whether an event loop can have a client of its own."""
        return self._url is not None

    @property
    def here(self) -> Any:
        """The sync client of this process."""
        if self._url is None:
            return self._given
        if self._process is None or self._process[0] != os.getpid():
            self._left.append(self._process)
            self._process = (os.getpid(), _sync_client(self._url))
        return self._process[1]

    @property
    def in_loop(self) -> Any:
        """The asyncio client of the running event loop; only where `is_async`."""
        loop = asyncio.get_running_loop()
        if (client := self._loops.get(loop)) is None:
            client = self._loops[loop] = _async_client(self._url or "")
        return client

    def close(self) -> None:
        """Close the connections made from a URL; they are made again on the next use."""
        if self._url is not None:
            self.here.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop and those of `close`."""
        client = self._loops.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        self.close()


def redisvl(module: str) -> Any:
    """Return a module of redisvl, which comes with an extra and has no type hints to check against."""
    return import_module(f"redisvl.{module}")


def _check_installed() -> None:
    try:
        import_module("redis")
        import_module("redisvl")
    except ImportError as error:
        raise MissingExtra("RedisStore", "thrift-core[redis]") from error


def _checked(client: Any) -> Any:
    if not hasattr(client, "register_script"):
        raise ConfigurationError(f"a RedisStore needs a URL or a redis client; got {client!r}")
    if inspect.iscoroutinefunction(getattr(client, "aclose", None)):
        raise ConfigurationError("a RedisStore needs a URL or a sync redis client; got an asyncio client")
    pool: Any = getattr(client, "connection_pool", None)
    if getattr(pool, "connection_kwargs", {}).get("decode_responses"):
        raise ConfigurationError("a RedisStore needs a client without decode_responses: entries are bytes")
    return client


def _sync_client(url: str) -> Any:
    import redis  # noqa: PLC0415 - an optional dependency

    pool: Any = redis.BlockingConnectionPool
    try:
        return redis.Redis.from_pool(pool.from_url(url, **_settings()))
    except ValueError:
        # What is wrong may quote the password, so it is not repeated.
        raise ConfigurationError("the Redis URL cannot be understood; use redis://USER:PASSWORD@HOST:PORT/DB") from None


def _async_client(url: str) -> Any:
    import redis.asyncio  # noqa: PLC0415 - an optional dependency

    pool: Any = redis.asyncio.BlockingConnectionPool
    return redis.asyncio.Redis.from_pool(pool.from_url(url, **_settings(is_async=True)))


def _settings(*, is_async: bool = False) -> dict[str, Any]:
    from redis.asyncio.retry import Retry as AsyncRetry  # noqa: PLC0415 - an optional dependency
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return {
        "decode_responses": False,
        # A herd of lookups waits for a connection rather than open hundreds at once.
        "max_connections": _CONNECTIONS,
        "timeout": _TIMEOUT_SECONDS,
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        # Once more, at once, for a connection that the server closed meanwhile; each step may be repeated.
        "retry": AsyncRetry(NoBackoff(), 1) if is_async else Retry(NoBackoff(), 1),
    }
