"""What an API adds to a generation: how its requests are read and how its replies and events are written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from thrift_core.testing.bill import TokenUse
from thrift_core.testing.chat import ApiError, ChatRequest, Reply
from thrift_core.testing.json_values import Json, as_mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A request with its finished answers, ready to be written.

    Attributes:
        id: unique to this provider.
        created: seconds since 1970.
        request: what was asked.
        replies: one for each choice, cut at stop texts and at the output limit, every tool call with an id.
        finish_reasons: why each ended: `stop`, `length` or `tool_calls`.
        use: the tokens as counted by the provider.
        fingerprint: names the provider's configuration.
    """

    id: str
    created: int
    request: ChatRequest
    replies: tuple[Reply, ...]
    finish_reasons: tuple[str, ...]
    use: TokenUse
    fingerprint: str

    @property
    def reply(self) -> Reply:
        """The first answer."""
        return self.replies[0]


class Dialect(Protocol):
    """One API."""

    path: str

    def read(self, body: Mapping[str, Any], api_key: str) -> ChatRequest:
        """Read a request; raise `ApiError` if the API would refuse it."""
        ...

    def body(self, generation: Generation) -> Json:
        """Return the reply as one JSON object."""
        ...

    def events(self, generation: Generation) -> Iterator[bytes]:
        """Yield the reply as server-sent events."""
        ...

    def use(self, usage: Mapping[str, Any]) -> TokenUse:
        """Read a usage block in this API's spelling, leniently."""
        ...

    def error(self, error: ApiError) -> Json:
        """Return a refusal as a JSON object."""
        ...


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """Return one server-sent event."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def openai_error(error: ApiError) -> Json:
    """Return an error in OpenAI's format."""
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


def count_in(mapping: object, name: str) -> int:
    """Return a count out of a usage block, 0 where it is missing or makes no sense."""
    value = as_mapping(mapping).get(name)
    return value if type(value) is int and value > 0 else 0
