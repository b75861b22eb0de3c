"""The documentation workload: a query engine over CPython's own language reference, which every Python carries."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from thrift_core.demo import Result, Setup, Workload, reasoning_tokens
from thrift_core.testing import ChatRequest, Reply, words_of

from llamaindex_thrift.costs import track_costs
from llamaindex_thrift.demo.docs_questions import QUESTIONS
from llamaindex_thrift.demo.hashing_embedding import HashingEmbedding
from llamaindex_thrift.demo.open_ai import sync_llm
from llamaindex_thrift.trimmer import TopKTrimmer

if TYPE_CHECKING:
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.llms.llm import LLM
    from llama_index.core.postprocessor.types import BaseNodePostprocessor

_TOP_K = 8
_CHUNK_TOKENS = 400
_OVERLAP_TOKENS = 40
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_UNKNOWN = "The context does not answer this."
_FACTS = {question.text: question.fact for question in QUESTIONS}


def docs_brain(request: ChatRequest) -> Reply:
    """Answer with the sentence of the context that answers the question, if the request shows it.

    This is the scripted model's understanding: it recognises the answer, but has nothing except the context to quote.
    """
    text = "\n".join(message.text for message in request.messages)
    question = _question(text)
    context = plain(text.replace(question, ""))
    fact = _FACTS.get(question)
    sentences = _SENTENCE_END.split(context)
    quoted = _around(sentences, plain(fact)) if fact else None
    return Reply(text=quoted or _nearest(sentences, question), reasoning_tokens=reasoning_tokens(request.model, 128))


def docs_cheap_brain(request: ChatRequest) -> Reply:
    """Answer as a weaker model does: with the sentence that has most of the question's words, right or wrong."""
    text = "\n".join(message.text for message in request.messages)
    question = _question(text)
    sentences = _SENTENCE_END.split(plain(text.replace(question, "")))
    return Reply(text=_nearest(sentences, question), reasoning_tokens=reasoning_tokens(request.model, 128))


def run_docs(setup: Setup) -> Result:
    """Build the index and ask every question."""
    outcomes = []
    with _event_loop(), sync_llm(setup) as llm, track_costs(setup.ledger):
        engine = query_engine(llm, _trimmers(setup))
        for number, question in enumerate(QUESTIONS, start=1):
            task = f"{number:02d}"
            with setup.working_on(task):
                answer = str(engine.query(question.text))
            is_resolved = plain(question.fact) in plain(answer)
            outcomes.append(setup.settle(task, answer, is_resolved=is_resolved))
    return Result(name=setup.workload, outcomes=tuple(outcomes))


def query_engine(llm: LLM, postprocessors: Sequence[BaseNodePostprocessor] = ()) -> BaseQueryEngine:
    """Return a query engine over the language reference's topics.

    Args:
        llm: what answers.
        postprocessors: what the retrieved nodes go through.
    """
    documents = [Document(text=text, metadata={"topic": name}) for name, text in sorted(topics.items())]
    splitter = SentenceSplitter(chunk_size=_CHUNK_TOKENS, chunk_overlap=_OVERLAP_TOKENS)
    nodes = splitter.get_nodes_from_documents(documents)
    embedding = HashingEmbedding(node.get_content() for node in nodes)
    index = VectorStoreIndex(nodes, embed_model=embedding)
    return index.as_query_engine(llm=llm, similarity_top_k=_TOP_K, node_postprocessors=list(postprocessors))


def _trimmers(setup: Setup) -> list[BaseNodePostprocessor]:
    if setup.passage_tokens is None:
        return []
    return [TopKTrimmer(max_tokens=setup.passage_tokens, title_keys=("topic",), ledger=setup.ledger, model=setup.model)]


def plain(text: str) -> str:
    """Return the text with every run of blanks as one space."""
    return " ".join(text.split())


@contextmanager
def _event_loop() -> Generator[None]:
    """Give the thread an event loop and close it, which LlamaIndex's synchronous engine would make and leave open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _question(text: str) -> str:
    found = re.search(r"(?m)^Query: (.*)$", text)
    return found[1].strip() if found else ""


def _around(sentences: list[str], fact: str) -> str | None:
    """Return the shortest run of sentences that has the fact, or None."""
    for length in (1, 2, 3):
        for start in range(len(sentences) - length + 1):
            run = " ".join(sentences[start : start + length])
            if fact in run:
                return run
    return None


def _nearest(sentences: list[str], question: str) -> str:
    wanted = set(words_of(question))
    best = max(sentences, key=lambda sentence: len(wanted & set(words_of(sentence))), default="")
    return best if len(wanted & set(words_of(best))) >= 3 else _UNKNOWN


WORKLOAD = Workload(
    name="docs",
    about=f"a LlamaIndex query engine over Python's language reference; {len(QUESTIONS)} questions",
    tasks=len(QUESTIONS),
    brain=docs_brain,
    run=run_docs,
    cheap_brain=docs_cheap_brain,
)
