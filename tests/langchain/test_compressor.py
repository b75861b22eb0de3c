"""`langchain_thrift.PromptCompressor`: what goes in comes out, shorter, and what may not change does not."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_thrift import PromptCompressor
from thrift_core import Attribution, ConfigurationError, Ledger, attribute
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.token_counters import default_counter

ROWS = json.dumps([{"sku": f"SKU-{n}", "warehouse": "Rotterdam", "stock": n * 7} for n in range(20)])
STORY = (
    "The lighthouse was built in 1874 by a family of masons. Gulls nest on its northern ledge every spring. "
    "Its lamp burned whale oil until the keeper, Ida Holm, had it electrified in 1921. The stairs have 212 steps. "
    "Visitors may climb them on Sundays. A small museum in the former kitchen shows maps and a barometer."
)
QUESTION = "Who had the lamp electrified?"


def tokens(text: str) -> int:
    return default_counter().count(text)


@pytest.mark.parametrize(
    ("given", "text_in"),
    [
        (ROWS, lambda out: out),
        (StringPromptValue(text=ROWS), lambda out: out.text),
        ([HumanMessage(ROWS)], lambda out: out[0].content),
        (ChatPromptValue(messages=[HumanMessage(ROWS)]), lambda out: out.messages[0].content),
        ({"messages": [HumanMessage(ROWS)], "user": "ann"}, lambda out: out["messages"][0].content),
    ],
)
async def test_each_kind_of_prompt_comes_out_as_it_went_in_but_shorter(given: Any, text_in: Any) -> None:
    compressor = PromptCompressor()
    out = compressor.invoke(given)
    assert type(out) is type(given)
    assert tokens(text_in(out)) < tokens(ROWS) * 0.6
    assert await compressor.ainvoke(given) == out
    assert compressor.batch([given, given]) == [out, out]
    if isinstance(given, dict):
        assert out["user"] == "ann"


def test_the_input_is_not_changed_and_ids_stay() -> None:
    message = HumanMessage(ROWS, id="m1", name="ann")
    [out] = PromptCompressor().invoke([message])
    assert message.content == ROWS
    assert (out.id, out.name) == ("m1", "ann")
    assert out.content != ROWS


def test_images_the_models_own_words_and_the_system_prompt_are_left_alone() -> None:
    messages = [
        SystemMessage(ROWS),
        HumanMessage([{"type": "text", "text": ROWS}, {"type": "image_url", "image_url": {"url": "data:,"}}]),
        AIMessage(ROWS, tool_calls=[{"name": "stock", "args": {}, "id": "c1"}]),
        ToolMessage(ROWS, tool_call_id="c1"),
    ]
    out = PromptCompressor().invoke(messages)
    assert out[:3] == messages[:3]
    assert out[3].content != ROWS
    assert out[3].tool_call_id == "c1"
    assert PromptCompressor(system=True).invoke(messages)[0].content != ROWS


def test_a_budget_is_for_all_messages_together_and_the_question_stays_whole() -> None:
    out = PromptCompressor(max_tokens=45).invoke([HumanMessage(STORY), HumanMessage(STORY), HumanMessage(QUESTION)])
    assert out[2].content == QUESTION
    assert sum(tokens(message.content) for message in out[:2]) <= 45
    assert "Ida Holm" in out[0].content


@pytest.mark.parametrize("question", [QUESTION, lambda given: QUESTION])
def test_a_question_may_be_given_as_text_or_as_a_function_of_the_input(question: Any) -> None:
    out = PromptCompressor(ratio=0.4, question=question).invoke(STORY)
    assert "Ida Holm" in out
    assert tokens(out) <= 0.4 * tokens(STORY)


def test_a_question_that_fails_counts_and_changes_nothing_else() -> None:
    def failing(given: Any) -> str:
        raise KeyError("question")

    ledger = Ledger()
    assert PromptCompressor(ratio=0.5, question=failing, ledger=ledger).invoke(STORY) in STORY or ledger.faults()
    assert ledger.faults() == {("compressor", "KeyError"): 1}


def test_what_is_cut_can_be_recalled() -> None:
    store = MemoryRecallStore()
    out = PromptCompressor(max_tokens=60, store=store).invoke(STORY * 3)
    handle = out.split("recall ")[1].split()[0]
    assert store.get(handle) == STORY * 3


def test_savings_are_booked_in_dollars_for_whom_the_call_is() -> None:
    ledger = Ledger()
    compressor = PromptCompressor(ledger=ledger, model="gpt-4.1-mini", provider="openai")
    with attribute(feature="search"):
        out = compressor.invoke(ROWS)
    (saving,) = ledger.savings()
    saved = tokens(ROWS) - tokens(out)
    assert (saving.tokens, saving.cost_usd) == (saved, saved * Decimal("0.4") / 1_000_000)
    assert saving.attribution == Attribution(feature="search")


def test_in_shadow_the_saving_is_booked_and_nothing_changes() -> None:
    ledger = Ledger()
    assert PromptCompressor(ledger=ledger, mode="shadow").invoke(ROWS) == ROWS
    assert [saving.is_shadow for saving in ledger.savings()] == [True]


def test_a_backend_that_fails_leaves_the_prompt_as_it_was_or_within_its_budget() -> None:
    class Failing:
        def keep(self, text: str, *, question: str | None, max_tokens: int) -> Any:
            raise RuntimeError("no model")

    out = PromptCompressor(max_tokens=30, backend=Failing()).invoke(STORY)
    assert tokens(out) <= 30


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.5}, "give a share"),
        ({"max_tokens": -1}, "give 0 or more tokens"),
        ({"max_tokens": 0}, "leaves no room"),
        ({"max_tokens": 9, "lossless": True}, "cannot keep a budget"),
        ({"protect": ("(",)}, r"\("),
    ],
)
def test_a_wrong_setting_is_told_when_it_is_made(settings: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PromptCompressor(**settings)


def test_what_is_no_prompt_is_refused() -> None:
    with pytest.raises(TypeError, match="give a list of messages"):
        PromptCompressor().invoke([1, 2])


def test_it_stands_between_a_prompt_and_a_model() -> None:
    documents = "\n\n".join(document.page_content for document in [Document(STORY), Document(STORY.upper())])
    prompt = ChatPromptTemplate.from_messages([("system", "Answer briefly."), ("human", "{context}"), ("human", "{q}")])
    seen = RunnableLambda(lambda value: value.to_messages())
    out = (prompt | PromptCompressor(max_tokens=40) | seen).invoke({"context": documents, "q": QUESTION})
    assert [message.content for message in out[::2]] == ["Answer briefly.", QUESTION]
    assert tokens(out[1].content) <= 40
