"""The support workload: every question has one right answer, and the model has it only from the prompt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from langchain_thrift.demo.support import QUESTIONS, SYSTEM, WORKLOAD, faq_text, questions, support_brain
from langchain_thrift.demo.support_faq import FAQ, Entry
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.report import summarise
from thrift_core.demo import ROWS, Result, Row, Setup, Workload, run_row
from thrift_core.messages import Message
from thrift_core.testing import ChatRequest


def answer(question: str, faq: str) -> str:
    messages = (Message("system", SYSTEM.format(faq=faq)), Message("user", question))
    return support_brain(ChatRequest(api="chat", model="m", messages=messages)).text


def test_a_fact_tells_its_answer_from_all_others() -> None:
    for entry in FAQ:
        assert [other.id for other in FAQ if entry.fact in other.answer] == [entry.id]


def test_no_two_entries_are_asked_the_same_way() -> None:
    phrasings = Counter(text.lower() for entry in FAQ for text in (entry.question, *entry.asked))
    assert max(phrasings.values()) == 1
    assert len(phrasings) == 5 * len(FAQ)


@pytest.mark.parametrize("entry", FAQ, ids=lambda entry: entry.id)
def test_each_phrasing_gets_its_own_answer_and_none_without_its_entry(entry: Entry) -> None:
    rest = faq_text().replace(f"[{entry.id}] {entry.question}\n{entry.answer}", "")
    for text in (entry.question, *entry.asked):
        assert entry.fact in answer(text, faq_text())
        assert entry.fact not in answer(text, rest)


def test_what_the_faq_does_not_cover_is_not_answered() -> None:
    assert "do not have an answer" in answer("Which horse will win on Sunday afternoon?", faq_text())


def test_the_stream_is_seeded_popular_and_varied() -> None:
    stream = questions(5)
    assert stream == questions(5) != questions(6)
    popularity = sorted(Counter(question.entry_id for question in stream).values(), reverse=True)
    assert sum(popularity[:8]) > 0.4 * QUESTIONS
    assert len({question.text for question in stream}) > 0.6 * QUESTIONS


def test_all_questions_are_answered_and_the_ledger_says_what_the_provider_billed() -> None:
    ledger = Ledger()
    row = run_row(Row("as is", lambda _: None), [WORKLOAD], model="gpt-4.1-mini", ledger=ledger)
    done = row.figures["support"]
    assert (done.resolved, done.tasks, done.spend.calls) == (QUESTIONS, WORKLOAD.tasks, QUESTIONS)
    assert done.spend.cost_usd == done.billed_usd
    assert done.spend.cached_share > 0.8


def test_with_a_cache_the_answers_are_the_same_and_cost_less() -> None:
    answers: dict[str, list[str]] = {}

    def kept(name: str) -> Workload:
        def run(setup: Setup) -> Result:
            result = WORKLOAD.run(setup)
            answers[name] = [outcome.answer for outcome in result.outcomes]
            return result

        return replace(WORKLOAD, run=run)

    figures = {}
    ledger = Ledger()
    for row in (ROWS[0], ROWS[-1]):
        done = run_row(row, [kept(row.name)], model="gpt-4.1-mini", ledger=ledger)
        figures[row.name] = done.figures["support"]
    plain, cached = figures[ROWS[0].name], figures[ROWS[-1].name]
    assert answers[ROWS[0].name] == answers[ROWS[-1].name]
    assert cached.resolved == plain.resolved == QUESTIONS
    assert cached.spend.cost_usd == cached.billed_usd
    assert cached.spend.cost_usd < plain.spend.cost_usd * 4 / 5
    (use,) = summarise(ledger, feature="support").cache
    assert use.requests == QUESTIONS
    assert use.differed == 0
    assert use.saved_usd > 0
