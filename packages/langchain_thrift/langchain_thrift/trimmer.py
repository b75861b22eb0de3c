"""Retrieved documents cut down to what answers the query, inside an exact token budget."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.prompts import BasePromptTemplate, format_document
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import ConfigDict, Field, PrivateAttr
from thrift_core.accounting.booking import BookingMode
from thrift_core.accounting.ledger import Ledger
from thrift_core.recall.store import RecallStore
from thrift_core.relevance.passage import Cut, Passage, Trimmed
from thrift_core.retrieval.query_trimmer import QueryTrimmer, trimmer_of
from thrift_core.retrieval.settings import Order
from thrift_core.retrieval.trimmer import TopKTrimmer

PROVENANCE = "thrift"
# Stands for a document's text while its prompt is rendered; no text holds it.
_TEXT = "\ufdd0thrift\ufdd1"


class DocumentTrimmer(BaseDocumentCompressor):
    """Keeps the documents, and the sentences of them, that answer the query.

    For `ContextualCompressionRetriever`, or between a retriever and a prompt as `trimmer.as_runnable()`. Documents come
    out as copies with their ids and metadata, in the order asked for; `metadata["thrift"]` says which spans were kept,
    how relevant they are, and which near-duplicates were merged; the first document's also names those that were
    dropped. If anything fails, the documents come out as they came in, with one warning.

    Args:
        max_tokens: the budget for all documents together; None: no limit.
        top_k: at most so many documents; None: no limit.
        quality_floor: keep as few tokens as keep the answer with this chance; needs a `trimmer` with a calibration.
        order: `relevance`, `original` or `edges`.
        trimmer: a `TopKTrimmer` of your own settings, in place of the four above.
        recall_store: keeps the whole text of what is cut or dropped, such as the trajectory summarizer's store, so
            that the same `recall` tool gives it back; the ids are in the metadata. Not beside a `trimmer`, which has
            its own.
        is_ranked: whether the documents come in the retriever's order, best first.
        document_prompt: how your prompt shows a document, so that what it adds is counted; None: the text alone.
        score_keys: where in the metadata the retriever's score may be, higher is better.
        title_keys: where its title may be.
        source_keys: where the document that it is a piece of may be.
        ledger: where savings are booked.
        model: the model that reads the documents, to book dollars.
        provider: who bills it.
        is_in_cached_prefix: the same documents stand before reused history in call after call; see `QueryTrimmer`.
        cached_tokens_after: how many tokens of reused history stand behind them.
        mode: `shadow` books what would be saved and cuts nothing.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> documents = [Document("Bees dance. They point to flowers.", id="a"), Document("Ants march.", id="b")]
        >>> [kept] = DocumentTrimmer(max_tokens=8).compress_documents(documents, "Why do bees dance?")
        >>> kept.id, kept.page_content
        ('a', 'Bees dance.')
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    max_tokens: int | None = None
    top_k: int | None = None
    quality_floor: float | None = None
    order: Order = "relevance"
    trimmer: TopKTrimmer | None = Field(default=None, exclude=True)
    recall_store: RecallStore | None = Field(default=None, exclude=True)
    is_ranked: bool = True
    document_prompt: BasePromptTemplate[str] | None = None
    score_keys: tuple[str, ...] = ("relevance_score", "score")
    title_keys: tuple[str, ...] = ("title",)
    source_keys: tuple[str, ...] = ("source",)
    ledger: Ledger | None = Field(default=None, exclude=True)
    model: str | None = None
    provider: str | None = None
    is_in_cached_prefix: bool = False
    cached_tokens_after: int = 0
    mode: BookingMode = "on"
    _queries: QueryTrimmer = PrivateAttr()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._queries = QueryTrimmer(
            trimmer_of(
                self.trimmer,
                max_tokens=self.max_tokens,
                top_k=self.top_k,
                quality_floor=self.quality_floor,
                order=self.order,
                recall_store=self.recall_store,
            ),
            self.ledger,
            model=self.model,
            provider=self.provider,
            is_in_cached_prefix=self.is_in_cached_prefix,
            cached_tokens_after=self.cached_tokens_after,
            mode=self.mode,
        )

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return copies of the documents that are kept, cut to what is kept of them."""
        try:
            passages = [self._passage(document, place) for place, document in enumerate(documents)]
        except Exception as error:  # a prompt that needs metadata which a document lacks, for one
            self._queries.note(error)
            return list(documents)
        trimmed = self._queries.trim(passages, query)
        if trimmed is None:
            return list(documents)
        return [_copy(documents[cut.index], cut, trimmed) for cut in trimmed.kept]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Do what `compress_documents` does, off the event loop."""
        return await asyncio.to_thread(self.compress_documents, documents, query, callbacks)

    def as_runnable(
        self, documents_key: str = "documents", question_key: str = "question"
    ) -> Runnable[Mapping[str, Any], list[Document]]:
        """Return a runnable from a mapping with documents and a question to the documents that are kept.

        Args:
            documents_key: under which the documents stand.
            question_key: under which the question stands.
        """

        def trim(given: Mapping[str, Any]) -> list[Document]:
            return list(self.compress_documents(given[documents_key], given[question_key]))

        async def atrim(given: Mapping[str, Any]) -> list[Document]:
            return list(await self.acompress_documents(given[documents_key], given[question_key]))

        return RunnableLambda(trim, atrim, name="DocumentTrimmer")

    def _passage(self, document: Document, place: int) -> Passage:
        metadata = document.metadata
        before, after = self._around(document)
        score = _first(metadata, self.score_keys)
        is_score = isinstance(score, int | float) and not isinstance(score, bool)
        source = _first(metadata, self.source_keys)
        return Passage(
            id=document.id if document.id is not None else str(place),
            text=document.page_content,
            title=str(_first(metadata, self.title_keys) or ""),
            score=float(score) if is_score else None,
            rank=place + 1 if self.is_ranked else None,
            source=None if source is None else str(source),
            before=before,
            after=after,
        )

    def _around(self, document: Document) -> tuple[str, str]:
        """Return what the app's prompt shows before and after the document's text."""
        if self.document_prompt is None:
            return "", ""
        marked = Document(page_content=_TEXT, metadata=document.metadata)
        before, _, after = format_document(marked, self.document_prompt).partition(_TEXT)
        return before, after


def _first(metadata: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((metadata[key] for key in keys if metadata.get(key) is not None), None)


def _copy(document: Document, cut: Cut, trimmed: Trimmed) -> Document:
    provenance: dict[str, Any] = {
        "score": cut.score,
        "spans": [[span.start, span.end] for span in cut.spans],
        "tokens": cut.tokens,
        "reason": cut.reason,
        "also": [passage.id for passage in cut.also],
        "recall": cut.handle,
    }
    if cut is trimmed.kept[0]:
        provenance["dropped"] = [{"id": gone.id, "recall": gone.handle} for gone in trimmed.dropped]
    return document.model_copy(
        update={"page_content": cut.text, "metadata": {**document.metadata, PROVENANCE: provenance}}
    )
