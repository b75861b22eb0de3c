"""Answers of a query engine as the cache keeps them, and the documents that they rest on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc
from pydantic import BaseModel
from thrift_core.caching.semantic.answer import Hit
from thrift_core.caching.semantic.serving import pieces, provenance

from llamaindex_thrift.answers import NotKept, areplayed_stream, object_payload, replayed_stream
from llamaindex_thrift.cached_call import Kept

_VERSION = 1


def versions(nodes: Sequence[NodeWithScore]) -> list[list[str]]:
    """Return which nodes these are and what they say, in an order that does not depend on how they were found."""
    return sorted([node.node.node_id, node.node.hash] for node in nodes)


class EngineAnswers:
    """Writes and reads the answers to one query.

    Args:
        nodes: what was retrieved for it.
        output_cls: the class that the engine answers with, if it answers with objects.
    """

    def __init__(self, nodes: Sequence[NodeWithScore], output_cls: type[BaseModel] | None) -> None:
        self._nodes = {node.node.node_id: node for node in nodes}
        self._output_cls = output_cls

    def kept(self, response: RESPONSE_TYPE) -> Kept:
        """Return an answer to be kept.

        Raises:
            NotKept: it is empty, or could not be brought back as it was.
        """
        if isinstance(response, PydanticResponse):
            if response.response is None or type(response.response) is not self._output_cls:
                raise NotKept("an object of another class than the engine's")
            return self._kept("object", object_payload(self._output_cls, response.response), response)
        if not isinstance(response, Response) or not response.response:
            raise NotKept("no text")
        return self._kept("text", response.response, response)

    def streamed(self, text: str, response: RESPONSE_TYPE) -> Kept:
        """Return the answer of a stream that came to its end; raises as `kept` does."""
        return self._kept("stream", text, response)

    def read(self, hit: Hit, *, is_async: bool = False) -> RESPONSE_TYPE:
        """Return a stored answer as the engine would give it.

        Raises:
            ValueError, TypeError, KeyError: nothing that we wrote.
        """
        value = json.loads(hit.answer.payload)
        if value["v"] != _VERSION:
            raise ValueError(f"an answer of version {value['v']!r} is not known")
        sources = [self._source(source) for source in value["sources"]]
        metadata = {**value["metadata"], "thrift": provenance(hit)}
        said: str = value["said"]
        if value["kind"] == "object":
            if self._output_cls is None:
                raise ValueError("the engine answers with text")
            return PydanticResponse(self._output_cls.model_validate_json(said), sources, metadata)
        if value["kind"] == "text":
            return Response(said, sources, metadata)
        if is_async:
            return AsyncStreamingResponse(areplayed_stream(pieces(said)), sources, metadata)
        return StreamingResponse(replayed_stream(pieces(said)), sources, metadata)

    def _kept(self, kind: str, said: str, response: RESPONSE_TYPE) -> Kept:
        value = {
            "v": _VERSION,
            "kind": kind,
            "said": said,
            "sources": [self._saved(node) for node in response.source_nodes],
            "metadata": response.metadata or {},
        }
        try:
            payload = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise NotKept(f"not plain JSON: {error}") from error
        context = "\n\n".join(node.node.get_content(MetadataMode.LLM) for node in self._nodes.values())
        return Kept(payload=payload, text=said, context=context, sources=self._documents())

    def _documents(self) -> tuple[str, ...]:
        ids = (getattr(node.node, "ref_doc_id", None) or node.node.node_id for node in self._nodes.values())
        return tuple(dict.fromkeys(ids))

    def _saved(self, source: NodeWithScore) -> Any:
        """Return a source by its id where it is retrieved again with every hit, else whole."""
        found = self._nodes.get(source.node.node_id)
        if found is not None and found.node.hash == source.node.hash:
            return source.node.node_id
        return [doc_to_json(source.node), source.score]

    def _source(self, saved: Any) -> NodeWithScore:
        if isinstance(saved, str):
            return self._nodes[saved]
        document, score = saved
        node: BaseNode = json_to_doc(document)
        return NodeWithScore(node=node, score=score)
