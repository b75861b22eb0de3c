"""The wire: HTTP/1.1 with keep-alive, server-sent events, and the faults that happen there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, cast

from thrift_core.testing.chat import ApiError
from thrift_core.testing.faults import Fault
from thrift_core.testing.json_values import Json


class Prepared(Protocol):
    """A reply that is ready to be sent."""

    def body(self) -> Json:
        """Return the reply as one JSON object."""
        ...

    def events(self) -> Iterable[bytes] | None:
        """Return the reply as server-sent events, or None if none were asked for."""
        ...


class Service(Protocol):
    """What the wire serves."""

    closing: threading.Event

    def fault(self, path: str) -> Fault | None:
        """Return the fault that this request meets."""
        ...

    def get(self, path: str) -> Json:
        """Answer a GET."""
        ...

    def post(self, path: str, body: Mapping[str, Any], api_key: str) -> Prepared:
        """Answer a POST."""
        ...

    def error(self, path: str, error: ApiError) -> Json:
        """Return a refusal in the words of the path's API."""
        ...


class Server(ThreadingHTTPServer):
    """One thread for each connection; closing it closes the connections too."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024  # a thousand clients may connect at once
    allow_reuse_address = True

    def __init__(self, service: Service) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then hand it to a thread."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that its thread has done with."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close(self) -> None:
        """Stop listening and break what is still open."""
        self.shutdown()
        self.server_close()
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client was faster
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _DisconnectError(Exception):
    """The fault of the same name."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "thrift-local"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet."""

    def do_GET(self) -> None:
        """Serve a GET."""
        self._serve(b"")

    def do_POST(self) -> None:
        """Serve a POST."""
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    @property
    def _service(self) -> Service:
        return cast("Server", self.server).service

    def _serve(self, raw: bytes) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        fault = self._service.fault(path)
        try:
            self._answer(path, raw, fault)
        except ApiError as error:
            headers: dict[str, str] = {}
            if error.retry_after_seconds is not None:
                headers["Retry-After"] = f"{error.retry_after_seconds:g}"
            self._send_json(error.status, self._service.error(path, error), headers)
        except (_DisconnectError, OSError):
            self.close_connection = True
        except Exception as error:  # a brain's bug must reach the test that wrote it
            refusal = ApiError(422, f"The local provider's brain raised {error!r}.", kind="server_error")
            self._send_json(refusal.status, self._service.error(path, refusal))

    def _answer(self, path: str, raw: bytes, fault: Fault | None) -> None:
        if fault is not None:
            self._before(fault)
        if self.command == "GET":
            self._send_json(200, self._service.get(path))
            return
        prepared = self._service.post(path, _parsed(raw), self._api_key())
        if fault is not None and fault.kind == "garbage":
            self._send(200, b"<html><body>upstream returned garbage</body></html>", "application/json")
            return
        after = fault.after_events if fault is not None and fault.kind == "disconnect" else None
        events = prepared.events()
        if events is None:
            self._send_json(200, prepared.body(), is_broken=after is not None)
        else:
            self._send_events(events, after)

    def _before(self, fault: Fault) -> None:
        if fault.kind == "error":
            after = fault.retry_after_seconds
            raise ApiError(fault.status, fault.message, kind=fault.error_kind, retry_after_seconds=after)
        if fault.kind == "slow":
            self._service.closing.wait(fault.seconds)
        if fault.kind == "hang":
            self._service.closing.wait()
            raise _DisconnectError

    def _api_key(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else self.headers.get("x-api-key", "")
        if not key:
            raise ApiError(401, "You didn't provide an API key.", code="invalid_api_key")
        return key

    def _send_json(
        self, status: int, body: Json, headers: Mapping[str, str] | None = None, *, is_broken: bool = False
    ) -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        self._send(status, data, "application/json", headers, is_broken=is_broken)

    def _send(
        self,
        status: int,
        data: bytes,
        kind: str,
        headers: Mapping[str, str] | None = None,
        *,
        is_broken: bool = False,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if is_broken else data)
        self.wfile.flush()
        if is_broken:
            raise _DisconnectError

    def _send_events(self, events: Iterable[bytes], disconnect_after: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, data in enumerate(events):
            if number == disconnect_after:
                self.wfile.flush()
                raise _DisconnectError
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        body: object = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    return cast("Mapping[str, Any]", body)
