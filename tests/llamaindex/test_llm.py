"""An LLM inside `ThriftLLM` is the same LLM: same answers, same events, same abilities."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from decimal import Decimal

import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ImageBlock, TextBlock, ThinkingBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai import OpenAIResponses
from llamaindex_thrift import track_costs
from llamaindex_thrift.llm import ThriftLLM
from pydantic import BaseModel
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.caching import PromptCachePlanner
from thrift_core.demo.rates import RATES
from thrift_core.errors import BudgetExceeded, ConfigurationError
from thrift_core.messages import ReplaceText, ToolCall
from thrift_core.testing import Fault, LocalProvider, Reply
from thrift_core.thrift import Thrift

from tests.core.trajectory.histories import order
from tests.llamaindex.conftest import MODEL, levers, user
from tests.llamaindex.native_histories import PIXEL

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")


class Verdict(BaseModel):
    is_kind: bool


class Shorten:
    """A lever that shortens every text that is too long, and learns what was billed."""

    def __init__(self):
        self.billed = []

    def decide(self, request, pricing):
        return [
            ReplaceText(index=index, text="short", reason="too long", saved_tokens=50, saved_usd=Decimal("0.001"))
            for index, message in enumerate(request.messages)
            if len(message.text) > 200
        ]

    def observe(self, request, usage):
        self.billed.append(usage)


LONG = "A long question. " * 40


def brain(request):
    last = request.messages[-1]
    if request.tools and request.tool_names[0] == "Verdict":
        return Reply(tool_calls=(ToolCall("Verdict", '{"is_kind": true}'),))
    if request.response_format:
        return Reply(text='{"is_kind": true}')
    if "Thought:" in request.system:
        return Reply(text="Thought: I can answer.\nAnswer: it is a lamp")
    if request.tools and last.role == "user":
        if "handoff" in request.tool_names:
            return Reply(tool_calls=(ToolCall("handoff", '{"to_agent": "stockist", "reason": "stock"}'),))
        names = [name for name in ("stock", "price") if name in request.tool_names]
        return Reply(tool_calls=tuple(ToolCall(name, '{"product": "lamp"}') for name in names))
    return Reply(text=f"{last.role} said: {last.text[:30]}")


@pytest.fixture
def provider():
    with LocalProvider(brain, {**RATES, "gpt-4-turbo": RATES["gpt-4o"]}) as running:
        yield running


@pytest.fixture
def inner(provider, openai_at):
    return openai_at(provider)


@pytest.fixture
def shortening():
    return Thrift(compressor=Shorten(), ledger=Ledger())


@pytest.fixture
def llm(inner, shortening):
    return ThriftLLM(inner, shortening)


def sent(provider):
    return [message.text for message in provider.requests[-1].messages]


def test_every_way_of_calling_sends_what_the_levers_made_of_it(llm, provider):
    llm.chat(messages=user(LONG))
    assert sent(provider) == ["short"]
    assert "".join(chunk.delta for chunk in llm.stream_chat(user(LONG))) == "user said: short"
    assert llm.complete(LONG).text == "user said: short"
    assert "".join(chunk.delta for chunk in llm.stream_complete(LONG)) == "user said: short"
    assert llm.predict(PromptTemplate("{x}"), x=LONG) == "user said: short"
    assert "".join(llm.stream(PromptTemplate("{x}"), x=LONG)) == "user said: short"
    assert provider.bill.calls == 6


async def test_every_async_way_does_the_same(llm, provider):
    assert (await llm.achat(user(LONG))).message.content == "user said: short"
    assert (await llm.acomplete(LONG)).text == "user said: short"
    assert [chunk async for chunk in await llm.astream_chat(user(LONG))][-1].message.content == "user said: short"
    assert [chunk async for chunk in await llm.astream_complete(LONG)][-1].text == "user said: short"
    assert await llm.apredict(PromptTemplate("{x}"), x=LONG) == "user said: short"
    assert provider.bill.calls == 5


def test_what_the_app_gave_stays_as_it_was(llm, provider):
    messages = user(LONG)
    before = pickle.dumps(messages)
    llm.chat(messages)
    list(llm.stream_chat(messages))
    assert pickle.dumps(messages) == before


def test_the_levers_are_told_what_was_billed_streaming_or_not(llm, shortening, provider):
    llm.chat(user(LONG))
    list(llm.stream_chat(user(LONG)))
    llm.complete(LONG)
    billed = shortening._levers["compressor"][0].billed
    assert [usage.input_tokens for usage in billed] == [line.use.input_tokens for line in provider.bill.lines]
    assert isinstance(billed[0], Usage)
    assert [saving.tokens for saving in shortening.ledger.savings()] == [50, 50, 50]


def test_savings_are_attributed_like_calls(llm, shortening):
    from llama_index.core.instrumentation.dispatcher import instrument_tags

    with attribute(feature="search", user="ann"), instrument_tags({"user": "bob"}):
        llm.chat(user(LONG))
    (saving,) = shortening.ledger.savings()
    assert (saving.attribution.feature, saving.attribution.user) == ("search", "bob")


async def test_each_call_is_counted_once(llm, inner, provider):
    counter = TokenCountingHandler(tokenizer=str.split)
    llm.callback_manager = CallbackManager([counter])
    assert inner.callback_manager is llm.callback_manager
    with track_costs() as costs:
        llm.chat(user("a"))
        list(llm.stream_chat(user("b")))
        llm.complete("c")
        await llm.achat(user("d"))
        [chunk async for chunk in await llm.astream_chat(user("e"))]
        llm.predict(PromptTemplate("{x}"), x="f")
        assert llm.structured_predict(Verdict, PromptTemplate("kind? {x}"), x="g").is_kind
    assert provider.bill.calls == costs.ledger.total().calls == 7
    assert costs.ledger.total().cost_usd == provider.bill.cost_usd
    # Callback events once each, too: structured prediction with a schema is a chat of the client's own.
    assert len(counter.llm_token_counts) == 7


def test_a_hard_budget_stops_a_call_before_it_goes_out(llm, inner, provider):
    with track_costs(budgets=Budgets(Budget(limit_calls=1))):
        llm.chat(user("a"))
        with pytest.raises(BudgetExceeded):
            llm.chat(user("b"))
        with pytest.raises(BudgetExceeded):
            llm.stream_chat(user("c"))
    assert provider.bill.calls == 1
    assert (llm.rate_limiter, inner.rate_limiter) == (None, None)


def test_a_rate_limiter_set_on_the_wrapper_is_asked_once_per_call(llm):
    class Limiter:
        asked = 0

        def acquire(self):
            self.asked += 1

    llm.rate_limiter = Limiter()
    llm.chat(user("a"))
    assert llm.rate_limiter.asked == 1


def test_structured_output_is_the_clients_own_and_sees_what_the_levers_made(llm, provider):
    prompt = PromptTemplate("Is this kind? {x}")
    assert llm.structured_predict(Verdict, prompt, x=LONG) == Verdict(is_kind=True)
    assert sent(provider) == ["short"]
    assert provider.requests[-1].response_format
    assert llm.structured_predict(Verdict, prompt, x="a {brace}") == Verdict(is_kind=True)
    assert sent(provider) == ["Is this kind? a {brace}"]
    assert llm.as_structured_llm(Verdict).chat(user(LONG)).raw == Verdict(is_kind=True)
    assert [*llm.stream_structured_predict(Verdict, prompt, x="b")][-1].is_kind


async def test_structured_output_async(llm, provider):
    prompt = PromptTemplate("Is this kind? {x}")
    assert await llm.astructured_predict(Verdict, prompt, x=LONG) == Verdict(is_kind=True)
    assert [item async for item in await llm.astream_structured_predict(Verdict, prompt, x="b")][-1].is_kind
    assert (await llm.as_structured_llm(Verdict).achat(user("c"))).raw == Verdict(is_kind=True)


def test_structured_output_by_function_calling(provider, openai_at, shortening):
    llm = ThriftLLM(openai_at(provider, model="gpt-4-turbo"), shortening)
    assert llm.structured_predict(Verdict, PromptTemplate("kind? {x}"), x="c") == Verdict(is_kind=True)
    from llama_index.core.program import FunctionCallingProgram

    program = FunctionCallingProgram.from_defaults(Verdict, llm=llm, prompt_template_str="kind? {x}")
    assert program(x=LONG) == Verdict(is_kind=True)
    assert sent(provider) == ["short"]


def test_the_responses_api_is_wrapped_too(provider, openai_at, shortening):
    llm = ThriftLLM(openai_at(provider, OpenAIResponses, additional_kwargs={}), shortening)
    assert llm.chat(user(LONG)).message.content == "user said: short"
    assert [*llm.stream_chat(user(LONG))][-1].message.content == "user said: short"


def test_a_conversation_that_the_provider_keeps_is_left_alone(provider, openai_at, shortening):
    inner = openai_at(provider, OpenAIResponses, additional_kwargs={}, track_previous_responses=True)
    ThriftLLM(inner, shortening).chat(user(LONG))
    assert sent(provider) == [LONG]


def stock(product: str) -> str:
    """Say how many of a product are in stock."""
    return json.dumps({"product": product, "pieces": 3})


def price(product: str) -> str:
    """Say what a product costs."""
    return json.dumps({"product": product, "price": "12.50"})


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
async def test_an_agent_with_parallel_calls_gives_the_same_answer(inner, provider, streaming, mode):
    async def run(llm):
        return str(await FunctionAgent(tools=[stock, price], llm=llm, streaming=streaming).run("lamp?"))

    assert await run(inner) == await run(ThriftLLM(inner, levers(mode)))
    first, *_, last = provider.requests
    assert last.messages == first.messages[:1] + last.messages[1:]
    assert [call.name for call in last.messages[-3].tool_calls] == ["stock", "price"]


@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
async def test_agents_hand_over_to_each_other(inner, provider, mode):
    llm = ThriftLLM(inner, levers(mode))
    front = FunctionAgent(name="front", description="asks", tools=[], llm=llm, can_handoff_to=["stockist"])
    stockist = FunctionAgent(name="stockist", description="knows", tools=[stock], llm=llm, can_handoff_to=[])
    answer = await AgentWorkflow(agents=[front, stockist], root_agent="front").run("lamp?")
    assert "said" in str(answer)
    assert any("stock" in request.tool_names for request in provider.requests)


@pytest.mark.filterwarnings("ignore:is_running called from within a step")
async def test_a_react_agent_needs_no_function_calling(inner):
    agent = ReActAgent(tools=[stock], llm=ThriftLLM(inner, levers("rewrite")))
    assert "it is a lamp" in str(await agent.run("lamp?"))


def test_engines_work(llm):
    index = SummaryIndex.from_documents([Document(text="Lamps are in stock.")])
    assert "said" in str(index.as_query_engine(llm=llm).query("lamps?"))
    assert "said" in "".join(index.as_query_engine(llm=llm, streaming=True).query("lamps?").response_gen)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=5000))
    assert "said" in str(engine.chat("hello"))
    assert "".join(engine.stream_chat("hello").response_gen)
    memory = ChatMemoryBuffer.from_defaults(token_limit=5000)
    assert "said" in str(index.as_chat_engine(llm=llm, chat_mode="context", memory=memory).chat("lamps?"))


def test_pictures_and_thoughts_go_out_as_they_came():
    seen = []

    def answer(messages, **kwargs):
        seen.extend(messages)
        return ChatMessage(role="assistant", content="ok")

    picture, thought = ImageBlock(image=PIXEL), ThinkingBlock(content="hm", additional_information={"signature": "s"})
    llm = ThriftLLM(MockFunctionCallingLLM(response_generator=answer), Thrift(compressor=Shorten()))
    llm.chat(
        [
            ChatMessage(role="user", blocks=[picture, TextBlock(text=LONG)]),
            ChatMessage(role="assistant", blocks=[thought]),
        ]
    )
    assert seen[0].blocks == [picture, TextBlock(text="short")]
    assert seen[1].blocks[0] is thought


async def test_an_llm_that_calls_no_functions_is_wrapped_as_one():
    llm = ThriftLLM(MockLLM(max_tokens=3), levers("rewrite"))
    assert llm.complete("one two three four").text == MockLLM(max_tokens=3).complete("one two three four").text
    assert [*llm.stream_chat(user("x"))][-1].message.content == [*MockLLM(max_tokens=3).stream_chat(user("x"))][
        -1
    ].message.content
    assert not llm.metadata.is_function_calling_model
    with pytest.raises(ValueError, match="FunctionCallingLLM"):
        await FunctionAgent(tools=[stock], llm=llm).run("lamp?")
    with pytest.raises(TypeError, match="MockLLM does not call functions"):
        llm.chat_with_tools([])


def test_it_stands_in_for_the_llm_it_wraps(llm, inner):
    assert isinstance(llm, FunctionCallingLLM)
    assert (llm.metadata, llm.to_payload()) == (inner.metadata, inner.to_payload())
    assert (llm.model, llm.max_retries, llm.class_name()) == (MODEL, 0, "ThriftLLM")
    llm.temperature = 0.7
    llm.system_prompt = "Be brief."
    assert (inner.temperature, inner.system_prompt) == (0.7, "Be brief.")
    with pytest.raises(AttributeError):
        llm.no_such_thing  # noqa: B018


def test_no_key_leaves_it(llm):
    shown = f"{llm!r} {llm.to_dict()} {llm.to_payload()} {llm.to_json()}"
    assert "sk-secret" not in shown


def test_copies_share_the_levers_and_pickles_start_with_safe_ones():
    llm = ThriftLLM(MockLLM(), levers())
    assert copy.deepcopy(llm).thrift is llm.thrift
    again = pickle.loads(pickle.dumps(llm))
    assert again.complete("a").text == "a"
    assert again.thrift.modes == Thrift.safe().modes


@pytest.mark.parametrize("wrong", [None, "gpt-5", object()])
def test_what_is_no_llm_is_refused_at_once(wrong):
    with pytest.raises(ConfigurationError, match="give a LlamaIndex LLM"):
        ThriftLLM(wrong)


def test_what_is_no_thrift_is_refused_at_once():
    with pytest.raises(ConfigurationError, match="give a Thrift"):
        ThriftLLM(MockLLM(), "frugal")


def test_without_levers_nothing_is_touched(inner, provider):
    tools = inner._prepare_chat_with_tools([])
    assert ThriftLLM(inner)._prepare_chat_with_tools([]) == tools
    messages = user("hello")
    assert ThriftLLM(inner).chat(messages).message.content == "user said: hello"
    assert messages == user("hello")


class Broken:
    def decide(self, request, pricing):
        raise RuntimeError("no idea")


def test_a_lever_that_fails_changes_nothing_and_warns_once(inner, provider, caplog):
    thrift = Thrift(summarizer=Broken(), ledger=Ledger())
    llm = ThriftLLM(inner, thrift)
    for _ in range(3):
        llm.chat(user(LONG))
    assert sent(provider) == [LONG]
    assert thrift.ledger.faults() == {("summarizer", "RuntimeError"): 3}
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 1


def test_what_fails_around_the_levers_changes_nothing_either(inner, provider, shortening, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("no idea")

    for name in ("request_view", "edited", "read_usage"):
        with monkeypatch.context() as patch:
            patch.setattr(f"llamaindex_thrift.turn.{name}", fail)
            assert ThriftLLM(inner, shortening).chat(user(LONG)).message.content
            assert sent(provider) == ["short" if name == "read_usage" else LONG]
    assert shortening.ledger.faults() == {("llamaindex", "RuntimeError"): 3}


def test_an_error_of_the_provider_reaches_the_app_as_it_is(llm, provider):
    from openai import RateLimitError

    provider.inject(Fault.error(429), Fault.error(429))
    with pytest.raises(RateLimitError):
        llm.chat(user("a"))
    with pytest.raises(RateLimitError):
        list(llm.stream_chat(user("a")))


async def test_closing_a_stream_closes_the_wrapped_one(shortening):
    closed = []

    class Streaming(MockFunctionCallingLLM):
        def stream_chat(self, messages, **kwargs):
            def generate():
                try:
                    for number in range(100):
                        yield ChatResponse(message=ChatMessage(content=str(number)), delta=str(number))
                finally:
                    closed.append("sync")

            return generate()

        async def astream_chat(self, messages, **kwargs):
            async def generate():
                try:
                    for number in range(100):
                        yield ChatResponse(message=ChatMessage(content=str(number)), delta=str(number))
                finally:
                    closed.append("async")

            return generate()

    llm = ThriftLLM(Streaming(), shortening)
    stream = llm.stream_chat(user("a"))
    next(stream)
    stream.close()
    unsync = await llm.astream_chat(user("a"))
    await anext(unsync)
    await unsync.aclose()
    assert closed == ["sync", "async"]


async def test_many_at_once_do_not_mix(llm):
    answers = await asyncio.gather(*(llm.achat(user(f"number {number}")) for number in range(30)))
    assert [answer.message.content for answer in answers] == [f"user said: number {number}" for number in range(30)]


async def test_tools_go_out_in_one_order_whatever_order_they_come_in(inner, provider):
    llm = ThriftLLM(inner, Thrift(planner=PromptCachePlanner(), ledger=Ledger()))
    for tools in ([stock, price], [price, stock]):
        await FunctionAgent(tools=tools, llm=llm).run("lamp?")
    assert {request.tool_names for request in provider.requests} == {("price", "stock")}
    assert len({json.dumps(request.tools) for request in provider.requests}) == 1


def test_a_structured_answer_at_the_end_of_a_run_is_shortened_too(inner, provider):
    from llama_index.core.base.llms.types import ToolCallBlock

    llm = ThriftLLM(inner, levers(minimum_cached=0))
    history = [
        ChatMessage(role="user", content="Is it kind?"),
        ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="1", tool_name="get_order", tool_kwargs={})]),
        ChatMessage(role="tool", content=json.dumps(order(1)), additional_kwargs={"tool_call_id": "1"}),
    ]
    assert llm.as_structured_llm(Verdict).chat(history).raw == Verdict(is_kind=True)
    assert len(sent(provider)[-1]) < len(json.dumps(order(1)))
