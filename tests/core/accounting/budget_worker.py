"""One process among several that spend from the same budget: python budget_worker.py STORE CALLS LIMIT."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets, Reservation
from thrift_core.accounting.redis_budget_store import RedisBudgetStore
from thrift_core.errors import BudgetExceeded


def main(place: str, prefix: str, calls: int, limit: str) -> None:
    store = RedisBudgetStore(place, prefix=prefix) if "://" in place else place
    budgets = Budgets(Budget(limit_usd=limit), store=store)

    def reserve(_: int) -> Reservation | None:
        try:
            return budgets.reserve(usd=Decimal("0.01"), tokens=100)
        except BudgetExceeded:
            return None

    with ThreadPoolExecutor(8) as pool:
        for _ in sys.stdin:  # each line begins a wave
            held = [reservation for reservation in pool.map(reserve, range(calls)) if reservation is not None]
            say(f"{len(held)} {sum(budgets.faults.values())}")
            sys.stdin.readline()
            list(pool.map(lambda one: budgets.settle(one, usd=Decimal("0.004"), tokens=40), held))
            say("settled")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
