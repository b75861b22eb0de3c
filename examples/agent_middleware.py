"""`create_agent` with thrift as a middleware: the same answers for fewer dollars.

Runs on a provider of this machine that answers from a script: no key and no network are needed. To use it with a real
one, give `create_agent` your own model.

    python examples/agent_middleware.py
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langchain_thrift.demo.shop_brain import shop_brain
from langchain_thrift.demo.shop_data import Shop
from langchain_thrift.demo.shop_policy import POLICY
from langchain_thrift.demo.shop_tasks import plant_tasks
from langchain_thrift.demo.shop_tools import shop_tools
from langchain_thrift.middleware import ThriftMiddleware
from pydantic import SecretStr
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.caching import PromptCachePlanner
from thrift_core.demo.rates import RATES
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summarizer import TrajectorySummarizer

CUSTOMERS = 7


def answer_all(thrift: Thrift | None) -> tuple[list[str], Decimal]:
    """Return the answers to some customers, and the provider's own bill."""
    shop = Shop(seed=0)
    with LocalProvider(shop_brain, RATES) as provider, httpx.Client() as client:
        key = SecretStr("local")
        model = ChatOpenAI(model="gpt-5-mini", base_url=provider.base_url, api_key=key, http_client=client)
        budgets = Budgets(Budget(limit_usd="1.00", per="user", window="day"))
        middleware = [] if thrift is None else [ThriftMiddleware(thrift, budgets=budgets)]
        agent: Any = create_agent(model, shop_tools(shop), system_prompt=POLICY, middleware=middleware)
        answers = [
            agent.invoke({"messages": [("user", task.text)]}, {"metadata": {"user": f"customer {number}"}})
            for number, task in enumerate(plant_tasks(shop)[:CUSTOMERS])
        ]
        dollars = provider.bill.cost_usd or Decimal(0)
    shop.close()
    return [state["messages"][-1].text for state in answers], dollars


def main() -> None:
    """Ask with and without thrift."""
    thrift = Thrift(summarizer=TrajectorySummarizer(), planner=PromptCachePlanner())
    before, full = answer_all(None)
    after, lean = answer_all(thrift)
    print(f"as it is     ${full:.6f}")
    print(f"with thrift  ${lean:.6f} ({lean / full:.0%}), answers the same: {after == before}")
    print(f"its ledger   ${thrift.ledger.total().cost_usd:.6f} in {thrift.ledger.total().calls} calls")
    for line in thrift.ledger.spend("user")[:3]:
        print(f"  {line.key}: {line.calls} calls, ${line.cost_usd:.6f}")


if __name__ == "__main__":
    main()
