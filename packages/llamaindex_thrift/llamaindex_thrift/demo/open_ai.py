"""The LLM that the workloads ask: OpenAI's client, with thrift around it where levers are on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from llama_index.core.llms.llm import LLM
from thrift_core.demo import Setup

from llamaindex_thrift.cascade import CascadeLLM
from llamaindex_thrift.llm import ThriftLLM

if TYPE_CHECKING:
    import httpx

_SECONDS = 60.0


@contextmanager
def sync_llm(setup: Setup) -> Generator[LLM]:
    """Yield an LLM for synchronous calls and close its connections in the end."""
    import httpx  # noqa: PLC0415 - needed by the demo only

    with httpx.Client(timeout=_SECONDS) as client:
        yield _llm(setup, http_client=client)


@asynccontextmanager
async def async_llm(setup: Setup) -> AsyncGenerator[LLM]:
    """Yield an LLM for calls in this event loop and close its connections in the end."""
    import httpx  # noqa: PLC0415 - needed by the demo only

    async with httpx.AsyncClient(timeout=_SECONDS) as client:
        yield _llm(setup, async_http_client=client)


def _llm(
    setup: Setup, *, http_client: httpx.Client | None = None, async_http_client: httpx.AsyncClient | None = None
) -> LLM:
    def client(name: str) -> LLM:
        from llama_index.llms.openai import OpenAI  # noqa: PLC0415 - needed by the demo only

        return OpenAI(
            model=name,
            api_base=setup.base_url,
            api_key=setup.api_key,
            # OpenAI tells what a stream used only if it is asked to.
            additional_kwargs={"stream_options": {"include_usage": True}},
            http_client=http_client,
            async_http_client=async_http_client,
        )

    llm = client(setup.model)
    if setup.cheap_model is not None:
        llm = CascadeLLM({"cheap": client(setup.cheap_model), "strong": llm}, ledger=setup.ledger)
    return llm if setup.thrift is None else ThriftLLM(llm, setup.thrift)
