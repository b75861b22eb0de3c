"""A block of LlamaIndex's `Memory`: what falls out of the short-term memory stays as facts, and can be recalled whole.

A memory works between the runs of an agent; while a run lasts, `ThriftLLM` keeps its messages lean (see
`function_agent.py`), and both can be used together. This example runs on a provider of this machine that answers from a
script: no key and no network are needed.

    python examples/memory_block.py
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemoryBlock, Memory
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from llamaindex_thrift.demo.parcels import HANDBOOK, TOOLS, questions
from llamaindex_thrift.demo.parcels_brain import parcels_brain
from llamaindex_thrift.view import message_view
from pydantic import Field, PrivateAttr
from thrift_core.demo.rates import RATES
from thrift_core.recall.store import MemoryRecallStore, RecallStore
from thrift_core.recall.tool import recall
from thrift_core.testing import LocalProvider
from thrift_core.trajectory.facts import ledger

SHORT_TERM_TOKENS = 6_000


class LeanHistoryBlock(BaseMemoryBlock[str]):
    """Keeps earlier messages as facts, without asking a model, and their full text in a recall store."""

    name: str = "earlier turns"
    max_characters: int = Field(default=300, description="The most that the facts of one batch of messages may take.")
    _store: RecallStore = PrivateAttr(default_factory=MemoryRecallStore)
    _lines: list[str] = PrivateAttr(default_factory=list)

    def recall_tool(self) -> FunctionTool:
        """Return the tool by which the model gets the full text back."""

        def recall_earlier(id: str, query: str = "") -> str:  # noqa: A002 - what the facts call it
            return recall(self._store, {"id": id, "query": query})

        return FunctionTool.from_defaults(
            recall_earlier, name="recall", description="Full text of earlier turns marked: recall <id>"
        )

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        return "\n".join(self._lines)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        views = [message_view(message) for message in messages]
        texts = [" ".join([view.text, *(call.arguments for call in view.tool_calls)]) for view in views]
        whole = "\n".join(text for text in texts if text.strip())
        facts = ledger(whole, lambda word: False, max_characters=self.max_characters)
        self._lines.append(f"recall {self._store.put(whole)}: {' '.join(facts)}")

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Leave out the oldest lines; four characters are taken for a token."""
        return content[tokens_to_truncate * 4 :] or None


async def main() -> None:
    """Ask a customer's questions with a short memory; the last one is about what fell out of it long before."""
    block = LeanHistoryBlock()
    memory = Memory.from_defaults(token_limit=SHORT_TERM_TOKENS, memory_blocks=[block])
    with LocalProvider(parcels_brain, RATES) as provider:
        async with httpx.AsyncClient() as client:
            llm = OpenAI(
                model="gpt-5-mini", api_base=provider.base_url, api_key="local", async_http_client=client, timeout=30
            )
            agent = FunctionAgent(tools=[*TOOLS, block.recall_tool()], llm=llm, system_prompt=HANDBOOK)
            for question in questions(0):
                output = await agent.run(question, memory=memory, max_iterations=60)
                print(f"{question}\n  {output.response.content}")
        print(f"longest request: {max(line.use.input_tokens for line in provider.bill.lines)} tokens")


if __name__ == "__main__":
    asyncio.run(main())
