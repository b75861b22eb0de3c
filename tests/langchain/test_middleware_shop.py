"""The demo's shop agent with and without thrift: the same answers, the same tasks done, a lower bill."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langchain_thrift.demo.shop_brain import shop_brain
from langchain_thrift.demo.shop_data import Shop
from langchain_thrift.demo.shop_policy import POLICY
from langchain_thrift.demo.shop_tasks import plant_tasks
from langchain_thrift.demo.shop_tools import shop_tools
from langchain_thrift.middleware import ThriftMiddleware
from thrift_core.accounting.report import summarise
from thrift_core.demo.rates import RATES
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift

from tests.langchain.agents import lean

TASKS = 7


def work(thrift: Thrift | None, *, is_streaming: bool) -> tuple[list[str], int, Decimal]:
    """Return the answers, how many tasks are done, and the provider's bill."""
    shop = Shop(0)
    tasks = plant_tasks(shop)[:TASKS]
    with LocalProvider(shop_brain, RATES) as provider, httpx.Client() as client:
        model: Any = ChatOpenAI(
            model="gpt-5-mini",
            base_url=provider.base_url,
            api_key="key",
            http_client=client,
            streaming=is_streaming,
            stream_usage=True,
        )
        middleware = [] if thrift is None else [ThriftMiddleware(thrift)]
        agent = create_agent(model, shop_tools(shop), system_prompt=POLICY, middleware=middleware)
        answers = []
        for task in tasks:
            states = agent.stream({"messages": [("user", task.text)]}, {"recursion_limit": 100}, stream_mode="values")
            answers.append(str(list(states)[-1]["messages"][-1].text))
        done = sum(task.is_resolved(shop, answer) for task, answer in zip(tasks, answers, strict=True))
        dollars = provider.bill.cost_usd
    shop.close()
    assert dollars is not None
    return answers, done, dollars


@pytest.mark.parametrize("is_streaming", [False, True])
def test_the_shop_is_run_as_well_for_less(is_streaming: bool) -> None:
    answers, done, dollars = work(None, is_streaming=is_streaming)
    assert done == TASKS
    # Each customer is a conversation of its own of some eight calls, too short for cuts to pay much.
    for mode, most in (("append_only", "0.92"), ("rewrite", "0.96")):
        thrift = lean(mode, is_planning=True)  # type: ignore[arg-type]
        same, also_done, less = work(thrift, is_streaming=is_streaming)
        assert (same, also_done) == (answers, done)
        assert less < dollars * Decimal(most)
        assert thrift.ledger.total().cost_usd == less
        seen = summarise(thrift.ledger).prediction
        assert seen.calls == thrift.ledger.total().calls
        assert seen.missed_tokens <= 0.03 * thrift.ledger.total().usage.input_tokens  # one step of 128 in some calls
        assert thrift.ledger.faults() == {}
