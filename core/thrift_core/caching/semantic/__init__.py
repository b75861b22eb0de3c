"""The semantic cache: a question asked twice is paid once, and one that only looks alike is not."""

from thrift_core.caching.semantic.admission import Admission
from thrift_core.caching.semantic.answer import CachedAnswer, Hit, Tier
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.cache_key import CacheKey
from thrift_core.caching.semantic.embedder import Embedder
from thrift_core.caching.semantic.matcher import (
    Candidate,
    CertifiedThreshold,
    ConservativeMatcher,
    Judgement,
    Matcher,
)
from thrift_core.caching.semantic.memory_store import MemoryStore
from thrift_core.caching.semantic.redis_store import RedisStore
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.sqlite_store import SQLiteStore
from thrift_core.caching.semantic.stats import CacheStats
from thrift_core.caching.semantic.store import CacheStore, Limits
from thrift_core.caching.semantic.turn import Turn

__all__ = [
    "Admission",
    "CacheKey",
    "CacheSettings",
    "CacheStats",
    "CacheStore",
    "CachedAnswer",
    "Candidate",
    "CertifiedThreshold",
    "ConservativeMatcher",
    "Embedder",
    "Hit",
    "Judgement",
    "Limits",
    "Matcher",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "SemanticCache",
    "Tier",
    "Turn",
]
