"""`llamaindex_thrift.NodeCompressor`: every node stays, its text made shorter."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.schema import (
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llamaindex_thrift import NodeCompressor
from thrift_core import ConfigurationError, Ledger
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.token_counters import default_counter

ROWS = json.dumps([{"sku": f"SKU-{n}", "warehouse": "Rotterdam", "stock": n * 7} for n in range(20)])
STORY = (
    "The lighthouse was built in 1874 by a family of masons. Gulls nest on its northern ledge every spring. "
    "Its lamp burned whale oil until the keeper, Ida Holm, had it electrified in 1921. The stairs have 212 steps."
)
QUERY = QueryBundle("Who had the lamp electrified?")


def nodes() -> list[NodeWithScore]:
    rows = TextNode(text=ROWS, id_="rows", metadata={"title": "Stock"})
    rows.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="file")
    story = Node(text_resource=MediaResource(text=STORY), id_="story")
    image = ImageNode(image="aGVsbG8=", text="A lamp", id_="image")
    return [NodeWithScore(node=rows, score=0.9), NodeWithScore(node=story, score=None), NodeWithScore(node=image)]


def tokens(text: str) -> int:
    return default_counter().count(text)


async def test_every_node_stays_in_its_place_and_what_can_be_is_shorter() -> None:
    given = nodes()
    before = copy.deepcopy(given)
    compressor = NodeCompressor()
    kept = compressor.postprocess_nodes(given, QUERY)
    assert given == before
    assert [(node.node_id, node.score) for node in kept] == [("rows", 0.9), ("story", None), ("image", None)]
    assert tokens(kept[0].text) < 0.6 * tokens(ROWS)
    assert kept[0].node.relationships == given[0].node.relationships
    assert kept[0].node.metadata["thrift"]["is_lossless"] is True
    assert "is_lossless" not in kept[0].node.get_content(metadata_mode=MetadataMode.LLM)
    assert "is_lossless" not in kept[0].node.get_content(metadata_mode=MetadataMode.EMBED)
    assert kept[2] is given[2]
    again = await compressor.apostprocess_nodes(given, QUERY)
    assert [node.get_content() for node in again] == [node.get_content() for node in kept]


def test_a_budget_is_for_all_nodes_together_and_the_query_says_what_stays() -> None:
    store = MemoryRecallStore()
    story = [NodeWithScore(node=TextNode(text=STORY, id_=str(n))) for n in range(2)]
    kept = NodeCompressor(max_tokens=70, store=store).postprocess_nodes(story, QUERY)
    assert sum(tokens(node.text) for node in kept) <= 70
    assert "Ida Holm" in kept[0].text
    assert store.get(kept[0].node.metadata["thrift"]["recall"]) == STORY


def test_in_shadow_and_where_nothing_can_be_saved_the_very_nodes_come_back() -> None:
    ledger = Ledger()
    given = nodes()
    assert NodeCompressor(mode="shadow", ledger=ledger).postprocess_nodes(given, QUERY) == given
    assert [saving.is_shadow for saving in ledger.savings()] == [True]
    short = [NodeWithScore(node=TextNode(text="short"))]
    assert NodeCompressor().postprocess_nodes(short)[0] is short[0]
    assert NodeCompressor().postprocess_nodes([]) == []


def test_a_wrong_setting_is_told_when_it_is_made() -> None:
    with pytest.raises(ConfigurationError, match="give a share"):
        NodeCompressor(ratio=0)


def test_it_works_in_a_query_engine() -> None:
    index = VectorStoreIndex([TextNode(text=ROWS)], embed_model=MockEmbedding(embed_dim=3))
    engine: Any = index.as_query_engine(llm=MockLLM(), node_postprocessors=[NodeCompressor()])
    answer = engine.query("How many SKU-3 are there?")
    assert tokens(answer.source_nodes[0].text) < 0.6 * tokens(ROWS)
