"""Payloads priced by the LlamaIndex adapter: the real LLM of each provider gets them over HTTP.

The LLMs are those of llama-index-llms-openai and -openai-like (also for every server of OpenAI's protocol, under its
own address), -anthropic, -google-genai, -bedrock-converse, -groq, -mistralai and -deepseek. Some refuse models that
are newer than they are; their `metadata` is then replaced, nothing else. Two kinds of rows have none: answers of
Cohere's chat API and embeddings come from an LLM that hands the payload on as `raw`, as the integrations do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.llm import LLM
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.anthropic import utils as anthropic_utils
from llama_index.llms.bedrock_converse import BedrockConverse
from llama_index.llms.deepseek import DeepSeek
from llama_index.llms.google_genai import GoogleGenAI
from llama_index.llms.groq import Groq
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from llamaindex_thrift import track_costs
from thrift_core.accounting.ledger import Ledger
from thrift_core.prices import Price, Unpriced

from benchmarks.money import AT
from benchmarks.money_clients import (
    KEY,
    Api,
    PricesOf,
    Row,
    address_of,
    api_of,
    name_of,
    recorded,
    server,
    to_server,
)

_QUESTION = [ChatMessage(role=MessageRole.USER, content="What is the capital of France?")]
_WITH_USAGE = {"stream_options": {"include_usage": True}}


def llamaindex(row: Row, provider: str, flavor: str | None) -> Price | Unpriced:
    """Price a row whose answer came in one piece."""
    return _priced(row, provider, flavor, is_stream=False)


def llamaindex_stream(row: Row, provider: str, flavor: str | None) -> Price | Unpriced:
    """Price a row whose answer was streamed."""
    return _priced(row, provider, flavor, is_stream=True)


def _priced(row: Row, provider: str, flavor: str | None, *, is_stream: bool) -> Price | Unpriced:
    prices = _prices()
    server().payload, server().provider = row["body"], provider
    with Ledger(prices=prices) as ledger:
        try:
            llm = _llm(row, provider, api_of(row, provider, flavor), is_stream)
            with track_costs(ledger):
                if is_stream:
                    list(llm.stream_chat(_QUESTION))
                else:
                    llm.chat(_QUESTION)
        except Exception as error:  # a client that refuses a payload leaves nothing to price
            return Unpriced(f"the client failed: {error!r}")
        return recorded(ledger, prices)


def _llm(row: Row, provider: str, api: Api, is_stream: bool) -> LLM:
    if api == "other":
        return _documented(provider)(row=dict(row["body"]))
    return _made(provider, name_of(row), api, is_stream)


@lru_cache(maxsize=512)
def _made(provider: str, name: str, api: Api, is_stream: bool) -> LLM:
    make = _BY_API.get(api) or (_BY_PROVIDER.get(provider) if api == "chat" else None) or _openai_like
    return make(provider, name, is_stream)


class _AnyModel:
    """Lets an LLM take models that it does not know yet."""

    model: str

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.model, is_chat_model=True)


class _OpenAI(_AnyModel, OpenAI): ...


class _Anthropic(_AnyModel, Anthropic):
    """The integration with the two things that version 2 of Anthropic's client took away put right."""

    @property
    def _model_kwargs(self) -> dict[str, Any]:
        return {key: value for key, value in super()._model_kwargs.items() if key != "temperature"}


class _Bedrock(_AnyModel, BedrockConverse): ...


class _Mistral(_AnyModel, MistralAI): ...


def _openai(provider: str, name: str, is_stream: bool) -> LLM:
    return _OpenAI(
        model=name,
        api_key=KEY,
        http_client=to_server(),
        max_retries=0,
        additional_kwargs=_WITH_USAGE if is_stream else {},
    )


def _openai_responses(provider: str, name: str, is_stream: bool) -> LLM:
    return OpenAIResponses(
        model=name,
        api_key=KEY,
        api_base=address_of(provider),
        http_client=to_server(),
        context_window=100_000,
        max_retries=0,
    )


def _openai_like(provider: str, name: str, is_stream: bool) -> LLM:
    return OpenAILike(
        model=name,
        api_key=KEY,
        api_base=address_of(provider),
        http_client=to_server(),
        is_chat_model=True,
        max_retries=0,
        additional_kwargs=_WITH_USAGE if is_stream else {},
    )


def _anthropic(provider: str, name: str, is_stream: bool) -> LLM:
    # It makes messages by calling what has become a union of types.
    if not isinstance(anthropic_utils.MessageParam, type):
        setattr(anthropic_utils, "MessageParam", dict)  # noqa: B010 - not theirs to export
    return _Anthropic(model=name, base_url=server().url, api_key=KEY, max_retries=0)


def _google(provider: str, name: str, is_stream: bool) -> LLM:
    return GoogleGenAI(
        model=name, api_key=KEY, http_options={"base_url": server().url}, max_tokens=1000, context_window=100_000
    )


def _bedrock(provider: str, name: str, is_stream: bool) -> LLM:
    return _Bedrock(
        model=name,
        region_name="us-east-1",
        endpoint_url=server().url,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        max_tokens=1000,
    )


def _groq(provider: str, name: str, is_stream: bool) -> LLM:
    return Groq(model=name, api_key=KEY, http_client=to_server(), max_retries=0)


def _mistral(provider: str, name: str, is_stream: bool) -> LLM:
    return _Mistral(model=name, api_key=KEY, endpoint=server().url)


def _deepseek(provider: str, name: str, is_stream: bool) -> LLM:
    more = _WITH_USAGE if is_stream else {}
    return DeepSeek(model=name, api_key=KEY, http_client=to_server(), max_retries=0, additional_kwargs=more)


_BY_API: dict[Api, Callable[[str, str, bool], LLM]] = {
    "gemini": _google,
    "converse": _bedrock,
    "messages": _anthropic,
    "responses": _openai_responses,
}
_BY_PROVIDER: dict[str, Callable[[str, str, bool], LLM]] = {
    "deepseek": _deepseek,
    "groq": _groq,
    "mistral": _mistral,
    "openai": _openai,
}


class _Documented(CustomLLM):
    """Hands a recorded response on as `raw`, as the integrations do."""

    row: dict[str, Any]

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="Paris.", raw=self.row)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        yield CompletionResponse(text="Paris.", delta="Paris.", raw=self.row)


@lru_cache(maxsize=64)
def _documented(provider: str) -> type[_Documented]:
    """Return such an LLM that is called as its provider is."""
    return type("_Documented", (_Documented,), {"class_name": classmethod(lambda cls: provider)})


@lru_cache(maxsize=1)
def _prices() -> PricesOf:
    return PricesOf(AT)
