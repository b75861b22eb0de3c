"""Chains whose answers are kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda, RunnablePassthrough
from langchain_openai import ChatOpenAI
from langchain_thrift import CachedRunnable, cached
from langchain_thrift.chain_values import given_back, joined, kept
from pydantic import BaseModel
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic import CachedAnswer, CacheSettings, Hit, SemanticCache, SQLiteStore
from thrift_core.errors import ConfigurationError
from thrift_core.testing import Fault, LocalProvider, Reply

QUESTION = "How do I reset my password?"
ANSWER = "Open Settings, choose Security and press Reset."
PROMPT = ChatPromptTemplate.from_messages([("system", "Help in {language}."), ("user", "{question}")])


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    def brain(request: Any) -> Reply:
        return Reply(text='{"steps": ["one", "two"]}' if "JSON" in request.system else ANSWER)

    with LocalProvider(brain) as running:
        yield running


def openai(provider: LocalProvider) -> ChatOpenAI:
    url = provider.base_url
    return ChatOpenAI(model="gpt-4.1-mini", base_url=url, api_key="key", max_retries=0, stream_usage=True)


def memory(**settings: Any) -> SemanticCache:
    return SemanticCache(settings=CacheSettings(**{"checked_share": 0.0, **settings}))


class Counted:
    """A chain that counts how often it runs."""

    def __init__(self, answer: Any = ANSWER) -> None:
        self.runs = 0
        self._answer = answer
        self._lock = threading.Lock()

    def __call__(self, given: Any) -> Any:
        with self._lock:
            self.runs += 1
        return self._answer(given) if callable(self._answer) else self._answer


def counted(answer: Any = ANSWER) -> tuple[Counted, Runnable[Any, Any]]:
    work = Counted(answer)
    return work, RunnableLambda(work)


def test_a_chain_is_not_run_again_for_a_question_it_has_answered(provider: LocalProvider) -> None:
    hits: list[Hit] = []
    chain = cached(PROMPT | openai(provider) | StrOutputParser(), memory(), on_hit=hits.append)
    for question in (QUESTION, "Hi, how can I reset my password?"):
        assert chain.invoke({"language": "English", "question": question}) == ANSWER
    assert len(provider.requests) == 1
    assert hits[0].question == QUESTION
    # All but the question has to be the same.
    chain.invoke({"language": "German", "question": QUESTION})
    assert len(provider.requests) == 2


def test_a_hit_books_what_the_models_inside_cost(provider: LocalProvider) -> None:
    ledger = Ledger()
    model = openai(provider)
    twice = PROMPT | model | (lambda message: f"Say it better: {message.text}") | model | StrOutputParser()
    chain = cached(twice, memory(), ledger=ledger)
    for _ in range(2):
        chain.invoke({"language": "English", "question": QUESTION}, config={"metadata": {"feature": "help"}})
    (saving,) = ledger.savings()
    use = provider.bill.use
    assert saving.tokens == use.input_tokens + use.output_tokens
    assert saving.cost_usd is not None
    assert saving.cost_usd > 0
    assert saving.attribution.feature == "help"


def test_streams_are_kept_and_replayed_in_pieces(provider: LocalProvider) -> None:
    chain = cached(PROMPT | openai(provider) | StrOutputParser(), memory())
    asked = {"language": "English", "question": QUESTION}
    first, second = list(chain.stream(asked)), list(chain.stream(asked))
    assert "".join(first) == "".join(second) == chain.invoke(asked) == ANSWER
    assert len(second) > 3
    assert len(provider.requests) == 1


async def test_async_invoke_stream_and_batch_share_the_same_answers(provider: LocalProvider) -> None:
    chain = cached(PROMPT | openai(provider) | StrOutputParser(), memory())
    asked = {"language": "English", "question": QUESTION}
    assert "".join([chunk async for chunk in chain.astream(asked)]) == ANSWER
    assert await chain.ainvoke(asked) == ANSWER
    assert await chain.abatch([asked] * 3) == [ANSWER] * 3
    assert await asyncio.to_thread(chain.batch, [asked] * 3) == [ANSWER] * 3
    assert "".join([chunk async for chunk in (RunnablePassthrough() | chain).astream(asked)]) == ANSWER
    assert len(provider.requests) == 1


def test_messages_come_back_with_ids_of_their_own_and_no_usage(provider: LocalProvider) -> None:
    chain = cached(PROMPT | openai(provider), memory())
    asked = {"language": "English", "question": QUESTION}
    first, second = chain.invoke(asked), chain.invoke(asked)
    assert (first.text, second.text) == (ANSWER, ANSWER)
    assert second.id is None
    assert second.usage_metadata["total_tokens"] == 0
    assert second.response_metadata["thrift"]["cache"]["question"] == QUESTION
    whole: Any = None
    for chunk in chain.stream(asked):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole.text == ANSWER


def test_a_rag_answer_keeps_its_documents_and_goes_with_their_version() -> None:
    documents = [Document("Press Reset.", metadata={"source": "manual.md", "page": 3}, id="d1")]
    work, chain = counted(lambda given: {"answer": ANSWER, "context": documents, **given})
    version = ["v1"]
    cache = memory()
    lean = cached(
        chain,
        cache,
        corpus=lambda given: version[0],
        sources=lambda output: [document.metadata["source"] for document in output["context"]],
    )
    asked = {"question": QUESTION}
    assert lean.invoke(asked) == lean.invoke(asked) == {"answer": ANSWER, "context": documents, **asked}
    assert work.runs == 1
    version[0] = "v2"
    lean.invoke(asked)
    assert work.runs == 2
    assert cache.purge(source="manual.md") == 2
    lean.invoke(asked)
    assert work.runs == 3


def test_a_conversation_is_part_of_the_question() -> None:
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("chat_history"), ("user", "{input}")])
    work, end = counted()
    chain = cached(prompt | end, memory())
    about_a = [HumanMessage("Tell me of A.", id="1"), AIMessage("A is big.", id="2")]
    about_b = [HumanMessage("Tell me of B.", id="3"), AIMessage("B is big.", id="4")]
    for history in (about_a, about_b):
        chain.invoke({"chat_history": history, "input": "How old is it?"})
    assert work.runs == 2
    # The same turns with other ids are the same turns.
    fresh = [message.model_copy(update={"id": None}) for message in about_a]
    chain.invoke({"chat_history": fresh, "input": "how old is it"})
    assert work.runs == 2


def test_inputs_without_a_question_match_only_themselves() -> None:
    work, chain = counted()
    lean = cached(chain, memory())
    for value in ({"a": 1}, {"a": 1}, {"a": 2}, 7, 7, ["x"], {"question": "q", "input": "i"}):
        lean.invoke(value)
    assert work.runs == 5


def test_the_question_may_be_named_or_told_by_a_function() -> None:
    work, chain = counted()
    by_key = cached(chain, memory(), question="task")
    by_key.invoke({"task": QUESTION, "input": "the same"})
    by_key.invoke({"task": "how do I reset my password", "input": "the same"})
    by_key.invoke({"task": QUESTION, "input": "another"})
    assert work.runs == 2
    told = cached(chain, memory(), question=lambda given: (given[1], given[0]))
    told.invoke(("x", QUESTION))
    told.invoke(("x", "how do I reset my password"))
    told.invoke(("y", QUESTION))
    assert work.runs == 4


def test_lists_of_messages_match_by_the_last_question() -> None:
    work, chain = counted()
    lean = cached(chain, memory())
    lean.invoke([HumanMessage(QUESTION)])
    lean.invoke([HumanMessage("how do I reset my password")])
    lean.invoke([HumanMessage("Hi"), AIMessage("Hello"), HumanMessage(QUESTION)])
    assert work.runs == 2


def test_users_and_tenants_never_share() -> None:
    work, chain = counted()
    lean = cached(chain, memory())

    def in_block(name: str) -> None:
        with attribute(user=name):
            lean.invoke(QUESTION)

    ways = [
        lambda name: lean.invoke(QUESTION, config={"metadata": {"user": name}}),
        lambda name: lean.invoke(QUESTION, config={"configurable": {"user_id": name}}),
        lambda name: list(lean.stream(QUESTION, config={"tags": [f"user:{name}"]})),
        lambda name: (RunnablePassthrough() | lean).invoke(QUESTION, config={"metadata": {"user": name}}),
        in_block,
    ]
    for name in ("ann", "bob"):
        for way in ways * 2:
            way(name)
    lean.invoke(QUESTION)
    assert work.runs == 3


def test_chains_that_share_a_cache_share_no_answers_unless_they_have_one_name(tmp_path: Any) -> None:
    cache = SemanticCache(SQLiteStore(tmp_path / "cache.db"))
    (one, first), (two, second) = counted("one"), counted("two")
    assert [cached(chain, cache).invoke(QUESTION) for chain in (first, second)] == ["one", "two"]
    named = [cached(chain, cache, name="faq").invoke(QUESTION) for chain in (first, second)]
    assert named == ["one", "one"]
    assert (one.runs, two.runs) == (2, 1)
    cache.close()


def test_a_hundred_threads_run_the_chain_once() -> None:
    gate = threading.Event()

    def slow(given: Any) -> str:
        gate.wait(10)
        return ANSWER

    work, chain = counted(slow)
    lean = cached(chain, memory())
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(lean.invoke, QUESTION) for _ in range(100)]
        threading.Timer(0.2, gate.set).start()
        assert {each.result() for each in asked} == {ANSWER}
    assert work.runs == 1


async def test_a_hundred_tasks_run_the_chain_once() -> None:
    runs: list[int] = []

    async def slow(given: Any) -> str:
        runs.append(1)
        await asyncio.sleep(0.1)
        return ANSWER

    lean = cached(RunnableLambda(slow), memory())
    assert set(await asyncio.gather(*(lean.ainvoke(QUESTION) for _ in range(100)))) == {ANSWER}
    assert len(runs) == 1


def test_a_chain_that_fails_keeps_nothing(provider: LocalProvider) -> None:
    chain = cached(PROMPT | openai(provider) | StrOutputParser(), memory())
    asked = {"language": "English", "question": QUESTION}
    provider.inject(Fault.error(500), Fault.disconnect(after_events=3))
    with pytest.raises(Exception, match="error"):
        chain.invoke(asked)
    with pytest.raises(Exception, match=r"."):
        list(chain.stream(asked))
    assert chain.invoke(asked) == ANSWER
    assert chain.invoke(asked) == ANSWER
    assert len(provider.requests) == 2


def test_a_stream_that_is_closed_early_keeps_nothing() -> None:
    work = Counted()

    def slowly(inputs: Iterator[Any]) -> Iterator[str]:
        work(list(inputs))
        yield from ("Open ", "Settings.")

    chain = cached(RunnableGenerator(slowly), memory())
    stream: Any = chain.stream(QUESTION)
    assert next(stream) == "Open "
    stream.close()
    assert "".join(chain.stream(QUESTION)) == "Open Settings."
    assert work.runs == 2


def test_answers_that_were_cut_are_not_kept() -> None:
    with LocalProvider(lambda _: Reply(text=ANSWER, finish_reason="length")) as provider:
        chain = cached(PROMPT | openai(provider) | StrOutputParser(), memory())
        for _ in range(2):
            chain.invoke({"language": "English", "question": QUESTION})
        assert len(provider.requests) == 2


def test_a_stream_of_growing_answers_is_never_joined_to_a_wrong_one(provider: LocalProvider) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Answer in JSON."), ("user", "{question}")])
    chain = cached(prompt | openai(provider) | JsonOutputParser(), memory())
    for _ in range(2):
        assert list(chain.stream({"question": QUESTION}))[-1] == {"steps": ["one", "two"]}
    assert len(provider.requests) == 2
    for _ in range(2):
        assert chain.invoke({"question": QUESTION}) == {"steps": ["one", "two"]}
    assert len(provider.requests) == 3


class Steps(BaseModel):
    steps: list[str]


def test_answers_of_a_class_come_back_as_that_class() -> None:
    work, chain = counted(Steps(steps=["one"]))
    lean = cached(chain, memory(), returns=Steps)
    assert lean.invoke(QUESTION) == lean.invoke(QUESTION) == Steps(steps=["one"])
    assert work.runs == 1
    bare = cached(chain, memory(), ledger=(ledger := Ledger()))
    assert bare.invoke(QUESTION) == bare.invoke(QUESTION)
    assert work.runs == 3
    assert ledger.faults() == {("cache", "answer: TypeError"): 2}


def test_in_shadow_the_chain_runs_every_time() -> None:
    work, chain = counted()
    ledger = Ledger()
    lean = cached(chain, memory(mode="shadow"), ledger=ledger)
    for _ in range(3):
        lean.invoke(QUESTION)
    assert work.runs == 3
    assert [saving.is_shadow for saving in ledger.savings()] == [True, True]


def test_what_the_app_gave_that_fails_costs_nobody_an_answer() -> None:
    def broken(given: Any) -> Any:
        raise RuntimeError("broken")

    work, chain = counted()
    for options in ({"corpus": broken}, {"question": broken}, {"sources": broken}, {"on_hit": broken}):
        lean = cached(chain, memory(), **options)
        assert [lean.invoke(QUESTION), lean.invoke(QUESTION)] == [ANSWER, ANSWER]
    assert work.runs == 7


def test_a_cached_chain_looks_like_the_chain() -> None:
    lean = cached(PROMPT, memory())
    assert isinstance(lean, CachedRunnable)
    assert lean.get_input_schema().model_json_schema() == PROMPT.get_input_schema().model_json_schema()
    assert lean.OutputType == PROMPT.OutputType


@pytest.mark.parametrize("options", [{"runnable": "no chain"}, {"runnable": PROMPT, "question": 7}])
def test_wrong_configuration_fails_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="give a"):
        cached(**options)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_what_is_kept_comes_back_as_it_was(value: Any) -> None:
    assert given_back(kept(value), Hit(answer=CachedAnswer(payload="x"), tier="exact", question="q"), None) == value


@given(st.lists(st.text(min_size=1), min_size=1), st.lists(st.text(), min_size=1))
def test_streams_of_dictionaries_join_key_by_key(one: Sequence[str], two: Sequence[str]) -> None:
    chunks = [{"answer": piece} for piece in one] + [{"note": piece} for piece in two]
    assert joined(chunks) == {"answer": "".join(one), "note": "".join(two)}


@pytest.mark.parametrize("value", [("a",), {1: 2}, {"thrift_kind": "message"}, object(), float("nan"), {"a": {1, 2}}])
def test_what_would_come_back_as_something_else_is_not_kept(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        kept(value)
