"""thrift inside LlamaIndex: see what every LLM call costs, and hold it to a budget."""

from llamaindex_thrift.costs import CostEventHandler, track_costs

__all__ = ["CostEventHandler", "track_costs"]
