"""A `FunctionAgent` with thrift around its LLM: the same answers for fewer dollars, while the agent runs.

Runs on a provider of this machine that answers from a script: no key and no network are needed. To use it with a real
one, give `ThriftLLM` your own LLM.

    python examples/function_agent.py
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import httpx
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms.llm import LLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.llms.openai import OpenAI
from llamaindex_thrift.demo.parcels import HANDBOOK, TOOLS, questions
from llamaindex_thrift.demo.parcels_brain import parcels_brain
from llamaindex_thrift.llm import ThriftLLM
from thrift_core.caching import PromptCachePlanner
from thrift_core.demo.rates import RATES
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summarizer import TrajectorySummarizer

SETTINGS = {
    "as it is": None,
    "append only": Thrift(summarizer=TrajectorySummarizer(), planner=PromptCachePlanner()),
    "rewrite": Thrift(summarizer=TrajectorySummarizer(mode="rewrite"), planner=PromptCachePlanner()),
}


async def ask_all(thrift: Thrift | None) -> tuple[str, Decimal]:
    """Return the answer to a customer's last question, and the provider's own bill for all of them."""
    with LocalProvider(parcels_brain, RATES) as provider:
        async with httpx.AsyncClient(timeout=30) as client:
            llm: LLM = OpenAI(model="gpt-5-mini", api_base=provider.base_url, api_key="local", async_http_client=client)
            if thrift is not None:
                llm = ThriftLLM(llm, thrift)  # this line is all that changes
            agent = FunctionAgent(tools=list(TOOLS), llm=llm, system_prompt=HANDBOOK)
            memory = ChatMemoryBuffer.from_defaults(token_limit=100_000)
            for question in questions(0):
                output = await agent.run(question, memory=memory, max_iterations=60)
        return str(output.response.content), provider.bill.cost_usd


async def main() -> None:
    """Ask the same questions with each setting."""
    as_it_is = Decimal(0)
    for name, thrift in SETTINGS.items():
        answer, dollars = await ask_all(thrift)
        as_it_is = as_it_is or dollars
        print(f"{name:12} ${dollars:.6f} {dollars / as_it_is:4.0%}  {answer}")


if __name__ == "__main__":
    asyncio.run(main())
