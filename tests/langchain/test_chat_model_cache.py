"""The cache of a wrapped chat model, with real clients over a local provider."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_thrift import ThriftChatModel, track_costs
from pydantic import BaseModel
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic import Admission, CacheSettings, SemanticCache
from thrift_core.errors import ConfigurationError
from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, Fault, LocalProvider, RateCard, Reply
from thrift_core.thrift import Thrift

QUESTION = "How do I reset my password?"
ANSWER = "Open Settings, choose Security and press Reset. You get a mail."
RATES = RateCard(input_usd=Decimal("0.40"), cached_input_usd=Decimal("0.10"), output_usd=Decimal("1.60"))


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def find_order(number: int) -> str:
    """Find an order."""
    return f"Order {number} is on its way."


def brain(request: ChatRequest) -> Reply:
    if request.response_format or "output_config" in request.body or "output_format" in request.body:
        return Reply(text='{"name": "Paris", "people": 2000000}')
    if "City" in request.tool_names:
        return Reply(tool_calls=(ToolCall("City", '{"name": "Paris", "people": 2000000}'),))
    if request.tools and request.messages[-1].role == "user":
        return Reply(tool_calls=(ToolCall("find_order", '{"number": 7}'),))
    return Reply(text=ANSWER)


def on(**settings: Any) -> Thrift:
    ledger = Ledger()
    settings = {"checked_share": 0.0, **settings}
    return Thrift(cache=SemanticCache(settings=CacheSettings(**settings), ledger=ledger), ledger=ledger)


@contextmanager
def openai(answer: Callable[[ChatRequest], Reply] = brain, **settings: Any) -> Iterator[tuple[LocalProvider, Any]]:
    with LocalProvider(answer, RATES) as provider:
        given = {"model": "gpt-4.1-mini", "base_url": provider.base_url, "api_key": "key", "max_retries": 0}
        yield provider, ChatOpenAI(**{**given, "stream_usage": True, **settings})


@contextmanager
def anthropic(answer: Callable[[ChatRequest], Reply] = brain) -> Iterator[tuple[LocalProvider, Any]]:
    with LocalProvider(answer, RATES) as provider:
        yield (
            provider,
            ChatAnthropic(model_name="claude-sonnet-4-6", base_url=provider.root_url, api_key="key", max_retries=0),
        )


CLIENTS = pytest.mark.parametrize("client", [openai, anthropic])


def told(message: Any) -> Any:
    """Return what a message says of the cache, if anything."""
    return message.response_metadata.get("thrift", {}).get("cache")


def joined(chunks: list[Any]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert isinstance(whole, AIMessageChunk)
    return whole


@CLIENTS
def test_a_hit_costs_nothing_and_says_where_it_comes_from(client: Any) -> None:
    with client() as (provider, inner):
        model = ThriftChatModel(inner, on())
        first, second = model.invoke(QUESTION), model.invoke("how do I reset my password")
        assert len(provider.requests) == 1
    assert (first.text, second.text) == (ANSWER, ANSWER)
    assert first.id != second.id
    assert told(first) is None
    assert {**told(second), "age_seconds": 0, "score": 0} == {
        "tier": "normalised" if told(second)["tier"] == "normalised" else "semantic",
        "question": QUESTION,
        "similarity": told(second)["similarity"],
        "score": 0,
        "reason": told(second)["reason"],
        "certificate": None,
        "age_seconds": 0,
        "saved_tokens": first.usage_metadata["total_tokens"],
        "saved_usd": told(second)["saved_usd"],
    }
    assert Decimal(told(second)["saved_usd"]) > 0
    assert {second.usage_metadata[name] for name in ("input_tokens", "output_tokens", "total_tokens")} == {0}
    assert not {"token_usage", "usage", "id"} & second.response_metadata.keys()


@CLIENTS
def test_a_stream_is_replayed_in_pieces_that_join_to_the_answer(client: Any) -> None:
    with client() as (provider, inner):
        model = ThriftChatModel(inner, on())
        fresh, replayed = list(model.stream(QUESTION)), list(model.stream(QUESTION))
        assert len(provider.requests) == 1
    assert joined(fresh).text == joined(replayed).text == ANSWER
    assert len(replayed) > 5
    assert len({chunk.id for chunk in replayed}) == 1
    assert replayed[0].id != fresh[0].id
    assert replayed[-1].chunk_position == "last"
    assert told(joined(replayed))["question"] == QUESTION
    assert joined(replayed).usage_metadata["total_tokens"] == 0


@CLIENTS
async def test_answers_pass_between_invoke_stream_and_their_async_twins(client: Any) -> None:
    with client() as (provider, inner):
        model = ThriftChatModel(inner, on())
        assert (await model.ainvoke(QUESTION)).text == ANSWER
        assert joined([chunk async for chunk in model.astream(QUESTION)]).text == ANSWER
        assert joined(await asyncio.to_thread(lambda: list(model.stream(QUESTION)))).text == ANSWER
        assert [message.text for message in model.batch([QUESTION, QUESTION])] == [ANSWER] * 2
        assert [message.text for message in await model.abatch([QUESTION, QUESTION])] == [ANSWER] * 2
        assert len(provider.requests) == 1


async def test_an_answer_that_was_streamed_first_is_kept_by_the_async_stream_too() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        assert joined([chunk async for chunk in model.astream(QUESTION)]).text == ANSWER
        assert (await model.ainvoke(QUESTION)).text == ANSWER
        assert len(provider.requests) == 1


@CLIENTS
def test_the_ledger_holds_the_providers_own_bill_and_the_saving_beside_it(client: Any) -> None:
    with client() as (provider, inner):
        model = ThriftChatModel(inner, on(), feature="help")
        model.invoke(QUESTION)
        list(model.stream("What is a lamp?"))
        model.invoke(QUESTION)
        list(model.stream(QUESTION))
        calls = list(model.thrift.ledger.calls())
        billed = list(provider.bill.lines)
    assert [call.outcome for call in calls] == ["ok", "ok", "cache_hit", "cache_hit"]
    assert [(c.usage.input_tokens, c.usage.output_tokens) for c in calls[:2]] == [
        (line.use.input_tokens, line.use.output_tokens) for line in billed
    ]
    assert [call.usage.total_tokens for call in calls[2:]] == [0, 0]
    savings = list(model.thrift.ledger.savings())
    assert [(s.lever, s.tokens, s.cost_usd, s.call_id) for s in savings] == [
        ("cache", calls[0].usage.total_tokens, calls[0].cost_usd, call.id) for call in calls[2:]
    ]
    assert {saving.attribution.feature for saving in savings} == {"help"}


def test_other_counters_see_a_hit_as_nothing_spent() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        usage = UsageMetadataCallbackHandler()
        with track_costs() as costs:
            chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | model
            for _ in range(3):
                chain.invoke({"question": QUESTION}, config={"callbacks": [usage]})
        line = provider.bill.lines[0].use
        assert len(provider.requests) == 1
    assert usage.usage_metadata["gpt-4.1-mini"]["total_tokens"] == line.input_tokens + line.output_tokens
    assert sorted(call.outcome for call in costs.ledger.calls()) == ["cache_hit", "cache_hit", "ok"]


def test_tenants_and_users_never_share_by_metadata_tags_or_blocks() -> None:
    def whose(request: ChatRequest) -> Reply:
        return Reply(text=f"This is answer {len(seen.append(1) or seen)}.")

    seen: list[int] = []
    with openai(whose) as (_, inner):
        model = ThriftChatModel(inner, on())
        found: dict[str, set[str]] = {}
        for _ in range(2):
            for tenant in ("acme", "zeta"):
                for user in ("ann", "bob"):
                    config: Any = {"metadata": {"tenant": tenant, "user_id": user}}
                    texts = found.setdefault(f"{tenant} {user}", set())
                    texts.add(model.invoke(QUESTION, config=config).text)
                    texts.add(joined(list(model.stream(QUESTION, config=config))).text)
                    texts.add(model.with_config(tags=[f"tenant:{tenant}", f"user:{user}"]).invoke(QUESTION).text)
                    with attribute(user=user, tenant=tenant):
                        texts.add(joined(list(model.stream(QUESTION))).text)
        found["nobody"] = {model.invoke(QUESTION).text}
    assert all(len(texts) == 1 for texts in found.values()), found
    assert len(set.union(*found.values())) == 5


async def test_tenants_never_share_when_they_ask_at_the_same_time() -> None:
    with openai(lambda request: Reply(text=f"For {request.body['user']}")) as (_, inner):
        model = ThriftChatModel(inner, on(ignored_parameters=frozenset({"user", "stream", "stream_options"})))

        async def ask(user: str) -> tuple[str, str]:
            config: Any = {"metadata": {"user": user}}
            stream = model.astream(QUESTION, config=config, user=user)
            return user, joined([chunk async for chunk in stream]).text

        answers = await asyncio.gather(*(ask(f"u{number % 5}") for number in range(50)))
    assert all(text == f"For {user}" for user, text in answers)


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_a_hundred_threads_that_miss_together_make_one_call(how: str) -> None:
    gate = threading.Event()

    def slow(request: ChatRequest) -> Reply:
        gate.wait(10)
        return Reply(text=ANSWER)

    with openai(slow) as (provider, inner):
        model = ThriftChatModel(inner, on())

        def ask(_: int) -> str:
            return model.invoke(QUESTION).text if how == "invoke" else joined(list(model.stream(QUESTION))).text

        with ThreadPoolExecutor(100) as pool:
            asked = [pool.submit(ask, number) for number in range(100)]
            threading.Timer(0.3, gate.set).start()
            assert {each.result() for each in asked} == {ANSWER}
        assert len(provider.requests) == 1
    assert model.thrift.ledger.total().calls == 100
    assert len(list(model.thrift.ledger.savings())) == 99


@pytest.mark.parametrize("how", ["ainvoke", "astream"])
async def test_a_hundred_tasks_that_miss_together_make_one_call(how: str) -> None:
    with openai() as (provider, inner):
        provider.inject(Fault.slow(0.3))
        model = ThriftChatModel(inner, on())

        async def ask() -> str:
            if how == "ainvoke":
                return str((await model.ainvoke(QUESTION)).text)
            return str(joined([chunk async for chunk in model.astream(QUESTION)]).text)

        assert set(await asyncio.gather(*(ask() for _ in range(100)))) == {ANSWER}
        assert len(provider.requests) == 1


def test_a_provider_that_fails_in_mid_stream_leaves_nothing_behind() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        provider.inject(Fault.disconnect(after_events=3))
        got: list[str] = []
        with pytest.raises(Exception, match=r"."):
            got.extend(chunk.text for chunk in model.stream(QUESTION))
        assert "".join(got)
        assert ANSWER.startswith("".join(got))
        assert model.invoke(QUESTION).text == ANSWER
        assert len(provider.requests) == 2


def test_an_error_is_the_apps_and_is_not_kept() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        provider.inject(Fault.error(500))
        with pytest.raises(Exception, match="error"):
            model.invoke(QUESTION)
        assert told(model.invoke(QUESTION)) is None
        assert len(list(model.thrift.ledger.savings())) == 0


def test_a_stream_that_is_closed_early_leaves_nothing_behind_and_nobody_waiting() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        stream: Any = model.stream(QUESTION)
        next(stream)
        stream.close()
        assert told(model.invoke(QUESTION)) is None
        assert len(provider.requests) == 2


async def test_an_async_stream_that_is_closed_early_leaves_nothing_behind_and_nobody_waiting() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        stream: Any = model.astream(QUESTION)
        await anext(stream)
        await stream.aclose()
        assert told(await asyncio.wait_for(model.ainvoke(QUESTION), 10)) is None
        assert len(provider.requests) == 2


def test_a_stream_without_an_end_is_not_kept() -> None:
    class Endless(GenericFakeChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            yield ChatGenerationChunk(message=AIMessageChunk("Open "))

    model = ThriftChatModel(Endless(messages=iter([])), on())
    list(model.stream(QUESTION))
    assert told(joined(list(model.stream(QUESTION)))) is None


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_cut_and_withheld_answers_are_not_kept(finish: str) -> None:
    with openai(lambda _: Reply(text=ANSWER, finish_reason=finish)) as (provider, inner):
        model = ThriftChatModel(inner, on())
        model.invoke(QUESTION)
        assert told(model.invoke(QUESTION)) is None
        assert len(provider.requests) == 2


def test_in_shadow_every_call_goes_out_and_what_would_be_saved_is_booked() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on(mode="shadow"))
        assert [told(model.invoke(QUESTION)) for _ in range(3)] == [None] * 3
        assert len(provider.requests) == 3
    assert [saving.is_shadow for saving in model.thrift.ledger.savings()] == [True, True]
    cache = model.thrift.cache
    assert cache is not None
    assert cache.stats().checks == 2


@CLIENTS
def test_calls_of_tools_pass_untouched_and_are_not_replayed(client: Any) -> None:
    with client() as (provider, inner):
        bare, model = inner.bind_tools([find_order]), ThriftChatModel(inner, on()).bind_tools([find_order])
        expected = bare.invoke("Where is order 7?").tool_calls
        seen = [model.invoke("Where is order 7?"), joined(list(model.stream("Where is order 7?")))]
        assert len(provider.requests) == 3
        bodies = [{**request.body, "stream": None, "stream_options": None} for request in provider.requests]
    assert all(message.tool_calls == expected for message in seen)
    assert bodies[0] == bodies[1]
    assert bodies[0]["tools"] == bodies[2]["tools"]


@CLIENTS
def test_after_a_tool_message_only_the_very_same_request_matches(client: Any) -> None:
    def history(question: str, call_id: str) -> list[Any]:
        call = {"name": "find_order", "args": {"number": 7}, "id": call_id, "type": "tool_call"}
        return [HumanMessage(question), AIMessage("", tool_calls=[call]), ToolMessage("Sent.", tool_call_id=call_id)]

    with client() as (provider, inner):
        model = ThriftChatModel(inner, on()).bind_tools([find_order])
        model.invoke(history("Where is order 7?", "a"))
        assert told(model.invoke(history("Where is order 7?", "b")))["tier"] == "exact"
        assert told(model.invoke(history("where is order 7", "c"))) is None
        assert len(provider.requests) == 2


def test_tool_calls_that_may_be_replayed_get_ids_of_their_own() -> None:
    with anthropic() as (provider, inner):
        cache = SemanticCache(admission=Admission(allow_tool_calls=True), settings=CacheSettings(checked_share=0.0))
        model = ThriftChatModel(inner, Thrift(cache=cache)).bind_tools([find_order])
        first = model.invoke("Where is order 7?")
        second, third = model.invoke("Where is order 7?"), joined(list(model.stream("Where is order 7?")))
        assert len(provider.requests) == 1
    calls = [message.tool_calls[0] for message in (first, second, third)]
    assert [(call["name"], call["args"]) for call in calls] == [("find_order", {"number": 7})] * 3
    assert len({call["id"] for call in calls}) == 3
    block = next(block for block in second.content if block["type"] == "tool_use")
    assert block["id"] == second.tool_calls[0]["id"]


@CLIENTS
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_is_cached_however_it_is_asked_for(client: Any, method: str) -> None:
    with client() as (provider, inner):
        model = ThriftChatModel(inner, on()).with_structured_output(City, method=method)
        answers = [model.invoke("What is the capital of France?") for _ in range(3)]
        assert len(provider.requests) == 1
        raw = ThriftChatModel(inner, on()).with_structured_output(City, method=method, include_raw=True)
        both: Any = [raw.invoke("What is the capital of France?") for _ in range(2)]
        assert len(provider.requests) == 2
    assert answers == [City(name="Paris", people=2000000)] * 3
    assert both[0]["parsed"] == both[1]["parsed"] == answers[0]
    assert told(both[1]["raw"]) is not None


def test_a_schema_of_the_same_name_with_another_field_is_another_question() -> None:
    class Town(BaseModel):
        name: str

    Town.__name__ = Town.__qualname__ = "City"
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        model.with_structured_output(City).invoke("What is the capital?")
        model.with_structured_output(Town).invoke("What is the capital?")
        assert len(provider.requests) == 2


@CLIENTS
def test_media_pass_untouched_and_only_the_same_picture_matches(client: Any) -> None:
    def about(picture: str) -> list[Any]:
        block = {"type": "image", "base64": picture, "mime_type": "image/png"}
        return [HumanMessage([{"type": "text", "text": "What is this?"}, block])]

    with client() as (provider, inner):
        inner.invoke(about("aGVsbG8="))
        model = ThriftChatModel(inner, on())
        for picture in ("aGVsbG8=", "aGVsbG8=", "d29ybGQ="):
            model.invoke(about(picture))
        bodies = [json.dumps(request.body, sort_keys=True) for request in provider.requests]
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] != bodies[2]


def test_what_decides_the_answer_is_never_shared_across() -> None:
    with openai() as (provider, inner):
        levers = on()
        model = ThriftChatModel(inner, levers)
        cooler = ThriftChatModel(inner.model_copy(update={"temperature": 0.7}), levers)
        asked = [
            lambda: model.invoke(QUESTION),
            lambda: cooler.invoke(QUESTION),
            lambda: model.invoke(QUESTION, temperature=0.1),
            lambda: model.invoke(QUESTION, stop=["mail"]),
            lambda: model.invoke(QUESTION, model="gpt-5-mini"),
            lambda: model.invoke([SystemMessage("Be brief."), HumanMessage(QUESTION)]),
            lambda: model.invoke([SystemMessage("Be long."), HumanMessage(QUESTION)]),
            lambda: model.invoke([HumanMessage("Hi"), AIMessage("Hello"), HumanMessage(QUESTION)]),
            lambda: model.bind(max_tokens=1000).invoke(QUESTION),
            lambda: model.bind_tools([find_order], tool_choice="none").invoke(
                [AIMessage("Hi"), HumanMessage(QUESTION)]
            ),
        ]
        for ask in asked[:-1] * 2:
            ask()
        assert len(provider.requests) == len(asked) - 1


def test_how_a_model_is_reached_does_not_decide_its_answer() -> None:
    with openai() as (provider, inner):
        levers = on()
        ThriftChatModel(inner, levers).invoke(QUESTION)
        other = ChatOpenAI(
            model="gpt-4.1-mini",
            base_url=provider.base_url,
            api_key="another key",
            max_retries=5,
            timeout=17,
            tags=["other"],
            stream_usage=False,
        )
        assert told(ThriftChatModel(other, levers).invoke(QUESTION)) is not None


def test_a_setting_that_is_changed_later_counts() -> None:
    model = ThriftChatModel(FakeListChatModel(responses=["One is right.", "Two is right."]), on())
    assert model.invoke(QUESTION).text == "One is right."
    model.wrapped.responses, model.wrapped.i = ["Three is right."], 0
    assert model.invoke(QUESTION).text == "Three is right."


def test_requests_that_cannot_be_compared_go_out_every_time() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        for _ in range(2):
            model.invoke(QUESTION, extra_body={"metadata": None}, extra_query=Marked())
        assert len(provider.requests) == 2


class Marked(dict[str, Any]):
    """A mapping with a key that is no text."""

    def items(self) -> Any:
        return {("a", object()): object()}.items()


def test_a_poisoned_payload_is_a_miss() -> None:
    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        model.invoke(QUESTION)
        cache = model.thrift.cache
        assert cache is not None
        original = cache.lookup

        def poisoned(*args: Any, **kwargs: Any) -> Any:
            from dataclasses import replace

            hit = original(*args, **kwargs)
            return hit and replace(hit, answer=replace(hit.answer, payload='{"v": 1, "generations": [{}]}'))

        cache.lookup = poisoned  # type: ignore[method-assign]
        assert model.invoke(QUESTION).text == ANSWER
        assert len(provider.requests) == 2
        assert model.thrift.ledger.faults() == {("cache", "entry: KeyError"): 1}


def test_a_rate_limit_does_not_hold_up_what_is_answered_from_the_cache() -> None:
    limiter = InMemoryRateLimiter(requests_per_second=0.001, check_every_n_seconds=0.01, max_bucket_size=1)
    limiter.available_tokens = 1
    with openai(rate_limiter=limiter) as (provider, inner):
        model = ThriftChatModel(inner, on())
        assert [model.invoke(QUESTION).text for _ in range(5)] == [ANSWER] * 5
        assert len(provider.requests) == 1


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_a_wrapper_looks_like_what_it_wraps() -> None:
    with openai(custom_get_token_ids=lambda text: list(map(len, text.split()))) as (_, inner):
        model = ThriftChatModel(inner, on())
        assert model.model_name == "gpt-4.1-mini"
        assert model.profile == inner.profile
        assert model.get_num_tokens("Hello there") == 2
        assert model._get_ls_params(stop=["x"]) == inner._get_ls_params(stop=["x"])
        assert model._get_llm_string(temperature=1) == inner._get_llm_string(temperature=1)
        assert dumps(model) == dumps(inner)
        read = loads(dumps(model), allowed_objects="all", secrets_map={"OPENAI_API_KEY": "key"})
        assert type(read) is ChatOpenAI
        assert copy.deepcopy(ThriftChatModel(FakeListChatModel(responses=["a"]), on())).invoke("x").text == "a"
        thawed = pickle.loads(pickle.dumps(ThriftChatModel(FakeListChatModel(responses=["a"]), on())))
        assert thawed.invoke("x").text == "a"
        with pytest.raises(AttributeError):
            _ = model.nothing_of_the_kind


def test_fallbacks_and_retries_work_around_a_wrapper() -> None:
    with openai() as (provider, inner):
        levers = on()
        safe = ThriftChatModel(FakeListChatModel(responses=["From the other."]), levers)
        model = ThriftChatModel(inner, levers)
        provider.inject(Fault.error(500), Fault.error(500))
        assert model.with_fallbacks([safe]).invoke(QUESTION).text == "From the other."
        assert model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False).invoke(QUESTION).text == ANSWER


def test_streaming_handlers_hear_a_replay_as_they_heard_the_model() -> None:
    async def tokens(model: Any) -> list[str]:
        events = model.astream_events(QUESTION, version="v2")
        return [event["data"]["chunk"].text async for event in events if event["event"] == "on_chat_model_stream"]

    with openai() as (provider, inner):
        model = ThriftChatModel(inner, on())
        first, second = asyncio.run(tokens(model)), asyncio.run(tokens(model))
        assert len(provider.requests) == 1
    assert "".join(first) == "".join(second) == ANSWER
    assert len(second) > 5


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"model": 7}, "give a chat model"),
        ({"model": FakeListChatModel(responses=[]), "temperature": 0}, "settings belong to the model"),
        ({"model": FakeListChatModel(responses=[]), "thrift": "on"}, "give a Thrift"),
    ],
)
def test_wrong_configuration_fails_when_it_is_made(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        ThriftChatModel(**given)


def test_a_cache_that_breaks_costs_nobody_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ThriftChatModel(FakeListChatModel(responses=["Fine."]), on())

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr("langchain_thrift.passage.cache_request", broken)
    assert model.invoke(QUESTION).text == "Fine."
    assert model.thrift.ledger.faults() == {("cache", "view: RuntimeError"): 1}


def test_a_wrapper_is_a_chat_model_wherever_one_is_asked_for() -> None:
    model: BaseChatModel = ThriftChatModel(FakeListChatModel(responses=["Hello"]))
    assert isinstance(model, BaseChatModel)
    assert (model | (lambda message: message.text)).invoke("Hi") == "Hello"


def test_what_the_cache_did_stands_in_the_ledger() -> None:
    with openai() as (_, inner):
        model = ThriftChatModel(inner, on(mode="shadow"))
        list(model.stream(QUESTION))
        model.invoke(QUESTION)
    assert [lookup.outcome for lookup in model.thrift.ledger.lookups()] == ["miss", "hit", "agreed"]
