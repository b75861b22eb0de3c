"""The documentation workload: answers come from the retrieved context and from nowhere else."""

from __future__ import annotations

from pydoc_data.topics import topics

import pytest
from llamaindex_thrift.demo.docs import WORKLOAD, docs_brain, plain
from llamaindex_thrift.demo.docs_questions import QUESTIONS
from llamaindex_thrift.demo.hashing_embedding import HashingEmbedding
from thrift_core.accounting.ledger import Ledger
from thrift_core.demo import Row, run_row
from thrift_core.messages import Message
from thrift_core.testing import ChatRequest


def answer(question: str, context: str) -> str:
    prompt = f"Context information is below.\n-----\n{context}\n-----\nQuery: {question}\nAnswer: "
    return docs_brain(ChatRequest(api="chat", model="m", messages=(Message("user", prompt),))).text


def test_every_fact_stands_in_the_documentation_of_this_python() -> None:
    pages = [plain(text) for text in topics.values()]
    assert [question.fact for question in QUESTIONS if not any(plain(question.fact) in page for page in pages)] == []


def test_the_model_quotes_the_context_and_knows_nothing_without_it() -> None:
    question = QUESTIONS[0]
    page = topics["assert"]
    assert question.fact in plain(answer(question.text, page))
    assert question.fact not in plain(answer(question.text, page.replace("emits no code", "does something")))
    assert answer(question.text, "") == "The context does not answer this."


def test_the_engine_answers_most_questions_and_the_ledger_says_what_the_provider_billed() -> None:
    ledger = Ledger()
    row = run_row(Row("as is", lambda _: None), [WORKLOAD], model="gpt-5-mini", ledger=ledger)
    done = row.figures["docs"]
    assert done.tasks == done.spend.calls == WORKLOAD.tasks
    assert done.resolved >= 0.85 * done.tasks
    assert done.spend.cost_usd == done.billed_usd
    assert done.spend.unpriced_calls == done.spend.estimated_calls == 0


def test_trimmed_passages_leave_every_right_answer_and_cost_less() -> None:
    ledger = Ledger()
    rows = [Row("as is", lambda _: None), Row("trimmed", lambda _: None, passage_tokens=1_200)]
    plain_row, trimmed = (run_row(row, [WORKLOAD], model="gpt-5-mini", ledger=ledger).figures["docs"] for row in rows)
    assert trimmed.resolved >= plain_row.resolved
    assert trimmed.spend.usage.input_tokens < 0.6 * plain_row.spend.usage.input_tokens
    assert trimmed.spend.cost_usd < plain_row.spend.cost_usd


async def test_rare_words_count_for_more() -> None:
    texts = ["the cat and the dog", "the bird and the dog", "the fish and the dog"]
    embedding = HashingEmbedding(texts)
    query = embedding.get_query_embedding("the dog or the bird")
    scores = [embedding.similarity(query, embedding.get_text_embedding(text)) for text in texts]
    assert max(scores) == scores[1]
    assert await embedding.aget_query_embedding("the dog or the bird") == query


@pytest.mark.parametrize("text", ["", "...", "the"])
def test_a_text_without_weight_has_no_direction(text: str) -> None:
    assert set(HashingEmbedding(["the", "the"]).get_text_embedding(text)) == {0.0}
