"""What kind of failure an error of any provider's client is: whether another tier may help, and how long to wait."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, cast

from thrift_core.errors import BudgetExceeded, ConfigurationError
from thrift_core.routing.decision import ErrorKind

# Clients share no classes, only habits of naming them: the first pattern that an error or its cause fits decides.
_NAMES: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = (
    ("rate_limit", re.compile(r"RateLimit|TooManyRequests|ResourceExhausted|Throttl|QuotaExceeded|Overloaded")),
    ("timeout", re.compile(r"Timeout|DeadlineExceeded|TimedOut")),
    ("garbage", re.compile(r"JSONDecode|DecodingError|ResponseValidation|OutputParser|ValidationError")),
    (
        "disconnect",
        re.compile(r"IncompleteRead|RemoteProtocol|ProtocolError|ConnectionReset|ReadError|ChunkedEncoding|Disconnect"),
    ),
    ("outage", re.compile(r"APIConnection|ConnectionError|ConnectError|InternalServer|ServiceUnavailable|ServerError")),
)
_STATUSES: Mapping[int, ErrorKind] = {408: "timeout", 429: "rate_limit", 504: "timeout", 529: "rate_limit"}
_DEEPEST = 4


class Failure(NamedTuple):
    """What an error says.

    Attributes:
        kind: how the tier failed.
        retry_after: seconds to leave it alone, where the provider says so.
    """

    kind: ErrorKind
    retry_after: float | None = None


def failure_of(error: BaseException) -> Failure | None:
    """Return how a tier failed; None for errors that no other tier can help with: a hard budget, wrong configuration.

    Read from the HTTP status that clients keep on their errors, else from the names of the error and its causes.

    Example:
        >>> failure_of(TimeoutError()), failure_of(ConnectionResetError()).kind
        (Failure(kind='timeout', retry_after=None), 'disconnect')
    """
    if isinstance(error, BudgetExceeded | ConfigurationError) or not isinstance(error, Exception):
        return None
    status = _status(error)
    if status is not None and (kind := _STATUSES.get(status) or ("outage" if status >= 500 else None)):
        return Failure(kind, _retry_after(error))
    for kind, pattern in _NAMES:
        if any(pattern.search(name) for cause in _causes(error) for name in _names(cause)):
            return Failure(kind, _retry_after(error))
    return Failure("other")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_DEEPEST):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _names(error: BaseException) -> Iterator[str]:
    for kind in type(error).__mro__:
        if kind is Exception:
            return
        yield kind.__name__


def _status(error: Exception) -> int | None:
    response: Any = getattr(error, "response", None)
    for found in (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "http_status", None),
        getattr(error, "code", None),
    ):
        if isinstance(found, int) and 100 <= found < 600:
            return found
    return None


def _retry_after(error: Exception) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    try:
        told = cast("Mapping[str, str]", headers).get("retry-after")
    except AttributeError:
        return None
    if not told:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        return _seconds_until(told)


def _seconds_until(date: str) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
