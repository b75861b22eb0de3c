"""What tests of the LLM wrapper share: OpenAI's client on a local provider, and levers with settings for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai import OpenAI
from thrift_core.accounting.ledger import Ledger
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summarizer import SummarizerMode, TrajectorySummarizer

MODEL = "gpt-5-mini"
WITH_USAGE = {"stream_options": {"include_usage": True}}


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def levers(mode: SummarizerMode = "append_only", **settings: Any) -> Thrift:
    """Return a Thrift with the trajectory summarizer on."""
    return Thrift(summarizer=TrajectorySummarizer(mode=mode, **settings), ledger=Ledger())


@pytest.fixture
async def openai_at() -> AsyncIterator[Callable[..., OpenAI]]:
    """Makes OpenAI's client for a local provider."""
    with httpx.Client() as sync:
        async with httpx.AsyncClient() as unsync:

            def make(provider: LocalProvider, kind: Any = OpenAI, **settings: Any) -> OpenAI:
                defaults = {
                    "model": MODEL,
                    "api_base": provider.base_url,
                    "api_key": "sk-secret",
                    "max_retries": 0,
                    "additional_kwargs": WITH_USAGE,
                    "http_client": sync,
                    "async_http_client": unsync,
                }
                llm: OpenAI = kind(**{**defaults, **settings})
                return llm

            yield make
