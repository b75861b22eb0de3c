"""thrift in LangGraph's older `create_react_agent`, as its `pre_model_hook`.

That function is deprecated: new agents are made with `langchain.agents.create_agent`, see `agent_middleware.py`. The
hook returns what the model is to be sent (`llm_input_messages`), so the agent's state keeps every message as it was.

Runs on a provider of this machine that answers from a script: no key and no network are needed.

    python examples/pre_model_hook.py
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_args

import httpx
from langchain_openai import ChatOpenAI
from langchain_thrift.costs import track_costs
from langchain_thrift.demo.shop_brain import shop_brain
from langchain_thrift.demo.shop_data import Shop
from langchain_thrift.demo.shop_policy import POLICY
from langchain_thrift.demo.shop_tasks import plant_tasks
from langchain_thrift.demo.shop_tools import shop_tools
from langchain_thrift.recall import recall_tools
from langchain_thrift.summarizer import TrajectorySummarizer
from langgraph.prebuilt import create_react_agent
from pydantic import SecretStr
from thrift_core.demo.rates import RATES
from thrift_core.testing import LocalProvider
from thrift_core.trajectory.summarizer import SummarizerMode

CUSTOMERS = 7
Hook = Callable[[dict[str, Any]], dict[str, Any]]


def lean_hook(summarizer: TrajectorySummarizer) -> Hook:
    """Return a hook that has the model sent what the summarizer makes of the conversation."""

    def hook(state: dict[str, Any]) -> dict[str, Any]:
        return {"llm_input_messages": summarizer.invoke(state["messages"])}

    return hook


def answer_all(mode: SummarizerMode | None) -> tuple[list[str], Decimal]:
    """Return the answers to some customers, and what the calls cost."""
    shop = Shop(seed=0)
    with LocalProvider(shop_brain, RATES) as provider, httpx.Client() as client, track_costs() as costs:
        key = SecretStr("local")
        model = ChatOpenAI(model="gpt-5-mini", base_url=provider.base_url, api_key=key, http_client=client)
        tools, hook = list(shop_tools(shop)), None
        if mode is not None:
            summarizer = TrajectorySummarizer(
                mode=mode, model="gpt-5-mini", provider="openai", system=POLICY, tools=tools
            )
            # From the first call on: a list of tools that changes makes the provider forget the cached prefix.
            tools += recall_tools(summarizer.thrift)
            hook = lean_hook(summarizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            agent = create_react_agent(model, tools, prompt=POLICY, pre_model_hook=hook)
        answers = [agent.invoke({"messages": [("user", task.text)]}) for task in plant_tasks(shop)[:CUSTOMERS]]
    shop.close()
    return [state["messages"][-1].text for state in answers], costs.total_usd


def main() -> None:
    """Ask with and without thrift."""
    before, full = answer_all(None)
    print(f"as it is           ${full:.6f}")
    for mode in get_args(SummarizerMode):
        after, lean = answer_all(mode)
        print(f"lean, {mode:12} ${lean:.6f} ({lean / full:.0%}), answers the same: {after == before}")


if __name__ == "__main__":
    main()
