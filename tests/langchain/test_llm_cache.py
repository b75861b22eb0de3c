"""The semantic cache as LangChain's own LLM cache: its standard tests, and what they do not ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import BaseCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite
from langchain_thrift import SemanticLLMCache, track_costs
from thrift_core.accounting.attribution import attribute
from thrift_core.caching.semantic import CacheSettings, SemanticCache, SQLiteStore
from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, Fault, LocalProvider, Reply

QUESTION = "How do I reset my password?"
ANSWER = "Open Settings, choose Security and press Reset."


class TestSync(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self) -> BaseCache:
        return SemanticLLMCache()


class TestAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self) -> BaseCache:
        return SemanticLLMCache()


class TestSyncInAFile(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, tmp_path: Any) -> Iterator[BaseCache]:
        kept = SemanticCache(SQLiteStore(tmp_path / "cache.db"))
        yield SemanticLLMCache(kept)
        kept.close()


def unchecked(**settings: Any) -> SemanticLLMCache:
    return SemanticLLMCache(SemanticCache(settings=CacheSettings(**{"checked_share": 0.0, **settings})))


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    def brain(request: ChatRequest) -> Reply:
        if request.tools:
            return Reply(tool_calls=(ToolCall("find", "{}"),))
        return Reply(text=ANSWER)

    with LocalProvider(brain) as running:
        yield running


def openai(provider: LocalProvider, cache: BaseCache, **settings: Any) -> ChatOpenAI:
    given: dict[str, Any] = {"model": "gpt-4.1-mini", "api_key": "key", "max_retries": 0, "cache": cache}
    return ChatOpenAI(base_url=provider.base_url, **{**given, **settings})


def told(message: Any) -> Any:
    return message.response_metadata.get("thrift", {}).get("cache")


def test_the_question_is_compared_and_not_the_json_around_it(provider: LocalProvider) -> None:
    model = openai(provider, unchecked())
    first, again = model.invoke(QUESTION), model.invoke("Hi, how can I reset my password?")
    assert len(provider.requests) == 1
    assert (again.text, told(again)["tier"], told(again)["question"]) == (ANSWER, "semantic", QUESTION)
    assert again.usage_metadata is not None
    assert again.usage_metadata["total_tokens"] == 0
    assert again.id != first.id
    for other in (
        "What is the weather?",
        "How do I reset your password?",
        "Who are you?",
        "How do I delete my account?",
    ):
        assert told(model.invoke(other)) is None


async def test_async_calls_hit_as_well(provider: LocalProvider) -> None:
    model = openai(provider, unchecked())
    await model.ainvoke(QUESTION)
    assert told(await model.ainvoke(QUESTION))["tier"] == "exact"
    assert [told(message) is not None for message in await model.abatch([QUESTION] * 3)] == [True] * 3
    assert len(provider.requests) == 1


def test_it_is_the_cache_of_every_model_when_it_is_set_for_all(provider: LocalProvider) -> None:
    set_llm_cache(unchecked())
    try:
        model = openai(provider, cache=None)  # type: ignore[arg-type]
        chain = ChatPromptTemplate.from_messages([("system", "Help."), ("user", "{question}")]) | model
        chain.invoke({"question": QUESTION})
        assert told(chain.invoke({"question": QUESTION})) is not None
    finally:
        set_llm_cache(None)


def test_history_system_message_model_and_settings_are_never_shared_across(provider: LocalProvider) -> None:
    cache = unchecked()
    model = openai(provider, cache)
    asked = [
        lambda: model.invoke(QUESTION),
        lambda: openai(provider, cache, model="gpt-5-mini").invoke(QUESTION),
        lambda: openai(provider, cache, temperature=0.3).invoke(QUESTION),
        lambda: model.invoke(QUESTION, stop=["x"]),
        lambda: model.invoke(QUESTION, response_format={"type": "text"}),
        lambda: model.invoke([SystemMessage("Be brief."), HumanMessage(QUESTION)]),
        lambda: model.invoke([HumanMessage("Hi"), AIMessage("Hello"), HumanMessage(QUESTION)]),
        lambda: model.invoke([HumanMessage("Hi"), AIMessage("Hullo"), HumanMessage(QUESTION)]),
    ]
    for ask in asked * 2:
        ask()
    assert len(provider.requests) == len(asked)


def test_how_the_model_is_reached_is_no_part_of_the_question(provider: LocalProvider) -> None:
    cache = unchecked()
    openai(provider, cache).invoke(QUESTION)
    other = openai(provider, cache, api_key="another", max_retries=4, timeout=12, tags=["x"])
    assert told(other.invoke(QUESTION)) is not None


def test_tenants_never_share_however_they_are_told(provider: LocalProvider) -> None:
    model = openai(provider, unchecked())
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | model

    def by_metadata(user: str) -> Any:
        return model.invoke(QUESTION, config={"metadata": {"user": user}})

    def by_chain(user: str) -> Any:
        return chain.invoke({"question": QUESTION}, config={"tags": [f"user:{user}"]})

    def by_block(user: str) -> Any:
        with attribute(user=user):
            return model.invoke(QUESTION)

    for number, ask in enumerate((by_metadata, by_chain, by_block)):
        names = [f"{number}-ann", f"{number}-bob"]
        assert [told(ask(name)) for name in names] == [None, None]
        assert all(told(again(name)) for again in (by_metadata, by_chain, by_block) for name in names)
    assert told(model.invoke(QUESTION)) is None


async def test_tenants_never_share_when_they_ask_at_the_same_time() -> None:
    with LocalProvider(lambda request: Reply(text=f"For {request.body['safety_identifier']}.")) as provider:
        model = openai(provider, unchecked())

        async def ask(number: int) -> tuple[int, str]:
            config: Any = {"metadata": {"user_id": number}}
            tagged = model.bind(extra_body={"safety_identifier": str(number)})
            return number, (await tagged.ainvoke(QUESTION, config=config)).text

        for _ in range(2):
            answers = await asyncio.gather(*(ask(number) for number in range(20)))
            assert all(text == f"For {number}." for number, text in answers)


def test_an_answer_of_a_model_within_a_model_is_not_kept_under_the_wrong_name() -> None:
    inner_cache = unchecked()
    inner = FakeListChatModel(responses=["Inner says so."], cache=inner_cache)

    class Outer(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "outer"

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            answer = inner.invoke("Something else?", config={"metadata": {"user": "nobody"}})
            return ChatResult(generations=[ChatGeneration(message=answer)])

    outer_cache = unchecked()
    outer = Outer(cache=outer_cache)
    outer.invoke(QUESTION, config={"metadata": {"user": "ann"}})
    for user in ("ann", "bob", "nobody"):
        assert outer_cache.cache.stats().hits == {}
        outer.invoke(QUESTION, config={"metadata": {"user": user}})
    assert outer_cache.cache.stats().stored == 0


def test_errors_and_calls_of_tools_are_not_kept(provider: LocalProvider) -> None:
    model = openai(provider, unchecked())
    provider.inject(Fault.error(500))
    with pytest.raises(Exception, match="error"):
        model.invoke(QUESTION)
    assert told(model.invoke(QUESTION)) is None
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]
    with_tools = model.bind(tools=tools)
    assert [told(with_tools.invoke(QUESTION)) for _ in range(2)] == [None, None]


def test_in_shadow_the_model_answers_and_hits_are_compared(provider: LocalProvider) -> None:
    cache = unchecked(mode="shadow")
    model = openai(provider, cache)
    assert [told(model.invoke(QUESTION)) for _ in range(3)] == [None] * 3
    assert len(provider.requests) == 3
    assert cache.cache.stats().checks == 2
    assert [saving.is_shadow for saving in cache.ledger.savings()] == [True, True]


def test_a_hit_is_booked_with_the_call_it_stands_for(provider: LocalProvider) -> None:
    with track_costs() as costs:
        cache = SemanticLLMCache(SemanticCache(), ledger=costs.ledger)
        model = openai(provider, cache)
        model.invoke(QUESTION)
        model.invoke(QUESTION)
        first, second = costs.ledger.calls()
        (saving,) = costs.ledger.savings()
    assert (first.outcome, second.outcome) == ("ok", "cache_hit")
    assert (saving.call_id, saving.tokens, saving.cost_usd) == (second.id, first.usage.total_tokens, first.cost_usd)


def test_text_models_match_in_the_same_words_only() -> None:
    model = FakeListLLM(responses=["one", "two", "three"], cache=unchecked())
    assert [model.invoke(QUESTION), model.invoke(QUESTION)] == ["one", "one"]
    assert model.invoke("how do I reset my password") == "two"
    with attribute(user="ann"):
        assert model.invoke(QUESTION) == "three"


@pytest.mark.parametrize(
    "prompt",
    [
        '[{"lc": 1, "type": "constructor", "id": ["langchain", "llms", "openai", "OpenAI"], "kwargs": {}}]',
        '[{"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "true"}}]',
        '[{"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}]',
        '[{"lc": 1, "type": "not_implemented", "id": ["x"], "repr": "x"}]',
        '["lc"]',
        dumps([{"lc": 2}]),
    ],
)
def test_what_is_not_a_list_of_messages_is_refused(prompt: str) -> None:
    cache = SemanticLLMCache()
    cache.update(prompt, "model", [Generation(text="An answer.")])
    assert cache.lookup(prompt, "model") is None
    assert cache.cache.stats().stored == 0


def test_a_prompt_that_only_looks_written_by_langchain_is_plain_text() -> None:
    cache = SemanticLLMCache()
    cache.update('[INST] what is "lc"? [/INST]', "model", [Generation(text="An answer.")])
    assert cache.lookup('[INST] what is "lc"? [/INST]', "model") == [Generation(text="An answer.")]


def test_a_cache_in_a_file_serves_another_process(provider: LocalProvider, tmp_path: Any) -> None:
    # As another process would: a new store, cache and model over the same file.
    for _ in range(2):
        kept = SemanticCache(SQLiteStore(tmp_path / "cache.db"))
        assert openai(provider, SemanticLLMCache(kept)).invoke(QUESTION).text == ANSWER
        kept.close()
    assert len(provider.requests) == 1


def test_two_generations_come_back_as_two() -> None:
    cache = SemanticLLMCache()
    prompt = dumps([HumanMessage(QUESTION)])
    both = [ChatGeneration(message=AIMessage(text)) for text in ("One way.", "Another way.")]
    cache.update(prompt, "model", both)
    found = cache.lookup(prompt, "model")
    assert found is not None
    assert [each.text for each in found] == ["One way.", "Another way."]


def test_clearing_removes_everything() -> None:
    cache = SemanticLLMCache()
    for user in ("ann", "bob"):
        with attribute(user=user):
            cache.update("a prompt", "model", [Generation(text="An answer.")])
    cache.clear()
    with attribute(user="ann"):
        assert cache.lookup("a prompt", "model") is None


def test_what_the_cache_did_stands_in_the_ledger(provider: LocalProvider) -> None:
    cache = unchecked(mode="shadow")
    model = openai(provider, cache)
    for _ in range(2):
        model.invoke(QUESTION, config={"metadata": {"user": "ann"}})
    told = [(lookup.outcome, lookup.is_shadow, lookup.attribution.user) for lookup in cache.ledger.lookups()]
    assert told == [("miss", False, "ann"), ("hit", True, "ann"), ("agreed", True, "ann")]
