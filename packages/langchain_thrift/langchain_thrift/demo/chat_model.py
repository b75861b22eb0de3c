"""The chat model that the workloads of this package run on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from thrift_core.demo import Setup

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI


@contextmanager
def chat_model(setup: Setup) -> Generator[ChatOpenAI]:
    """Yield OpenAI's client, connected to what the setup names; its connections close with the block."""
    import httpx  # noqa: PLC0415 - comes with langchain-openai
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - needed by the demo only
    from pydantic import SecretStr  # noqa: PLC0415

    with httpx.Client() as client:
        if setup.base_url is None or setup.api_key is None:
            yield ChatOpenAI(model=setup.model, http_client=client)  # the key comes from the environment
        else:
            key = SecretStr(setup.api_key)
            yield ChatOpenAI(model=setup.model, base_url=setup.base_url, api_key=key, http_client=client)
