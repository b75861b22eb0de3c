"""One request of a cascade: how its tiers are asked, and what their answers look like to the router."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, closing
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.call import Attribution
from thrift_core.messages import Request
from thrift_core.routing import Draft
from thrift_core.routing.cascade_run import CascadeRun
from thrift_core.routing.waves import Wave

from langchain_thrift.answers import chunks_of
from langchain_thrift.cascade_tiers import Bound, Offer
from langchain_thrift.costs import CostCallbackHandler
from langchain_thrift.drafts import draft_of, fits, with_metadata
from langchain_thrift.tier_runs import Outer, TierRun, ended, failed
from langchain_thrift.view import request_view


@dataclass(frozen=True, slots=True)
class Shared:
    """What all calls of a cascade share.

    Attributes:
        names: the tiers' names.
        bound: the tiers' models, with what is bound to them.
        offer: what the app has bound to the cascade.
        costs: counts the tiers' calls.
    """

    names: tuple[str, ...]
    bound: tuple[Bound, ...]
    offer: Offer
    costs: CostCallbackHandler


class CascadeCall:
    """One request.

    Args:
        shared: what all calls share.
        outer: the run of the cascade.
        messages: what is asked.
        stop: texts that end the answer.
        kwargs: the keyword arguments of the call.
        wave: the batch that it belongs to.
    """

    def __init__(
        self,
        shared: Shared,
        outer: Outer,
        messages: list[BaseMessage],
        *,
        stop: list[str] | None,
        kwargs: dict[str, Any],
        wave: Wave | None = None,
    ) -> None:
        self._shared = shared
        self._outer = outer
        self._messages = messages
        self._stop = stop
        self._kwargs = {name: value for name, value in kwargs.items() if name not in shared.offer.replaced}
        self._given = kwargs
        self._wave = wave
        # A form is known to be kept only when all of the answer is there.
        self.may_pass_on = not shared.offer.is_structured and shared.offer.form is None

    @property
    def request(self) -> Request:
        """The request as the router sees it."""
        offer = self._shared.offer
        strongest = self._shared.bound[-1].model
        limit = strongest._get_ls_params(stop=self._stop, **self._kwargs).get("ls_max_tokens")
        params = {"max_tokens": limit, **self._given, "tools": offer.tools or self._given.get("tools")}
        view = request_view(self._messages, params)
        form = {"response_format": "schema"} if offer.is_structured or self._given.get("response_format") else {}
        return replace(view, model=None, parameters=form)

    @property
    def thread(self) -> str | None:
        """The key of the conversation that the request belongs to."""
        return self._outer.thread

    def attributed(self) -> AbstractContextManager[Attribution]:
        """Attribute what is booked inside the block to whom the request is for."""
        whom = self._outer.attribution
        return attribute(whom.feature, whom.user, tenant=whom.tenant, task=whom.task, run=whom.run)

    def ask(self, index: int) -> ChatResult:
        """Return a tier's answer."""
        model, kwargs = self._model(index)
        if self._wave is not None:
            self._wave.wait(self, index)
        run = self._run(index).start(self._messages, self._stop, kwargs)
        try:
            if model.rate_limiter is not None:
                model.rate_limiter.acquire(blocking=True)
            result = model._generate(self._messages, stop=self._stop, **kwargs)
        except BaseException as error:
            run.on_llm_error(error, response=failed(error))
            raise
        run.on_llm_end(ended(result))
        return result

    async def aask(self, index: int) -> ChatResult:
        """Do what `ask` does."""
        model, kwargs = self._model(index)
        if self._wave is not None:
            await self._wave.await_turn(self, index)
        run = await self._run(index).astart(self._messages, self._stop, kwargs)
        try:
            if model.rate_limiter is not None:
                await model.rate_limiter.aacquire(blocking=True)
            result = await model._agenerate(self._messages, stop=self._stop, **kwargs)
        except BaseException as error:
            await run.on_llm_error(error, response=failed(error))
            raise
        await run.on_llm_end(ended(result))
        return result

    def stream(self, index: int) -> Generator[ChatGenerationChunk]:
        """Yield the pieces of a tier's answer."""
        model, kwargs = self._model(index)
        if not model._should_stream(async_api=False, stream=True, **kwargs):
            yield from chunks_of(_message(self.ask(index)))
            return
        run = self._run(index).start(self._messages, self._stop, kwargs)
        chunks: list[ChatGenerationChunk] = []
        try:
            if model.rate_limiter is not None:
                model.rate_limiter.acquire(blocking=True)
            stream = cast("Generator[ChatGenerationChunk]", model._stream(self._messages, stop=self._stop, **kwargs))
            with closing(stream):
                for chunk in stream:
                    chunks.append(_kept(chunk))
                    yield _open_ended(chunk)
        except BaseException as error:
            run.on_llm_error(error, response=failed(error, chunks))
            raise
        run.on_llm_end(_streamed(chunks))

    async def astream(self, index: int) -> AsyncGenerator[ChatGenerationChunk]:
        """Do what `stream` does."""
        model, kwargs = self._model(index)
        if not model._should_stream(async_api=True, stream=True, **kwargs):
            for chunk in chunks_of(_message(await self.aask(index))):
                yield chunk
            return
        run = await self._run(index).astart(self._messages, self._stop, kwargs)
        chunks: list[ChatGenerationChunk] = []
        try:
            if model.rate_limiter is not None:
                await model.rate_limiter.aacquire(blocking=True)
            stream = cast(
                "AsyncGenerator[ChatGenerationChunk]", model._astream(self._messages, stop=self._stop, **kwargs)
            )
            async with aclosing(stream):
                async for chunk in stream:
                    chunks.append(_kept(chunk))
                    yield _open_ended(chunk)
        except BaseException as error:
            await run.on_llm_error(error, response=failed(error, chunks))
            raise
        await run.on_llm_end(_streamed(chunks))

    def draft(self, index: int, answer: ChatResult) -> Draft:
        """Return an answer as the router judges it."""
        offer = self._shared.offer
        known = frozenset(tool["function"]["name"] for tool in offer.tools) if offer.has_foreign else None
        draft = draft_of(answer, parser=self._shared.bound[index].parser, known=known)
        if offer.form is None or draft.tool_calls:
            return draft
        return replace(draft, structured="ok" if fits(draft.text, offer.form) else "invalid")

    def says(self, piece: ChatGenerationChunk) -> bool:
        """Return whether a piece has anything in it that a user would see."""
        return bool(piece.message.content)

    def acts(self, piece: ChatGenerationChunk) -> bool:
        """Return whether a piece is of a tool call."""
        message = piece.message
        return isinstance(message, AIMessageChunk) and bool(message.tool_call_chunks or message.tool_calls)

    def joined(self, pieces: list[ChatGenerationChunk]) -> ChatResult:
        """Return the pieces of an answer as a whole one."""
        whole = merge_chat_generation_chunks([*map(_kept, pieces), _end(None)])
        if whole is None or not pieces:
            raise ConnectionResetError("the stream ended before it began")
        return ChatResult(generations=[whole])

    def pieces(self, run: CascadeRun[ChatResult]) -> Iterator[ChatGenerationChunk]:
        """Yield an accepted answer as a stream of it would come."""
        return chunks_of(_message(self.told(run)))

    def closing(
        self, run: CascadeRun[ChatResult], held: Sequence[ChatGenerationChunk]
    ) -> Iterator[ChatGenerationChunk]:
        """Yield what was held back of a stream, and what was decided."""
        yield from held
        yield _end(run.as_metadata())

    def told(self, run: CascadeRun[ChatResult]) -> ChatResult:
        """Return the answer, which says what was decided."""
        return with_metadata(run.answer, run.as_metadata())

    def leave(self) -> None:
        """Let the others of the batch go on."""
        if self._wave is not None:
            self._wave.leave(self)

    async def aleave(self) -> None:
        """Do what `leave` does."""
        if self._wave is not None:
            await self._wave.aleave(self)

    def _model(self, index: int) -> tuple[BaseChatModel, dict[str, Any]]:
        bound = self._shared.bound[index]
        return bound.model, {**bound.kwargs, **self._kwargs}

    def _run(self, index: int) -> TierRun:
        return TierRun(self._shared.names[index], self._shared.bound[index].model, self._outer, self._shared.costs)


def _message(result: ChatResult) -> AIMessage:
    return cast("AIMessage", result.generations[0].message)


def _streamed(chunks: list[ChatGenerationChunk]) -> LLMResult:
    whole = merge_chat_generation_chunks(chunks) if chunks else None
    return LLMResult(generations=[] if whole is None else [[whole]])


def _kept(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    # A copy: LangChain writes ids and metadata into the chunks that it is given.
    return ChatGenerationChunk(message=chunk.message.model_copy(), generation_info=chunk.generation_info)


def _open_ended(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    """Return a piece that does not say it is the last: what was decided comes after it."""
    if getattr(chunk.message, "chunk_position", None) != "last":
        return chunk
    message = chunk.message.model_copy(update={"chunk_position": None})
    return ChatGenerationChunk(message=message, generation_info=chunk.generation_info)


def _end(facts: dict[str, Any] | None) -> ChatGenerationChunk:
    about = {} if facts is None else {"thrift": facts}
    return ChatGenerationChunk(message=AIMessageChunk(content="", response_metadata=about, chunk_position="last"))
