"""Trims retrieved passages to what answers the question, inside an exact token budget."""

from thrift_core.relevance.passage import Cut, Passage, Span, Trimmed
from thrift_core.relevance.rarity import CorpusRarity
from thrift_core.retrieval.calibration import Calibration, calibrate_trimmer
from thrift_core.retrieval.scorers import Embedder, EmbeddingScorer, PassageScorer
from thrift_core.retrieval.trimmer import TopKTrimmer

__all__ = [
    "Calibration",
    "CorpusRarity",
    "Cut",
    "Embedder",
    "EmbeddingScorer",
    "Passage",
    "PassageScorer",
    "Span",
    "TopKTrimmer",
    "Trimmed",
    "calibrate_trimmer",
]
