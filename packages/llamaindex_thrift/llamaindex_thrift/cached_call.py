"""One call of the app on its way past the cache: answered from it, or followed until its answer can be kept."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.instrumentation.events import BaseEvent
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags
from thrift_core.accounting.attribution import current_attribution, from_metadata, merged
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.counting import estimated
from thrift_core.accounting.reading import read_usage
from thrift_core.accounting.usage import Usage
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.serving import Serving, provenance
from thrift_core.caching.semantic.turn import Turn
from thrift_core.messages import Message, Request, ToolCall

from llamaindex_thrift.answers import chat_payload, completion_payload, finish_reason
from llamaindex_thrift.usage import Response, reported_usage
from llamaindex_thrift.view import tool_calls

T = TypeVar("T")
R = TypeVar("R", bound=Response)


class CacheHitEvent(BaseEvent):
    """An answer came from the cache, so that no LLM was called and none of its events will come.

    Attributes:
        hit: where the answer comes from, as in `response.additional_kwargs["thrift"]`.
    """

    hit: dict[str, Any]

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex shows."""
        return "ThriftCacheHitEvent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer that is no response of an LLM, to be kept.

    Attributes:
        payload: the answer as text.
        text: what it says, where the payload says more.
        context: what was sent to the LLM beside the question.
        sources: the documents that it rests on.
    """

    payload: str
    text: str = ""
    context: str = ""
    sources: tuple[str, ...] = ()


class CachedCall:
    """What comes between a call of the app and its LLM where a cache is on; does nothing where none is.

    A context manager: leaving it gives up what has not been finished, so that an error or a stream that is closed early
    stores nothing, and those who wait for the same answer go on.

    Args:
        serving: the cache and the ledger; None for no cache.
        turn: the request's passage through the cache; None where it has none.
        request: the call as the cache compares it.
    """

    def __init__(
        self, serving: Serving | None = None, turn: Turn | None = None, request: Request | None = None
    ) -> None:
        self._serving = serving
        self._turn = turn
        self._request = request
        self._began = time.perf_counter()
        self._usage: Usage | None = None
        self._tier: str | None = None
        self._payload: Mapping[str, Any] | None = None
        self._finish: str | None = None
        self._pieces: list[str] = []
        self._last: Response | None = None

    @classmethod
    def begin(cls, serving: Serving | None, build: Callable[[], Request], corpus: str | None = None) -> CachedCall:
        """Look a call up.

        Args:
            serving: the cache and the ledger; None for no cache.
            build: makes the request; where it fails, the call goes on without a cache.
            corpus: the version of the documents that the answer rests on.
        """
        request = None if serving is None else _built(serving, build)
        if serving is None or request is None:
            return cls()
        try:
            return cls(serving, serving.begin(request, scope=_scope(), corpus=corpus), request)
        except Exception as error:  # whatever a cache does, the app's call goes on
            serving.note("lookup", error)
            return cls()

    @classmethod
    async def abegin(
        cls, serving: Serving | None, build: Callable[[], Request], corpus: str | None = None
    ) -> CachedCall:
        """Do what `begin` does, off the event loop."""
        request = None if serving is None else _built(serving, build)
        if serving is None or request is None:
            return cls()
        try:
            return cls(serving, await serving.abegin(request, scope=_scope(), corpus=corpus), request)
        except Exception as error:  # as above
            serving.note("lookup", error)
            return cls()

    @property
    def is_followed(self) -> bool:
        """Whether an answer of the LLM may be kept, so that it has to be shown to `saw`."""
        return self._turn is not None

    def served(self, read: Callable[[Hit], T]) -> T | None:
        """Return the answer from the cache, None where the LLM is to be asked.

        Args:
            read: makes LlamaIndex's object of it; raises where it cannot.
        """
        serving, turn, request = self._serving, self._turn, self._request
        if serving is None or turn is None or request is None or (hit := turn.hit) is None:
            return None
        call_id = uuid.uuid4().hex
        answer = serving.served(turn, lambda _: read(hit), call_id=call_id)
        if answer is not None:
            serving.record(hit, request, call_id=call_id, latency_seconds=time.perf_counter() - self._began)
            get_dispatcher().event(CacheHitEvent(hit=provenance(hit)["cache"]))
        return answer

    def saw(self, response: Response) -> None:
        """Take in a response, or a piece of one that is streamed."""
        if self._turn is None:
            return
        self._last = response
        if response.delta:
            self._pieces.append(response.delta)
        with suppress(Exception):  # what cannot be read now is missed in `_written`
            self._payload = reported_usage(response) or self._payload
            self._finish = finish_reason(response.raw) or self._finish

    def billed(self) -> None:
        """Add up what a request of the call was billed as: there are several where the model recalls something."""
        if self._serving is None or self._request is None or self._last is None:
            return
        try:
            usage = self._reported(self._request)
        except Exception as error:  # usage in words that nobody knows
            self._serving.note("usage", error)
            usage = estimated(self._request, _text(self._last, self._pieces))
        self._usage = usage if self._usage is None else self._usage + usage
        self._payload = None

    def next_round(self) -> None:
        """Forget an answer that was for us and not for the app."""
        self._pieces, self._finish, self._last = [], None, None

    def finish(self) -> None:
        """Keep the answer that was seen."""
        if self._serving is not None and self._turn is not None:
            self._serving.finish(self._turn, self._written)

    async def afinish(self) -> None:
        """Do what `finish` does, off the event loop."""
        if self._serving is not None and self._turn is not None:
            await self._serving.afinish(self._turn, self._written)

    @contextmanager
    def unless_streamed(self) -> Generator[None, None, None]:
        """Give up if the block, which opens a stream, raises; else whoever follows the stream does the rest."""
        try:
            yield
        except BaseException:
            self._abandon()
            raise

    def following(self, stream: Generator[R, None, None]) -> Generator[R, None, None]:
        """Yield a stream's pieces and keep the answer if it comes to its end."""
        with self, closing(stream):
            for piece in stream:
                self.saw(piece)
                yield piece
            self.billed()
            self.finish()

    async def afollowing(self, stream: AsyncGenerator[R, None]) -> AsyncGenerator[R, None]:
        """Do what `following` does."""
        with self:
            async with aclosing(stream):
                async for piece in stream:
                    self.saw(piece)
                    yield piece
            self.billed()
            await self.afinish()

    def keep(self, thing: Callable[[], Kept]) -> None:
        """Keep an answer that is no response of an LLM, such as an object or what a query engine says."""
        if self._serving is not None and self._turn is not None:
            self._serving.finish(self._turn, lambda: self._object(thing()))

    async def akeep(self, thing: Callable[[], Kept]) -> None:
        """Do what `keep` does, off the event loop."""
        if self._serving is not None and self._turn is not None:
            await self._serving.afinish(self._turn, lambda: self._object(thing()))

    def __enter__(self) -> CachedCall:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandon()

    def _abandon(self) -> None:
        if self._turn is not None:
            self._turn.abandon()

    def _reported(self, request: Request) -> Usage:
        if self._payload is None:
            return estimated(request, _text(self._last, self._pieces), _calls(self._last))
        reading = read_usage(self._payload, provider=request.provider)
        self._tier = reading.service_tier or self._tier
        return reading.usage

    def _written(self) -> CachedAnswer | None:
        response, request, serving = self._last, self._request, self._serving
        if response is None or request is None or serving is None:
            return None
        text = _text(response, self._pieces)
        answer = CachedAnswer(
            payload=_payload(response, text, "".join(self._pieces)),
            text=text,
            finish_reason=self._finish,
            tool_calls=_calls(response),
            model=request.model,
            usage=self._usage or Usage(),
        )
        return self._with_cost(answer, request, serving)

    def _object(self, kept: Kept) -> CachedAnswer | None:
        """Return an answer whose calls we did not see: what they used is estimated, and rather too low."""
        request, serving = self._request, self._serving
        if request is None or serving is None:
            return None
        sent = (
            replace(request, messages=(*request.messages, Message("user", kept.context))) if kept.context else request
        )
        answer = CachedAnswer(
            payload=kept.payload,
            text=kept.text,
            model=request.model,
            usage=estimated(sent, kept.text or kept.payload),
            sources=kept.sources,
        )
        return self._with_cost(answer, request, serving)

    def _with_cost(self, answer: CachedAnswer, request: Request, serving: Serving) -> CachedAnswer:
        cost = serving.cost_of(answer.usage, model=request.model, provider=request.provider, service_tier=self._tier)
        return replace(answer, cost_usd=cost)


def _built(serving: Serving, build: Callable[[], Request]) -> Request | None:
    try:
        return build()
    except Exception as error:  # a request that we cannot read is still a request
        serving.note("request", error)
        return None


def _scope() -> Attribution:
    return merged(current_attribution(), from_metadata(active_instrument_tags.get()))


def _text(response: Response | None, pieces: list[str]) -> str:
    streamed = "".join(pieces)
    if response is None:
        return streamed
    whole = (response.message.content or "") if isinstance(response, ChatResponse) else response.text
    return max(whole, streamed, key=len)


def _calls(response: Response | None) -> tuple[ToolCall, ...]:
    return tool_calls(response.message) if isinstance(response, ChatResponse) else ()


def _payload(response: Response, text: str, streamed: str) -> str:
    return chat_payload(response, streamed) if isinstance(response, ChatResponse) else completion_payload(text)
