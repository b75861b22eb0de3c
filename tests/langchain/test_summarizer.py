"""`langchain_thrift.TrajectorySummarizer`: what goes in comes out, shorter."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_thrift.summarizer import TrajectorySummarizer
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.recall.store import MemoryRecallStore

from tests.langchain.agents import POLICY, TASK, Scripted, asked, call, list_orders, read_log, results, stub_ids


def conversation(steps: int = 4) -> list[BaseMessage]:
    messages: list[BaseMessage] = [SystemMessage(POLICY), HumanMessage(TASK, id="task")]
    for number in range(steps):
        asked_for = call(number, "list_orders", customer=f"Ann {number}")
        messages += [AIMessage("", tool_calls=[asked_for]), list_orders.invoke(asked_for)]
    return messages


def size(messages: Sequence[BaseMessage]) -> int:
    return sum(len(message.text) for message in messages)


def lean(**settings: Any) -> TrajectorySummarizer:
    return TrajectorySummarizer(model="claude-sonnet-4-6", provider="anthropic", **settings)


@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
def test_each_kind_of_conversation_comes_out_as_it_went_in(mode: Any) -> None:
    messages = conversation()
    listed = lean(mode=mode).invoke(messages)
    prompt = lean(mode=mode).invoke(ChatPromptValue(messages=messages))
    state = lean(mode=mode).invoke({"messages": messages, "other": 1})
    assert isinstance(listed, list)
    assert isinstance(prompt, ChatPromptValue)
    assert state == {"messages": listed, "other": 1}
    assert prompt.to_messages() == listed
    assert size(listed) < 0.7 * size(messages)
    assert messages == conversation()


def test_what_needs_no_change_is_returned_itself() -> None:
    for given in ([], [HumanMessage("Hi")], StringPromptValue(text="Hi"), {"messages": []}, {}):
        assert lean().invoke(given) is given


@pytest.mark.parametrize("given", ["a text", [("user", "Hi")], {"messages": "Hi"}, None, 3])
def test_what_is_no_conversation_is_refused_in_words(given: Any) -> None:
    with pytest.raises(TypeError, match="give a list of messages, a prompt value or a dictionary"):
        lean().invoke(given)


async def test_async_and_batch_give_the_same() -> None:
    messages = conversation()
    expected = lean().invoke(messages)
    assert await lean().ainvoke(messages) == expected
    assert lean().batch([messages, messages[:2]]) == [expected, messages[:2]]
    assert await lean().abatch([messages]) == [expected]
    assert [chunk async for chunk in lean().astream(messages)] == [expected]


def test_it_stands_in_a_chain_before_the_model() -> None:
    prompt = ChatPromptTemplate.from_messages([("system", POLICY), MessagesPlaceholder("history")])
    model = Scripted(brain=lambda messages: AIMessage(f"{asked(messages)} calls"))
    chain = prompt | lean() | model
    assert chain.invoke({"history": conversation()[1:]}).text == "4 calls"
    assert size(model.requests[0]) < size(conversation())


def test_its_runs_carry_tags_and_metadata() -> None:
    class Tracer(BaseTracer):
        runs: list[Any] = []  # noqa: RUF012 - of this test alone

        def _persist_run(self, run: Any) -> None:
            self.runs.append(run)

    tracer = Tracer()
    lean().invoke([HumanMessage("Hi")], {"tags": ["mine"], "metadata": {"user": "ann"}, "callbacks": [tracer]})
    assert [(run.name, run.tags, run.metadata["user"]) for run in tracer.runs] == [
        ("TrajectorySummarizer", ["mine"], "ann")
    ]


def test_savings_are_booked_for_whom_the_run_is() -> None:
    ledger = Ledger()
    lean(ledger=ledger).invoke(conversation(), {"metadata": {"user": "ann"}})
    [saving] = ledger.savings()
    assert (saving.lever, saving.attribution.user) == ("summarizer", "ann")
    assert saving.cost_usd is not None
    assert saving.cost_usd > Decimal(0)


def test_what_it_cuts_is_in_the_store() -> None:
    store = MemoryRecallStore()
    summarizer = lean(mode="rewrite", store=store)
    messages: list[BaseMessage] = [SystemMessage(POLICY), HumanMessage(TASK)]
    for number in range(6):
        messages += [AIMessage("", tool_calls=[call(number)]), read_log.invoke(call(number))]
        sent = summarizer.invoke(messages)
    assert summarizer.thrift.store is store
    assert store.get(stub_ids(sent)[0]) == results(messages)[0].text


def test_a_conversation_that_cannot_be_read_goes_through() -> None:
    given = [HumanMessage.model_construct(content=[7])]
    ledger = Ledger()
    assert lean(ledger=ledger).invoke(given) is given
    assert sum(ledger.faults().values()) == 1


def test_the_system_prompt_and_the_tools_count_where_they_are_sent_beside_the_conversation() -> None:
    messages = conversation()[1:]
    # By itself too short for a provider's cache, so that nothing may be shortened; with the rest it is long enough.
    assert lean().invoke(messages[:4]) == messages[:4]
    known = lean(system=POLICY, tools=[list_orders, {"name": "search"}])
    assert size(known.invoke(messages[:4])) < size(messages[:4])
    assert [message.type for message in known.invoke(messages)] == [message.type for message in messages]


def test_a_wrong_mode_is_refused_at_construction() -> None:
    with pytest.raises((ConfigurationError, ValueError), match="mode"):
        TrajectorySummarizer(mode="shortest")


def test_it_can_be_the_hook_of_an_agent_of_ones_own() -> None:
    hook = RunnableLambda(lambda state: {"llm_input_messages": lean().invoke(state["messages"])})
    sent = hook.invoke({"messages": conversation()})["llm_input_messages"]
    assert size(sent) < size(conversation())
