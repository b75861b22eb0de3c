"""The chat model that the workloads of this package run on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from thrift_core.demo import Setup

from langchain_thrift.cascade import CascadeChatModel

if TYPE_CHECKING:
    import httpx
    from langchain_core.language_models import BaseChatModel
    from langchain_openai import ChatOpenAI


@contextmanager
def chat_model(setup: Setup) -> Generator[BaseChatModel]:
    """Yield OpenAI's client, connected to what the setup names, or a cascade of two."""
    import httpx  # noqa: PLC0415 - comes with langchain-openai

    with httpx.Client() as client:
        model = _client(setup, setup.model, client)
        if setup.cheap_model is None:
            yield model
        else:
            tiers = {"cheap": _client(setup, setup.cheap_model, client), "strong": model}
            yield CascadeChatModel(tiers, ledger=setup.ledger)


def _client(setup: Setup, name: str, http_client: httpx.Client) -> ChatOpenAI:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - needed by the demo only
    from pydantic import SecretStr  # noqa: PLC0415

    if setup.base_url is None or setup.api_key is None:
        return ChatOpenAI(model=name, http_client=http_client)  # the key comes from the environment
    key = SecretStr(setup.api_key)
    return ChatOpenAI(model=name, base_url=setup.base_url, api_key=key, http_client=http_client)
