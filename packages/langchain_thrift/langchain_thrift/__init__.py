"""thrift inside LangChain: see what every model call costs, and hold it to a budget."""

from langchain_thrift.costs import CostCallbackHandler, track_costs

__all__ = ["CostCallbackHandler", "track_costs"]
