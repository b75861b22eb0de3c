"""A query engine answers from the cache as long as the documents behind an answer are what they were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Document, PromptTemplate, SummaryIndex
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CitationQueryEngine, MultiStepQueryEngine
from llamaindex_thrift import CachedQueryEngine
from pydantic import BaseModel
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic import CacheSettings, SemanticCache
from thrift_core.demo.rates import RATES
from thrift_core.errors import ConfigurationError
from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, LocalProvider, Reply

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
QUESTION = "How long is the warranty of a lamp?"
ALIKE = "Hi, how long is the warranty of a lamp?"
LAMPS = "Lamps have a warranty of two years."
DESKS = "Desks have a warranty of ten years."


class Term(BaseModel):
    years: int


def brain(request: ChatRequest) -> Reply:
    if request.response_format or "Term" in request.tool_names:
        return (
            Reply(text='{"years": 2}')
            if request.response_format
            else Reply(tool_calls=(ToolCall("Term", '{"years": 2}'),))
        )
    text = "\n".join(message.text for message in request.messages)
    years = [number for number in ("two", "three", "ten") if f"Lamps have a warranty of {number}" in text]
    return Reply(text=f"It is {years[0] if years else 'not known'}, says the handbook.")


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with LocalProvider(brain, RATES) as running:
        yield running


@pytest.fixture(autouse=True)
def _loop() -> Iterator[None]:
    """LlamaIndex's synchronous engines make an event loop and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def llm(provider: LocalProvider, openai_at: Callable[..., Any]) -> Any:
    return openai_at(provider)


def documents(lamps: str = LAMPS, **metadata: str) -> list[Document]:
    return [Document(text=lamps, id_="lamps", metadata=metadata), Document(text=DESKS, id_="desks")]


def cached(engine: Any, cache: SemanticCache | None = None, **more: Any) -> CachedQueryEngine:
    return CachedQueryEngine(engine, cache or SemanticCache(settings=CacheSettings(checked_share=0.0)), **more)


def engine_over(llm: Any, held: list[Document], **settings: Any) -> Any:
    return SummaryIndex.from_documents(held).as_query_engine(llm=llm, **settings)


async def asked(engine: CachedQueryEngine, way: str, text: str = QUESTION) -> str:
    response = engine.query(text) if way == "query" else await engine.aquery(text)
    if isinstance(response, AsyncStreamingResponse):
        return "".join([piece async for piece in response.async_response_gen()])
    if isinstance(response, StreamingResponse):
        return "".join(response.response_gen)
    return str(response)


async def test_a_question_is_answered_once_as_long_as_its_documents_stay(llm: Any, provider: LocalProvider) -> None:
    engine = cached(engine_over(llm, documents()))
    first = engine.query(QUESTION)
    again = engine.query(QUESTION)
    alike = await engine.aquery(ALIKE)
    assert provider.bill.calls == 1
    assert str(first) == str(again) == str(alike) == "It is two, says the handbook."
    assert isinstance(again, Response)
    assert [node.node.get_content() for node in again.source_nodes] == [LAMPS, DESKS]
    where = again.metadata.pop("thrift")["cache"]
    assert (where["tier"], where["question"]) == ("exact", QUESTION)
    assert again.metadata == first.metadata


@pytest.mark.parametrize(
    "changed",
    [documents("Lamps have a warranty of three years."), documents(edition="second"), documents()[:1]],
)
async def test_a_document_that_was_changed_is_a_miss(
    llm: Any, provider: LocalProvider, changed: list[Document]
) -> None:
    cache = SemanticCache(settings=CacheSettings(checked_share=0.0))

    def over(held: list[Document]) -> CachedQueryEngine:
        return cached(_with_node_ids(llm, held), cache)

    await asked(over(documents()), "query")
    await asked(over(documents()), "aquery")
    assert provider.bill.calls == 1
    answer = await asked(over(changed), "query")
    assert provider.bill.calls == 2
    assert answer.startswith("It is three" if "three" in changed[0].text else "It is two")
    # What was true before is true again once the documents are what they were.
    await asked(over(documents()), "query")
    assert provider.bill.calls == 2


def _with_node_ids(llm: Any, held: list[Document]) -> Any:
    """Return an engine over nodes that keep their ids, as those of a real store do."""
    return SummaryIndex(held).as_query_engine(llm=llm)


async def test_the_order_in_which_nodes_are_found_does_not_count(llm: Any, provider: LocalProvider) -> None:
    cache = SemanticCache(settings=CacheSettings(checked_share=0.0))
    for held in (documents(), documents()[::-1]):
        await asked(cached(_with_node_ids(llm, held), cache), "query")
    assert provider.bill.calls == 1


@pytest.mark.parametrize("first", ["query", "aquery"])
async def test_streams_are_kept_and_streamed_again(llm: Any, provider: LocalProvider, first: str) -> None:
    engine = cached(engine_over(llm, documents(), streaming=True))
    for way in (first, "query", "aquery", "query"):
        assert await asked(engine, way) == "It is two, says the handbook."
    assert provider.bill.calls == 1
    response = engine.query(QUESTION)
    assert isinstance(response, StreamingResponse)
    assert len(list(response.response_gen)) > 3
    assert [node.node.get_content() for node in response.source_nodes] == [LAMPS, DESKS]


async def test_a_stream_that_is_not_read_to_its_end_is_not_kept(llm: Any, provider: LocalProvider) -> None:
    engine = cached(engine_over(llm, documents(), streaming=True))
    response = engine.query(QUESTION)
    next(response.response_gen)
    response.response_gen.close()
    aresponse = await engine.aquery(QUESTION)
    await anext(aresponse.response_gen)
    await aresponse.response_gen.aclose()
    made = provider.bill.calls
    await asked(engine, "query")
    assert provider.bill.calls == made + 1


async def test_answers_that_are_objects_come_back_as_objects(llm: Any, provider: LocalProvider) -> None:
    engine = cached(engine_over(llm, documents(), output_cls=Term))
    first, again = engine.query(QUESTION), await engine.aquery(QUESTION)
    assert provider.bill.calls == 1
    assert isinstance(again, PydanticResponse)
    assert again.response == first.response == Term(years=2)


async def test_sources_that_the_engine_makes_itself_come_back(llm: Any, provider: LocalProvider) -> None:
    index = SummaryIndex.from_documents(documents())
    engine = cached(CitationQueryEngine.from_args(index, llm=llm))
    first, again = engine.query(QUESTION), engine.query(QUESTION)
    assert provider.bill.calls == 1
    sources = [[node.node.get_content() for node in response.source_nodes] for response in (first, again)]
    assert sources[0] == sources[1]
    assert sources[0][0].startswith("Source 1:")


async def test_what_decides_the_answer_is_part_of_the_key(
    llm: Any, provider: LocalProvider, openai_at: Callable[..., Any]
) -> None:
    cache = SemanticCache(settings=CacheSettings(checked_share=0.0))
    template = PromptTemplate("{context_str} Query: {query_str} Answer in French.")
    held = documents()
    engines = [
        cached(_with_node_ids(llm, held), cache),
        cached(_with_node_ids(openai_at(provider, model="gpt-5-nano"), held), cache),
        cached(SummaryIndex(held).as_query_engine(llm=llm, text_qa_template=template), cache),
        cached(_with_node_ids(llm, held), cache, corpus="second edition"),
    ]
    for engine in engines:
        await asked(engine, "query")
    with attribute(tenant="ann"):
        await asked(engines[0], "query")
    assert provider.bill.calls == 5
    engines[0].update_prompts({"response_synthesizer:text_qa_template": template})
    await asked(engines[0], "query")
    assert provider.bill.calls == 5  # now it is the third engine
    await asked(engines[0], "query", "How long is the warranty of a desk?")
    assert provider.bill.calls == 6


async def test_answers_of_a_document_can_be_purged(llm: Any, provider: LocalProvider) -> None:
    engine = cached(engine_over(llm, documents()))
    await asked(engine, "query")
    assert engine.cache.purge(source="another") == 0
    assert engine.cache.purge(source="lamps") == 1
    await asked(engine, "query")
    assert provider.bill.calls == 2


async def test_the_ledger_is_told_at_most_what_was_saved(llm: Any, provider: LocalProvider) -> None:
    ledger = Ledger()
    engine = cached(engine_over(llm, documents()), ledger=ledger)
    with attribute("search"):
        await asked(engine, "query")
        await asked(engine, "aquery")
    (saving,) = ledger.savings(feature="search")
    assert saving.cost_usd is not None
    assert 0 < saving.cost_usd <= provider.bill.cost_usd
    assert [call.outcome for call in ledger.calls()] == ["cache_hit"]


async def test_nothing_found_is_not_kept(llm: Any, provider: LocalProvider) -> None:
    engine = cached(SummaryIndex([]).as_query_engine(llm=llm))
    await asked(engine, "query")
    assert engine.cache.stats().lookups == 0
    assert provider.bill.calls == 0


async def test_those_who_ask_at_the_same_time_share_one_answer(llm: Any, provider: LocalProvider) -> None:
    engine = cached(engine_over(llm, documents()))
    answers = await asyncio.gather(*(asked(engine, "aquery") for _ in range(8)))
    assert set(answers) == {"It is two, says the handbook."}
    assert provider.bill.calls == 1


async def test_an_entry_that_cannot_be_read_is_a_miss(llm: Any, provider: LocalProvider) -> None:
    engine = cached(engine_over(llm, documents()))
    keep = engine.cache.store
    engine.cache.store = lambda *a, **k: keep(a[0], type(a[1])(payload='{"v": 99}', text="odd"), **k)  # type: ignore[method-assign]
    await asked(engine, "query")
    engine.cache.store = keep  # type: ignore[method-assign]
    assert await asked(engine, "query") == await asked(engine, "query") == "It is two, says the handbook."
    assert provider.bill.calls == 2


def test_what_cannot_be_cached_is_refused_by_name() -> None:
    inner = SummaryIndex.from_documents(documents()).as_query_engine(llm=MockLLM())
    with pytest.raises(ConfigurationError, match="an engine that retrieves"):
        CachedQueryEngine("engine")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="an engine that retrieves"):
        CachedQueryEngine(
            MultiStepQueryEngine(inner, query_transform=None, response_synthesizer=inner._response_synthesizer)
        )  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="give a SemanticCache"):
        CachedQueryEngine(inner, "redis://")  # type: ignore[arg-type]


def test_the_wrapped_engine_can_be_reached() -> None:
    inner = SummaryIndex.from_documents(documents()).as_query_engine(llm=MockLLM())
    engine = CachedQueryEngine(inner)
    assert engine.retriever is inner.retriever
    with pytest.raises(AttributeError):
        _ = engine.nothing_of_the_kind
