"""A chain whose answers are kept: asked the same again, it answers without running."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import patch_config
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SkipValidation
from thrift_core.accounting.attribution import current_attribution, from_metadata, merged
from thrift_core.accounting.call import Attribution
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic.answer import CachedAnswer, Hit
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.serving import Serving
from thrift_core.caching.semantic.turn import Turn
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Request

from langchain_thrift.chain_spend import ChainSpend
from langchain_thrift.chain_values import Question, chain_request, given_back, joined, kept, replayed, text_of_output

Corpus = str | Callable[[Any], str | None] | None


def cached(
    runnable: Runnable[Any, Any],
    cache: SemanticCache | None = None,
    *,
    question: Question = None,
    corpus: Corpus = None,
    name: str | None = None,
    returns: type[BaseModel] | None = None,
    sources: Callable[[Any], Iterable[str]] | None = None,
    on_hit: Callable[[Hit], object] | None = None,
    ledger: Ledger | None = None,
) -> CachedRunnable:
    """Return a chain that is not run again for a question that it has answered.

    What is compared is the question; everything else that the chain is given has to be the same. Whom a run is for,
    and so who shares answers with whom, is read from its metadata, tags and `configurable` and from enclosing
    `thrift_core.attribute` blocks. Of many runs that ask the same at the same time, one goes through the chain. A chain
    that acts on the world should not be cached: it would not act again.

    Args:
        runnable: the chain.
        cache: where answers are kept; in memory by default.
        question: the key of the question in a dictionary, by default the one of `question`, `input` and `query` that
            is there; or a function that returns of an input its question and everything else that decides the answer.
            Without a question, only the very same input matches. Of messages it is the last one.
        corpus: the version of the documents that answers rest on, or a function that returns it of an input; answers
            of another version are not served, and `cache.purge(corpus=...)` removes them.
        name: tells chains apart that share a cache. Without one, answers are this object's alone; give one to share
            them with other processes, and another one when the chain changes.
        returns: the class of the answers, where they are pydantic objects.
        sources: returns of an answer the documents that it rests on, as `cache.purge(source=...)` will name them.
        on_hit: called with every hit that is served.
        ledger: where savings and faults are booked; in memory by default.

    Raises:
        ConfigurationError: `runnable` is none, or `question` is neither a key nor a function.

    Example:
        >>> from langchain_core.runnables import RunnableLambda
        >>> runs = []
        >>> chain = cached(RunnableLambda(lambda given: runs.append(given) or "Under Settings."))
        >>> chain.invoke({"question": "Where is the switch?"}), chain.invoke({"question": "where is the switch"})
        ('Under Settings.', 'Under Settings.')
        >>> len(runs)
        1
    """
    if not isinstance(runnable, Runnable):
        raise ConfigurationError(f"runnable={runnable!r}: give a chain, such as prompt | model")
    if question is not None and not isinstance(question, str) and not callable(question):
        raise ConfigurationError(f"question={question!r}: give a key, or a function of the input")
    return CachedRunnable(
        bound=runnable,
        cache=cache if cache is not None else SemanticCache(ledger=ledger),
        question=question,
        corpus=corpus,
        chain=name or uuid.uuid4().hex,
        returns=returns,
        sources=sources,
        on_hit=on_hit,
        ledger=ledger if ledger is not None else Ledger(),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    request: Request
    corpus: str | None


class CachedRunnable(RunnableSerializable[Any, Any]):
    """What `cached` returns; see there."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    bound: SkipValidation[Runnable[Any, Any]]
    cache: SkipValidation[SemanticCache] = Field(repr=False)
    ledger: SkipValidation[Ledger] = Field(repr=False)
    chain: str
    question: SkipValidation[Question] = None
    corpus: SkipValidation[Corpus] = None
    returns: type[BaseModel] | None = None
    sources: SkipValidation[Callable[[Any], Iterable[str]] | None] = None
    on_hit: SkipValidation[Callable[[Hit], object] | None] = None
    _serving: Serving = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Bring the cache and the ledger together."""
        super().model_post_init(context)
        self._serving = Serving(self.cache, self.ledger)

    @property
    def InputType(self) -> type[Any]:  # noqa: N802 - LangChain's name
        """What the chain takes."""
        return self.bound.InputType

    @property
    def OutputType(self) -> type[Any]:  # noqa: N802 - as above
        """What the chain gives."""
        return self.bound.OutputType

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """Return the schema of what the chain takes."""
        return self.bound.get_input_schema(config)

    def get_output_schema(self, config: RunnableConfig | None = None) -> Any:
        """Return the schema of what the chain gives."""
        return self.bound.get_output_schema(config)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Return the chain's answer, or the one that it gave before."""
        return self._call_with_config(self._invoke, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Do what `invoke` does."""
        return await self._acall_with_config(self._ainvoke, input, config, **kwargs)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """Yield the chain's answer piece by piece, or the one that it gave before."""
        yield from self._transform_stream_with_config(iter([input]), self._stream, config, **kwargs)

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Do what `stream` does."""

        async def only() -> AsyncIterator[Any]:
            yield input

        async for chunk in self._atransform_stream_with_config(only(), self._astream, config, **kwargs):
            yield chunk

    def _invoke(
        self, given: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Any:
        asked = self._asked(given, kwargs)
        if asked is None:
            return self.bound.invoke(given, patch_config(config, callbacks=run_manager.get_child()), **kwargs)
        with self._serving.begin(asked.request, scope=_scope(config), corpus=asked.corpus) as turn:
            if (served := self._served(turn)) is not None:
                return served[0]
            inner, spend = self._watched(config, run_manager)
            output = self.bound.invoke(given, inner, **kwargs)
            self._serving.finish(turn, lambda: self._answer(output, spend))
        return output

    async def _ainvoke(
        self, given: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Any:
        asked = self._asked(given, kwargs)
        if asked is None:
            return await self.bound.ainvoke(given, patch_config(config, callbacks=run_manager.get_child()), **kwargs)
        with await self._serving.abegin(asked.request, scope=_scope(config), corpus=asked.corpus) as turn:
            if (served := self._served(turn)) is not None:
                return served[0]
            inner, spend = self._watched(config, run_manager)
            output = await self.bound.ainvoke(given, inner, **kwargs)
            await self._serving.afinish(turn, lambda: self._answer(output, spend))
        return output

    def _stream(
        self, inputs: Iterator[Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[Any]:
        given = next(iter(inputs))
        asked = self._asked(given, kwargs)
        if asked is None:
            yield from self.bound.stream(given, patch_config(config, callbacks=run_manager.get_child()), **kwargs)
            return
        with self._serving.begin(asked.request, scope=_scope(config), corpus=asked.corpus) as turn:
            if (served := self._served(turn)) is not None:
                yield from replayed(served[0])
                return
            inner, spend = self._watched(config, run_manager)
            chunks: list[Any] = []
            for chunk in self.bound.stream(given, inner, **kwargs):
                chunks.append(chunk)
                yield chunk
            self._serving.finish(turn, lambda: self._streamed(chunks, spend))

    async def _astream(
        self,
        inputs: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        given = await anext(aiter(inputs))
        asked = self._asked(given, kwargs)
        if asked is None:
            child = patch_config(config, callbacks=run_manager.get_child())
            async for chunk in self.bound.astream(given, child, **kwargs):
                yield chunk
            return
        with await self._serving.abegin(asked.request, scope=_scope(config), corpus=asked.corpus) as turn:
            if (served := self._served(turn)) is not None:
                for chunk in replayed(served[0]):
                    yield chunk
                return
            inner, spend = self._watched(config, run_manager)
            chunks: list[Any] = []
            async for chunk in self.bound.astream(given, inner, **kwargs):
                chunks.append(chunk)
                yield chunk
            await self._serving.afinish(turn, lambda: self._streamed(chunks, spend))

    def _asked(self, given: Any, kwargs: Mapping[str, Any]) -> _Asked | None:
        """Return what is asked; None where the input cannot be read, and the chain is run."""
        try:
            corpus = self.corpus(given) if callable(self.corpus) else self.corpus
            return _Asked(chain_request(self.chain, given, self.question, kwargs), corpus)
        except Exception as error:  # an input that we cannot read is still an input
            self._serving.note("view", error)
            return None

    def _served(self, turn: Turn) -> tuple[Any] | None:
        """Return the answer, which may be None itself, in a tuple of one."""
        hit = turn.hit
        if hit is None:
            return None
        served = self._serving.served(turn, lambda answer: (given_back(answer.payload, hit, self.returns),))
        if served is not None and self.on_hit is not None:
            try:
                self.on_hit(hit)
            except Exception as error:  # an observer's trouble is not the app's
                self._serving.note("on_hit", error)
        return served

    def _watched(
        self, config: RunnableConfig, run_manager: CallbackManagerForChainRun | AsyncCallbackManagerForChainRun
    ) -> tuple[RunnableConfig, ChainSpend]:
        """Return the config to run the chain with, and what will say what that costs."""
        callbacks, spend = run_manager.get_child(), ChainSpend(self._serving)
        callbacks.add_handler(spend, inherit=True)
        return patch_config(config, callbacks=callbacks), spend

    def _streamed(self, chunks: list[Any], spend: ChainSpend) -> CachedAnswer | None:
        return self._answer(joined(chunks), spend) if chunks and spend.is_whole else None

    def _answer(self, output: Any, spend: ChainSpend) -> CachedAnswer:
        if self.returns is not None and isinstance(output, self.returns):
            output = output.model_dump(mode="json")
        return CachedAnswer(
            payload=kept(output),
            text=text_of_output(output),
            finish_reason=spend.finish_reason,
            model=spend.model,
            usage=spend.usage,
            cost_usd=spend.cost_usd,
            sources=() if self.sources is None else tuple(self.sources(output)),
        )


def _scope(config: RunnableConfig) -> Attribution:
    told = {**(config.get("configurable") or {}), **(config.get("metadata") or {})}
    return merged(current_attribution(), from_metadata(told, tuple(config.get("tags") or ())))
