"""What a provider reported reaches the ledger whole, wherever its LlamaIndex integration leaves it."""

from decimal import Decimal

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llamaindex_thrift import track_costs

from benchmarks.money_server import RecordedServer

WAYS = pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
MODEL = "gpt-4.1-mini"
CHAT = {
    "prompt_tokens": 2000,
    "completion_tokens": 500,
    "total_tokens": 2500,
    "prompt_tokens_details": {"cached_tokens": 1500},
    "completion_tokens_details": {"reasoning_tokens": 400},
}
RESPONSES = {
    "input_tokens": 2000,
    "output_tokens": 500,
    "total_tokens": 2500,
    "input_tokens_details": {"cached_tokens": 1500},
    "output_tokens_details": {"reasoning_tokens": 400},
}
COST = (500 * Decimal("0.4") + 1500 * Decimal("0.1") + 500 * Decimal("1.6")) / 1_000_000


@pytest.fixture
def server():
    with RecordedServer() as running:
        yield running


@pytest.fixture
def client():
    with httpx.Client() as running:
        yield running


def ask(llm, is_stream):
    """Return the one call that was recorded."""
    messages = [ChatMessage(role="user", content="Where?")]
    with track_costs() as costs:
        list(llm.stream_chat(messages)) if is_stream else llm.chat(messages)
    (call,) = costs.ledger.calls()
    assert not call.is_estimated
    return call


@WAYS
def test_openais_cached_and_reasoning_tokens_arrive(server, client, is_stream):
    server.payload = {"model": MODEL, "usage": CHAT}
    asked = {"stream_options": {"include_usage": True}} if is_stream else {}
    llm = OpenAI(model=MODEL, api_base=f"{server.url}/v1", api_key="none", http_client=client, additional_kwargs=asked)
    call = ask(llm, is_stream)
    assert (call.usage.cache_read_tokens, call.usage.reasoning_tokens, call.cost_usd) == (1500, 400, COST)


@WAYS
def test_the_same_by_the_responses_api(server, client, is_stream):
    server.payload = {"model": MODEL, "usage": RESPONSES}
    llm = OpenAIResponses(model=MODEL, api_base=f"{server.url}/v1", api_key="none", http_client=client)
    call = ask(llm, is_stream)
    assert (call.usage.cache_read_tokens, call.usage.reasoning_tokens, call.cost_usd) == (1500, 400, COST)


def test_groqs_stream_reports_its_usage_unasked(server, client):
    server.payload, server.provider = {"model": MODEL, "usage": CHAT | {"queue_time": 0.1}}, "groq"
    llm = OpenAI(model=MODEL, api_base=f"{server.url}/v1", api_key="none", http_client=client)
    call = ask(llm, is_stream=True)
    assert (call.usage.input_tokens, call.usage.output_tokens) == (2000, 500)
