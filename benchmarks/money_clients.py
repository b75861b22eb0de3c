"""What both adapters' paths share: names and addresses of providers, the way to the local server, the prices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import httpx
from thrift_core.accounting.ledger import Ledger
from thrift_core.accounting.usage import Usage
from thrift_core.prices import Price, PriceBook, Unpriced
from thrift_core.providers import provider_id

from benchmarks.money_server import RecordedServer

KEY = "no-key-needed"
# An app always names a model, some recordings do not: this is a name that nobody prices.
UNNAMED = "not-named-in-the-recording"
# Where the servers of OpenAI's protocol stand: an app names the address, and it says whose prices hold.
ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "huggingface_hyperbolic": "https://router.huggingface.co/hyperbolic/v1",
    "huggingface_groq": "https://router.huggingface.co/groq/openai/v1",
    "cerebras": "https://api.cerebras.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "zai": "https://api.z.ai/api/paas/v4",
    "azure": "https://recorded.openai.azure.com/openai/v1",
    "aws": "https://bedrock-mantle.us-east-1.api.aws/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "cohere": "https://api.cohere.ai/compatibility/v1",
    "heroku": "https://us.inference.heroku.com/v1",
    "ollama": "http://localhost:11434/v1",
    "unknown": "https://api.openai.com/v1",
}

Row = Mapping[str, Any]
Api = Literal["gemini", "converse", "chat", "responses", "messages", "other"]


class PricesOf(PriceBook):
    """The price list as of one time, that remembers the last price it gave.

    A ledger keeps a call's price as one sum; the data has those of input and output apart. The data's prices are those
    of the standard tier, whatever tier a payload names, so this list is asked for no other.
    """

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self._at = at
        self.last: Price | Unpriced = Unpriced("nothing was asked yet")

    def price(
        self,
        usage: Usage,
        model: str | None,
        provider: str | None = None,
        *,
        at: datetime | None = None,
        service_tier: str | None = None,
        is_batch: bool = False,
        api_url: str | None = None,
    ) -> Price | Unpriced:
        """Return the price at the time of the list, whenever the call was made."""
        self.last = super().price(usage, model, provider, at=self._at, is_batch=is_batch, api_url=api_url)
        return self.last


def recorded(ledger: Ledger, prices: PricesOf) -> Price | Unpriced:
    """Return the price of the one call that a ledger has recorded."""
    calls = list(ledger.calls())
    if len(calls) != 1:
        return Unpriced(f"the ledger has {len(calls)} calls where 1 was made")
    call = calls[0]
    if call.cost_usd is None or call.is_estimated:
        return Unpriced(call.unpriced or "the usage did not arrive, the tokens were counted here")
    if not isinstance(prices.last, Price) or prices.last.cost_usd != call.cost_usd:
        raise AssertionError(f"the ledger says {call.cost_usd}, the price list {prices.last}")
    return prices.last


def name_of(row: Row) -> str:
    """Return the model that a row's app would have named."""
    body = row["body"]
    return str(body.get("model") or body.get("modelVersion") or row.get("model") or UNNAMED)


def api_of(row: Row, provider: str, flavor: str | None) -> Api:
    """Return the API that a row's usage is in the words of."""
    usage = row["body"].get("usage") or {}
    is_responses = "input_tokens_details" in usage or "total_tokens" in usage
    tells: tuple[tuple[Api, bool], ...] = (
        ("gemini", "usageMetadata" in row["body"]),
        ("other", flavor == "embeddings"),
        ("converse", "inputTokens" in usage),
        ("chat", "prompt_tokens" in usage),
        ("responses", "input_tokens" in usage and is_responses),
        ("messages", "input_tokens" in usage and provider == "anthropic"),
    )
    return next((api for api, is_so in tells if is_so), "other")


@lru_cache(maxsize=64)
def address_of(provider: str) -> str:
    """Return where a provider serves OpenAI's protocol, from the price list if not from the table above."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    patterns = [listed.api_pattern for listed in get_snapshot().providers if listed.id == provider]
    listed = [address for pattern in patterns if provider_id(address := pattern.replace("\\", "")) == provider]
    return ADDRESSES.get(provider) or next(iter(listed), "https://nobody-knows-it.example/v1")


@lru_cache(maxsize=1)
def server() -> RecordedServer:
    """Return the server of this process; it ends with it."""
    return RecordedServer().__enter__()


@lru_cache(maxsize=1)
def to_server() -> httpx.Client:
    """Return an HTTP client that brings every request to the server, whatever address it is for."""
    return httpx.Client(transport=_ToServer())


class _ToServer(httpx.BaseTransport):
    def __init__(self) -> None:
        self._wire = httpx.HTTPTransport()
        self._target = httpx.URL(server().url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        target = self._target
        request.url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
        return self._wire.handle_request(request)
