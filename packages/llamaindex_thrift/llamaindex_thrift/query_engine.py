"""A query engine that answers from the cache as long as the documents behind an answer are what they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from functools import partial
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    StreamingResponse,
)
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.types import TokenAsyncGen, TokenGen
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.serving import Serving
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Message, Request

from llamaindex_thrift.cacheable import plain, settings_of
from llamaindex_thrift.cached_call import CachedCall
from llamaindex_thrift.engine_answers import EngineAnswers, versions
from llamaindex_thrift.view import provider_of, request_view


class CachedQueryEngine(BaseQueryEngine):
    """A query engine that asks its LLM only where no answer is known that rests on the same documents.

    Every query retrieves, which costs no LLM call. What is retrieved, by id and by the hash of text and metadata, is
    part of what must be equal: once a document is changed, added to the results or gone from them, old answers are
    misses. So are those of other prompts, another LLM or other settings of it, and another tenant, user or feature, as
    `attribute` blocks or LlamaIndex's `instrument_tags` name them.

    A hit has the source nodes and the metadata that the engine would give, and under `metadata["thrift"]` where it
    comes from. Streaming engines stream it. What a hit saves is estimated from the question, the nodes and the answer,
    without the prompt around them, and so rather too low. `cache.purge(source=...)` with the id of a document, or of a
    node without one, removes the answers that rest on it.

    Args:
        query_engine: an engine that retrieves and then synthesizes, such as `index.as_query_engine()`.
        cache: the cache; one in memory with the default settings if none is given.
        ledger: where savings and faults are booked; a new one in memory if none is given.
        corpus: the version of the documents, where the app has one; `cache.purge(corpus=...)` names it.

    Raises:
        ConfigurationError: the engine does not retrieve, or the cache is none.

    Example:
        >>> from llama_index.core import Document, SummaryIndex
        >>> from llama_index.core.llms import MockLLM
        >>> index = SummaryIndex.from_documents([Document(text="Lamps give light.")])
        >>> engine = CachedQueryEngine(index.as_query_engine(llm=MockLLM()))
        >>> _ = engine.query("What are lamps?")
        >>> engine.query("What are lamps?").metadata["thrift"]["cache"]["tier"]
        'exact'
    """

    def __init__(
        self,
        query_engine: BaseQueryEngine,
        cache: SemanticCache | None = None,
        *,
        ledger: Ledger | None = None,
        corpus: str | None = None,
    ) -> None:
        _check(query_engine, cache)
        super().__init__(callback_manager=query_engine.callback_manager)
        self._engine = query_engine
        self._serving = Serving(cache if cache is not None else SemanticCache(), ledger or Ledger())
        self._corpus = corpus

    @property
    def cache(self) -> SemanticCache:
        """The cache."""
        return self._serving.cache

    @property
    def ledger(self) -> Ledger:
        """Where savings and faults are booked."""
        return self._serving.ledger

    def __getattr__(self, name: str) -> Any:
        """Return the wrapped engine's attribute, such as `retriever`, where there is none here."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._engine, name)

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return what the wrapped engine retrieves."""
        return self._engine.retrieve(query_bundle)

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Do what `retrieve` does."""
        retrieve = getattr(self._engine, "aretrieve", None)
        nodes: list[NodeWithScore] = (
            await asyncio.to_thread(self._engine.retrieve, query_bundle)
            if retrieve is None
            else await retrieve(query_bundle)
        )
        return nodes

    def synthesize(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore], additional_source_nodes: Any = None
    ) -> RESPONSE_TYPE:
        """Return what the wrapped engine makes of the nodes, without the cache."""
        return self._engine.synthesize(query_bundle, nodes, additional_source_nodes)

    async def asynthesize(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore], additional_source_nodes: Any = None
    ) -> RESPONSE_TYPE:
        """Do what `synthesize` does."""
        return await self._engine.asynthesize(query_bundle, nodes, additional_source_nodes)

    def get_prompts(self) -> dict[str, BasePromptTemplate]:
        """Return the wrapped engine's prompts, under the names that it has for them."""
        prompts: dict[str, BasePromptTemplate] = self._engine.get_prompts()
        return prompts

    def update_prompts(self, prompts_dict: dict[str, BasePromptTemplate]) -> None:
        """Change the wrapped engine's prompts; answers to the old ones are not answers to the new ones."""
        self._engine.update_prompts(prompts_dict)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: query_bundle.query_str}
        ) as event:
            nodes = self.retrieve(query_bundle)
            response = self._answered(query_bundle, nodes)
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: query_bundle.query_str}
        ) as event:
            nodes = await self.aretrieve(query_bundle)
            response = await self._aanswered(query_bundle, nodes)
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    def _answered(self, query_bundle: QueryBundle, nodes: list[NodeWithScore]) -> RESPONSE_TYPE:
        answers = self._answers(nodes)
        call = CachedCall.begin(self._caching(nodes), self._request(query_bundle, nodes), self._corpus)
        if (served := call.served(answers.read)) is not None:
            return served
        with call.unless_streamed():
            response = self._engine.synthesize(query_bundle, nodes)
            if isinstance(response, StreamingResponse) and call.is_followed:
                response.response_gen = _followed(call, answers, response, response.response_gen)
            elif not isinstance(response, StreamingResponse | AsyncStreamingResponse):
                with call:
                    call.keep(lambda: answers.kept(response))
        return response

    async def _aanswered(self, query_bundle: QueryBundle, nodes: list[NodeWithScore]) -> RESPONSE_TYPE:
        answers = self._answers(nodes)
        call = await CachedCall.abegin(self._caching(nodes), self._request(query_bundle, nodes), self._corpus)
        if (served := call.served(partial(answers.read, is_async=True))) is not None:
            return served
        with call.unless_streamed():
            response = await self._engine.asynthesize(query_bundle, nodes)
            if isinstance(response, AsyncStreamingResponse) and call.is_followed:
                response.response_gen = _afollowed(call, answers, response, response.response_gen)
            elif isinstance(response, StreamingResponse) and call.is_followed:
                response.response_gen = _followed(call, answers, response, response.response_gen)
            elif not isinstance(response, StreamingResponse | AsyncStreamingResponse):
                with call:
                    await call.akeep(lambda: answers.kept(response))
        return response

    def _caching(self, nodes: list[NodeWithScore]) -> Serving | None:
        # Where nothing is found, engines say so without asking an LLM.
        return self._serving if nodes else None

    def _answers(self, nodes: list[NodeWithScore]) -> EngineAnswers:
        return EngineAnswers(nodes, getattr(self._synthesizer, "_output_cls", None))

    @property
    def _synthesizer(self) -> Any:
        return getattr(self._engine, "_response_synthesizer", None)

    def _request(self, query_bundle: QueryBundle, nodes: list[NodeWithScore]) -> Callable[[], Request]:
        def build() -> Request:
            synthesizer = self._synthesizer
            llm = getattr(synthesizer, "_llm", None)
            settings = vars(llm) if isinstance(llm, BaseLLM) else {}
            return Request(
                messages=(Message("user", query_bundle.query_str),),
                model=request_view("", {}, settings).model,
                provider=provider_of(settings, llm.class_name()) if isinstance(llm, BaseLLM) else None,
                parameters={
                    "thrift_call": ["query", plain(type(self._engine)), plain(type(synthesizer))],
                    "image": plain(query_bundle.image_path),
                    "llm": settings_of(llm) if isinstance(llm, BaseLLM) else plain(llm),
                    "nodes": versions(nodes),
                    "output_cls": plain(getattr(synthesizer, "_output_cls", None)),
                    "prompts": {name: plain(prompt) for name, prompt in self._engine.get_prompts().items()},
                    "streaming": plain(getattr(synthesizer, "_streaming", None)),
                },
            )

        return build


def _followed(
    call: CachedCall, answers: EngineAnswers, response: StreamingResponse, stream: TokenGen
) -> Generator[str, None, None]:
    """Yield a stream's pieces and keep the answer if it comes to its end."""
    said: list[str] = []
    with call, closing(stream) as pieces:
        for piece in pieces:
            said.append(piece)
            yield piece
        call.keep(lambda: answers.streamed("".join(said), response))


async def _afollowed(
    call: CachedCall, answers: EngineAnswers, response: AsyncStreamingResponse, stream: TokenAsyncGen
) -> AsyncGenerator[str, None]:
    said: list[str] = []
    with call:
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                said.append(piece)
                yield piece
        await call.akeep(lambda: answers.streamed("".join(said), response))


def _check(engine: object, cache: object) -> None:
    if not isinstance(engine, BaseQueryEngine) or any(
        getattr(type(engine), name) is getattr(BaseQueryEngine, name) for name in ("retrieve", "synthesize")
    ):
        raise ConfigurationError(
            f"query_engine={engine!r}: give an engine that retrieves, such as index.as_query_engine(); what an answer "
            "of another one rests on cannot be known, so use ThriftLLM inside it"
        )
    if cache is not None and not isinstance(cache, SemanticCache):
        raise ConfigurationError(f"cache={cache!r}: give a SemanticCache, or None for one in memory")
