"""thrift inside LangChain: see what every model call costs, hold it to a budget, and cut an agent's bill."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_thrift.costs import CostCallbackHandler, track_costs

if TYPE_CHECKING:
    from langchain_thrift.cascade import CascadeChatModel
    from langchain_thrift.chain_cache import CachedRunnable, cached
    from langchain_thrift.chat_model import ThriftChatModel
    from langchain_thrift.compressor import PromptCompressor
    from langchain_thrift.llm_cache import SemanticLLMCache
    from langchain_thrift.middleware import ThriftMiddleware
    from langchain_thrift.recall import recall_tools
    from langchain_thrift.summarizer import TrajectorySummarizer
    from langchain_thrift.trimmer import DocumentTrimmer

__all__ = [
    "CachedRunnable",
    "CascadeChatModel",
    "CostCallbackHandler",
    "DocumentTrimmer",
    "PromptCompressor",
    "SemanticLLMCache",
    "ThriftChatModel",
    "ThriftMiddleware",
    "TrajectorySummarizer",
    "cached",
    "recall_tools",
    "track_costs",
]

# `langchain.agents` is an extra and slow to import: what needs it is loaded when it is asked for.
_LAZY = {
    "CachedRunnable": "langchain_thrift.chain_cache",
    "CascadeChatModel": "langchain_thrift.cascade",
    "DocumentTrimmer": "langchain_thrift.trimmer",
    "PromptCompressor": "langchain_thrift.compressor",
    "SemanticLLMCache": "langchain_thrift.llm_cache",
    "ThriftChatModel": "langchain_thrift.chat_model",
    "ThriftMiddleware": "langchain_thrift.middleware",
    "TrajectorySummarizer": "langchain_thrift.summarizer",
    "cached": "langchain_thrift.chain_cache",
    "recall_tools": "langchain_thrift.recall",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
