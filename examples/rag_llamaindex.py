"""RAG in LlamaIndex with fewer tokens: nodes trimmed to what answers, and answers kept while documents stay the same.

`TopKTrimmer` is a postprocessor that keeps the sentences that answer the query; `CachedQueryEngine` retrieves and asks
the LLM only if no answer is known that rests on the same documents. Once a document changes, its answers are misses.
Runs on a provider of this machine, with no key and no network.

    python examples/rag_llamaindex.py
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.embeddings import BaseEmbedding
from llama_index.llms.openai import OpenAI
from llamaindex_thrift import CachedQueryEngine, TopKTrimmer
from thrift_core import SemanticCache
from thrift_core.demo.rates import RATES
from thrift_core.testing import ChatRequest, LocalProvider, Reply, hashed_vector, words_of

CODES = {"Oslo": 4100, "Lima": 5200, "Rome": 6300, "Cairo": 7400, "Quito": 8500, "Hanoi": 9600}


def page(place: str, code: int) -> Document:
    """Return a page of a handbook: one sentence matters, the others are there in every handbook."""
    text = (
        f"The branch in {place} is one of the oldest of the company. It has a canteen and a car park for visitors. "
        f"The alarm code of the branch in {place} is {code}. Guests sign in at the desk and wear a badge. "
        f"In {place} the windows are cleaned in spring, and the heating is seen to in autumn by a local firm."
    )
    return Document(text=text, doc_id=place)


class Embedding(BaseEmbedding):
    """Stands for an embedding model: texts are near that share words."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return hashed_vector(Counter(words_of(text)), 4096)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def brain(request: ChatRequest) -> Reply:
    """Stands for the model: reads the code from what is in the prompt."""
    prompt = request.question
    place = next(place for place in CODES if f"code in {place}" in prompt)
    found = re.search(rf"alarm code of the branch in {place} is (\d+)", prompt)
    return Reply(text=f"The code is {found[1]}." if found else "I do not know.")


def ask_all(*, with_thrift: bool) -> tuple[list[str], Decimal]:
    """Return the answers, before and after a code is changed, and the provider's own bill."""
    with LocalProvider(brain, RATES) as provider:
        llm = OpenAI(model="gpt-5-mini", api_base=provider.base_url, api_key="local")
        pages = [page(*each) for each in CODES.items()]
        index = VectorStoreIndex.from_documents(pages, embed_model=Embedding())
        trimmers, cache = [TopKTrimmer(max_tokens=80)], SemanticCache()

        def ask(question: str) -> str:
            # A new engine each time: one of LlamaIndex's keeps to the nodes that were there when it was made.
            engine: BaseQueryEngine = index.as_query_engine(
                llm=llm, similarity_top_k=5, node_postprocessors=trimmers if with_thrift else []
            )
            return str((CachedQueryEngine(engine, cache) if with_thrift else engine).query(question))

        asked = [f"What is the alarm code in {place}?" for place in CODES]
        answers = [ask(question) for question in asked * 2]
        index.update_ref_doc(page("Oslo", 4199))
        answers.append(ask(asked[0]))
        return answers, provider.bill.cost_usd or Decimal(0)


def main() -> None:
    """Ask with and without thrift."""
    before, full = ask_all(with_thrift=False)
    after, lean = ask_all(with_thrift=True)
    print(f"as it is     ${full:.6f}")
    print(f"with thrift  ${lean:.6f} ({lean / full:.0%}), answers the same: {after == before}")
    print(f"after the change: {after[-1]}")


if __name__ == "__main__":
    main()
