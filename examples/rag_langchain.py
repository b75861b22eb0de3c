"""RAG in LangChain with fewer tokens: passages trimmed to what answers, tables written short.

`DocumentTrimmer` stands between the retriever and the prompt and keeps the sentences that answer the question;
`PromptCompressor` stands before the model and writes what is structured, here a price list in JSON, in fewer tokens
without losing anything. Runs on a provider of this machine, with no key and no network.

    python examples/rag_langchain.py
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_thrift import DocumentTrimmer, PromptCompressor
from pydantic import SecretStr
from thrift_core.demo.rates import RATES
from thrift_core.testing import ChatRequest, LocalProvider, Reply

PLACES = {"Oslo": 4100, "Lima": 5200, "Rome": 6300, "Cairo": 7400, "Quito": 8500, "Hanoi": 9600}
PRICES = [{"sku": f"BIKE-{n}", "warehouse": "Rotterdam", "price_eur": 300 + 7 * n, "stock": n % 5} for n in range(30)]
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer from the passages and the price list only."),
        ("user", "Price list:\n{prices}"),
        ("user", "Passages:\n{passages}\n\nQuestion: {question}"),
    ]
)


def handbook() -> list[Document]:
    """Return a page on each place: one sentence matters, the others are there in every handbook."""
    return [
        Document(
            f"The branch in {place} is one of the oldest of the company. It has a canteen and a car park for visitors. "
            f"The alarm code of the branch in {place} is {code}. Guests sign in at the desk and wear a badge. "
            f"In {place} the windows are cleaned in spring, and the heating is seen to in autumn by a local firm.",
            metadata={"source": place},
        )
        for place, code in PLACES.items()
    ]


def brain(request: ChatRequest) -> Reply:
    """Stands for the model: answers if what it needs is still in the prompt."""
    place = next(place for place in PLACES if place in request.question.rpartition("Question:")[2])
    known = str(PLACES[place]) in request.question
    return Reply(text=f"The code is {PLACES[place]}." if known else "I do not know.")


def ask_all(*, with_thrift: bool) -> tuple[list[str], Decimal]:
    """Return the answers and the provider's own bill."""
    with LocalProvider(brain, RATES) as provider:
        local: dict[str, Any] = {"base_url": provider.base_url, "api_key": SecretStr("local")}
        model: Runnable[Any, Any] = ChatOpenAI(model="gpt-5-mini", **local)
        # The local provider takes texts only; OpenAI's takes tokens as well.
        store = InMemoryVectorStore(OpenAIEmbeddings(check_embedding_ctx_length=False, **local))
        store.add_documents(handbook())
        found = {"documents": store.as_retriever(search_kwargs={"k": 5}), "question": RunnablePassthrough()}
        documents: Runnable[Any, Any] = RunnablePassthrough.assign(passages=lambda given: _joined(given["documents"]))
        if with_thrift:
            trimmer = DocumentTrimmer(max_tokens=80).as_runnable()
            documents = RunnablePassthrough.assign(documents=trimmer) | documents
            model = PromptCompressor() | model
        prices = RunnablePassthrough.assign(prices=lambda _: json.dumps(PRICES))
        chain = found | documents | prices | PROMPT | model | StrOutputParser()
        answers = [chain.invoke(f"What is the alarm code in {place}?") for place in PLACES]
        return answers, provider.bill.cost_usd or Decimal(0)


def _joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def main() -> None:
    """Ask with and without thrift."""
    before, full = ask_all(with_thrift=False)
    after, lean = ask_all(with_thrift=True)
    print(f"as it is     ${full:.6f}")
    print(f"with thrift  ${lean:.6f} ({lean / full:.0%}), answers the same: {after == before}")


if __name__ == "__main__":
    main()
