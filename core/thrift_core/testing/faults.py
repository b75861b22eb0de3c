"""What can go wrong at a provider, on demand."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["error", "slow", "hang", "disconnect", "garbage"]

# The words OpenAI uses: developers.openai.com, "Error codes".
_KINDS = {401: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_error"}
_MESSAGES = {
    429: "Rate limit reached for requests. Please try again later.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The engine is currently overloaded, please try again later.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, met by one request. Make it with one of the class methods.

    Attributes:
        kind: what happens.
        status: the HTTP status of an `error`.
        message: what the client is told with an `error`.
        retry_after_seconds: the `Retry-After` header of an `error`, if any.
        seconds: how long `slow` waits before it answers.
        after_events: how many events of a stream get through before a `disconnect`; without a stream, the
            connection closes halfway through the body.
    """

    kind: FaultKind
    status: int = 500
    message: str = ""
    retry_after_seconds: float | None = None
    seconds: float = 0.0
    after_events: int = 0

    @classmethod
    def error(cls, status: int = 500, message: str = "", *, retry_after_seconds: float | None = None) -> Fault:
        """Return a refusal with an HTTP status; nothing is generated and nothing billed."""
        text = message or _MESSAGES.get(status, "The request failed.")
        return cls(kind="error", status=status, message=text, retry_after_seconds=retry_after_seconds)

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """Return a good answer that comes late."""
        return cls(kind="slow", seconds=seconds)

    @classmethod
    def hang(cls) -> Fault:
        """Return no answer until the provider is closed."""
        return cls(kind="hang")

    @classmethod
    def disconnect(cls, after_events: int = 2) -> Fault:
        """Return an answer that breaks off; what was generated is billed, as providers do."""
        return cls(kind="disconnect", after_events=after_events)

    @classmethod
    def garbage(cls) -> Fault:
        """Return status 200 and a body that is not JSON; what was generated is billed."""
        return cls(kind="garbage")

    @property
    def error_kind(self) -> str:
        """OpenAI's `type` for the status."""
        return _KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")


class FaultQueue:
    """Faults waiting for requests, first in, first met."""

    def __init__(self) -> None:
        self._waiting: deque[Fault] = deque()
        self._lock = threading.Lock()

    def put(self, *faults: Fault) -> None:
        """Let the next requests meet these faults, one each."""
        with self._lock:
            self._waiting.extend(faults)

    def take(self) -> Fault | None:
        """Return the fault for the request at hand."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None
