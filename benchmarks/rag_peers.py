"""What the RAG trimmer is measured beside: plain baselines written here, and the packages that are installed.

Every peer answers with texts in order of preference; all are cut at the same budget by the same tokenizer. Those that
need an embedding get one of hashed words, the same for all, because no model may be downloaded here.
"""

from __future__ import annotations

# Peers are imported when they are asked for: not all are installed.
# ruff: noqa: PLC0415
import importlib.util
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from thrift_core.token_counters import TiktokenCounter

Item = tuple[str, str]
# Takes passages as rows, the question and the budget as a share; gives (passage id, text) in order of preference.
Peer = Callable[[Sequence[dict[str, Any]], str, float], list[Item]]

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?。！？।؟])\s*")
_DIMENSIONS = 512


def peers(*, is_transcript: bool) -> dict[str, Peer]:
    """Return the peers that are installed, by name."""
    found: dict[str, Peer] = {"retriever-order": in_order, "bm25": bm25_sentences}
    if importlib.util.find_spec("llama_index"):
        found["SimilarityPostprocessor"] = similarity_postprocessor
        if not is_transcript:
            found["SentenceEmbeddingOptimizer"] = sentence_embedding_optimizer
    if importlib.util.find_spec("langchain_classic") and importlib.util.find_spec("langchain_community"):
        found["EmbeddingsFilter"] = embeddings_filter
    if importlib.util.find_spec("llmslim"):
        found["llmslim"] = llmslim
    return found


def cut(items: Sequence[Item], budget: int, counter: TiktokenCounter) -> list[Item]:
    """Return the items that fit one after another, the last one cut where the budget ends."""
    kept: list[Item] = []
    for name, text in items:
        tokens = counter.encoding.encode_ordinary(text)
        if len(tokens) > budget:
            kept.append((name, counter.encoding.decode(tokens[:budget], errors="ignore")))
            break
        kept.append((name, text))
        budget -= len(tokens)
    return kept


def in_order(passages: Sequence[dict[str, Any]], question: str, share: float) -> list[Item]:
    """Whole passages in the order given."""
    return [(passage["id"], passage["text"]) for passage in passages]


def bm25_sentences(passages: Sequence[dict[str, Any]], question: str, share: float) -> list[Item]:
    """Sentences by their own BM25 and that of their passage."""
    asked = list(dict.fromkeys(_words(question)))
    documents = [_words(f"{passage.get('title') or ''} {passage['text']}") for passage in passages]
    by_passage = _bm25(documents, asked)
    scored: list[tuple[float, int, int, Item]] = []
    sentences = [[s for s in _SENTENCE.split(passage["text"]) if s.strip()] for passage in passages]
    flat = [sentence for passage in sentences for sentence in passage]
    by_sentence = iter(_bm25([_words(sentence) for sentence in flat], asked))
    for number, passage in enumerate(passages):
        for place, sentence in enumerate(sentences[number]):
            score = by_passage[number] + next(by_sentence)
            scored.append((-score, number, place, (passage["id"], sentence)))
    return [item for *_, item in sorted(scored)]


def similarity_postprocessor(passages: Sequence[dict[str, Any]], question: str, share: float) -> list[Item]:
    """LlamaIndex's cut-off by score, at the score that leaves half of the passages."""
    from llama_index.core.postprocessor import SimilarityPostprocessor
    from llama_index.core.schema import NodeWithScore, TextNode

    scores = _similarities(question, [passage["text"] for passage in passages])
    nodes = [
        NodeWithScore(node=TextNode(text=passage["text"], id_=str(passage["id"])), score=score)
        for passage, score in zip(passages, scores, strict=True)
    ]
    middle = sorted(scores)[len(scores) // 2]
    kept = SimilarityPostprocessor(similarity_cutoff=middle).postprocess_nodes(nodes, query_str=question)
    return [(node.node_id, node.text) for node in sorted(kept, key=lambda node: -(node.score or 0.0))]


def sentence_embedding_optimizer(passages: Sequence[dict[str, Any]], question: str, share: float) -> list[Item]:
    """LlamaIndex's sentences by embedding, the share of the budget from each passage."""
    from llama_index.core.postprocessor import SentenceEmbeddingOptimizer
    from llama_index.core.schema import NodeWithScore, TextNode

    optimizer = SentenceEmbeddingOptimizer(
        embed_model=_llama_embedding(),
        percentile_cutoff=max(share, 0.3),
        tokenizer_fn=_SENTENCE.split,
    )
    scores = _similarities(question, [passage["text"] for passage in passages])
    nodes = [
        NodeWithScore(node=TextNode(text=passage["text"], id_=str(passage["id"])), score=score)
        for passage, score in zip(passages, scores, strict=True)
    ]
    kept = optimizer.postprocess_nodes(nodes, query_str=question)
    return [(node.node_id, node.text) for node in sorted(kept, key=lambda node: -(node.score or 0.0))]


def embeddings_filter(passages: Sequence[dict[str, Any]], question: str, share: float) -> list[Item]:
    """LangChain's whole documents by embedding."""
    from langchain_classic.retrievers.document_compressors import EmbeddingsFilter
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    class Hashed(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [hashed(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return hashed(text)

    documents = [Document(passage["text"], metadata={"id": passage["id"]}) for passage in passages]
    every = EmbeddingsFilter(embeddings=Hashed(), k=len(documents))
    kept = every.compress_documents(documents, question)
    return [(document.metadata["id"], document.page_content) for document in kept]


def llmslim(passages: Sequence[dict[str, Any]], question: str, share: float) -> list[Item]:
    """llmslim's `compress_documents`, without its cross-encoder, at the budget's share."""
    from llmslim import compress_documents

    results = compress_documents([passage["text"] for passage in passages], query=question, target_ratio=share)
    return [
        (passage["id"], result.compressed_text)
        for passage, result in zip(passages, results, strict=True)
        if result.compressed_text
    ]


def hashed(text: str) -> list[float]:
    """Return an embedding of hashed words and trigrams, of length 1."""
    # Not quite zero: some peers divide by the length.
    vector = [1e-6] * _DIMENSIONS
    for word in _words(text):
        for feature in (word, *(word[at : at + 3] for at in range(len(word) - 2))):
            vector[zlib.crc32(feature.encode("utf-8", "replace")) % _DIMENSIONS] += 1.0
    length = math.hypot(*vector) or 1.0
    return [value / length for value in vector]


def _llama_embedding() -> Any:
    from llama_index.core.base.embeddings.base import BaseEmbedding

    class Hashed(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return hashed(query)

        def _get_text_embedding(self, text: str) -> list[float]:
            return hashed(text)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return hashed(query)

    return Hashed()


def _similarities(question: str, texts: Sequence[str]) -> list[float]:
    asked = hashed(question)
    return [sum(a * b for a, b in zip(asked, hashed(text), strict=True)) for text in texts]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _bm25(documents: Sequence[list[str]], asked: Sequence[str], k: float = 1.2, b: float = 0.75) -> list[float]:
    frequency = Counter(word for document in documents for word in set(document))
    mean = sum(map(len, documents)) / max(len(documents), 1) or 1.0
    scores: list[float] = []
    for document in documents:
        counts, score = Counter(document), 0.0
        for word in asked:
            if counts[word]:
                rarity = math.log(1 + (len(documents) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                score += rarity * counts[word] * (k + 1) / (counts[word] + k * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores
