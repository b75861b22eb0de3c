"""Retrieved nodes cut down to what answers the query, inside an exact token budget."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    MetadataMode,
    NodeWithScore,
    QueryBundle,
)
from llama_index_instrumentation import get_dispatcher
from thrift_core.accounting.booking import BookingMode
from thrift_core.accounting.ledger import Ledger
from thrift_core.recall.store import RecallStore
from thrift_core.relevance.passage import Cut, Passage, Trimmed
from thrift_core.retrieval import trimmer as core
from thrift_core.retrieval.query_trimmer import QueryTrimmer, trimmer_of
from thrift_core.retrieval.settings import Order

from llamaindex_thrift.nodes import changed, text_of, with_text

# Stands for a node's text while its template is rendered; no text holds it.
_TEXT = "\ufdd0thrift\ufdd1"
_dispatcher = get_dispatcher(__name__)


class PassagesTrimmed(BaseEvent):
    """What the trimmer did with the nodes of one query.

    Attributes:
        kept: how many nodes are left.
        dropped: how many are not.
        tokens: what is left costs, metadata as the prompt shows it included.
        risk: the estimated chance that the answer was in what is gone.
        note: what was done, in words.
    """

    kept: int
    dropped: int
    tokens: int
    risk: float
    note: str

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex shows."""
        return "PassagesTrimmed"


class TopKTrimmer(BaseNodePostprocessor):
    """Keeps the nodes, and the sentences of them, that answer the query.

    Nodes come out as copies with their ids, scores, relationships and metadata, in the order asked for.
    `metadata["thrift"]` says which spans were kept, and the first node's also which nodes were dropped; no prompt and
    no embedding shows it. Tokens are counted as the
    node's template renders it, metadata included. Nodes that are not plain text, such as images, pass as they are.
    If anything fails, or there is no query, all nodes pass as they are.

    Args:
        max_tokens: the budget for all nodes together; None: no limit.
        top_k: at most so many nodes; None: no limit.
        quality_floor: keep as few tokens as keep the answer with this chance; needs a `trimmer` with a calibration.
        order: `relevance`, `original` or `edges`.
        trimmer: a `thrift_core` trimmer of your own settings, in place of the four above.
        recall_store: keeps the whole text of what is cut or dropped, such as the trajectory summarizer's store, so
            that the same `recall` tool gives it back; the ids are in the metadata. Not beside a `trimmer`, which has
            its own.
        is_ranked: whether the nodes come in the retriever's order, best first.
        metadata_mode: which metadata the prompt shows.
        title_keys: where in the metadata a node's title may be.
        ledger: where savings are booked.
        model: the model that reads the nodes, to book dollars.
        provider: who bills it.
        is_in_cached_prefix: the same nodes stand before reused history in call after call; see `QueryTrimmer`.
        cached_tokens_after: how many tokens of reused history stand behind them.
        mode: `shadow` books what would be saved and cuts nothing.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> from llama_index.core.schema import TextNode
        >>> nodes = [NodeWithScore(node=TextNode(text="Bees dance. They point to flowers.", id_="a"), score=0.9)]
        >>> [kept] = TopKTrimmer(max_tokens=4).postprocess_nodes(nodes, query_str="Why do bees dance?")
        >>> kept.node_id, kept.score, kept.text
        ('a', 0.9, 'Bees dance.')
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    max_tokens: int | None = None
    top_k: int | None = None
    quality_floor: float | None = None
    order: Order = "relevance"
    trimmer: core.TopKTrimmer | None = Field(default=None, exclude=True)
    recall_store: RecallStore | None = Field(default=None, exclude=True)
    is_ranked: bool = True
    metadata_mode: MetadataMode = MetadataMode.LLM
    title_keys: tuple[str, ...] = ("title",)
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

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex shows."""
        return "TopKTrimmer"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            return list(nodes)
        _dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_k or len(nodes), model_name="thrift")
        )
        kept, trimmed = self._trimmed(nodes, query_bundle.query_str)
        if trimmed is not None:
            _dispatcher.event(
                PassagesTrimmed(
                    kept=len(trimmed.kept),
                    dropped=len(trimmed.dropped),
                    tokens=trimmed.tokens,
                    risk=trimmed.risk,
                    note=trimmed.note,
                )
            )
        _dispatcher.event(ReRankEndEvent(nodes=kept))
        return kept

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._postprocess_nodes, nodes, query_bundle)

    def _trimmed(self, nodes: list[NodeWithScore], question: str) -> tuple[list[NodeWithScore], Trimmed | None]:
        try:
            passages = [self._passage(node, place) for place, node in enumerate(nodes)]
        except Exception as error:  # a template that its own metadata break, for one
            self._queries.note(error)
            return list(nodes), None
        trimmed = self._queries.trim(passages, question)
        if trimmed is None:
            return list(nodes), None
        return [_copy(nodes[cut.index], cut, trimmed) for cut in trimmed.kept], trimmed

    def _passage(self, scored: NodeWithScore, place: int) -> Passage:
        node = scored.node
        text = text_of(node)
        rank = place + 1 if self.is_ranked else None
        if text is None:
            shown = node.get_content(metadata_mode=self.metadata_mode)
            return Passage(id=node.node_id, text="", before=shown, score=scored.score, rank=rank, is_opaque=True)
        rendered = with_text(node, _TEXT).get_content(metadata_mode=self.metadata_mode)
        before, _, after = rendered.partition(_TEXT)
        title = next((node.metadata[key] for key in self.title_keys if node.metadata.get(key)), "")
        return Passage(
            id=node.node_id,
            text=text,
            title=str(title),
            score=scored.score,
            rank=rank,
            source=node.ref_doc_id,
            before=before,
            after=after,
        )


def _copy(scored: NodeWithScore, cut: Cut, trimmed: Trimmed) -> NodeWithScore:
    return scored if cut.passage.is_opaque else changed(scored, cut.text, _provenance(cut, trimmed))


def _provenance(cut: Cut, trimmed: Trimmed) -> dict[str, Any]:
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
    return provenance
