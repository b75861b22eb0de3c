"""Two processes share a cache, a budget and what was cut, in one Redis: what one paid for, the other has.

The second process asks what the first one asked, and is answered from the cache; it then runs into the limit that both
count towards, and recalls a text that the first one cut. Runs on a provider of this machine, with no key and no
network but Redis: version 8, or Redis Stack.

    python examples/shared_redis.py redis://localhost:6379/0
"""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

from langchain_openai import ChatOpenAI
from langchain_thrift import PromptCompressor, ThriftChatModel
from pydantic import SecretStr
from thrift_core import Budget, BudgetExceeded, Budgets, RedisRecallStore, RedisStore, SemanticCache, Thrift
from thrift_core.demo.rates import RATES
from thrift_core.testing import ChatRequest, LocalProvider, Reply

PREFIX = "thrift-example"
QUESTIONS = [f"How do I change my {thing}?" for thing in ("password", "address", "photo", "language", "phone", "name")]

RESULT = " ".join(f"Customer {number} asked for saddle {number * 7}." for number in range(40))


def brain(request: ChatRequest) -> Reply:
    """Stands for the model."""
    return Reply(text=f"{request.question} Open Settings and choose Change.", reasoning_tokens=100)


def work(redis_url: str, base_url: str, handle: str) -> None:
    """Be one process of the app: ask all questions, then new ones until the limit is met."""
    cache = SemanticCache(RedisStore(redis_url, prefix=f"{PREFIX}-cache"))
    budgets = Budgets(Budget(limit_usd="0.004", window="day"), store=redis_url)
    recall = RedisRecallStore(redis_url, f"{PREFIX}-recall")
    model = ChatOpenAI(model="gpt-5-mini", base_url=base_url, api_key=SecretStr("local"), max_completion_tokens=150)
    thrift = Thrift(cache=cache)
    asked = ThriftChatModel(model, thrift, budgets=budgets)
    for question in QUESTIONS:
        asked.invoke(question)
    hits = sum(cache.stats().hits.values())
    print(f"  {hits} of {len(QUESTIONS)} answered from the cache, the others for ${thrift.ledger.total().cost_usd:.6f}")
    if not handle:
        print(f"  {PromptCompressor(max_tokens=20, store=recall).invoke(RESULT).splitlines()[0]}")
        return
    print(f"  recalled byte for byte: {recall.get(handle) == RESULT}")
    try:
        for number in range(100):
            asked.invoke(f"Where is order {number}?")
    except BudgetExceeded as error:
        print(f"  {error}")


def main(redis_url: str) -> None:
    """Run one process after the other, and show what each of them made the provider bill."""
    handle, last = "", Decimal(0)
    with LocalProvider(brain, RATES) as provider:
        for name in ("first", "second"):
            command = [sys.executable, __file__, redis_url, provider.base_url, handle]
            shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            handle = shown.partition("recall ")[2].strip()
            billed = (provider.bill.cost_usd or Decimal(0)) - last
            last += billed
            print(f"{name} process: ${billed:.6f}\n{shown}", end="")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/shared_redis.py redis://HOST:PORT/DATABASE")
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        work(*sys.argv[1:4])
