"""What LlamaIndex's spans know that its events do not: which call is inside which, and the LLM that is called.

One span handler for the whole process, on the root dispatcher while a cost handler needs it.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.instrumentation.span import BaseSpan, active_span_id
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index_instrumentation import get_dispatcher
from thrift_core.errors import BudgetExceeded

Stream = Generator[Any, Any, Any] | AsyncGenerator[Any, Any]

_refusal: ContextVar[tuple[str | None, BudgetExceeded] | None] = ContextVar("thrift_refusal", default=None)
# Streams that were handed out in this context; a call made while one of them is being advanced is made by it.
_streams_here: ContextVar[tuple[str, ...]] = ContextVar("thrift_streams", default=())


@dataclass(slots=True)
class _Span:
    parent_id: str | None
    llm: BaseLLM | None = None
    gate: Gate | None = None


class Gate:
    """Stands where an LLM's rate limiter stands while a call goes out, and stops the call if a hard budget says so.

    LlamaIndex swallows whatever an event handler raises, so a handler cannot stop a call. The rate limiter is asked
    right after the handlers were told and right before the call goes out, in sync and in async code, and what it raises
    reaches the app.
    """

    def __init__(self, own: Any) -> None:
        self.own = own
        self.calls = 0

    def acquire(self, *args: Any, **kwargs: Any) -> None:
        """Raise the refusal of this call, if there is one; else wait as long as the LLM's own limiter says."""
        _raise_refusal()
        if self.own is not None:
            self.own.acquire(*args, **kwargs)

    async def async_acquire(self, *args: Any, **kwargs: Any) -> None:
        """Do what `acquire` does."""
        _raise_refusal()
        if self.own is not None:
            await self.own.async_acquire(*args, **kwargs)


def refuse(span_id: str | None, error: BudgetExceeded) -> None:
    """Let the gate of the LLM that is being called in this context raise an error."""
    _refusal.set((span_id, error))


def _raise_refusal() -> None:
    refusal = _refusal.get()
    if refusal is not None:
        _refusal.set(None)
        if refusal[0] == active_span_id.get():
            raise refusal[1]


class Spans:
    """Follows the open spans, the streams they returned and the LLMs they belong to."""

    def __init__(self) -> None:
        self._handler = _SpanHandler()
        self._spans: dict[str, _Span] = {}
        self._streams: dict[str, weakref.ref[Stream]] = {}
        self._listeners: list[deque[str]] = []
        self._gated = 0
        # Reentrant: the garbage collector may close a stream, and so end a call, while it is held.
        self._lock = threading.RLock()

    def attach(self, ended: deque[str], *, with_gates: bool) -> None:
        """Follow spans from now on.

        Args:
            ended: gets the span ids of streams that no longer exist, however they ended.
            with_gates: whether calls must be stoppable.
        """
        root = get_dispatcher()
        with self._lock:
            self._listeners = [*self._listeners, ended]
            self._gated += with_gates
            if not any(handler is self._handler for handler in root.span_handlers):
                root.span_handlers = [*root.span_handlers, self._handler]

    def detach(self, ended: deque[str], *, with_gates: bool) -> None:
        """Undo an `attach`; the last one takes the handler off the root dispatcher."""
        root = get_dispatcher()
        with self._lock:
            self._listeners = [listener for listener in self._listeners if listener is not ended]
            self._gated -= with_gates
            if not self._listeners:
                # A new list: a thread that is going through the old one must not skip a handler.
                root.span_handlers = [handler for handler in root.span_handlers if handler is not self._handler]

    def llm(self, span_id: str | None) -> BaseLLM | None:
        """Return the LLM whose method a span is."""
        span = self._spans.get(span_id or "")
        return None if span is None else span.llm

    def is_gated(self, span_id: str | None) -> bool:
        """Return whether the call of a span can be stopped."""
        span = self._spans.get(span_id or "")
        return span is not None and span.gate is not None

    def around(self, span_id: str | None) -> Iterator[str]:
        """Yield the spans that a span was entered from and that have not ended, then the streams that drive it."""
        span = self._spans.get(span_id or "")
        while span is not None and span.parent_id is not None:
            yield span.parent_id
            span = self._spans.get(span.parent_id)
        for stream_id in reversed(_streams_here.get()):
            if self._is_running(stream_id):
                yield stream_id

    def enter(self, span_id: str, parent_id: str | None, instance: object) -> None:
        """Note a span, and put the gate in place if it is an LLM's."""
        span = self._spans[span_id] = _Span(parent_id)
        if isinstance(instance, BaseLLM):
            span.llm = instance
            if self._gated:
                self._close_gate(span, instance)

    def leave(self, span_id: str, result: object = None) -> None:
        """Forget a span; follow the stream that it returned."""
        span = self._spans.pop(span_id, None)
        if span is None or span.llm is None:
            return
        if span.gate is not None:
            self._open_gate(span.gate, span.llm)
        if isinstance(result, Generator | AsyncGenerator):
            self._streams[span_id] = weakref.ref(result, lambda _: self._stream_ended(span_id))
            _streams_here.set((*(other for other in _streams_here.get() if other in self._streams), span_id))

    def _close_gate(self, span: _Span, llm: BaseLLM) -> None:
        with self._lock:
            own = llm.rate_limiter
            gate = own if isinstance(own, Gate) else Gate(own)
            gate.calls += 1
            span.gate = llm.rate_limiter = gate

    def _open_gate(self, gate: Gate, llm: BaseLLM) -> None:
        with self._lock:
            gate.calls -= 1
            if not gate.calls and llm.rate_limiter is gate:
                llm.rate_limiter = gate.own

    def _is_running(self, stream_id: str) -> bool:
        found = self._streams.get(stream_id)
        stream = None if found is None else found()
        return bool(getattr(stream, "gi_running", False) or getattr(stream, "ag_running", False))

    def _stream_ended(self, stream_id: str) -> None:
        # Runs wherever the last reference is dropped, so it takes no lock and writes nothing.
        self._streams.pop(stream_id, None)
        for ended in self._listeners:
            ended.append(stream_id)


class _SpanHandler(BaseSpanHandler[BaseSpan]):
    """Passes LlamaIndex's spans on."""

    @classmethod
    def class_name(cls) -> str:
        return "ThriftSpans"

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        SPANS.enter(id_, parent_id, instance)

    def span_exit(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        result: Any | None = None,
        **kwargs: Any,
    ) -> None:
        SPANS.leave(id_, result)

    def span_drop(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        SPANS.leave(id_)

    # The base class makes span objects for others to read; nobody reads ours.
    def new_span(self, *args: Any, **kwargs: Any) -> None: ...
    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None: ...
    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None: ...


SPANS = Spans()
