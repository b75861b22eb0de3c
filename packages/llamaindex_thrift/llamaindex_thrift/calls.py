"""Turns LlamaIndex's events of LLM calls into starts and ends that the meter understands."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
)
from llama_index_instrumentation.events.span import SpanDropEvent
from thrift_core.accounting.attribution import current_attribution, from_metadata, merged
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution, Call
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.meter import Answer, Meter
from thrift_core.errors import BudgetExceeded

from llamaindex_thrift.spans import SPANS, refuse
from llamaindex_thrift.usage import Response, answer_of, reported_usage
from llamaindex_thrift.view import api_url, provider_of, request_view

logger = logging.getLogger("thrift")
_Start = LLMChatStartEvent | LLMCompletionStartEvent
_InProgress = LLMChatInProgressEvent | LLMCompletionInProgressEvent
_End = LLMChatEndEvent | LLMCompletionEndEvent


class _Here(threading.local):
    """What this thread is doing."""

    def __init__(self) -> None:
        self.is_busy = False
        self.waiting: deque[Callable[[], None]] = deque()


_here = _Here()


@dataclass(slots=True, eq=False)
class _OpenCall:
    """A call that has started and not ended.

    Attributes:
        key: the meter's name for it.
        meter: the meter that was told.
        outer: the call that it was made inside of.
        context: where the meter takes it for the innermost call.
        inner_open: how many calls inside it have not ended.
        inner_raws: the payloads of those that have.
        last: the last response of its stream.
        reported: the last usage that its stream reported.
        pieces: what was streamed.
        failure: an end that waits for the calls inside it.
    """

    key: str
    meter: Meter
    outer: _OpenCall | None
    context: Context
    inner_open: int = 0
    inner_raws: list[object] = field(default_factory=list)
    last: Response | None = None
    reported: Mapping[str, Any] | None = None
    pieces: list[str] = field(default_factory=list)
    failure: BaseException | None = None


class Calls:
    """Follows the calls of one cost handler from their first event to their last.

    LlamaIndex names the span of the LLM's method in every event of a call. A method that calls another LLM, or another
    method of its own LLM, tells of both; which is inside which is known from the spans.

    Args:
        ledger: where calls are recorded.
        budgets: limits that hold.
        attribution: whom calls are for that nobody else attributes.
        on_call: called with each recorded call.

    Attributes:
        are_mine: whether a call that starts in this context is to be followed.
    """

    def __init__(
        self,
        ledger: Ledger | None,
        budgets: Budgets | None,
        attribution: Attribution,
        on_call: tuple[Callable[[Call], object], ...],
    ) -> None:
        self.are_mine: Callable[[], bool] = lambda: True
        self._meter = Meter(ledger, budgets, attribution=attribution, on_call=on_call)
        # Told of the calls that a hard limit refused and that nothing can stop: they are recorded all the same.
        self._unlimited = Meter(self._meter.ledger, attribution=attribution, on_call=on_call)
        self._is_limited = budgets is not None
        self._has_warned = False
        self._is_closed = False
        self._by_span: dict[str | None, list[_OpenCall]] = {}
        self._lock = threading.Lock()
        self._ended_streams: deque[str] = deque()
        self._told: dict[type[BaseEvent], Callable[[Any], None]] = {
            LLMChatStartEvent: self._starts,
            LLMCompletionStartEvent: self._starts,
            LLMChatInProgressEvent: self._streams,
            LLMCompletionInProgressEvent: self._streams,
            LLMChatEndEvent: self._ends,
            LLMCompletionEndEvent: self._ends,
            ExceptionEvent: lambda event: self._fails(event.span_id, event.exception),
            SpanDropEvent: lambda event: self._fails(event.span_id, RuntimeError(event.err_str)),
        }
        SPANS.attach(self._ended_streams, with_gates=self._is_limited)

    @property
    def ledger(self) -> Ledger:
        """Where calls are recorded."""
        return self._meter.ledger

    @property
    def are_open(self) -> bool:
        """Whether a call has started and not ended."""
        return bool(self._by_span)

    def close(self) -> None:
        """Follow no more calls."""
        if self._is_closed:
            return
        self._is_closed = True
        SPANS.detach(self._ended_streams, with_gates=self._is_limited)

    def tell(self, event: BaseEvent) -> None:
        """Follow one event of the dispatcher, whatever it is; never raises."""
        told = self._told.get(type(event))
        if told is None:
            return
        is_start = isinstance(event, _Start)
        if is_start and not self.are_mine():
            return
        if _here.is_busy and not is_start:
            # The garbage collector closes abandoned streams wherever it likes, also while a lock of ours is held.
            _here.waiting.append(lambda: self._follow(told, event))
            return
        was_busy, _here.is_busy = _here.is_busy, True
        try:
            self._follow(told, event)
        finally:
            _here.is_busy = was_busy
        while _here.waiting and not was_busy:
            _here.waiting.popleft()()

    def _follow(self, told: Callable[[Any], None], event: BaseEvent) -> None:
        try:
            told(event)
            self._end_abandoned_streams()
        except Exception as error:  # the dispatcher would swallow it without a word
            self._meter.note_fault("event handler", error)

    def _starts(self, event: _Start) -> None:
        outer = self._outer(event.span_id)
        call = _OpenCall(
            key=event.id_,
            meter=self._meter,
            outer=outer,
            # Calls side by side must not be taken for calls inside one another, so each starts in a context that knows
            # only the calls around it.
            context=copy_context() if outer is None else outer.context.copy(),
        )
        with self._lock:
            same_span = self._by_span.setdefault(event.span_id, [])
            if any(other.key == call.key for other in same_span):
                return  # this handler is on several dispatchers
            same_span.append(call)
            if outer is not None:
                outer.inner_open += 1
        try:
            self._start_in(call, event)
        except BudgetExceeded as error:
            self._refuse(call, event, error)

    def _start_in(self, call: _OpenCall, event: _Start) -> None:
        llm = SPANS.llm(event.span_id)
        sent = event.messages if isinstance(event, LLMChatStartEvent) else event.prompt
        # An LLM's own dictionary: asking a pydantic object for what it does not have is slow.
        own: Mapping[str, Any] = {} if llm is None else vars(llm)
        about, params = event.model_dict, event.additional_kwargs
        model = params.get("model") or about.get("model") or about.get("model_name")
        tags = from_metadata(event.tags)
        call.context.run(
            call.meter.start,
            call.key,
            lambda: request_view(sent, params, own),
            model=model if isinstance(model, str) else None,
            provider=provider_of(own, about.get("class_name")),
            api_url=api_url(own),
            attribution=merged(current_attribution(), tags),
            call_id=event.id_.replace("-", ""),
        )

    def _refuse(self, call: _OpenCall, event: _Start, error: BudgetExceeded) -> None:
        if SPANS.is_gated(event.span_id):
            self._drop(call)
            self._tell_outer(call, None)
            refuse(event.span_id, error)
            return
        if not self._has_warned:
            self._has_warned = True
            logger.warning("a hard limit is passed, but this kind of LLM cannot be stopped: %s", error)
        call.meter = self._unlimited
        self._start_in(call, event)

    def _streams(self, event: _InProgress) -> None:
        call = self._latest(event.span_id)
        if call is None:
            return
        call.last = event.response
        call.reported = reported_usage(event.response) or call.reported
        if event.response.delta:
            call.pieces.append(event.response.delta)

    def _ends(self, event: _End) -> None:
        call = self._take(event.span_id)
        if call is None:
            return
        raw = None if event.response is None else event.response.raw
        if raw is not None and any(raw is inner for inner in call.inner_raws):
            answer = Answer()  # it passes on what was billed inside
        else:
            answer = answer_of(event.response, call.reported, "".join(call.pieces))
        call.meter.finish(call.key, answer)
        self._tell_outer(call, raw)

    def _fails(self, span_id: str | None, error: BaseException) -> None:
        call = self._latest(span_id)
        if call is None:
            return
        with self._lock:
            if call.inner_open:
                # Closing a stream tells of the outer call before the inner one. The error itself is not kept: its
                # traceback would keep the inner stream alive.
                call.failure = RuntimeError(type(error).__name__)
                return
        self._take(span_id)
        self._record_failure(call, error)

    def _record_failure(self, call: _OpenCall, error: BaseException) -> None:
        if call.last is None:
            call.meter.fail(call.key, error)
        else:
            call.meter.fail(call.key, error, answer_of(call.last, call.reported, "".join(call.pieces)))
        self._tell_outer(call, None if call.last is None else call.last.raw)

    def _tell_outer(self, call: _OpenCall, raw: object) -> None:
        outer = call.outer
        if outer is None:
            return
        with self._lock:
            if raw is not None:
                outer.inner_raws.append(raw)
            outer.inner_open -= 1
            failure = None if outer.inner_open else outer.failure
        if failure is not None and self._drop(outer):
            self._record_failure(outer, failure)

    def _outer(self, span_id: str | None) -> _OpenCall | None:
        """Return the call that a call of this span is made inside of."""
        if span_id is None:
            return None
        around = (self._latest(id_) for id_ in (span_id, *SPANS.around(span_id)))
        return next((call for call in around if call is not None), None)

    def _latest(self, span_id: str | None) -> _OpenCall | None:
        with self._lock:
            calls = self._by_span.get(span_id)
            return calls[-1] if calls else None

    def _take(self, span_id: str | None) -> _OpenCall | None:
        with self._lock:
            calls = self._by_span.get(span_id)
            if not calls:
                return None
            call = calls.pop()
            if not calls:
                del self._by_span[span_id]
            return call

    def _drop(self, call: _OpenCall) -> bool:
        """Forget a call wherever it is; False if it has ended already."""
        with self._lock:
            for span_id, calls in self._by_span.items():
                if call in calls:
                    calls.remove(call)
                    if not calls:
                        del self._by_span[span_id]
                    return True
        return False

    def _end_abandoned_streams(self) -> None:
        # A stream that was never begun ends without an event.
        while self._ended_streams:
            self._fails(self._ended_streams.popleft(), RuntimeError("the stream was abandoned"))
