"""The agent workload: `create_agent` with thirteen tools over an SQLite shop, and customers who want something."""

from __future__ import annotations

from typing import Any

from thrift_core.demo import Outcome, Result, Setup, Workload

from langchain_thrift.costs import track_costs
from langchain_thrift.demo.chat_model import chat_model
from langchain_thrift.demo.shop_brain import shop_brain
from langchain_thrift.demo.shop_data import Shop
from langchain_thrift.demo.shop_policy import POLICY
from langchain_thrift.demo.shop_tasks import Task, plant_tasks
from langchain_thrift.demo.shop_tools import shop_tools

_MOST_STEPS = 60


def run_shop(setup: Setup) -> Result:
    """Let the agent do every task, each in a conversation of its own."""
    from langchain.agents import create_agent  # noqa: PLC0415 - the extra `agents`

    from langchain_thrift.middleware import ThriftMiddleware  # noqa: PLC0415 - likewise

    shop = Shop(setup.seed)
    try:
        tasks = plant_tasks(shop)
        with chat_model(setup) as model, track_costs(setup.ledger):
            middleware = [] if setup.thrift is None else [ThriftMiddleware(setup.thrift)]
            agent = create_agent(model, shop_tools(shop), system_prompt=POLICY, middleware=middleware)
            outcomes = [_work(agent, shop, task, setup) for task in tasks]
    finally:
        shop.close()
    return Result(name=setup.workload, outcomes=tuple(outcomes))


def _work(agent: Any, shop: Shop, task: Task, setup: Setup) -> Outcome:
    with setup.working_on(task.id):
        messages = [{"role": "user", "content": task.text}]
        state = agent.invoke({"messages": messages}, {"recursion_limit": _MOST_STEPS})
    answer = str(state["messages"][-1].text)
    return setup.settle(task.id, answer, is_resolved=task.is_resolved(shop, answer))


WORKLOAD = Workload(
    name="shop",
    about="a LangChain agent with 13 tools over an SQLite shop; 30 customers' requests of 7 kinds",
    tasks=30,
    brain=shop_brain,
    run=run_shop,
)
