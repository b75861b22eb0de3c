import copy
import logging
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_thrift.trimmer import DocumentTrimmer
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.prices import PriceBook
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.recall.tool import recall
from thrift_core.retrieval.trimmer import TopKTrimmer
from thrift_core.token_counters import default_counter

QUESTION = "Why does a bee dance?"


def _documents() -> list[Document]:
    return [
        Document(
            "Ants march in lines. Their queen lays all the eggs.", id="ants", metadata={"source": "a.md", "page": 1}
        ),
        Document(
            "Bees live in hives. A bee dances to tell the others where the flowers are. They sleep at night.",
            id="bees",
            metadata={"source": "b.md", "page": 2, "tags": ["insect"], "relevance_score": 0.4},
        ),
        Document("Crabs walk sideways. Their shells are hard.", metadata={"source": "c.md"}),
    ]


def _trim(trimmer: DocumentTrimmer, documents: list[Document] | None = None) -> list[Document]:
    return list(trimmer.compress_documents(_documents() if documents is None else documents, QUESTION))


def test_the_sentence_that_answers_is_kept_with_id_and_metadata() -> None:
    [kept] = _trim(DocumentTrimmer(max_tokens=14))
    assert kept.page_content == "A bee dances to tell the others where the flowers are."
    assert kept.id == "bees"
    assert {key: kept.metadata[key] for key in ("source", "page", "tags", "relevance_score")} == {
        "source": "b.md",
        "page": 2,
        "tags": ["insect"],
        "relevance_score": 0.4,
    }


def test_provenance_says_which_span_was_kept() -> None:
    [kept] = _trim(DocumentTrimmer(max_tokens=14))
    provenance = kept.metadata["thrift"]
    [[start, end]] = provenance["spans"]
    assert _documents()[1].page_content[start:end] == kept.page_content
    assert provenance["tokens"] <= 14
    assert provenance["score"] > 0.5


def test_the_documents_given_are_not_touched() -> None:
    documents = _documents()
    before = copy.deepcopy(documents)
    _trim(DocumentTrimmer(max_tokens=14), documents)
    _trim(DocumentTrimmer(), documents)
    assert documents == before


async def test_async_is_the_same_as_sync() -> None:
    trimmer = DocumentTrimmer(max_tokens=14)
    assert await trimmer.acompress_documents(_documents(), QUESTION) == _trim(trimmer)


async def test_as_a_runnable_it_stands_between_a_retriever_and_a_prompt() -> None:
    class Fixed(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
            return _documents()

    chain = {"documents": Fixed(), "question": RunnablePassthrough()} | DocumentTrimmer(max_tokens=14).as_runnable()
    assert [document.id for document in chain.invoke(QUESTION)] == ["bees"]
    assert await chain.ainvoke(QUESTION) == chain.invoke(QUESTION)


def test_a_runnable_reads_the_keys_it_is_told() -> None:
    runnable = DocumentTrimmer(max_tokens=14).as_runnable("context", "input")
    assert [document.id for document in runnable.invoke({"context": _documents(), "input": QUESTION})] == ["bees"]


def test_the_retrievers_order_counts_and_may_be_switched_off() -> None:
    documents = [Document(f"Paragraph about {thing}.", id=thing) for thing in ("cups", "owls", "kites")]
    ranked, unranked = (DocumentTrimmer(is_ranked=is_ranked, top_k=1) for is_ranked in (True, False))
    assert [d.id for d in ranked.compress_documents(documents, "What now?")] == ["cups"]
    reversed_order = documents[::-1]
    assert [d.id for d in ranked.compress_documents(reversed_order, "What now?")] == ["kites"]
    assert [d.id for d in unranked.compress_documents(documents, "About owls?")] == ["owls"]


def test_what_the_prompt_adds_to_a_document_is_counted() -> None:
    prompt = PromptTemplate.from_template("Source: {source}\n{page_content}\n---")
    kept = _trim(DocumentTrimmer(max_tokens=26, document_prompt=prompt))
    shown = "\n\n".join(prompt.format(page_content=d.page_content, source=d.metadata["source"]) for d in kept)
    assert "A bee dances" in shown
    assert default_counter().count(shown) <= 26


def test_a_prompt_that_a_document_does_not_fit_leaves_the_documents(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    trimmer = DocumentTrimmer(
        max_tokens=14, ledger=ledger, document_prompt=PromptTemplate.from_template("{x}{page_content}")
    )
    with caplog.at_level(logging.WARNING, "thrift"):
        assert _trim(trimmer) == _documents()
    assert ledger.faults() == {("trimmer", "ValueError"): 1}


@pytest.mark.parametrize("score", [0, 0.0, "high", None, True, float("nan")])
def test_any_score_in_the_metadata_passes(score: Any) -> None:
    documents = [d.model_copy(update={"metadata": {**d.metadata, "score": score}}) for d in _documents()]
    assert [d.id for d in _trim(DocumentTrimmer(max_tokens=14), documents)] == ["bees"]


def test_near_duplicates_are_named_by_id() -> None:
    text = " ".join(f"Fact number {n} is that thing {n} has property {n * n}." for n in range(20))
    documents = [Document(text, id="one"), Document(text + " ", id="two")]
    [kept] = _trim(DocumentTrimmer(), documents)
    assert (kept.id, kept.metadata["thrift"]["also"]) == ("one", ["two"])


def test_what_is_cut_can_be_recalled() -> None:
    core = TopKTrimmer(14, recall_store=MemoryRecallStore())
    [kept] = _trim(DocumentTrimmer(trimmer=core))
    assert core.recall(kept.metadata["thrift"]["recall"]) == _documents()[1].page_content


def test_what_is_cut_or_dropped_is_given_back_by_the_recall_tool() -> None:
    store = MemoryRecallStore()
    [kept] = _trim(DocumentTrimmer(max_tokens=14, recall_store=store))
    provenance = kept.metadata["thrift"]
    assert recall(store, {"id": provenance["recall"]}) == _documents()[1].page_content
    gone = {recall(store, {"id": dropped["recall"]}) for dropped in provenance["dropped"]}
    assert gone == {_documents()[0].page_content, _documents()[2].page_content}


def test_a_trimmer_has_its_own_store() -> None:
    with pytest.raises(ValueError, match="either a trimmer or a recall_store"):
        DocumentTrimmer(trimmer=TopKTrimmer(14), recall_store=MemoryRecallStore())


def test_a_query_books_what_it_saves() -> None:
    ledger = Ledger(prices=PriceBook({"reader": {"input": "2", "output": "8"}}))
    _trim(DocumentTrimmer(max_tokens=14, ledger=ledger, model="reader"))
    [saving] = ledger.savings()
    assert saving.lever == "trimmer"
    assert saving.cost_usd is not None
    assert saving.cost_usd * 1_000_000 == 2 * saving.tokens > 0


def test_no_documents_give_none() -> None:
    assert _trim(DocumentTrimmer(max_tokens=14), []) == []


def test_a_setting_that_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_tokens must be a whole number"):
        DocumentTrimmer(max_tokens=-1)
