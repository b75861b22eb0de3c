"""What a provider reported reaches the ledger whole, also where its LangChain integration drops parts of it."""

import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from langchain_thrift import CostCallbackHandler
from langchain_thrift.usage_details import keep_usage_details

from benchmarks.money_server import RecordedServer

WAYS = pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
GEMINI = "langchain_google_genai.chat_models"
USAGE = {"input_tokens": 100, "output_tokens": 5, "total_tokens": 105, "input_token_details": {"cache_read": 0}}


@pytest.fixture
def server():
    with RecordedServer() as running:
        yield running


def ask(model, is_stream):
    """Return what came, put together, and the one call that was recorded."""
    handler = CostCallbackHandler()
    config = {"callbacks": [handler]}
    answer = None
    if is_stream:
        for chunk in model.stream("Where?", config):
            answer = chunk if answer is None else answer + chunk
    else:
        answer = model.invoke("Where?", config)
    (call,) = handler.ledger.calls()
    assert not call.is_estimated
    return answer, call


def gemini(server, usage):
    integration = pytest.importorskip("langchain_google_genai")
    server.payload = {"modelVersion": "gemini-2.5-flash", "usageMetadata": usage}
    return integration.ChatGoogleGenerativeAI(model="gemini-2.5-flash", base_url=server.url, api_key="none")


@WAYS
@pytest.mark.parametrize("is_responses", [False, True], ids=["chat", "responses"])
def test_openais_cached_and_reasoning_tokens_arrive(server, is_stream, is_responses):
    sent, received = ("input_tokens", "output_tokens") if is_responses else ("prompt_tokens", "completion_tokens")
    usage = {sent: 2000, received: 500, "total_tokens": 2500}
    usage |= {f"{sent}_details": {"cached_tokens": 1500}, f"{received}_details": {"reasoning_tokens": 400}}
    server.payload = {"model": "gpt-4.1-mini", "usage": usage}
    model = ChatOpenAI(
        model="gpt-4.1-mini",
        base_url=f"{server.url}/v1",
        api_key="none",
        stream_usage=True,
        use_responses_api=is_responses,
    )
    _, call = ask(model, is_stream)
    assert (call.usage.cache_read_tokens, call.usage.reasoning_tokens) == (1500, 400)
    assert call.cost_usd == (500 * Decimal("0.4") + 1500 * Decimal("0.1") + 500 * Decimal("1.6")) / 1_000_000


@WAYS
def test_geminis_audio_is_priced_as_audio(server, is_stream):
    sound, words = {"modality": "AUDIO", "tokenCount": 80}, {"modality": "TEXT", "tokenCount": 20}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
    model = gemini(server, usage | {"promptTokensDetails": [words, sound]})
    answer, call = ask(model, is_stream)
    assert call.usage.input_audio_tokens == answer.usage_metadata["input_token_details"]["audio"] == 80
    assert call.cost_usd == (80 * Decimal("1") + 20 * Decimal("0.3") + 10 * Decimal("2.5")) / 1_000_000


@WAYS
def test_geminis_tier_arrives(server, is_stream):
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
    _, call = ask(gemini(server, usage | {"trafficType": "ON_DEMAND_FLEX"}), is_stream)
    assert call.service_tier == "ON_DEMAND_FLEX"


@WAYS
def test_anthropics_hour_long_cache_writes_are_priced_as_such(server, is_stream):
    integration = pytest.importorskip("langchain_anthropic")
    lifetimes = {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}
    usage = {"input_tokens": 20, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 1000, "output_tokens": 9}
    server.payload = {"model": "claude-sonnet-4-6", "usage": usage | {"cache_creation": lifetimes}}
    model = integration.ChatAnthropic(model="claude-sonnet-4-6", base_url=server.url, api_key="none")
    _, call = ask(model, is_stream)
    assert (call.usage.input_tokens, call.usage.cache_write_tokens, call.usage.cache_write_1h_tokens) == (
        1020,
        1000,
        600,
    )
    expected = 20 * Decimal("3") + 400 * Decimal("3.75") + 600 * Decimal("6") + 9 * Decimal("15")
    assert call.cost_usd == expected / 1_000_000


@pytest.fixture
def integration(monkeypatch):
    """A stand-in for Gemini's integration, of which only the one function counts."""

    def convert(response, stream=False, prev_usage=None):
        message = (AIMessageChunk if stream else AIMessage)(content="Paris.", usage_metadata=dict(USAGE))
        return ChatResult(generations=[ChatGeneration(message=message)])

    module = SimpleNamespace(_response_to_result=convert)
    monkeypatch.setitem(sys.modules, GEMINI, module)
    return module


def test_an_integration_is_wrapped_once(integration):
    keep_usage_details("google_genai")
    wrapped = integration._response_to_result
    keep_usage_details("google_genai")
    assert integration._response_to_result is wrapped


def test_an_integration_without_the_function_is_left_alone(monkeypatch):
    module = SimpleNamespace(other=1)
    monkeypatch.setitem(sys.modules, GEMINI, module)
    keep_usage_details("google_genai")
    assert vars(module) == {"other": 1}


def test_an_integration_that_cannot_be_wrapped_does_not_stop_the_call(monkeypatch):
    class Frozen:
        __slots__ = ()
        _response_to_result = print

    monkeypatch.setitem(sys.modules, GEMINI, Frozen())
    keep_usage_details("google_genai")


def test_a_usage_that_cannot_be_read_leaves_the_answer_as_it_was(integration):
    keep_usage_details("google_genai")
    broken = SimpleNamespace(usage_metadata={"promptTokenCount": "many"})
    (generation,) = integration._response_to_result(broken).generations
    assert generation.message.usage_metadata == USAGE


def test_other_providers_integrations_are_not_touched(integration):
    before = integration._response_to_result
    keep_usage_details("openai")
    assert integration._response_to_result is before
