"""Every LLM call of a LlamaIndex app is in the ledger once, at the price the provider billed."""

import asyncio
import gc
import logging
import threading
from decimal import Decimal

import httpx
import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.llms import CustomLLM, MockLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index_instrumentation import get_dispatcher
from llamaindex_thrift import CostEventHandler, track_costs
from pydantic import BaseModel, Field
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import BudgetExceeded
from thrift_core.messages import ToolCall
from thrift_core.testing import Fault, LocalProvider, RateCard, Reply

# Workflows read deprecated pydantic fields.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

MODEL = "gpt-4.1-mini"
RATES = RateCard(Decimal("0.4"), Decimal("0.1"), Decimal("1.6"))
LONG = "The shop's policy is long and always the same. " * 200
WITH_USAGE = {"stream_options": {"include_usage": True}}


def brain(request):
    last = request.messages[-1]
    if request.tools and last.role == "user" and request.tool_names[0] == "stock":
        return Reply(tool_calls=(ToolCall("stock", '{"product": "lamp"}'),))
    if request.tools and request.tool_names[0] == "Verdict":
        return Reply(tool_calls=(ToolCall("Verdict", '{"is_kind": true}'),))
    if request.response_format:
        return Reply(text='{"is_kind": true}')
    return Reply(text=f"You said: {last.text[:40]}", reasoning_tokens=7)


@pytest.fixture
def provider():
    with LocalProvider(brain, RATES) as running:
        yield running


@pytest.fixture
async def clients():
    with httpx.Client() as sync:
        async with httpx.AsyncClient() as unsync:
            yield {"http_client": sync, "async_http_client": unsync}


@pytest.fixture
def make_llm(provider, clients):
    def make(kind=OpenAI, **settings):
        return kind(
            **{
                "model": MODEL,
                "api_base": provider.base_url,
                "api_key": "sk-secret",
                "max_retries": 0,
                "additional_kwargs": WITH_USAGE,
                **clients,
                **settings,
            }
        )

    return make


@pytest.fixture
def llm(make_llm):
    return make_llm()


@pytest.fixture
def on_dispatcher():
    root = get_dispatcher()
    before = [*root.event_handlers]
    yield root.add_event_handler
    root.event_handlers = before


def user(text):
    return [ChatMessage(role="user", content=text)]


def assert_totals_match(ledger, provider, calls):
    total = ledger.total()
    assert (total.calls, total.unpriced_calls, total.estimated_calls) == (calls, 0, 0)
    assert provider.bill.calls == calls
    assert total.cost_usd == provider.bill.cost_usd
    assert total.usage.input_tokens == provider.bill.use.input_tokens
    assert total.usage.cache_read_tokens == provider.bill.use.cached_tokens
    assert total.usage.reasoning_tokens == provider.bill.use.reasoning_tokens


def test_a_call_costs_what_the_provider_billed(llm, provider):
    with track_costs() as costs:
        llm.chat(user("hello"))
    assert_totals_match(costs.ledger, provider, calls=1)
    (call,) = costs.ledger.calls()
    assert (call.model, call.provider, call.outcome) == (MODEL, "openai", "ok")
    assert call.usage.reasoning_tokens == 7
    assert call.latency_seconds > 0


def test_cached_input_is_priced_as_cached(llm, provider):
    with track_costs() as costs:
        for question in ("one", "two", "three"):
            llm.chat([ChatMessage(role="system", content=LONG), *user(question)])
    assert_totals_match(costs.ledger, provider, calls=3)
    assert costs.ledger.total().usage.cache_read_tokens > 2 * 1024


def test_chat_completion_and_their_streams_are_counted_once_each(llm, provider):
    with track_costs() as costs:
        llm.chat(user("a"))
        llm.complete("b")
        list(llm.stream_chat(user("c")))
        list(llm.stream_complete("d"))
        llm.predict(PromptTemplate("{x}"), x="e")
        list(llm.stream(PromptTemplate("{x}"), x="f"))
    assert_totals_match(costs.ledger, provider, calls=6)


async def test_async_calls_and_streams_are_counted_once_each(llm, provider):
    with track_costs() as costs:
        await llm.achat(user("a"))
        await llm.acomplete("b")
        async for _ in await llm.astream_chat(user("c")):
            pass
        async for _ in await llm.astream_complete("d"):
            pass
        await asyncio.gather(*(llm.achat(user("the same")) for _ in range(20)))
    assert_totals_match(costs.ledger, provider, calls=24)


def test_the_responses_api_is_counted_streaming_or_not(make_llm, provider):
    llm = make_llm(OpenAIResponses, additional_kwargs={})
    with track_costs() as costs:
        llm.chat(user("a"))
        list(llm.stream_chat(user("b")))
    assert_totals_match(costs.ledger, provider, calls=2)


class Verdict(BaseModel):
    is_kind: bool


def test_structured_output_is_counted_once(llm, make_llm, provider):
    prompt = PromptTemplate("kind? {x}")
    with track_costs() as costs:
        assert llm.structured_predict(Verdict, prompt, x="a") == Verdict(is_kind=True)
        assert llm.as_structured_llm(Verdict).chat(user("b")).raw == Verdict(is_kind=True)
        assert make_llm(model="gpt-4-turbo").structured_predict(Verdict, prompt, x="c") == Verdict(is_kind=True)
    total = costs.ledger.total()
    assert (total.calls, provider.bill.calls) == (3, 3)


def test_a_query_engine_is_counted(llm, provider):
    index = SummaryIndex.from_documents([Document(text="Lamps are in stock.")])
    with track_costs() as costs:
        index.as_query_engine(llm=llm).query("lamps?")
        # The engine asks its LLM only when its answer is read.
        assert "".join(index.as_query_engine(llm=llm, streaming=True).query("lamps?").response_gen)
    assert_totals_match(costs.ledger, provider, calls=2)


def stock(product: str) -> str:
    """Say how many of a product are in stock."""
    return f"3 of {product}"


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agents_calls_and_tool_calls_are_recorded(llm, provider, streaming):
    agent = FunctionAgent(tools=[stock], llm=llm, system_prompt=LONG, streaming=streaming)
    with track_costs() as costs, attribute(task="t1"):
        running = agent.run("lamp?")
        deltas = [event.delta async for event in running.stream_events() if isinstance(event, AgentStream)]
        await running
    assert_totals_match(costs.ledger, provider, calls=2)
    first, second = costs.ledger.calls(task="t1")
    assert first.tool_calls == ('stock({"product": "lamp"})',)
    assert second.usage.cache_read_tokens > 1024
    assert bool(deltas) is streaming


async def test_agents_side_by_side_are_each_attributed(llm, provider):
    async def run(name):
        with attribute(user=name):
            await FunctionAgent(tools=[stock], llm=llm).run("lamp?")

    with track_costs() as costs:
        await asyncio.gather(*(run(f"user{i}") for i in range(5)))
    assert_totals_match(costs.ledger, provider, calls=10)
    assert {(row.key, row.calls) for row in costs.ledger.spend(by="user")} == {(f"user{i}", 2) for i in range(5)}


def test_attribution_comes_from_tags_then_blocks_then_the_handler(llm):
    with (
        track_costs(feature="handler", user="handler", tenant="handler") as costs,
        attribute(feature="block", user="block", task="block"),
        instrument_tags({"feature": "tag", "user_id": 7}),
    ):
        llm.chat(user("hello"))
    (call,) = costs.ledger.calls()
    found = call.attribution
    assert (found.feature, found.user, found.task, found.tenant) == ("tag", "7", "block", "handler")


def test_the_innermost_block_gets_the_calls_and_outside_nothing_is_recorded(llm):
    with track_costs() as outer:
        llm.chat(user("a"))
        with track_costs() as inner:
            llm.chat(user("b"))
    llm.chat(user("outside"))
    assert (outer.ledger.total().calls, inner.ledger.total().calls) == (1, 1)


async def test_tasks_outside_the_block_are_not_recorded_in_it(llm):
    begun, done = asyncio.Event(), asyncio.Event()

    async def elsewhere():
        await begun.wait()
        await llm.achat(user("elsewhere"))
        done.set()

    task = asyncio.create_task(elsewhere())
    with track_costs() as costs:
        begun.set()
        await llm.achat(user("here"))
        await done.wait()
    await task
    assert costs.ledger.total().calls == 1


def test_other_threads_are_recorded_by_a_handler_added_by_hand_only(llm, on_dispatcher):
    handler = CostEventHandler()
    on_dispatcher(handler)
    with track_costs() as costs:
        thread = threading.Thread(target=lambda: llm.chat(user("elsewhere")))
        thread.start()
        thread.join()
    assert (handler.ledger.total().calls, costs.ledger.total().calls) == (1, 0)


def test_two_handlers_over_one_ledger_count_a_call_once(llm, on_dispatcher):
    ledger = Ledger()
    on_dispatcher(CostEventHandler(ledger))
    with track_costs(ledger):
        llm.chat(user("hello"))
        list(llm.stream_chat(user("hello")))
    assert ledger.total().calls == 2


def test_a_handler_added_twice_counts_once(llm, on_dispatcher):
    handler = CostEventHandler()
    on_dispatcher(handler)
    on_dispatcher(handler)
    llm.chat(user("hello"))
    assert handler.ledger.total().calls == 1


def test_a_block_leaves_the_dispatcher_as_it_was(llm):
    root = get_dispatcher()
    before = [*root.event_handlers], [*root.span_handlers]
    with pytest.raises(ZeroDivisionError), track_costs(budgets=Budgets(Budget(limit_calls=5))):
        1 / len(llm.chat(user("a")).additional_kwargs.get("nothing", ""))
    assert (root.event_handlers, root.span_handlers) == before
    assert llm.rate_limiter is None


def test_a_stream_read_after_its_block_is_recorded(llm, provider):
    root = get_dispatcher()
    before = [*root.event_handlers]
    with track_costs() as costs:
        stream = llm.stream_chat(user("hello"))
    list(stream)
    assert_totals_match(costs.ledger, provider, calls=1)
    assert root.event_handlers == before


def test_streams_read_side_by_side_are_both_counted(llm, provider):
    with track_costs() as costs:
        for _ in zip(llm.stream_chat(user("the same")), llm.stream_chat(user("the same")), strict=True):
            pass
    assert_totals_match(costs.ledger, provider, calls=2)


@pytest.mark.parametrize("told", [WITH_USAGE, {}])
def test_a_call_made_while_another_streams_is_counted_beside_it(make_llm, told):
    llm = make_llm(additional_kwargs=told)
    with track_costs() as costs:
        for index, _ in enumerate(llm.stream_chat(user("a long enough question to get several chunks"))):
            if index == 1:
                llm.chat(user("in between"))
    assert costs.ledger.total().calls == 2


class Wrapper(CustomLLM):
    """Calls another LLM, as many apps do; `tells` is whether it passes the provider's payload on."""

    inner: OpenAI
    tells: bool = True

    @property
    def metadata(self):
        return LLMMetadata(model_name="wrapper")

    @llm_completion_callback()
    def complete(self, prompt, formatted=False, **kwargs):
        answer = self.inner.complete(prompt)
        return CompletionResponse(text=answer.text, raw=answer.raw if self.tells else None)

    @llm_completion_callback()
    def stream_complete(self, prompt, formatted=False, **kwargs):
        return self._pass_on(self.inner.stream_complete(prompt))

    @llm_chat_callback()
    def stream_chat(self, messages, **kwargs):
        # A generator function: the call inside is made when the first piece is asked for.
        for piece in self.inner.stream_chat(messages):
            yield piece if self.tells else ChatResponse(message=piece.message, delta=piece.delta)

    def _pass_on(self, stream):
        for piece in stream:
            yield piece if self.tells else CompletionResponse(text=piece.text, delta=piece.delta)


@pytest.mark.parametrize("tells", [True, False])
async def test_an_llm_that_wraps_another_is_not_counted_twice(llm, provider, tells):
    wrapper = Wrapper(inner=llm, tells=tells)
    with track_costs() as costs:
        wrapper.complete("a")
        wrapper.chat(user("b"))
        list(wrapper.stream_complete("c"))
        list(wrapper.stream_chat(user("d")))
        await wrapper.achat(user("e"))
        await wrapper.acomplete("f")
        async for _ in await wrapper.astream_chat(user("g")):
            pass
    assert_totals_match(costs.ledger, provider, calls=7)


class Twice(Wrapper):
    """Asks twice and passes the second answer on."""

    @llm_completion_callback()
    def complete(self, prompt, formatted=False, **kwargs):
        self.inner.complete(f"first draft: {prompt}")
        return self.inner.complete(prompt)


def test_a_wrapper_that_asks_twice_and_passes_on_one_answer_counts_twice(llm, provider):
    with track_costs() as costs:
        Twice(inner=llm).complete("hello")
    assert_totals_match(costs.ledger, provider, calls=2)


def test_the_garbage_collector_may_close_streams_at_any_time(llm, provider):
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with track_costs(budgets=Budgets(Budget(limit_calls=1000))) as costs:
            for _ in range(10):
                stream = llm.stream_chat(user("tell me a story"))
                next(stream)
                cycle = [stream]
                cycle.append(cycle)
                del stream, cycle
            gc.collect()
    finally:
        gc.set_threshold(*before)
    assert [call.outcome for call in costs.ledger.calls()] == ["error"] * 10
    assert provider.bill.calls == 10


def test_an_abandoned_stream_of_a_wrapper_is_counted_once(llm):
    with track_costs() as costs:
        stream = Wrapper(inner=llm).stream_complete("tell me a story of some length, please")
        next(stream), next(stream)
        stream.close()
    del stream
    gc.collect()
    assert [call.outcome for call in costs.ledger.calls()] == ["error"]


def test_a_local_llm_without_usage_is_estimated_once_and_unpriced():
    llm = MockLLM(max_tokens=5)
    with track_costs() as costs:
        llm.chat(user("hello"))
        list(llm.stream_chat(user("hello")))
        asyncio.run(llm.achat(user("hello")))
    total = costs.ledger.total()
    assert (total.calls, total.estimated_calls, total.unpriced_calls, total.cost_usd) == (3, 3, 3, 0)


def test_without_reported_usage_the_tokens_are_estimated_and_marked(make_llm, provider):
    llm = make_llm(additional_kwargs={})
    with track_costs() as costs:
        list(llm.stream_chat([ChatMessage(role="system", content=LONG), *user("hello")]))
    (call,) = costs.ledger.calls()
    assert call.is_estimated
    assert (call.model, call.provider) == (MODEL, "openai")
    assert call.usage.input_tokens == pytest.approx(provider.bill.use.input_tokens, rel=0.1)
    assert call.cost_usd > 0


class Told(CustomLLM):
    """Answers with a payload as some integration keeps it."""

    model: str = "claude-sonnet-4-5"
    raw: object = None
    more: dict = Field(default_factory=dict)

    @classmethod
    def class_name(cls):
        return "Anthropic_LLM"

    @property
    def metadata(self):
        return LLMMetadata(model_name=self.model)

    @llm_completion_callback()
    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text="hi", raw=self.raw, additional_kwargs=self.more)

    @llm_completion_callback()
    def stream_complete(self, prompt, formatted=False, **kwargs):
        yield CompletionResponse(text="h", delta="h", raw=self.raw, additional_kwargs=self.more)
        yield CompletionResponse(text="hi", delta="i")


class ToldByOpenAI(Told):
    @classmethod
    def class_name(cls):
        return "openai_llm"


class Object:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


ANTHROPIC = {"input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 5, "output_tokens": 3}
PAYLOADS = {
    "a message": (ANTHROPIC, {"model": "claude-sonnet-4-5", "usage": ANTHROPIC}, {}),
    "the last event of a stream": (ANTHROPIC, {"type": "message_delta", "usage": Object(**ANTHROPIC)}, {}),
    "an event around the response": (ANTHROPIC, Object(response=Object(usage=ANTHROPIC)), {}),
    "bedrock's last event": (ANTHROPIC, {"metadata": {"usage": ANTHROPIC}}, {}),
    "counts beside the response": (
        {"input_tokens": 10, "output_tokens": 3},
        None,
        {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    ),
}


@pytest.mark.parametrize("shape", PAYLOADS)
@pytest.mark.parametrize("is_stream", [True, False])
def test_usage_is_found_wherever_an_integration_keeps_it(shape, is_stream):
    reported, raw, more = PAYLOADS[shape]
    llm = Told(raw=raw, more=more)
    with track_costs() as costs:
        list(llm.stream_complete("hello")) if is_stream else llm.complete("hello")
    (call,) = costs.ledger.calls()
    assert not call.is_estimated
    assert call.provider == "anthropic"
    read, written = reported.get("cache_read_input_tokens", 0), reported.get("cache_creation_input_tokens", 0)
    assert call.usage.input_tokens == 10 + read + written
    assert (call.usage.cache_read_tokens, call.usage.cache_write_tokens, call.usage.output_tokens) == (read, written, 3)
    assert call.cost_usd > 0


@pytest.mark.parametrize(
    "broken",
    [
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": "many", "completion_tokens": 1},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": float("nan"), "completion_tokens": 1},
        {"nothing": "known"},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}},
        Object(prompt_tokens=object()),
    ],
)
def test_malformed_usage_never_breaks_the_call(broken, caplog):
    llm = ToldByOpenAI(raw={"model": MODEL, "usage": broken})
    with track_costs() as costs, caplog.at_level(logging.WARNING, logger="thrift"):
        for _ in range(2):
            assert llm.complete("hello").text == "hi"
            assert [piece.delta for piece in llm.stream_complete("hello")] == ["h", "i"]
    assert costs.ledger.total().calls == 4
    assert len([record for record in caplog.records if record.name == "thrift"]) == 1


def test_a_failed_call_costs_nothing_and_is_recorded_as_error(llm, provider):
    provider.inject(Fault.error(500), Fault.error(500))
    with track_costs() as costs:
        for call in (llm.chat, llm.stream_chat):
            with pytest.raises(Exception, match="server had an error"):
                list(call(user("hello")))
    assert [(call.outcome, call.cost_usd) for call in costs.ledger.calls()] == [("error", 0), ("error", 0)]
    assert provider.bill.calls == 0


async def test_a_failed_async_call_is_recorded_as_error(llm, provider):
    provider.inject(Fault.error(500), Fault.disconnect(after_events=3))
    with track_costs() as costs:
        with pytest.raises(Exception, match="server had an error"):
            await llm.achat(user("hello"))
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in await llm.astream_chat(user("hello")):
                pass
    refused, broken = costs.ledger.calls()
    assert (refused.outcome, refused.cost_usd, refused.usage.total_tokens) == ("error", 0, 0)
    assert (broken.outcome, broken.is_estimated) == ("error", True)
    assert broken.usage.input_tokens > 0


def test_an_abandoned_stream_is_charged_for_what_had_come(llm):
    with track_costs() as costs:
        stream = llm.stream_chat(user("tell me a story of some length, please"))
        next(stream), next(stream), next(stream)
        stream.close()
    (call,) = costs.ledger.calls()
    assert (call.outcome, call.is_estimated) == ("error", True)
    assert call.usage.input_tokens > 0
    assert call.usage.output_tokens > 0


def test_a_stream_that_is_never_begun_gives_back_what_was_reserved_for_it(llm, provider):
    budgets = Budgets(Budget(limit_usd=1))
    with track_costs(budgets=budgets):
        stream = llm.stream_chat(user("hello"))
        del stream
        gc.collect()
        llm.chat(user("another"))
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (provider.bill.cost_usd, 0)


def test_a_hard_budget_stops_the_call_before_it_goes_out(llm, provider):
    with track_costs(budgets=Budgets(Budget(limit_calls=2))) as costs:
        llm.chat(user("a"))
        list(llm.stream_chat(user("b")))
        for stopped in (llm.chat, llm.stream_chat):
            with pytest.raises(BudgetExceeded, match="2 calls"):
                stopped(user("c"))
        for stopped in (llm.complete, llm.stream_complete):
            with pytest.raises(BudgetExceeded, match="2 calls"):
                stopped("d")
    assert len(provider.requests) == costs.ledger.total().calls == 2
    assert llm.chat(user("outside the block nothing stops it")).message.content


async def test_a_hard_budget_stops_async_calls(llm, provider):
    with track_costs(budgets=Budgets(Budget(limit_calls=7))) as costs:
        results = await asyncio.gather(*(llm.achat(user(str(i))) for i in range(20)), return_exceptions=True)
        for stopped in (
            llm.achat(user("a")),
            llm.acomplete("b"),
            llm.astream_chat(user("c")),
            llm.astream_complete("d"),
        ):
            with pytest.raises(BudgetExceeded):
                await stopped
    assert sum(isinstance(result, BudgetExceeded) for result in results) == 13
    assert len(provider.requests) == costs.ledger.total().calls == 7
    assert llm.rate_limiter is None


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_hard_budget_stops_an_agent(llm, provider, streaming):
    agent = FunctionAgent(tools=[stock], llm=llm, streaming=streaming)
    with track_costs(budgets=Budgets(Budget(limit_calls=3))):
        await agent.run("lamp?")
        with pytest.raises(BudgetExceeded):
            await agent.run("lamp?")
    assert len(provider.requests) == 3


def test_a_hard_budget_of_a_handler_added_by_hand_holds_in_every_thread(llm, provider, on_dispatcher):
    on_dispatcher(CostEventHandler(budgets=Budgets(Budget(limit_calls=3))))
    outcomes = []

    def work():
        try:
            llm.chat(user("hello"))
            outcomes.append("ok")
        except BudgetExceeded:
            outcomes.append("stopped")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ok"] * 3 + ["stopped"] * 5
    assert len(provider.requests) == 3


def test_a_call_that_nothing_can_stop_is_recorded_with_a_warning(caplog):
    class Duck:
        """Tells of its calls, but is no LLM that a span handler would know."""

        rate_limiter = None

        def to_payload(self):
            return {"class_name": "openai_llm", "model_name": MODEL}

        to_dict = to_payload

        @llm_chat_callback()
        def chat(self, messages):
            return ChatResponse(message=ChatMessage(content="hi"), raw={"usage": {"prompt_tokens": 9}})

    with (
        caplog.at_level(logging.WARNING, logger="thrift"),
        track_costs(budgets=Budgets(Budget(limit_calls=1))) as costs,
    ):
        for _ in range(3):
            assert Duck().chat(user("hello")).message.content == "hi"
    assert costs.ledger.total().calls == 3
    assert sum("cannot be stopped" in record.message for record in caplog.records) == 1


def test_a_wrapper_takes_a_budget_once(llm, provider):
    budgets = Budgets(Budget(limit_calls=2))
    before = [*get_dispatcher().event_handlers]
    with track_costs(budgets=budgets):
        Wrapper(inner=llm).chat(user("a"))
        Wrapper(inner=llm).complete("b")
        with pytest.raises(BudgetExceeded):
            Wrapper(inner=llm).complete("c")
        with pytest.raises(BudgetExceeded):
            list(Wrapper(inner=llm).stream_chat(user("d")))
    assert len(provider.requests) == 2
    (state,) = budgets.state()
    assert (state.used, state.reserved) == (2, 0)
    assert get_dispatcher().event_handlers == before  # no call is open any more


def test_the_apps_own_rate_limiter_is_still_asked(make_llm):
    class Limiter:
        asked = 0

        def acquire(self, num_tokens=0):
            self.asked += 1

    limiter = Limiter()
    llm = make_llm(rate_limiter=limiter)
    with track_costs(budgets=Budgets(Budget(limit_calls=2))):
        llm.chat(user("a"))
        llm.chat(user("b"))
        with pytest.raises(BudgetExceeded):
            llm.chat(user("c"))
    assert limiter.asked == 2
    assert llm.rate_limiter is limiter


def test_a_dollar_budget_is_settled_at_the_real_price(llm, provider):
    budgets = Budgets(Budget(limit_usd=Decimal("0.05")))
    with track_costs(budgets=budgets) as costs:
        for _ in range(5):
            llm.chat(user("hello"))
    (state,) = budgets.state()
    assert state.used == costs.total_usd == provider.bill.cost_usd
    assert state.reserved == 0


def test_a_ledger_that_breaks_never_breaks_the_call(llm, tmp_path, caplog):
    ledger = Ledger(tmp_path / "costs.sqlite")
    with track_costs(ledger) as costs, caplog.at_level(logging.WARNING, logger="thrift"):
        llm.chat(user("a"))
        ledger.close()
        assert llm.chat(user("b")).message.content
        assert llm.chat(user("c")).message.content
    assert costs.ledger.faults()
    assert len([record for record in caplog.records if "app's call goes on" in record.message]) == 1


def test_keys_are_in_no_ledger_and_no_log(llm, tmp_path, caplog):
    path = tmp_path / "costs.sqlite"
    with caplog.at_level(logging.DEBUG, logger="thrift"), Ledger(path) as ledger, track_costs(ledger):
        llm.chat(user("hello"))
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"sk-secret" not in written
    assert "sk-secret" not in caplog.text


async def test_a_reported_call_is_told_to_on_call(llm):
    told = []
    with track_costs(on_call=[told.append]):
        await llm.achat(user("hello"))
    assert [call.model for call in told] == [MODEL]
