"""A local provider for tests, examples and the demo: real clients over real HTTP, no key and no network."""

from thrift_core.testing.bill import Bill, BilledCall, RateCard, TokenUse
from thrift_core.testing.chat import ApiError, Brain, ChatRequest, Reply
from thrift_core.testing.embeddings import hashed_vector, words_of
from thrift_core.testing.faults import Fault
from thrift_core.testing.prefix_cache import PrefixCache
from thrift_core.testing.prompt_tokens import PieceTokenizer, default_tokenizer
from thrift_core.testing.provider import LocalProvider

__all__ = [
    "ApiError",
    "Bill",
    "BilledCall",
    "Brain",
    "ChatRequest",
    "Fault",
    "LocalProvider",
    "PieceTokenizer",
    "PrefixCache",
    "RateCard",
    "Reply",
    "TokenUse",
    "default_tokenizer",
    "hashed_vector",
    "words_of",
]
