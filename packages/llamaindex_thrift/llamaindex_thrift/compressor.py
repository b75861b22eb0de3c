"""Retrieved nodes made shorter by what they hold, all of them kept."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import SkipValidation
from thrift_core.accounting.booking import Booking, BookingMode
from thrift_core.accounting.ledger import Ledger
from thrift_core.compression import Compressed, CompressionBackend, Compressor
from thrift_core.compression.parts import PartsCompressor
from thrift_core.recall.store import RecallStore

from llamaindex_thrift.nodes import changed, text_of


class NodeCompressor(BaseNodePostprocessor):
    """Shortens the text of each node by what it is: JSON, logs, code, tables, pages, prose.

    Every node stays, in its place, with its id, score, relationships and metadata; those that are shortened are copies,
    and `metadata["thrift"]` says what was done. Without a budget nothing is lost; with one, prose is cut to the
    sentences that answer the query. To drop whole nodes, use `TopKTrimmer`. Nodes that are not plain text pass as they
    are; if anything fails, all do.

    Args:
        max_tokens: the budget for the texts of all nodes together; None: none.
        ratio: at most this share of their tokens, more than 0 and at most 1; None: none.
        lossless: only what can be read back; None: so where there is no budget.
        protect: patterns of what may not be cut inside, in the syntax of the `regex` module.
        backend: a model that chooses what stays of prose.
        store: keeps the whole of what is cut; the text then says by which id it can be recalled.
        model: the model that reads the nodes, for the dollars booked.
        provider: who bills it.
        ledger: where savings are booked.
        mode: `shadow` books what would be saved and changes nothing.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> from llama_index.core.schema import TextNode
        >>> rows = ", ".join('{"sku": "SKU-%d", "warehouse": "Rotterdam"}' % n for n in range(9))
        >>> [kept] = NodeCompressor().postprocess_nodes([NodeWithScore(node=TextNode(text=f"[{rows}]"))])
        >>> len(kept.text) < len(rows) / 2
        True
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    max_tokens: int | None = None
    ratio: float | None = None
    lossless: bool | None = None
    protect: tuple[str, ...] = ()
    backend: SkipValidation[CompressionBackend | None] = Field(default=None, exclude=True)
    store: SkipValidation[RecallStore | None] = Field(default=None, exclude=True)
    model: str | None = None
    provider: str | None = None
    ledger: Ledger | None = Field(default=None, exclude=True)
    mode: BookingMode = "on"
    _parts: PartsCompressor = PrivateAttr()
    _booking: Booking = PrivateAttr()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._booking = Booking("compressor", self.ledger, model=self.model, provider=self.provider, mode=self.mode)
        self._parts = PartsCompressor(
            Compressor(store=self.store, protect=self.protect, backend=self.backend),
            self._booking,
            max_tokens=self.max_tokens,
            ratio=self.ratio,
            lossless=self.lossless,
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex shows."""
        return "NodeCompressor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [text_of(scored.node) for scored in nodes]
        places = [place for place, text in enumerate(texts) if text]
        question = None if query_bundle is None else query_bundle.query_str
        done = self._parts.compress([text for text in texts if text], question)
        if done is None:
            return list(nodes)
        out = list(nodes)
        for place, part in zip(places, done, strict=True):
            if part.saved_tokens:
                out[place] = changed(nodes[place], part.text, _provenance(part))
        return out

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._postprocess_nodes, nodes, query_bundle)


def _provenance(part: Compressed) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "tokens": part.tokens,
        "tokens_before": part.tokens_before,
        "is_lossless": part.is_lossless,
        "spans": [list(span) for span in part.spans],
        "reason": part.note,
        "recall": part.handle,
    }
