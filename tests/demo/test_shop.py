"""The shop workload: a real agent does its tasks, is billed to the cent, and suffers when it cannot see."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ClearToolUsesEdit, ContextEditingMiddleware
from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI
from langchain_thrift.demo.shop import WORKLOAD
from langchain_thrift.demo.shop_brain import shop_brain
from langchain_thrift.demo.shop_data import Shop
from langchain_thrift.demo.shop_policy import POLICY
from langchain_thrift.demo.shop_tasks import plant_tasks
from langchain_thrift.demo.shop_tools import shop_tools
from thrift_core.accounting.ledger import Ledger
from thrift_core.demo import Figures, Result, Row, Setup, run_row
from thrift_core.demo.rates import RATES
from thrift_core.testing import LocalProvider


def figures(seed: int) -> tuple[Figures, Ledger]:
    ledger = Ledger()
    row = run_row(Row("as is", lambda _: None), [WORKLOAD], model="gpt-5-mini", ledger=ledger, seed=seed)
    return row.figures["shop"], ledger


@pytest.mark.parametrize("seed", [0, 7])
def test_every_task_is_resolved_and_the_ledger_says_what_the_provider_billed(seed: int) -> None:
    done, ledger = figures(seed)
    assert (done.resolved, done.tasks) == (30, WORKLOAD.tasks)
    assert done.spend.cost_usd == done.billed_usd
    assert done.spend.unpriced_calls == done.spend.estimated_calls == 0
    assert list(ledger.resolutions().values()) == [True] * 30
    per_task = [line.calls for line in ledger.spend("task")]
    assert min(per_task) >= 6
    assert max(per_task) <= 15


def test_the_same_seed_makes_the_same_shop_and_another_one_another() -> None:
    def rows(seed: int) -> list[tuple[Any, ...]]:
        shop = Shop(seed)
        tasks = [(task.id, task.text) for task in plant_tasks(shop)]
        tables = ("customers", "orders", "order_lines", "stock", "tickets")
        rows = [tuple(row) for table in tables for row in shop.all(f"select * from {table}")]
        shop.close()
        return tasks + rows

    assert rows(3) == rows(3)
    assert rows(3) != rows(4)


def test_tool_results_are_as_long_as_real_ones() -> None:
    shop = Shop(0)
    tools = {tool.name: tool for tool in shop_tools(shop)}
    order = shop.one("select id, customer_id from orders")
    results = [
        tools["list_orders"].invoke({"customer_id": order["customer_id"]}),
        tools["get_order"].invoke({"order_id": order["id"]}),
        tools["search_products"].invoke({"query": "", "category": "kitchen"}),
    ]
    shop.close()
    assert all(1000 < len(text) < 12000 for text in results)


def test_a_tool_answers_what_was_wrong_instead_of_raising() -> None:
    shop = Shop(0)
    tools = {tool.name: tool for tool in shop_tools(shop)}
    assert "error" in tools["get_order"].invoke({"order_id": "O-1"})
    order = shop.one("select order_id, sku from order_lines")
    asked = {"order_id": order["order_id"], "sku": order["sku"], "reason": "x"}
    assert "must look like" in tools["create_return"].invoke({**asked, "refund_amount": "a lot"})
    assert "more than was paid" in tools["create_return"].invoke({**asked, "refund_amount": "99999.00"})
    shop.close()


def resolved_with(middleware: list[Any], count: int = 7) -> tuple[int, int]:
    """Return how many of the first tasks are resolved, and in how many calls."""
    shop = Shop(0)
    tasks = plant_tasks(shop)[:count]
    with LocalProvider(shop_brain, RATES) as provider:
        model = ChatOpenAI(model="gpt-5-mini", base_url=provider.base_url, api_key="key")
        agent = create_agent(model, shop_tools(shop), system_prompt=POLICY, middleware=middleware)
        resolved = 0
        for task in tasks:
            state = agent.invoke({"messages": [("user", task.text)]}, {"recursion_limit": 100})
            resolved += task.is_resolved(shop, state["messages"][-1].text)
        calls = provider.bill.calls
    shop.close()
    return resolved, calls


def test_a_history_cut_too_deep_loses_tasks_and_makes_the_rest_dearer() -> None:
    kept, calls = resolved_with([])
    cut = ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=0, keep=1)])
    kept_cut, calls_cut = resolved_with([cut])
    assert kept == 7
    assert kept_cut < kept
    assert calls_cut / max(1, kept_cut) > calls / kept


def test_a_policy_that_is_not_sent_cannot_be_followed() -> None:
    shop = Shop(0)
    task = plant_tasks(shop)[0]
    with LocalProvider(shop_brain, RATES) as provider:
        model = ChatOpenAI(model="gpt-5-mini", base_url=provider.base_url, api_key="key")
        agent = create_agent(model, shop_tools(shop), system_prompt="Be kind.")
        state = agent.invoke({"messages": [("user", task.text)]})
    assert "cannot find the rule" in state["messages"][-1].text
    assert not task.is_resolved(shop, state["messages"][-1].text)
    assert any(isinstance(message, ToolMessage) for message in state["messages"])
    shop.close()


def test_a_result_counts_what_was_resolved() -> None:
    setup = Setup(workload="shop", model="m", base_url=None, ledger=Ledger())
    outcomes = (setup.settle("a", "yes", is_resolved=True), setup.settle("b", "no", is_resolved=False))
    assert Result(name="shop", outcomes=outcomes).resolved == 1
    assert setup.ledger.resolutions() == {"demo/shop/a": True, "demo/shop/b": False}
