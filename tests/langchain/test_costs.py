"""Every call of a LangChain app is in the ledger once, at the price the provider billed."""

import asyncio
import logging
from decimal import Decimal

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableParallel
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_thrift import CostCallbackHandler, track_costs
from pydantic import BaseModel
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import BudgetExceeded
from thrift_core.messages import ToolCall
from thrift_core.testing import Fault, LocalProvider, RateCard, Reply

MODEL = "gpt-4.1-mini"
RATES = RateCard(Decimal("0.4"), Decimal("0.1"), Decimal("1.6"))
LONG = "The shop's policy is long and always the same. " * 200


def brain(request):
    last = request.messages[-1]
    if request.tools and last.role == "user" and request.tool_names[0] == "stock":
        return Reply(tool_calls=(ToolCall("stock", '{"product": "lamp"}'), ToolCall("stock", '{"product": "desk"}')))
    if request.tools and request.tool_names[0] == "Verdict":
        return Reply(tool_calls=(ToolCall("Verdict", '{"is_kind": true}'),))
    return Reply(text=f"You said: {last.text[:40]}", reasoning_tokens=7)


@pytest.fixture
def provider():
    with LocalProvider(brain, RATES) as running:
        yield running


@pytest.fixture
def model(provider):
    return ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test", max_retries=0, stream_usage=True)


def assert_totals_match(ledger, provider, calls):
    total = ledger.total()
    assert (total.calls, total.unpriced_calls, total.estimated_calls) == (calls, 0, 0)
    assert provider.bill.calls == calls
    assert total.cost_usd == provider.bill.cost_usd


def test_a_call_costs_what_the_provider_billed(model, provider):
    handler = CostCallbackHandler()
    model.invoke("hello", config={"callbacks": [handler]})
    assert_totals_match(handler.ledger, provider, calls=1)
    (call,) = handler.ledger.calls()
    assert (call.model, call.provider, call.outcome) == (MODEL, "openai", "ok")
    assert call.usage.reasoning_tokens == 7
    assert call.latency_seconds > 0


def test_cached_input_is_priced_as_cached(model, provider):
    with track_costs() as costs:
        for question in ("one", "two", "three"):
            model.invoke([("system", LONG), ("user", question)])
    assert_totals_match(costs.ledger, provider, calls=3)
    assert costs.ledger.total().usage.cache_read_tokens > 2 * 1024


@pytest.mark.filterwarnings("ignore:Unexpected type for token usage")  # langchain-openai's, summing up a batch
def test_sync_streaming_and_batch_are_counted_once_each(model, provider):
    with track_costs() as costs:
        list(model.stream("stream"))
        model.batch(["a", "b", "c"])
        model.generate([[HumanMessage("d")], [HumanMessage("e")]])
    assert_totals_match(costs.ledger, provider, calls=6)


async def test_async_streaming_batch_and_events_are_counted_once_each(model, provider):
    with track_costs() as costs:
        await model.ainvoke("a")
        async for _ in model.astream("b"):
            pass
        await model.abatch(["c", "d"])
        await asyncio.gather(*(model.ainvoke(str(i)) for i in range(10)))
        async for _ in model.astream_events("e", version="v2"):
            pass
    assert_totals_match(costs.ledger, provider, calls=15)


def test_calls_deep_inside_chains_are_counted_once(model, provider):
    step = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
    chain = RunnableParallel(left=step, right=step) | (lambda both: both["left"] + both["right"]) | model
    handler = CostCallbackHandler()
    chain.invoke({"x": "deep"}, config={"callbacks": [handler]})
    assert_totals_match(handler.ledger, provider, calls=3)


def test_a_handler_given_twice_counts_once(provider):
    handler = CostCallbackHandler()
    model = ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test", callbacks=[handler])
    model.invoke("hello", config={"callbacks": [handler]})
    assert handler.ledger.total().calls == 1


def test_two_handlers_over_one_ledger_count_a_call_once(model):
    ledger = Ledger()
    with track_costs(ledger):
        model.invoke("hello", config={"callbacks": [CostCallbackHandler(ledger)]})
    assert ledger.total().calls == 1


def test_the_innermost_block_gets_the_calls(model):
    with track_costs() as outer:
        model.invoke("a")
        with track_costs() as inner:
            model.invoke("b")
    model.invoke("outside")
    assert (outer.ledger.total().calls, inner.ledger.total().calls) == (1, 1)


def test_with_several_answers_to_one_prompt_the_usage_counts_once(provider):
    model = ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test", n=3)
    with track_costs() as costs:
        model.generate([[HumanMessage("hello")]])
    assert_totals_match(costs.ledger, provider, calls=1)


def test_structured_output_passes_through_and_is_counted(model, provider):
    class Verdict(BaseModel):
        is_kind: bool

    with track_costs() as costs:
        verdict = model.with_structured_output(Verdict, method="function_calling").invoke("kind?")
    assert verdict == Verdict(is_kind=True)
    assert_totals_match(costs.ledger, provider, calls=1)


@tool
def stock(product: str) -> str:
    """Say how many of a product are in stock."""
    return f"3 of {product}"


def test_an_agents_calls_and_tool_calls_are_recorded(model, provider):
    agent = create_agent(model, [stock], system_prompt=LONG)
    with track_costs() as costs:
        agent.invoke({"messages": [("user", "lamp or desk?")]}, config={"metadata": {"task": "t1", "user_id": 7}})
    assert_totals_match(costs.ledger, provider, calls=2)
    first, second = costs.ledger.calls(task="t1")
    assert first.tool_calls == ('stock({"product": "lamp"})', 'stock({"product": "desk"})')
    assert second.attribution.user == "7"


async def test_a_streaming_agent_is_counted_once(model, provider):
    agent = create_agent(model, [stock], system_prompt=LONG)
    with track_costs() as costs:
        for mode in ("messages", "updates", "values"):
            async for _ in agent.astream({"messages": [("user", "lamp?")]}, stream_mode=mode):
                pass
    assert_totals_match(costs.ledger, provider, calls=6)


def test_attribution_comes_from_metadata_then_tags_then_blocks_then_the_handler(model):
    handler = CostCallbackHandler(feature="handler", user="handler", tenant="handler")
    config = {"callbacks": [handler], "metadata": {"feature": "metadata"}, "tags": ["feature:tag", "task:tag"]}
    with attribute(feature="block", user="block", task="block"):
        model.invoke("hello", config=config)
    (call,) = handler.ledger.calls()
    found = call.attribution
    assert (found.feature, found.task, found.user, found.tenant) == ("metadata", "tag", "block", "handler")


def test_a_hit_of_langchains_own_cache_costs_nothing(provider):
    model = ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test", cache=InMemoryCache())
    with track_costs() as costs:
        for _ in range(3):
            model.invoke("the same")
    assert [call.outcome for call in costs.ledger.calls()] == ["ok", "cache_hit", "cache_hit"]
    assert costs.ledger.total().cost_usd == provider.bill.cost_usd


class Wrapper(BaseChatModel):
    """Calls another model, as thousands of apps do; `tells` is whether it passes the usage on."""

    inner: BaseChatModel
    tells: bool = True

    @property
    def _llm_type(self):
        return "wrapper"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        answer = self.inner.invoke(messages)
        if not self.tells:
            answer = AIMessage(answer.content)
        return ChatResult(generations=[ChatGeneration(message=answer)])


@pytest.mark.parametrize("tells", [True, False])
def test_a_model_that_wraps_another_is_not_counted_twice(model, provider, tells):
    chain = ChatPromptTemplate.from_template("{x}") | Wrapper(inner=model, tells=tells)
    with track_costs() as costs:
        chain.invoke({"x": "hello"})
        chain.batch([{"x": "a"}, {"x": "b"}])
    assert_totals_match(costs.ledger, provider, calls=3)


async def test_a_wrapper_is_not_counted_twice_in_async_code(model, provider):
    with track_costs() as costs:
        await Wrapper(inner=model).ainvoke("hello")
    assert_totals_match(costs.ledger, provider, calls=1)


def test_a_call_made_while_another_streams_is_counted_beside_it(model, provider):
    with track_costs() as costs:
        for index, _ in enumerate(model.stream("a long enough question to get several chunks")):
            if index == 1:
                model.invoke("in between")
    assert_totals_match(costs.ledger, provider, calls=2)


def test_without_reported_usage_the_tokens_are_estimated_and_marked(provider):
    model = ChatOpenAI(model=MODEL, base_url=provider.base_url, api_key="test", stream_usage=False)
    with track_costs() as costs:
        list(model.stream([("system", LONG), ("user", "hello")]))
    (call,) = costs.ledger.calls()
    assert call.is_estimated
    (billed,) = provider.bill.lines
    assert call.usage.input_tokens == pytest.approx(billed.use.input_tokens, rel=0.1)
    assert call.cost_usd > 0


def test_an_unknown_model_is_unpriced_not_free():
    model = GenericFakeChatModel(messages=iter([AIMessage("hi", usage_metadata=usage(5, 2))]))
    with track_costs() as costs:
        model.invoke("hello")
    total = costs.ledger.total()
    assert (total.calls, total.unpriced_calls, total.cost_usd) == (1, 1, 0)
    (call,) = costs.ledger.calls()
    assert call.cost_usd is None
    assert call.unpriced


def usage(sent, received, **details):
    return {"input_tokens": sent, "output_tokens": received, "total_tokens": sent + received, **details}


@pytest.mark.parametrize(
    "broken",
    [
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": "many", "completion_tokens": 1},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": float("nan"), "completion_tokens": 1},
        {"nothing": "known"},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}},
    ],
)
def test_malformed_usage_never_breaks_the_call(broken, caplog):
    message = AIMessage("hi", response_metadata={"model_name": MODEL, "token_usage": broken})
    model = GenericFakeChatModel(messages=iter([message, message]))
    handler = CostCallbackHandler()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert model.invoke("hello", config={"callbacks": [handler]}).content == "hi"
    assert handler.ledger.total().calls == 2
    assert len(caplog.records) <= 1


def test_a_failed_call_costs_nothing_and_is_recorded_as_error(model, provider):
    provider.inject(Fault.error(500))
    with track_costs() as costs, pytest.raises(Exception, match=r"500|error"):
        model.invoke("hello")
    (call,) = costs.ledger.calls()
    assert (call.outcome, call.cost_usd) == ("error", 0)


def test_a_call_that_is_tried_again_was_retried(model, provider):
    provider.inject(Fault.error(500), Fault.error(503))
    chain = ChatPromptTemplate.from_template("{x}") | model.with_retry(wait_exponential_jitter=False)
    with track_costs() as costs:
        chain.invoke({"x": "hello"})
    assert [call.outcome for call in costs.ledger.calls()] == ["retried", "retried", "ok"]


def test_an_abandoned_stream_is_charged_for_what_had_come(model):
    with track_costs() as costs:
        stream = model.stream("tell me a story of some length, please")
        next(stream), next(stream), next(stream)
        stream.close()
    (call,) = costs.ledger.calls()
    assert call.outcome == "error"
    assert call.is_estimated
    assert call.usage.input_tokens > 0


def test_a_hard_budget_stops_the_call_before_it_goes_out(model, provider):
    budgets = Budgets(Budget(limit_calls=2))
    with track_costs(budgets=budgets):
        model.invoke("a")
        list(model.stream("b"))
        with pytest.raises(BudgetExceeded, match="2 calls"):
            model.invoke("c")
        with pytest.raises(BudgetExceeded):
            list(model.stream("d"))
    assert len(provider.requests) == 2


async def test_a_hard_budget_stops_async_calls_and_agents(model, provider):
    agent = create_agent(model, [stock])
    with track_costs(budgets=Budgets(Budget(limit_calls=3))):
        await agent.ainvoke({"messages": [("user", "lamp?")]})
        with pytest.raises(BudgetExceeded):
            await agent.ainvoke({"messages": [("user", "lamp?")]})
    assert len(provider.requests) == 3


def test_a_dollar_budget_is_settled_at_the_real_price(model, provider):
    budgets = Budgets(Budget(limit_usd=Decimal("0.05")))
    with track_costs(budgets=budgets) as costs:
        for _ in range(5):
            model.invoke("hello")
    (state,) = budgets.state()
    assert state.used == costs.total_usd == provider.bill.cost_usd
    assert state.reserved == 0


def test_a_ledger_that_breaks_never_breaks_the_call(model, tmp_path, caplog):
    ledger = Ledger(tmp_path / "costs.sqlite")
    with track_costs(ledger) as costs, caplog.at_level(logging.WARNING, logger="thrift"):
        model.invoke("a")
        ledger.close()
        assert model.invoke("b").content
        assert model.invoke("c").content
    assert costs.ledger.faults()
    assert len([r for r in caplog.records if r.name == "thrift"]) == 1


def test_an_answer_without_content_is_a_call():
    class Silent(BaseChatModel):
        @property
        def _llm_type(self):
            return "silent"

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            return ChatResult(generations=[ChatGeneration(message=AIMessageChunk(""))])

    with track_costs() as costs:
        Silent().invoke("hello")
    assert costs.ledger.total().calls == 1
