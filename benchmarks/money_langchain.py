"""Payloads priced by the LangChain adapter: the real chat model of each provider gets them over HTTP.

The chat models are those of langchain-openai (also for every server of OpenAI's protocol, under its own address),
langchain-anthropic, langchain-google-genai, langchain-aws, langchain-groq, langchain-mistralai, langchain-deepseek and
langchain-openrouter. Two kinds of rows have none: answers of Cohere's chat API come as a message of the shape that
langchain-cohere documents, and embeddings, of which LangChain tells no callback, as a plain result.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation, LLMResult
from langchain_thrift import CostCallbackHandler
from pydantic import SecretStr
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

_QUESTION = "What is the capital of France?"
_SECRET = SecretStr(KEY)


def langchain(row: Row, provider: str, flavor: str | None) -> Price | Unpriced:
    """Price a row whose answer came in one piece."""
    return _priced(row, provider, flavor, lambda model, config: model.invoke(_QUESTION, config))


def langchain_stream(row: Row, provider: str, flavor: str | None) -> Price | Unpriced:
    """Price a row whose answer was streamed."""
    return _priced(row, provider, flavor, lambda model, config: list(model.stream(_QUESTION, config)))


def _priced(
    row: Row, provider: str, flavor: str | None, call: Callable[[BaseChatModel, Any], object]
) -> Price | Unpriced:
    prices = _prices()
    with Ledger(prices=prices) as ledger:
        handler = CostCallbackHandler(ledger)
        if flavor == "embeddings":
            _tell_plainly(handler, row)
        else:
            server().payload, server().provider = row["body"], provider
            try:
                call(_model(row, provider, api_of(row, provider, flavor)), {"callbacks": [handler]})
            except Exception as error:  # a client that refuses a payload leaves nothing to price
                return Unpriced(f"the client failed: {error!r}")
        return recorded(ledger, prices)


def _model(row: Row, provider: str, api: Api) -> BaseChatModel:
    if api == "other":
        return _Documented(row=dict(row["body"]), provider=provider)
    return _made(provider, name_of(row), api)


@lru_cache(maxsize=512)
def _made(provider: str, name: str, api: Api) -> BaseChatModel:
    make = _BY_API.get(api) or (_BY_PROVIDER.get(provider) if api == "chat" else None) or _openai_like
    return make(provider, name, api)


def _openai_like(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - each only where a row needs it

    return ChatOpenAI(
        model=name,
        base_url=address_of(provider),
        api_key=_SECRET,
        http_client=to_server(),
        stream_usage=True,
        use_responses_api=api == "responses",
        max_retries=0,
    )


def _azure(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_openai import AzureChatOpenAI  # noqa: PLC0415

    return AzureChatOpenAI(
        azure_deployment=name,
        azure_endpoint="https://recorded.openai.azure.com",
        api_version="2025-01-01-preview",
        api_key=_SECRET,
        http_client=to_server(),
        stream_usage=True,
        max_retries=0,
    )


def _anthropic(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_anthropic import ChatAnthropic  # noqa: PLC0415

    return ChatAnthropic(
        model_name=name, base_url=server().url, api_key=_SECRET, timeout=None, stop=None, max_retries=0
    )


def _google(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_google_genai import ChatGoogleGenerativeAI  # noqa: PLC0415

    return ChatGoogleGenerativeAI(model=name, base_url=server().url, api_key=_SECRET, max_retries=1)


def _bedrock(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_aws import ChatBedrockConverse  # noqa: PLC0415

    return ChatBedrockConverse(
        model=name,
        provider="anthropic",
        region_name="us-east-1",
        endpoint_url=server().url,
        disable_streaming=False,
        aws_access_key_id=_SECRET,
        aws_secret_access_key=_SECRET,
    )


def _groq(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_groq import ChatGroq  # noqa: PLC0415

    return ChatGroq(model=name, base_url=server().url, api_key=_SECRET, max_retries=0)


def _mistral(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_mistralai import ChatMistralAI  # noqa: PLC0415

    return ChatMistralAI(model_name=name, base_url=f"{server().url}/v1", api_key=_SECRET)


def _deepseek(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_deepseek import ChatDeepSeek  # noqa: PLC0415

    return ChatDeepSeek(model=name, api_key=_SECRET, http_client=to_server(), stream_usage=True, max_retries=0)


def _openrouter(provider: str, name: str, api: Api) -> BaseChatModel:
    from langchain_openrouter import ChatOpenRouter  # noqa: PLC0415

    return ChatOpenRouter(model=name, base_url=server().url, api_key=_SECRET)


_BY_API: dict[Api, Callable[[str, str, Api], BaseChatModel]] = {
    "gemini": _google,
    "converse": _bedrock,
    "messages": _anthropic,
}
_BY_PROVIDER: dict[str, Callable[[str, str, Api], BaseChatModel]] = {
    "azure": _azure,
    "deepseek": _deepseek,
    "groq": _groq,
    "mistral": _mistral,
    "openrouter": _openrouter,
}


class _Documented(BaseChatModel):
    """Answers of Cohere's chat API as `ChatCohere` gives them on, others as integrations mostly do."""

    row: dict[str, Any]
    provider: str

    @property
    def _llm_type(self) -> str:
        return "documented"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content="Paris.", **self._about()))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Paris.", **self._about()))

    def _about(self) -> dict[str, Any]:
        usage = self.row.get("usage") or {}
        about = {"model_name": self.row.get("model"), "model_provider": self.provider}
        if "tokens" not in usage:
            return {"response_metadata": {**about, "usage": usage}}
        tokens = {key: int(value) for key, value in usage["tokens"].items()}
        total = sum(tokens.values())
        return {
            "usage_metadata": {**tokens, "total_tokens": total},
            "response_metadata": {**about, "token_count": {**tokens, "total_tokens": total}},
        }


def _tell_plainly(handler: CostCallbackHandler, row: Row) -> None:
    body, run_id = row["body"], uuid.uuid4()
    handler.on_llm_start({}, [_QUESTION], run_id=run_id)
    usage = body.get("usage") or body.get("meta") or body.get("usageMetadata")
    output = {"token_usage": usage, "model_name": body.get("model")}
    handler.on_llm_end(LLMResult(generations=[[Generation(text="")]], llm_output=output), run_id=run_id)


@lru_cache(maxsize=1)
def _prices() -> PricesOf:
    return PricesOf(AT)
