"""A cascade of chat models behaves as one model, whose drafts nobody sees and everybody's ledger counts."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps, load
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_core.tracers.langchain import LangChainTracer
from langchain_core.tracers.schemas import Run
from langchain_openai import ChatOpenAI
from langchain_thrift.cascade import CascadeChatModel
from langchain_thrift.costs import CostCallbackHandler, track_costs
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import BudgetExceeded, CascadeExhausted, ConfigurationError
from thrift_core.routing import CascadeRouter, RouterSettings, Tier
from thrift_core.thrift import Thrift

from tests.langchain.scripted_models import Log, Says, scripted

EASY, HARD = "Translate 'bread' into French", "Prove that there is no largest prime"
DOUBT, STRONG = "I'm not sure, perhaps pain.", "Le pain, to be exact."
CHEAP_NAME, STRONG_NAME = "gpt-4.1-nano", "gpt-4.1"


class Form(BaseModel):
    """What was asked for."""

    word: str


@tool
def weigh(loaves: int) -> str:
    """Weigh loaves of bread."""
    weighed.append(loaves)
    return f"{loaves} kg"


weighed: list[int] = []


class Tokens(BaseCallbackHandler):
    """Everything that callbacks would show to a user."""

    def __init__(self) -> None:
        self.text = ""
        self.starts = 0
        self.ends: list[str] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.text += token if isinstance(token, str) else ""

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.starts += 1

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.ends.append(response.generations[0][0].text)


def cascade(cheap: Any = DOUBT, strong: Any = STRONG, log: Log | None = None, **more: Any) -> CascadeChatModel:
    log = log or Log()
    return CascadeChatModel(
        {"cheap": scripted(CHEAP_NAME, cheap, log), "strong": scripted(STRONG_NAME, strong, log)}, **more
    )


def outcomes(ledger: Ledger) -> list[tuple[str, str]]:
    return sorted((call.model, call.outcome) for call in ledger.calls())


def test_the_answer_says_which_tier_gave_it_why_and_what_each_call_cost():
    about = cascade().invoke(EASY).response_metadata
    assert about["model_name"] == STRONG_NAME
    thrift = about["thrift"]
    assert (thrift["tier"], thrift["accepted"]) == ("strong", True)
    assert [(tried["tier"], tried["outcome"]) for tried in thrift["tried"]] == [
        ("cheap", "rejected"),
        ("strong", "accepted"),
    ]
    assert [(call["tier"], call["cost_usd"]) for call in thrift["calls"]] == [
        ("cheap", "0.000014"),
        ("strong", "0.00028"),
    ]


def test_every_call_is_in_the_ledger_under_the_task_of_the_request_and_the_saving_with_it():
    model = cascade()
    model.invoke(EASY, {"metadata": {"task": "ticket 7", "feature": "search"}})
    assert outcomes(model.ledger) == [(STRONG_NAME, "ok"), (CHEAP_NAME, "escalated")]
    assert model.ledger.total(task="ticket 7", feature="search").cost_usd == Decimal("0.000294")
    (saving,) = model.ledger.savings()
    assert (saving.cost_usd, saving.attribution.task) == (Decimal("-0.000014"), "ticket 7")


@pytest.mark.parametrize("is_same", [True, False])
def test_other_cost_handlers_count_the_drafts_too_and_nothing_twice(is_same: bool):
    model = cascade()
    ledger = model.ledger if is_same else Ledger()
    given = CostCallbackHandler()
    with track_costs(ledger):
        model.invoke(EASY, {"callbacks": [given]})
        "".join(chunk.text for chunk in model.stream(EASY, {"callbacks": [given]}))
    for counted in (model.ledger, ledger, given.ledger):
        assert outcomes(counted) == [(STRONG_NAME, "ok")] * 2 + [(CHEAP_NAME, "escalated")] * 2


async def test_so_do_they_when_it_is_not_awaited_in_a_row():
    model, given = cascade(), CostCallbackHandler()
    await model.ainvoke(EASY, {"callbacks": [given]})
    async for _ in model.astream(EASY, {"callbacks": [given]}):
        pass
    await model.abatch([EASY, HARD], {"callbacks": [given]})
    for counted in (model.ledger, given.ledger):
        assert outcomes(counted) == [(STRONG_NAME, "ok")] * 4 + [(CHEAP_NAME, "escalated")] * 3


def test_callbacks_see_one_run_and_the_tokens_of_the_answer_alone():
    model, seen = cascade(), Tokens()
    streamed = [chunk.text for chunk in model.stream(EASY, {"callbacks": [seen]})]
    assert ("".join(streamed), seen.text, seen.starts, seen.ends) == (STRONG, STRONG, 1, [STRONG])
    assert model.invoke(EASY, {"callbacks": [seen]}).text == STRONG
    assert seen.starts == 2


async def test_events_show_no_draft_either():
    chain = ChatPromptTemplate.from_template("{question}") | cascade() | StrOutputParser()
    told = [event async for event in chain.astream_events({"question": EASY}, version="v2")]
    assert not [event for event in told if DOUBT[:9] in str(event["data"].get("chunk", ""))]
    models = [event["event"] for event in told if event["event"].startswith("on_chat_model")]
    assert (models.count("on_chat_model_start"), models.count("on_chat_model_end")) == (1, 1)


async def test_an_agents_stream_of_messages_shows_no_draft():
    agent = create_agent(cascade(), tools=[weigh])
    shown = ""
    async for chunk, _ in agent.astream({"messages": [("user", EASY)]}, stream_mode="messages"):
        shown += chunk.text if isinstance(chunk, AIMessage) else ""
    assert shown == STRONG


def test_a_hard_question_is_streamed_as_it_comes_and_its_last_chunk_says_so():
    chunks = list(cascade().stream(HARD))
    assert len([chunk for chunk in chunks if chunk.text]) == 7
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == STRONG
    assert whole.response_metadata["thrift"]["tier"] == "strong"
    assert whole.usage_metadata["input_tokens"] == 100


class Tracer(LangChainTracer):
    """LangSmith's tracer, which keeps its runs instead of sending them."""

    kept: ClassVar[dict[UUID, Run]] = {}

    def _persist_run_single(self, run: Run) -> None:
        self.kept[run.id] = run

    def _update_run_single(self, run: Run) -> None:
        self.kept[run.id] = run


def test_langsmith_sees_each_call_of_a_tier_as_a_child_run_with_tags():
    tracer = Tracer(client=object())
    tracer.kept.clear()
    cascade().invoke(EASY, {"callbacks": [tracer], "tags": ["mine"]})
    (outer,) = [run for run in tracer.kept.values() if run.parent_run_id is None]
    children = [run for run in tracer.kept.values() if run.parent_run_id == outer.id]
    assert [run.name for run in children] == ["cheap", "strong"]
    assert set(children[0].tags or ()) == {"mine", "nostream", "thrift:tier:cheap"}
    assert "mine" in (outer.tags or ())


def test_a_tiers_own_callbacks_are_told_of_its_calls():
    own = CostCallbackHandler()
    cheap = scripted(CHEAP_NAME, DOUBT)
    cheap.callbacks = [own]
    CascadeChatModel([cheap, scripted(STRONG_NAME, STRONG)]).invoke(EASY)
    assert outcomes(own.ledger) == [(CHEAP_NAME, "escalated")]


def call(loaves: Any, name: str = "weigh") -> dict[str, Any]:
    return {"name": name, "args": {"loaves": loaves}, "id": f"call-{loaves}"}


@pytest.mark.parametrize("wrong", [call("many"), call(1, "weight"), {"name": "weigh", "args": {}, "id": "1"}])
def test_a_wrong_tool_call_goes_to_the_next_tier_and_never_runs(wrong: dict[str, Any]):
    weighed.clear()

    def answers(messages: list[BaseMessage]) -> Says:
        is_done = any(message.type == "tool" for message in messages)
        return Says("It is 2 kg.") if is_done else Says(calls=[call(2)])

    model = cascade(Says(calls=[wrong]), answers)
    agent = create_agent(model, tools=[weigh])
    said = agent.invoke({"messages": [("user", "What is the weight of 2 loaves?")]})["messages"][-1]
    assert (said.text, weighed) == ("It is 2 kg.", [2])
    assert ("gpt-4.1-nano", "escalated") in outcomes(model.ledger)


def test_a_wrong_tool_call_of_the_last_tier_is_an_error_and_never_runs():
    weighed.clear()
    agent = create_agent(cascade(Says(calls=[call("a")]), Says(calls=[call("b")])), tools=[weigh])
    with pytest.raises(CascadeExhausted, match="invalid tool call"):
        agent.invoke({"messages": [("user", "What is the weight of 2 loaves?")]})
    assert weighed == []


def test_tools_that_say_they_act_on_the_world_are_left_to_the_strongest_tier():
    @tool
    def pay(usd: int) -> str:
        """Pay dollars."""
        return "paid"

    pay.metadata = {"side_effects": True}
    wanted = {"name": "pay", "args": {"usd": 5}, "id": "1"}
    model = cascade(Says(calls=[wanted]), Says(calls=[wanted]))
    answer = model.bind_tools([pay]).invoke("What is 5? Pay 5")
    assert answer.response_metadata["thrift"]["tier"] == "strong"


def test_structured_output_is_of_the_declared_type_whichever_tier_answers():
    wrong, right = Says(calls=[{"name": "Form", "args": {}, "id": "1"}]), {"word": "pain"}
    good = Says(calls=[{"name": "Form", "args": right, "id": "1"}])
    assert cascade(good, wrong).with_structured_output(Form).invoke(EASY) == Form(word="pain")
    escalated = cascade(wrong, good)
    assert escalated.with_structured_output(Form).invoke(EASY) == Form(word="pain")
    assert outcomes(escalated.ledger) == [(STRONG_NAME, "ok"), (CHEAP_NAME, "escalated")]
    both = cascade(wrong, good).with_structured_output(Form, include_raw=True).invoke(EASY)
    assert (both["parsed"], both["parsing_error"]) == (Form(word="pain"), None)
    assert list(cascade(wrong, good).with_structured_output(Form).stream(EASY)) == [Form(word="pain")]
    schema = {"title": "Form", "description": "x", "type": "object", "properties": {"word": {"type": "string"}}}
    assert cascade(good, wrong).with_structured_output(schema).invoke(EASY) == right


def test_structured_output_that_no_tier_gives_is_an_error():
    wrong = Says(calls=[{"name": "Form", "args": {}, "id": "1"}])
    with pytest.raises(CascadeExhausted, match="has not the form asked for"):
        cascade(wrong, wrong).with_structured_output(Form).invoke(EASY)


def test_a_conversation_stays_with_its_tier_where_leaving_its_prompt_cache_costs_more():
    haiku, sonnet = scripted("claude-haiku-4-5", "Pain."), scripted("claude-sonnet-4-6", STRONG)
    for model in (haiku, sonnet):
        model.provider, model.input_tokens = "anthropic", 8000
    manual = "A loaf is a loaf. " * 2000
    agent = create_agent(CascadeChatModel([haiku, sonnet]), checkpointer=InMemorySaver(), system_prompt=manual)

    def ask(question: str, thread: str) -> dict[str, Any]:
        config: Any = {"configurable": {"thread_id": thread}}
        said = agent.invoke({"messages": [("user", question)]}, config)["messages"][-1]
        return said.response_metadata["thrift"]

    assert ask(HARD, "7")["tier"] == "claude-sonnet-4-6"
    again = ask(EASY, "7")
    assert (again["tier"], "pinned" in again["reason"]) == ("claude-sonnet-4-6", True)
    assert ask(EASY, "8")["tier"] == "claude-haiku-4-5"


class Overloaded(Exception):
    status_code = 503


def test_errors_fall_over_and_the_last_one_goes_to_the_apps_own_fallbacks():
    model = cascade(Says(error=Overloaded("cheap")), Says(error=Overloaded("strong")))
    rescued = model.with_fallbacks([scripted("gpt-4o", "Saved.")], exceptions_to_handle=(Overloaded,))
    assert rescued.invoke(EASY).text == "Saved."
    with pytest.raises(Overloaded, match="strong"):
        model.invoke(EASY)


def test_a_hard_budget_stops_the_call_before_it_is_made():
    log = Log()
    ledger = Ledger()
    budgets = Budgets(Budget(limit_usd=Decimal("0.000001")))
    model = cascade(log=log, ledger=ledger, budgets=budgets)
    with pytest.raises(BudgetExceeded):
        model.invoke(EASY)
    assert log.asked == []


def test_a_batch_goes_in_waves():
    log = Log()
    # Long enough for all to begin, however busy the machine is.
    model = cascade(Says(DOUBT, seconds=0.5), log=log)
    answers = model.batch([EASY, EASY, EASY, HARD], {"max_concurrency": 4})
    assert [answer.text for answer in answers] == [STRONG] * 4
    assert [name for name, _ in log.asked] == [CHEAP_NAME] * 3 + [STRONG_NAME] * 4


async def test_an_async_batch_goes_in_waves_too_and_its_errors_are_its_own():
    log = Log()

    def answers(messages: list[BaseMessage]) -> Says:
        return Says(error=Overloaded()) if messages[-1].text == HARD else Says(STRONG)

    model = cascade(Says(DOUBT, seconds=0.1), answers, log=log, router_settings=RouterSettings(answer_in_outage=False))
    given = await model.abatch([EASY, HARD, EASY], return_exceptions=True)
    assert [type(answer) for answer in given] == [AIMessage, Overloaded, AIMessage]
    assert [name for name, _ in log.asked].index(STRONG_NAME) == 2


def test_a_small_batch_in_one_thread_does_not_wait_for_those_that_have_not_begun():
    assert len(cascade().batch([EASY, EASY, HARD], {"max_concurrency": 1})) == 3


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_it_is_written_without_its_router_and_without_secrets():
    model = CascadeChatModel(
        [ChatOpenAI(model=CHEAP_NAME, api_key="k"), ChatOpenAI(model=STRONG_NAME, api_key="k")], timeout_seconds=9
    )
    text = dumps(model)
    assert '"k"' not in text
    read = load(
        json.loads(text),
        allowed_objects=[CascadeChatModel, ChatOpenAI],
        valid_namespaces=["langchain_thrift"],
        secrets_map={"OPENAI_API_KEY": "other"},
    )
    assert (list(read.tiers), read.timeout_seconds) == (list(model.tiers), 9)


def test_it_can_be_copied_and_pickled():
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    model = CascadeChatModel({"a": FakeListChatModel(responses=["x"]), "b": FakeListChatModel(responses=["y"])})
    assert list(pickle.loads(pickle.dumps(model)).tiers) == ["a", "b"]
    twin = copy.deepcopy(model)
    assert (twin.invoke(EASY).text, twin.tiers["a"] is model.tiers["a"], twin.ledger is model.ledger) == (
        "x",
        False,
        True,
    )


def test_levers_work_on_the_request_of_each_tier_and_share_the_ledger():
    thrift = Thrift(cache="on")
    model = cascade("Pain.", thrift=thrift)
    config: Any = {"metadata": {"tenant": "acme"}}
    first, second = model.invoke("Translate 'bread' into French", config), model.invoke(EASY, config)
    assert (first.text, second.text, model.ledger is thrift.ledger) == ("Pain.", "Pain.", True)
    assert outcomes(thrift.ledger) == [(CHEAP_NAME, "cache_hit"), (CHEAP_NAME, "ok")]


def test_a_cascade_may_be_a_tier():
    inner = cascade(DOUBT, "Perhaps le pain.")
    model = CascadeChatModel({"both": inner, "best": scripted("o3-pro", "Le pain.")})
    assert model.invoke(EASY).text == "Le pain."
    assert outcomes(model.ledger) == [
        (STRONG_NAME, "escalated"),
        (CHEAP_NAME, "escalated"),
        ("o3-pro", "ok"),
    ]


def test_a_router_of_ones_own_is_used_and_must_be_for_these_tiers():
    tiers = [Tier("cheap", CHEAP_NAME), Tier("strong", STRONG_NAME)]
    router = CascadeRouter(tiers, ledger=Ledger())
    model = cascade(router=router)
    assert (model.router is router, model.ledger is router.ledger) == (True, True)
    with pytest.raises(ConfigurationError, match=r"routes between cheap, strong; the tiers are a, b"):
        CascadeChatModel({"a": scripted("gpt-4.1-nano", ""), "b": scripted("gpt-4.1", "")}, router)
    with pytest.raises(ConfigurationError, match="router_settings"):
        cascade(router=router, router_settings=RouterSettings())


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        ([], "at least one"),
        ("gpt-4.1", "cheapest first"),
        ([scripted("gpt-4.1", "").bind(stop=["x"])], "is no tier"),
        ([scripted("gpt-4.1", ""), scripted("gpt-4.1-nano", "")], "cheapest first"),
    ],
)
def test_tiers_that_cannot_be_are_refused(tiers: Any, said: str):
    with pytest.raises(ConfigurationError, match=said):
        CascadeChatModel(tiers)


def test_settings_beside_models_are_refused():
    with pytest.raises(ConfigurationError, match="temperature"):
        CascadeChatModel([scripted("gpt-4.1", "")], temperature=1)


def test_models_of_one_name_get_names_of_their_own():
    model = CascadeChatModel([scripted("gpt-4.1", "a"), scripted("gpt-4.1", "b")])
    assert list(model.tiers) == ["gpt-4.1", "gpt-4.1#2"]


def test_messages_are_left_as_they_were():
    asked = [HumanMessage(EASY)]
    cascade().invoke(asked)
    assert asked == [HumanMessage(EASY)]
