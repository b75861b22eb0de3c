"""Provider prompt caches: their rules, where markers go, what drifts, and what will be billed."""

from thrift_core.caching.advice import CacheAdvice, CacheHints
from thrift_core.caching.bill import InputBill
from thrift_core.caching.drift import Drift, DriftDetector
from thrift_core.caching.planner import PromptCachePlanner
from thrift_core.caching.prefix import canonical_json, canonical_tools
from thrift_core.caching.prefix_cache_simulator import IllegalMarkers, PrefixCacheSimulator
from thrift_core.caching.provider_rules import RULES, CacheRules, Lifetime, rules_for

__all__ = [
    "RULES",
    "CacheAdvice",
    "CacheHints",
    "CacheRules",
    "Drift",
    "DriftDetector",
    "IllegalMarkers",
    "InputBill",
    "Lifetime",
    "PrefixCacheSimulator",
    "PromptCachePlanner",
    "canonical_json",
    "canonical_tools",
    "rules_for",
]
