"""The routing lever of the agent's middleware."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_thrift import ThriftMiddleware, track_costs
from pydantic import BaseModel
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.demo.rates import RATES
from thrift_core.errors import BudgetExceeded, ConfigurationError
from thrift_core.messages import ToolCall
from thrift_core.testing import ChatRequest, LocalProvider, Reply
from thrift_core.thrift import Thrift

from tests.langchain.scripted_models import Says, scripted

CHEAP, STRONG = "gpt-4.1-nano", "gpt-4.1"
EASY, HARD = "Translate 'bread' into French", "Prove that there is no largest prime"
DOUBT, ANSWER = "I'm not sure, perhaps pain.", "Le pain, to be exact."
weighed: list[int] = []


@tool
def weigh(loaves: int) -> str:
    """Weigh loaves of bread."""
    weighed.append(loaves)
    return f"{loaves} kg"


class Form(BaseModel):
    """What was asked for."""

    word: str


def brain(request: ChatRequest) -> Reply:
    """Doubt, and call and fill wrong, as the cheap model; the strong one does it right."""
    is_cheap = request.model == CHEAP
    if request.response_format and request.messages[-1].role == "user":
        return Reply(text='{"letters": 4}' if is_cheap else '{"word": "pain"}')
    if "Form" in request.tool_names:
        return Reply(tool_calls=(ToolCall("Form", '{"letters": 4}' if is_cheap else '{"word": "pain"}'),))
    if request.tools and request.messages[-1].role == "user":
        return Reply(tool_calls=(ToolCall("weigh", '{"loaves": "many"}' if is_cheap else '{"loaves": 2}'),))
    return Reply(text=DOUBT if is_cheap else ANSWER)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    weighed.clear()
    with LocalProvider(brain, RATES) as running:
        yield running


def tiers_at(provider: LocalProvider) -> dict[str, ChatOpenAI]:
    return {
        name: ChatOpenAI(model=name, base_url=provider.base_url, api_key="k", max_retries=0, stream_usage=True)
        for name in (CHEAP, STRONG)
    }


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def asked(agent: Any, question: str) -> AIMessage:
    found: AIMessage = agent.invoke({"messages": [("user", question)]})["messages"][-1]
    return found


@pytest.mark.parametrize("thrift", [None, Thrift(summarizer="on", planner="on"), Thrift.safe()])
def test_calls_go_to_the_cheapest_tier_that_will_do_and_every_one_is_paid_for(
    provider: LocalProvider, thrift: Thrift | None
):
    tiers = tiers_at(provider)
    middleware = ThriftMiddleware(thrift, tiers=tiers)
    agent = create_agent(tiers[STRONG], tools=[weigh], middleware=[middleware])
    with track_costs() as costs:
        said = asked(agent, "What is the weight of 2 loaves?")
    assert (said.text, weighed) == (ANSWER, [2])
    assert said.response_metadata["thrift"]["tier"] == STRONG
    assert middleware.thrift.ledger.total().cost_usd == costs.total_usd == provider.bill.cost_usd
    outcomes = [(call.model, call.outcome) for call in middleware.thrift.ledger.calls()]
    assert (CHEAP, "escalated") in outcomes
    assert outcomes.count((STRONG, "ok")) == 2


async def test_it_is_the_same_when_it_is_not_waited_for(provider: LocalProvider):
    tiers = tiers_at(provider)
    middleware = ThriftMiddleware(tiers=tiers)
    agent = create_agent(tiers[STRONG], tools=[weigh], middleware=[middleware])
    found = await agent.ainvoke({"messages": [("user", "What is the weight of 2 loaves?")]})
    assert (found["messages"][-1].text, weighed) == (ANSWER, [2])
    assert middleware.thrift.ledger.total().cost_usd == provider.bill.cost_usd


async def test_an_agents_stream_shows_no_draft():
    tiers = {"C": scripted(CHEAP, DOUBT), "S": scripted(STRONG, ANSWER)}
    agent = create_agent(tiers["S"], middleware=[ThriftMiddleware(tiers=tiers)])
    shown = ""
    async for chunk, _ in agent.astream({"messages": [("user", EASY)]}, stream_mode="messages"):
        shown += chunk.text
    assert shown == ANSWER


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
def test_structured_output_of_an_agent_is_of_its_type_whichever_tier_answers(provider: LocalProvider, strategy: Any):
    tiers = tiers_at(provider)
    agent = create_agent(tiers[STRONG], middleware=[ThriftMiddleware(tiers=tiers)], response_format=strategy(Form))
    found = agent.invoke({"messages": [("user", "What is bread?")]})
    assert found["structured_response"] == Form(word="pain")


def test_a_cached_answer_costs_no_call_of_any_tier():
    thrift = Thrift(cache="on")
    tiers = {"C": scripted(CHEAP, "Pain."), "S": scripted(STRONG, ANSWER)}
    agent = create_agent(tiers["S"], middleware=[ThriftMiddleware(thrift, tiers=tiers)])
    assert [asked(agent, EASY).text for _ in range(2)] == ["Pain.", "Pain."]
    assert len(tiers["C"].log.asked) == 1
    assert [(call.model, call.outcome) for call in thrift.ledger.calls() if call.outcome == "ok"] == [(CHEAP, "ok")]


def test_a_hard_budget_ends_the_run_before_a_draft_that_could_pass_it():
    budgets = Budgets(Budget(limit_usd=Decimal("0.000001")))
    tiers = {"C": scripted(CHEAP, DOUBT), "S": scripted(STRONG, ANSWER)}
    agent = create_agent(tiers["S"], middleware=[ThriftMiddleware(budgets=budgets, tiers=tiers)])
    with pytest.raises(BudgetExceeded):
        asked(agent, EASY)
    assert tiers["C"].log.asked == []


def test_its_name_says_that_it_routes_and_wrong_settings_are_refused():
    tiers = [scripted(CHEAP, ""), scripted(STRONG, "")]
    assert ThriftMiddleware(tiers=tiers).name.endswith("_cascade")
    with pytest.raises(ConfigurationError, match="tiers="):
        ThriftMiddleware(router="policy.json")
    with pytest.raises(ConfigurationError, match="tiers="):
        ThriftMiddleware(side_effects=["pay"])
    with pytest.raises(ConfigurationError, match="cheapest first"):
        ThriftMiddleware(tiers=list(reversed(tiers)))


def test_tools_named_as_acting_on_the_world_are_the_strongest_tiers():
    def says(messages: list[BaseMessage]) -> Says:
        done = any(message.type == "tool" for message in messages)
        return Says("Done.") if done else Says(calls=[{"name": "weigh", "args": {"loaves": 5}, "id": "1"}])

    ledger = Ledger()
    tiers = {"C": scripted(CHEAP, says), "S": scripted(STRONG, says)}
    middleware = ThriftMiddleware(Thrift(ledger=ledger), tiers=tiers, side_effects=["weigh"])
    asked(create_agent(tiers["S"], tools=[weigh], middleware=[middleware]), "What is 5? Weigh 5")
    assert (CHEAP, "escalated") in [(call.model, call.outcome) for call in ledger.calls()]
