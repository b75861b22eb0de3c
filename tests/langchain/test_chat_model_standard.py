"""LangChain's own standard tests of chat models, over a local provider and with every lever that is lossless on."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from langchain_thrift.chat_model import ThriftChatModel
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift

from tests.langchain.standard_brain import standard

# Said of the old kind of class that the suite also tries.
pytestmark = pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning")
_numbers = count()
_running: dict[str, LocalProvider] = {}


@pytest.fixture(scope="module", autouse=True)
def provider() -> Iterator[LocalProvider]:
    with LocalProvider(standard) as running:
        _running["it"] = running
        yield running
    with warnings.catch_warnings():
        # The suites make many clients and close none.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def benchmark() -> Callable[[Callable[[], None]], None]:
    """Runs what would be timed; no time is a test here."""
    return lambda work: work()


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ThriftChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "openai:gpt-4.1-mini", "api_key": "a key"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "a key"}, {"model": "openai:gpt-4.1-mini"}, {"openai_api_key": "a key"}


class _Served(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ThriftChatModel

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str | None:
        return "gpt-5-mini"

    @property
    def common(self) -> dict[str, Any]:
        levers = Thrift(cache="on", summarizer="on", planner="on", timeout_seconds=20)
        # Clients are shared by models with the same settings, and those of an earlier test are bound to its event loop.
        return {"thrift": levers, "api_key": "a key", "max_retries": 0, "timeout": 30 + next(_numbers) / 1000}


class TestThroughOpenAI(_Served):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        url = _running["it"].base_url
        return {"model": "openai:gpt-4.1-mini", "base_url": url, "stream_usage": True, **self.common}


class TestThroughOpenAIResponses(_Served):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        url = _running["it"].base_url
        return {"model": "openai:gpt-4.1-mini", "base_url": url, "use_responses_api": True, **self.common}


class TestThroughAnthropic(_Served):
    @property
    def supports_json_mode(self) -> bool:
        return False

    @property
    def supports_anthropic_inputs(self) -> bool:
        return False

    @property
    def model_override_value(self) -> str | None:
        return "claude-haiku-4-5"

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "anthropic:claude-sonnet-4-6", "base_url": _running["it"].root_url, **self.common}
