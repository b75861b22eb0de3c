"""The framework-free core of thrift: what LLM calls cost, limits that hold, and the levers that cut the bill."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.budget import Budget, RunawayGuard, SpikeAlert
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.call import Attribution, Call, Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.errors import (
    BudgetExceeded,
    ConfigurationError,
    LedgerError,
    MissingExtra,
    RunawayStopped,
    ThriftError,
)
from thrift_core.levers import Shadow
from thrift_core.prices import PriceBook
from thrift_core.thrift import Thrift
from thrift_core.tokens import TokenCounter

if TYPE_CHECKING:
    from thrift_core.caching.matching import LearnedMatcher, calibrate_cache
    from thrift_core.caching.planner import PromptCachePlanner
    from thrift_core.caching.semantic import CacheKey, Hit, MemoryStore, RedisStore, SemanticCache, SQLiteStore
    from thrift_core.calibration.certificate import Certificate
    from thrift_core.compression import Compressed, CompressionBackend, Compressor, CompressorLever
    from thrift_core.otel import OpenTelemetryExporter
    from thrift_core.recall.redis_store import RedisRecallStore
    from thrift_core.recall.store import MemoryRecallStore, SQLiteRecallStore
    from thrift_core.retrieval import Passage, TopKTrimmer, Trimmed
    from thrift_core.routing import CascadeRouter, Decision, Tier
    from thrift_core.routing.calibrating import calibrate_router
    from thrift_core.trajectory.summarizer import TrajectorySummarizer

__all__ = [
    "Attribution",
    "Budget",
    "BudgetExceeded",
    "Budgets",
    "CacheKey",
    "Call",
    "CascadeRouter",
    "Certificate",
    "Compressed",
    "CompressionBackend",
    "Compressor",
    "CompressorLever",
    "ConfigurationError",
    "Decision",
    "Hit",
    "LearnedMatcher",
    "Ledger",
    "LedgerError",
    "MemoryRecallStore",
    "MemoryStore",
    "MissingExtra",
    "OpenTelemetryExporter",
    "Passage",
    "PriceBook",
    "PromptCachePlanner",
    "RedisRecallStore",
    "RedisStore",
    "RunawayGuard",
    "RunawayStopped",
    "SQLiteRecallStore",
    "SQLiteStore",
    "Saving",
    "SemanticCache",
    "Shadow",
    "SpikeAlert",
    "Thrift",
    "ThriftError",
    "Tier",
    "TokenCounter",
    "TopKTrimmer",
    "TrajectorySummarizer",
    "Trimmed",
    "Usage",
    "attribute",
    "calibrate_cache",
    "calibrate_router",
]

# Only who uses a lever loads it.
_LAZY = {
    "CacheKey": "thrift_core.caching.semantic",
    "CascadeRouter": "thrift_core.routing",
    "Certificate": "thrift_core.calibration.certificate",
    "Decision": "thrift_core.routing",
    "Compressed": "thrift_core.compression",
    "CompressionBackend": "thrift_core.compression",
    "Compressor": "thrift_core.compression",
    "CompressorLever": "thrift_core.compression",
    "Hit": "thrift_core.caching.semantic",
    "LearnedMatcher": "thrift_core.caching.matching",
    "calibrate_cache": "thrift_core.caching.matching",
    "MemoryRecallStore": "thrift_core.recall.store",
    "MemoryStore": "thrift_core.caching.semantic",
    "OpenTelemetryExporter": "thrift_core.otel",
    "Passage": "thrift_core.retrieval",
    "PromptCachePlanner": "thrift_core.caching.planner",
    "RedisRecallStore": "thrift_core.recall.redis_store",
    "RedisStore": "thrift_core.caching.semantic",
    "SQLiteRecallStore": "thrift_core.recall.store",
    "SQLiteStore": "thrift_core.caching.semantic",
    "SemanticCache": "thrift_core.caching.semantic",
    "Tier": "thrift_core.routing",
    "TopKTrimmer": "thrift_core.retrieval",
    "TrajectorySummarizer": "thrift_core.trajectory.summarizer",
    "calibrate_router": "thrift_core.routing.calibrating",
    "Trimmed": "thrift_core.retrieval",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
