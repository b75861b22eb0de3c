"""Nodes with another text: copies that share nothing that can be changed with the nodes that the index holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import BaseNode, ImageNode, IndexNode, MediaResource, Node, NodeWithScore, TextNode

PROVENANCE = "thrift"


def text_of(node: BaseNode) -> str | None:
    """Return the text of a node that is text and nothing else, None of any other."""
    if isinstance(node, ImageNode | IndexNode):
        return None
    if isinstance(node, TextNode):
        return node.text
    if isinstance(node, Node) and not (node.image_resource or node.audio_resource or node.video_resource):
        return node.text_resource.text if node.text_resource is not None else None
    return None


def with_text(node: BaseNode, text: str) -> BaseNode:
    """Return a copy of a node with another text."""
    if isinstance(node, TextNode):
        return node.model_copy(update={"text": text})
    resource = node.text_resource if isinstance(node, Node) else None
    copied = MediaResource(text=text) if resource is None else resource.model_copy(update={"text": text})
    return node.model_copy(update={"text_resource": copied})


def changed(scored: NodeWithScore, text: str, provenance: Mapping[str, Any]) -> NodeWithScore:
    """Return a copy with another text and its provenance in the metadata, which no prompt and no embedding shows."""
    node = with_text(scored.node, text)
    node.metadata = {**node.metadata, PROVENANCE: dict(provenance)}
    node.relationships = dict(node.relationships)
    node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, PROVENANCE]
    node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, PROVENANCE]
    return NodeWithScore(node=node, score=scored.score)
