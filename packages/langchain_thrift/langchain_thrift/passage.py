"""One call through a wrapped chat model: the cache is asked, the levers plan, and both are told how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.reading import read_usage
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.serving import Serving
from thrift_core.caching.semantic.turn import Turn
from thrift_core.messages import Request
from thrift_core.plan import Plan
from thrift_core.thrift import Thrift

from langchain_thrift.answers import is_whole, read_message, written
from langchain_thrift.cache_view import cache_request
from langchain_thrift.chat_plan import ChatPlanning, Sending
from langchain_thrift.view import is_replayed

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True, slots=True)
class Levers:
    """What all calls through one wrapper share.

    Attributes:
        thrift: the levers.
        model: the wrapped model.
        planning: asks the levers.
        serving: asks the cache; None where it is off.
        is_structured: tool calls are the form of the answers, and act on nothing.
    """

    thrift: Thrift
    model: BaseChatModel
    planning: ChatPlanning
    serving: Serving | None
    is_structured: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """Whom a call is for, and its id in the ledger."""

    scope: Attribution
    call_id: str | None


class Passage:
    """One call. As a context manager it lets go of the cache where the call fails or is given up.

    Args:
        levers: what the wrapper's calls share.
        run: whom it is for; None where that is not known, and the cache is left alone.
        messages: what is asked.
        stop: texts that end the answer.
        kwargs: what is bound to the call.
    """

    def __init__(
        self,
        levers: Levers,
        run: Run | None,
        messages: Sequence[BaseMessage],
        stop: Sequence[str] | None,
        kwargs: dict[str, Any],
    ) -> None:
        self._levers = levers
        self._run = run or Run(Attribution(), None)
        self._serving = None if run is None else levers.serving
        self._messages = messages
        self._stop = stop
        self._kwargs = kwargs
        self._turn: Turn | None = None
        self._asked: Request | None = None
        self._plan: Plan | None = None

    def served(self) -> AIMessage | None:
        """Return the answer from the cache, if there is one to serve."""
        request = self._request()
        if self._serving is None or request is None:
            return None
        self._turn = self._serving.begin(request, scope=self._run.scope)
        return self._read(self._serving, self._turn)

    async def aserved(self) -> AIMessage | None:
        """Do what `served` does, off the event loop."""
        request = self._request()
        if self._serving is None or request is None:
            return None
        self._turn = await self._serving.abegin(request, scope=self._run.scope)
        return self._read(self._serving, self._turn)

    def sending(self) -> Sending:
        """Return what to send to the model."""
        with self._attributed():
            sent = self._levers.planning.sending(self._messages, self._stop, self._kwargs)
        self._plan = sent.plan
        return sent

    async def asending(self) -> Sending:
        """Do what `sending` does, off the event loop."""
        with self._attributed():
            sent = await self._levers.planning.asending(self._messages, self._stop, self._kwargs)
        self._plan = sent.plan
        return sent

    def bare(self, sent: Sending, error: Exception) -> Sending | None:
        """Return the request as it came, where the provider refused our markers; None where it refused something else.

        A retry by the app would be refused likewise.
        """
        if not self._levers.planning.without_marks(sent, error):
            return None
        return Sending(list(self._messages), self._kwargs)

    def finish(self, result: ChatResult) -> None:
        """Tell the levers and the cache what the model answered."""
        self._observe(result)
        if self._serving is not None and self._turn is not None:
            self._serving.finish(self._turn, lambda: self._written(result), call_id=self._run.call_id)

    async def afinish(self, result: ChatResult) -> None:
        """Do what `finish` does, off the event loop."""
        self._observe(result)
        if self._serving is not None and self._turn is not None:
            await self._serving.afinish(self._turn, lambda: self._written(result), call_id=self._run.call_id)

    def __enter__(self) -> Passage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._turn is not None:
            self._turn.abandon()

    def _request(self) -> Request | None:
        """Return what the cache is asked; None where it is off or the request cannot be read."""
        if self._serving is None:
            return None
        try:
            request = cache_request(self._levers.model, self._messages, self._stop, self._kwargs)
        except Exception as error:  # a request that we cannot read is still a request
            self._serving.note("view", error)
            return None
        self._asked = request
        return request

    def _read(self, serving: Serving, turn: Turn) -> AIMessage | None:
        hit = turn.hit
        if hit is None:
            return None
        return serving.served(turn, lambda answer: read_message(answer.payload, hit), call_id=self._run.call_id)

    def _written(self, result: ChatResult) -> CachedAnswer | None:
        serving = self._serving
        if serving is None or len(result.generations) != 1:
            return None
        made = result.generations[0]
        # A plain result says what it was made by beside the message, a stream in it.
        whole = {**(result.llm_output or {}), **(made.generation_info or {})}
        about = ChatGeneration(message=made.message, generation_info=whole)
        return written([about], serving, request=self._asked, is_structured=self._levers.is_structured)

    def _observe(self, result: ChatResult) -> None:
        plan = self._plan
        if plan is not None and plan.steps:
            self._levers.thrift.guard.run("observe", lambda: self._learn(plan, result))

    def _learn(self, plan: Plan, result: ChatResult) -> None:
        message = result.generations[0].message
        if isinstance(message, AIMessage) and message.usage_metadata is not None and not is_replayed(message):
            self._levers.thrift.observe(plan, read_usage(message.usage_metadata, api_flavor="standard").usage)

    def _attributed(self) -> Any:
        whom = self._run.scope
        return attribute(whom.feature, whom.user, tenant=whom.tenant, task=whom.task, run=whom.run)


def streamed(chunks: list[ChatGenerationChunk]) -> ChatResult | None:
    """Return what a stream said as a result; None where it did not come to its end."""
    joined = merge_chat_generation_chunks(chunks)
    if joined is None or not is_whole(joined):
        return None
    return ChatResult(generations=[joined])
