"""Tells the same question in other words from a near miss, with a stated error rate."""

from thrift_core.caching.matching.calibrate_cache import ScoredPairs, calibrate_cache, certify
from thrift_core.caching.matching.cross_encoder import CrossEncoder
from thrift_core.caching.matching.curve import CurvePoint, curve, curve_page
from thrift_core.caching.matching.labelled_pairs import LabelledPair, read_pairs
from thrift_core.caching.matching.learned_matcher import LearnedMatcher
from thrift_core.caching.matching.llm_judge import LabelWriter, llm_judge
from thrift_core.caching.matching.near_miss import Comparison, Difference, compare
from thrift_core.caching.matching.partitions import PartitionedCertificate, calibrate_partitions
from thrift_core.caching.matching.watch import WatchedThreshold, WatchState
from thrift_core.caching.semantic.question_rule import live_question

__all__ = [
    "Comparison",
    "CrossEncoder",
    "CurvePoint",
    "Difference",
    "LabelWriter",
    "LabelledPair",
    "LearnedMatcher",
    "PartitionedCertificate",
    "ScoredPairs",
    "WatchState",
    "WatchedThreshold",
    "calibrate_cache",
    "calibrate_partitions",
    "certify",
    "compare",
    "curve",
    "curve_page",
    "live_question",
    "llm_judge",
    "read_pairs",
]
