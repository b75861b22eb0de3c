"""thrift inside LlamaIndex: see what every LLM call costs, hold it to a budget, and cut an agent's bill."""

from llamaindex_thrift.cached_call import CacheHitEvent
from llamaindex_thrift.cascade import CascadeLLM
from llamaindex_thrift.compressor import NodeCompressor
from llamaindex_thrift.costs import CostEventHandler, track_costs
from llamaindex_thrift.llm import ThriftLLM
from llamaindex_thrift.query_engine import CachedQueryEngine
from llamaindex_thrift.trimmer import TopKTrimmer

__all__ = [
    "CacheHitEvent",
    "CachedQueryEngine",
    "CascadeLLM",
    "CostEventHandler",
    "NodeCompressor",
    "ThriftLLM",
    "TopKTrimmer",
    "track_costs",
]
