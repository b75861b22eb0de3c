"""A cascade of LLMs behaves as one LLM, whose drafts nobody sees and everybody's ledger counts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from llama_index_instrumentation.dispatcher import instrument_tags
from llamaindex_thrift import CascadeLLM, ThriftLLM, track_costs
from pydantic import BaseModel
from thrift_core.accounting.ledger import Ledger
from thrift_core.demo.rates import RATES
from thrift_core.errors import CascadeExhausted, ConfigurationError
from thrift_core.messages import ToolCall
from thrift_core.routing import CascadeRouter, RouterSettings, Tier
from thrift_core.testing import ChatRequest, Fault, LocalProvider, Reply
from thrift_core.thrift import Thrift

from tests.llamaindex.conftest import user

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
CHEAP, STRONG = "gpt-4.1-nano", "gpt-4.1"
EASY, HARD = "Translate 'bread' into French", "Prove that there is no largest prime"
DOUBT, ANSWER = "I'm not sure, perhaps pain.", "Le pain, to be exact."
OpenAIAt = Callable[..., OpenAI]
weighed: list[int] = []


def weigh(loaves: int) -> str:
    """Weigh loaves of bread."""
    weighed.append(loaves)
    return f"{loaves} kg"


class Form(BaseModel):
    """What was asked for."""

    word: str


def brain(request: ChatRequest) -> Reply:
    """Doubt everything as the cheap model, answer it as the strong one; call tools and fill forms wrong and right."""
    is_cheap = request.model == CHEAP
    if request.response_format or (request.tools and "Form" in request.tool_names):
        filled = '{"letters": 4}' if is_cheap else '{"word": "pain"}'
        return Reply(tool_calls=(ToolCall("Form", filled),)) if request.tools else Reply(text=filled)
    if request.tools and request.messages[-1].role == "user":
        return Reply(tool_calls=(ToolCall("weigh", '{"loaves": "many"}' if is_cheap else '{"loaves": 2}'),))
    if request.messages[-1].role == "tool":
        return Reply(text="It is 2 kg.")
    return Reply(text=DOUBT if is_cheap else ANSWER)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    weighed.clear()
    with LocalProvider(brain, RATES) as running:
        yield running


@pytest.fixture
def cascade(provider: LocalProvider, openai_at: OpenAIAt) -> Callable[..., CascadeLLM]:
    def make(**more: Any) -> CascadeLLM:
        tiers = {"cheap": openai_at(provider, model=CHEAP), "strong": openai_at(provider, model=STRONG)}
        return CascadeLLM(tiers, **more)

    return make


async def every_way(llm: CascadeLLM, question: str) -> list[str]:
    """Return the answer as each method gives it; of streams, what a user would have read."""
    said = [
        llm.chat(user(question)).message.content or "",
        (await llm.achat(user(question))).message.content or "",
        llm.complete(question).text,
        (await llm.acomplete(question)).text,
        "".join(chunk.delta or "" for chunk in llm.stream_chat(user(question))),
        "".join([chunk.delta or "" async for chunk in await llm.astream_chat(user(question))]),
        "".join(chunk.delta or "" for chunk in llm.stream_complete(question)),
        "".join([chunk.delta or "" async for chunk in await llm.astream_complete(question)]),
    ]
    assert [chunk.message.content for chunk in llm.stream_chat(user(question))][-1] == said[0]
    return said


@pytest.mark.parametrize("question", [EASY, HARD])
async def test_a_draft_is_never_seen_and_every_call_is_counted_to_the_cent(
    cascade: Callable[..., CascadeLLM], provider: LocalProvider, question: str
):
    with track_costs() as costs:
        assert await every_way(cascade(), question) == [ANSWER] * 8
    assert costs.total_usd == provider.bill.cost_usd
    outcomes = [(call.model, call.outcome) for call in costs.ledger.calls()]
    assert outcomes.count((STRONG, "ok")) == 9
    assert outcomes.count((CHEAP, "escalated")) == (9 if question == EASY else 0)


def test_the_answer_says_which_tier_gave_it_and_what_each_call_used(cascade: Callable[..., CascadeLLM]):
    ledger = Ledger()
    llm = cascade(ledger=ledger)
    with track_costs(ledger), instrument_tags({"task": "ticket 7"}):
        about = llm.chat(user(EASY)).additional_kwargs["thrift"]
        last = list(llm.stream_chat(user(EASY)))[-1].additional_kwargs["thrift"]
    assert (about["tier"], [tried["tier"] for tried in about["tried"]]) == ("strong", ["cheap", "strong"])
    assert last["tier"] == "strong"
    assert sum(Decimal(call["cost_usd"]) for call in about["calls"]) * 2 == ledger.total(task="ticket 7").cost_usd
    assert {saving.attribution.task for saving in ledger.savings()} == {"ticket 7"}


async def test_a_wrong_tool_call_goes_up_and_never_runs_in_an_agent(cascade: Callable[..., CascadeLLM]):
    for is_streaming in (True, False):
        weighed.clear()
        agent = FunctionAgent(tools=[FunctionTool.from_defaults(weigh)], llm=cascade(), streaming=is_streaming)
        running = agent.run("What is the weight of 2 loaves?")
        shown = ""
        async for event in running.stream_events():
            shown += event.delta if isinstance(event, AgentStream) else ""
        assert str(await running) == "It is 2 kg."
        assert weighed == [2]
        assert shown in ("It is 2 kg.", "")


def test_a_wrong_tool_call_of_every_tier_is_an_error(openai_at: OpenAIAt):
    def wrong(request: ChatRequest) -> Reply:
        return Reply(tool_calls=(ToolCall("weigh", "{}"),))

    with LocalProvider(wrong) as provider:
        llm = CascadeLLM([openai_at(provider, model=CHEAP), openai_at(provider, model=STRONG)])
        tools = [FunctionTool.from_defaults(weigh)]
        with pytest.raises(CascadeExhausted, match="loaves is missing"):
            llm.chat_with_tools(tools, "What is the weight?")
        with pytest.raises(CascadeExhausted):
            list(llm.stream_chat_with_tools(tools, "What is the weight?"))


async def test_tools_are_offered_to_each_tier_in_its_own_way(cascade: Callable[..., CascadeLLM]):
    llm, tools = cascade(), [FunctionTool.from_defaults(weigh)]
    for response in (llm.chat_with_tools(tools, "What is 2?"), await llm.achat_with_tools(tools, "What is 2?")):
        (chosen,) = llm.get_tool_calls_from_response(response)
        assert (chosen.tool_name, chosen.tool_kwargs) == ("weigh", {"loaves": 2})
    assert str(llm.predict_and_call(tools, "What is 2?")) == "2 kg"


async def test_a_structured_prediction_is_of_its_class_whichever_tier_gives_it(cascade: Callable[..., CascadeLLM]):
    llm, prompt = cascade(), PromptTemplate("{question}")
    assert llm.structured_predict(Form, prompt, question=EASY) == Form(word="pain")
    assert await llm.astructured_predict(Form, prompt, question=EASY) == Form(word="pain")
    assert list(llm.stream_structured_predict(Form, prompt, question=EASY)) == [Form(word="pain")]
    stream = await llm.astream_structured_predict(Form, prompt, question=EASY)
    assert [found async for found in stream] == [Form(word="pain")]
    assert llm.as_structured_llm(Form).complete(EASY).raw == Form(word="pain")


def test_a_prediction_that_no_tier_makes_is_an_error_with_its_cause(openai_at: OpenAIAt):
    def wrong(request: ChatRequest) -> Reply:
        return Reply(tool_calls=(ToolCall("Form", "{}"),)) if request.tools else Reply(text="{}")

    with LocalProvider(wrong) as provider:
        llm = CascadeLLM([openai_at(provider, model=CHEAP), openai_at(provider, model=STRONG)])
        with pytest.raises(CascadeExhausted, match="has not the form asked for") as caught:
            llm.structured_predict(Form, PromptTemplate("x"))
        assert caught.value.__cause__ is not None


def test_it_answers_in_a_query_engine(cascade: Callable[..., CascadeLLM]):
    engine = SummaryIndex.from_documents([Document(text="Bread is le pain.")]).as_query_engine(llm=cascade())
    assert str(engine.query("What is bread?")) == ANSWER
    streaming = SummaryIndex.from_documents([Document(text="Bread.")]).as_query_engine(llm=cascade(), streaming=True)
    assert "".join(streaming.query("What is bread?").response_gen) == ANSWER


@pytest.mark.parametrize("fault", [Fault.error(429), Fault.error(503), Fault.garbage(), Fault.disconnect()])
async def test_a_tier_that_fails_is_replaced_and_its_text_never_mixed(
    cascade: Callable[..., CascadeLLM], provider: LocalProvider, fault: Fault
):
    llm = cascade(router_settings=RouterSettings(cooldown_seconds=0))
    for question in (EASY, HARD):
        provider.inject(fault)
        assert llm.chat(user(question)).message.content in (ANSWER, DOUBT)
        provider.inject(fault)
        assert (await llm.achat(user(question))).message.content in (ANSWER, DOUBT)


def test_a_stream_that_breaks_off_is_an_error_and_shows_one_voice(
    cascade: Callable[..., CascadeLLM], provider: LocalProvider
):
    provider.inject(Fault.disconnect(after_events=3))
    shown = ""

    def read() -> None:
        nonlocal shown
        for chunk in cascade().stream_chat(user(HARD)):
            shown += chunk.delta or ""

    with pytest.raises(Exception, match=r"peer closed|incomplete|disconnect"):
        read()
    assert ANSWER.startswith(shown)
    assert 0 < len(shown) < len(ANSWER)


async def test_a_tier_that_hangs_is_left(cascade: Callable[..., CascadeLLM], provider: LocalProvider):
    llm = cascade(timeout_seconds=0.5, router_settings=RouterSettings(cooldown_seconds=0))
    for ask in (llm.chat, lambda messages: list(llm.stream_chat(messages))[-1]):
        provider.inject(Fault.hang())
        assert ask(user(EASY)).message.content == ANSWER
    provider.inject(Fault.hang())
    assert (await llm.achat(user(EASY))).message.content == ANSWER


def test_the_last_tiers_own_error_comes_out(cascade: Callable[..., CascadeLLM], provider: LocalProvider):
    provider.inject(Fault.error(429), Fault.error(429, "strong is busy"))
    with pytest.raises(Exception, match="strong is busy") as caught:
        cascade().chat(user(EASY))
    assert "no tier answered" in caught.value.__notes__[0]


def test_levers_and_a_cascade_work_in_each_other(provider: LocalProvider, openai_at: OpenAIAt):
    thrift = Thrift(cache="on", ledger=Ledger())
    tiers = [ThriftLLM(openai_at(provider, model=CHEAP), thrift), ThriftLLM(openai_at(provider, model=STRONG), thrift)]
    inside, outside = CascadeLLM(tiers), ThriftLLM(CascadeLLM(tiers), Thrift(ledger=Ledger()))
    for llm in (inside, outside):
        assert llm.chat(user(EASY)).message.content == ANSWER
        tools = [FunctionTool.from_defaults(weigh)]
        chosen = llm.get_tool_calls_from_response(llm.chat_with_tools(tools, "What is 2?"))
        assert chosen[0].tool_kwargs == {"loaves": 2}


def test_llms_that_call_no_functions_answer_as_well():
    llm = CascadeLLM([MockLLM(max_tokens=3), MockLLM(max_tokens=4)])
    assert llm.complete("Say a b c d").text == "text text text"
    assert llm.metadata.is_function_calling_model is False
    with pytest.raises(TypeError, match="does not call functions"):
        llm.get_tool_calls_from_response(llm.chat(user("Hi")))


def test_a_callback_manager_is_set_on_every_tier(cascade: Callable[..., CascadeLLM]):
    from llama_index.core.callbacks import CallbackManager

    llm, manager = cascade(), CallbackManager()
    llm.callback_manager = manager
    assert all(one.callback_manager is manager for one in llm.tiers.values())


def test_it_is_copied_and_pickled_and_tells_no_secret(cascade: Callable[..., CascadeLLM]):
    assert "sk-secret" not in str(cascade().to_payload())
    llm = CascadeLLM({"a": MockLLM(), "b": MockLLM()}, timeout_seconds=5)
    twin = copy.deepcopy(llm)
    assert (list(twin.tiers), twin.ledger is llm.ledger, twin.tiers["a"] is llm.tiers["a"]) == (["a", "b"], True, False)
    assert list(pickle.loads(pickle.dumps(llm)).tiers) == ["a", "b"]


def test_what_cannot_be_is_refused():
    router = CascadeRouter([Tier("x", CHEAP)])
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ([], {}, "at least one"),
        ("gpt-4.1", {}, "cheapest first"),
        (["gpt-4.1"], {}, "is no tier"),
        ([MockLLM()], {"router": router}, "routes between x"),
        ({"x": MockLLM()}, {"router": router, "router_settings": RouterSettings()}, "belong to the router"),
        ([OpenAI(model=STRONG, api_key="k"), OpenAI(model=CHEAP, api_key="k")], {}, "cheapest first"),
    ]
    for tiers, more, said in wrong:
        with pytest.raises(ConfigurationError, match=said):
            CascadeLLM(tiers, **more)


def test_a_message_is_left_as_it_was(cascade: Callable[..., CascadeLLM]):
    asked = [ChatMessage(role="user", content=EASY)]
    cascade().chat(asked)
    assert asked == [ChatMessage(role="user", content=EASY)]
