"""The cache lever of the middleware: a model request of an agent that was answered before needs no model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from types import TracebackType
from typing import Any, cast

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.utils.uuid import uuid7
from pydantic import BaseModel
from thrift_core.accounting.attribution import current_attribution, from_metadata, merged
from thrift_core.accounting.call import Attribution
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.serving import Serving
from thrift_core.caching.semantic.turn import Turn
from thrift_core.messages import Request

from langchain_thrift.answers import read_message, written
from langchain_thrift.cache_view import cache_request
from langchain_thrift.model_request import messages_of
from langchain_thrift.tool_schemas import ToolSchemas


class AgentPassage:
    """One model request of an agent. As a context manager it lets go of the cache where the call fails.

    Requests with a response format go to the model: what is parsed from their answers is LangChain's to make.

    Args:
        serving: asks the cache; None where it is off.
        request: what the agent is about to send.
        schemas: remembers the tools' definitions.
        default: whom it is for where nobody says.
    """

    def __init__(
        self, serving: Serving | None, request: ModelRequest[Any], schemas: ToolSchemas, default: Attribution
    ) -> None:
        self._serving = None if request.response_format is not None else serving
        self._request = request
        self._schemas = schemas
        self._default = default
        self._began = time.perf_counter()
        self._call_id = uuid7().hex
        self._asked: Request | None = None
        self._turn: Turn | None = None

    def served(self) -> ModelResponse[Any] | None:
        """Return the answer from the cache, if there is one to serve."""
        asked = self._ask()
        if self._serving is None or asked is None:
            return None
        self._turn = self._serving.begin(asked, scope=self._scope())
        return self._read(self._serving, asked, self._turn)

    async def aserved(self) -> ModelResponse[Any] | None:
        """Do what `served` does, off the event loop."""
        asked = self._ask()
        if self._serving is None or asked is None:
            return None
        self._turn = await self._serving.abegin(asked, scope=self._scope())
        return self._read(self._serving, asked, self._turn)

    def finish(self, response: ModelResponse[Any]) -> None:
        """Tell the cache what the model answered."""
        if self._serving is not None and self._turn is not None:
            self._serving.finish(self._turn, lambda: self._written(response))

    async def afinish(self, response: ModelResponse[Any]) -> None:
        """Do what `finish` does, off the event loop."""
        if self._serving is not None and self._turn is not None:
            await self._serving.afinish(self._turn, lambda: self._written(response))

    def __enter__(self) -> AgentPassage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._turn is not None:
            self._turn.abandon()

    def _ask(self) -> Request | None:
        if self._serving is None:
            return None
        request = self._request
        bound = {"tools": [dict(self._schemas.of(tool)) for tool in request.tools], "tool_choice": request.tool_choice}
        try:
            asked = cache_request(request.model, messages_of(request), None, {**request.model_settings, **bound})
        except Exception as error:  # a request that we cannot read is still a request
            self._serving.note("view", error)
            return None
        self._asked = asked
        return asked

    def _scope(self) -> Attribution:
        """Return whom it is for: what the run says, else the agent's context, else the middleware."""
        told = from_metadata(_fields(getattr(self._request.runtime, "context", None)))
        return merged(merged(self._default, told), current_attribution())

    def _read(self, serving: Serving, asked: Request, turn: Turn) -> ModelResponse[Any] | None:
        hit = turn.hit
        if hit is None:
            return None
        answer = serving.served(turn, lambda kept: read_message(kept.payload, hit), call_id=self._call_id)
        if answer is None:
            return None
        # No callback fires where no model is called.
        seconds = time.perf_counter() - self._began
        serving.record(hit, asked, call_id=self._call_id, latency_seconds=seconds)
        return ModelResponse(result=[answer])

    def _written(self, response: ModelResponse[Any]) -> CachedAnswer | None:
        serving = self._serving
        if serving is None or type(response) is not ModelResponse or len(response.result) != 1:
            return None
        message = response.result[0]
        if not isinstance(message, AIMessage) or response.structured_response is not None:
            return None
        return written([ChatGeneration(message=message)], serving, request=self._asked)


def _fields(context: object) -> Mapping[str, Any]:
    if isinstance(context, Mapping):
        return cast("Mapping[str, Any]", context)
    if isinstance(context, BaseModel):
        return context.model_dump()
    return asdict(context) if is_dataclass(context) and not isinstance(context, type) else {}
