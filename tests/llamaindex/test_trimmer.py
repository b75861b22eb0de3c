import copy
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
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
from llamaindex_thrift.trimmer import TopKTrimmer
from thrift_core.accounting.ledger import Ledger
from thrift_core.prices import PriceBook
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.recall.tool import recall
from thrift_core.token_counters import default_counter

QUESTION = "Why does a bee dance?"
BEES = "Bees live in hives. A bee dances to tell the others where the flowers are. They sleep at night."


def _nodes() -> list[NodeWithScore]:
    bees = TextNode(text=BEES, id_="bees", metadata={"title": "Bees", "secret": "x " * 50})
    bees.excluded_llm_metadata_keys = ["secret"]
    bees.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="book")
    ants = TextNode(text="Ants march in lines. Their queen lays all the eggs.", id_="ants")
    crabs = Node(text_resource=MediaResource(text="Crabs walk sideways. Their shells are hard."), id_="crabs")
    return [
        NodeWithScore(node=ants, score=0.6),
        NodeWithScore(node=bees, score=0.5),
        NodeWithScore(node=crabs, score=None),
    ]


def _trim(trimmer: TopKTrimmer, nodes: list[NodeWithScore] | None = None) -> list[NodeWithScore]:
    return trimmer.postprocess_nodes(_nodes() if nodes is None else nodes, query_str=QUESTION)


class Listener(BaseEventHandler):
    seen: list[BaseEvent]

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen.append(event)


@pytest.fixture
def listener() -> Iterator[Listener]:
    root = get_dispatcher()
    handler = Listener(seen=[])
    root.event_handlers = [*root.event_handlers, handler]
    yield handler
    root.event_handlers = [other for other in root.event_handlers if other is not handler]


def test_the_sentence_that_answers_is_kept_with_id_score_and_relationships() -> None:
    [kept] = _trim(TopKTrimmer(max_tokens=20))
    assert kept.text == "A bee dances to tell the others where the flowers are."
    assert (kept.node_id, kept.score, kept.metadata["title"]) == ("bees", 0.5, "Bees")
    assert kept.node.relationships[NodeRelationship.SOURCE] == RelatedNodeInfo(node_id="book")


def test_provenance_is_in_the_metadata_and_in_no_prompt() -> None:
    [kept] = _trim(TopKTrimmer(max_tokens=20))
    [[start, end]] = kept.metadata["thrift"]["spans"]
    assert BEES[start:end] == kept.text
    assert "thrift" not in kept.node.get_content(MetadataMode.LLM)
    assert "thrift" not in kept.node.get_content(MetadataMode.EMBED)


def test_the_nodes_given_are_not_touched() -> None:
    nodes = _nodes()
    before = copy.deepcopy(nodes)
    for trimmer in (TopKTrimmer(max_tokens=20), TopKTrimmer()):
        for kept in _trim(trimmer, nodes):
            kept.node.metadata["mine"] = True
            kept.node.relationships.clear()
            kept.node.excluded_llm_metadata_keys.append("title")
    assert nodes == before


@pytest.mark.parametrize("budget", [12, 20, 30, 45])
def test_metadata_count_as_the_prompt_shows_them(budget: int) -> None:
    kept = _trim(TopKTrimmer(max_tokens=budget))
    shown = "\n\n".join(node.node.get_content(MetadataMode.LLM) for node in kept)
    assert 0 < default_counter().count(shown) <= budget


def test_metadata_that_the_prompt_hides_cost_nothing() -> None:
    assert [node.node_id for node in _trim(TopKTrimmer(max_tokens=20))] == ["bees"]
    assert "bees" not in {node.node_id for node in _trim(TopKTrimmer(max_tokens=20, metadata_mode=MetadataMode.ALL))}


def test_images_pass_as_they_are() -> None:
    image = NodeWithScore(node=ImageNode(image_url="http://localhost/bee.png", id_="image"), score=None)
    kept = _trim(TopKTrimmer(max_tokens=20), [*_nodes(), image])
    assert {node.node_id for node in kept} == {"bees", "image"}
    assert next(node for node in kept if node.node_id == "image") == image


def test_none_scores_pass() -> None:
    nodes = [NodeWithScore(node=node.node, score=None) for node in _nodes()]
    assert {(node.node_id, node.score) for node in _trim(TopKTrimmer(), nodes)} == {
        ("ants", None),
        ("bees", None),
        ("crabs", None),
    }


def test_nodes_of_media_resources_are_cut_too() -> None:
    kept = TopKTrimmer(max_tokens=5).postprocess_nodes(_nodes()[2:], query_str="How do crabs walk?")
    assert [node.node.get_content() for node in kept] == ["Crabs walk sideways."]


async def test_async_is_the_same_as_sync() -> None:
    trimmer = TopKTrimmer(max_tokens=20)
    nodes = _nodes()
    assert await trimmer.apostprocess_nodes(nodes, query_str=QUESTION) == _trim(trimmer, nodes)


def test_without_a_query_all_nodes_pass() -> None:
    nodes = _nodes()
    assert TopKTrimmer(max_tokens=1).postprocess_nodes(nodes) == nodes


def test_the_dispatcher_hears_of_it(listener: Listener) -> None:
    TopKTrimmer(max_tokens=20).postprocess_nodes(_nodes(), QueryBundle(QUESTION))
    names = [event.class_name() for event in listener.seen]
    assert names == ["ReRankStartEvent", "PassagesTrimmed", "ReRankEndEvent"]
    trimmed = listener.seen[1]
    assert (trimmed.kept, trimmed.dropped) == (1, 2)  # type: ignore[attr-defined]


def test_what_is_cut_or_dropped_is_given_back_by_the_recall_tool() -> None:
    store = MemoryRecallStore()
    [kept] = _trim(TopKTrimmer(max_tokens=20, recall_store=store))
    provenance = kept.metadata["thrift"]
    assert recall(store, {"id": provenance["recall"]}) == BEES
    assert {dropped["id"] for dropped in provenance["dropped"]} == {"ants", "crabs"}
    gone = {recall(store, {"id": dropped["recall"]}) for dropped in provenance["dropped"]}
    assert "Crabs walk sideways. Their shells are hard." in gone


def test_a_query_books_what_it_saves() -> None:
    ledger = Ledger(prices=PriceBook({"reader": {"input": "2", "output": "8"}}))
    _trim(TopKTrimmer(max_tokens=20, ledger=ledger, model="reader"))
    [saving] = ledger.savings()
    assert saving.lever == "trimmer"
    assert saving.cost_usd is not None
    assert saving.cost_usd * 1_000_000 == 2 * saving.tokens > 0


def test_a_broken_template_leaves_the_nodes(caplog: pytest.LogCaptureFixture) -> None:
    broken = NodeWithScore(node=TextNode(text=BEES, text_template="{nothing_here}", metadata={"a": 1}), score=1.0)
    ledger = Ledger()
    with caplog.at_level(logging.WARNING, "thrift"):
        assert _trim(TopKTrimmer(max_tokens=5, ledger=ledger), [broken]) == [broken]
    assert ledger.faults() == {("trimmer", "KeyError"): 1}


def test_no_nodes_give_none() -> None:
    assert _trim(TopKTrimmer(max_tokens=20), []) == []


def test_a_setting_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens must be a whole number"):
        TopKTrimmer(max_tokens=-1)
