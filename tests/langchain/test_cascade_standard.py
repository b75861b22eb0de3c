"""LangChain's own standard tests of chat models, of a cascade of two over a local provider."""

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
from langchain_thrift.cascade import CascadeChatModel
from thrift_core.testing import LocalProvider

from tests.langchain.standard_brain import standard

TIERS = ["openai:gpt-4.1-mini", "openai:gpt-4.1"]
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
        return CascadeChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"tiers": TIERS, "api_key": "a key"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "a key"}, {"tiers": TIERS}, {}


class _Served(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return CascadeChatModel

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def common(self) -> dict[str, Any]:
        # Clients are shared by models with the same settings, and those of an earlier test are bound to its event loop.
        return {"api_key": "a key", "max_retries": 0, "timeout": 30 + next(_numbers) / 1000}


class TestThroughOpenAI(_Served):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        url = _running["it"].base_url
        return {"tiers": TIERS, "base_url": url, "stream_usage": True, **self.common}


class TestThroughAnthropic(_Served):
    @property
    def supports_json_mode(self) -> bool:
        return False

    @property
    def supports_anthropic_inputs(self) -> bool:
        return False

    @property
    def chat_model_params(self) -> dict[str, Any]:
        tiers = ["anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-4-6"]
        return {"tiers": tiers, "base_url": _running["it"].root_url, **self.common}
