"""A local server that answers every request with a recorded usage block, in the API that the request came by.

Real provider clients talk to it, so what they make of a payload is what they make of it in an app. It streams as the
providers do: OpenAI's usage comes in a chunk of its own if asked for, Groq's stands in `x_groq` of the last chunk,
Mistral's in the last chunk, Gemini's cumulatively in every chunk, Bedrock's in a binary `metadata` event, and
Anthropic's last event repeats the counts without the lifetimes of cache writes and without the tier.
"""

from __future__ import annotations

import json
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

from thrift_core.testing.anthropic_messages import AnthropicMessages
from thrift_core.testing.bill import TokenUse
from thrift_core.testing.chat import Reply
from thrift_core.testing.dialect import Dialect, Generation, event
from thrift_core.testing.openai_chat import OpenAIChat
from thrift_core.testing.openai_responses import OpenAIResponses

Body = Mapping[str, Any]

TEXT = "Paris, as always."
_EVENTS = "text/event-stream"
_JSON = "application/json"
# Frames of the conversation, in the words of the APIs: what the servers of OpenAI's protocol differ in.
_USAGE_IN_LAST_CHUNK = frozenset({"mistral"})
_ALWAYS_ENDS_WITH_USAGE = frozenset({"openrouter"})
_DELTA_USAGE = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens_details",
    "server_tool_use",
)


class RecordedServer:
    """Answers with the payload it was given last, while the `with` block runs.

    Attributes:
        payload: the recorded response: its model and its usage block.
        provider: who is played, in the ids of genai-prices.
    """

    def __init__(self) -> None:
        self.payload: Body = {}
        self.provider = ""
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, request: Body) -> tuple[str, bytes]:
        """Return the content type and the body that answer a request."""
        if path.endswith(("/converse", "/converse-stream")):
            return _bedrock(self.payload, is_stream=path.endswith("-stream"))
        if ":" in path.rpartition("/")[2]:
            return _gemini(self.payload, is_stream="stream" in path.rpartition(":")[2])
        dialect = _dialect(path)
        generation = _generation(dialect, request, self.payload)
        if request.get("stream") is not True:
            return _JSON, json.dumps(dialect.body(generation)).encode()
        if isinstance(dialect, AnthropicMessages):
            return _EVENTS, b"".join(_anthropic_events(dialect, generation))
        if isinstance(dialect, OpenAIChat):
            return _EVENTS, b"".join(_chat_events(dialect, generation, self.provider))
        return _EVENTS, b"".join(dialect.events(generation))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: RecordedServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind, body = cast("_Server", self.server).owner.answer(self.path.partition("?")[0], request)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _dialect(path: str) -> Dialect:
    dialects: tuple[Dialect, ...] = (OpenAIChat(), OpenAIResponses(), AnthropicMessages())
    return next(dialect for dialect in dialects if path.endswith(dialect.path.removeprefix("/v1")))


def _generation(dialect: Dialect, request: Body, payload: Body) -> Generation:
    read = dialect.read(request, "key")
    named = {"model": payload["model"]} if "model" in payload else {}
    return Generation(
        id="recorded",
        created=0,
        request=replace(read, model=payload.get("model", read.model)),
        replies=(Reply(text=TEXT, usage_override=payload["usage"], extra=named),),
        finish_reasons=("stop",),
        use=TokenUse(),
        fingerprint="recorded",
    )


def _chat_events(dialect: OpenAIChat, generation: Generation, provider: str) -> Iterator[bytes]:
    usage = generation.reply.usage_override
    if provider in _ALWAYS_ENDS_WITH_USAGE | _USAGE_IN_LAST_CHUNK:
        generation = replace(generation, request=replace(generation.request, wants_stream_usage=True))
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in dialect.events(generation) if b"[DONE]" not in line]
    last = next(chunk for chunk in chunks if chunk["choices"] and chunk["choices"][0]["finish_reason"])
    if provider == "groq":
        last["x_groq"] = {"id": "req_recorded", "usage": usage}
    if provider in _USAGE_IN_LAST_CHUNK:
        last["usage"] = usage
        chunks = [chunk for chunk in chunks if chunk["choices"]]
    yield from map(event, chunks)
    yield b"data: [DONE]\n\n"


def _anthropic_events(dialect: AnthropicMessages, generation: Generation) -> Iterator[bytes]:
    usage = generation.reply.usage_override or {}
    for line in dialect.events(generation):
        data = json.loads(line.partition(b"data: ")[2])
        if data["type"] == "message_start":
            data["message"]["usage"] = {**usage, "output_tokens": 1}
        if data["type"] == "message_delta":
            data["usage"] = {key: usage[key] for key in _DELTA_USAGE if key in usage}
        yield event(data, data["type"])


def _gemini(payload: Body, *, is_stream: bool) -> tuple[str, bytes]:
    about = {key: payload[key] for key in ("modelVersion",) if key in payload}
    usage = payload["usageMetadata"]
    ended = {"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP", "index": 0}
    whole = {"candidates": [ended], "usageMetadata": usage, "responseId": "recorded", **about}
    if not is_stream:
        return _JSON, json.dumps(whole).encode()
    begun = {"content": {"role": "model", "parts": [{"text": "Well: "}]}, "index": 0}
    sent = {key: value for key, value in usage.items() if key.startswith(("prompt", "traffic", "serviceTier"))}
    sent["totalTokenCount"] = usage.get("promptTokenCount", 0)
    first = {**whole, "candidates": [begun], "usageMetadata": sent}
    return _EVENTS, b"".join(event(chunk).replace(b"\n\n", b"\r\n\r\n") for chunk in (first, whole))


def _bedrock(payload: Body, *, is_stream: bool) -> tuple[str, bytes]:
    metrics = {"latencyMs": 100}
    if not is_stream:
        message = {"role": "assistant", "content": [{"text": TEXT}]}
        body = {"output": {"message": message}, "stopReason": "end_turn", "usage": payload["usage"], "metrics": metrics}
        return _JSON, json.dumps(body).encode()
    events: list[tuple[str, Body]] = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": TEXT}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": payload["usage"], "metrics": metrics}),
    ]
    return "application/vnd.amazon.eventstream", b"".join(_aws_event(name, data) for name, data in events)


def _aws_event(name: str, data: Body) -> bytes:
    """Return one message of Amazon's event stream encoding.

    Layout: total length, length of the headers, checksum of these two, headers, payload, checksum of everything. See
    https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html ("Event stream encoding").
    """
    named = {":event-type": name, ":content-type": _JSON, ":message-type": "event"}
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in named.items()
    )
    payload = json.dumps(data).encode()
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))
