"""Two models behind one, with a policy learned from a golden set and a bound on what it loses.

`CascadeChatModel` asks the cheap model and passes on to the strong one what the policy does not trust it with. The
policy and its certificate come from questions that both models answered, with a score for each answer. Runs on a
provider of this machine, with no key and no network.

    python examples/cascade_golden_set.py
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_thrift import CascadeChatModel
from pydantic import SecretStr
from thrift_core import calibrate_router
from thrift_core.demo.rates import RATES
from thrift_core.testing import ChatRequest, LocalProvider, Reply

CITIES = {"Oslo": "Norway", "Lima": "Peru", "Rome": "Italy", "Cairo": "Egypt", "Quito": "Ecuador", "Hanoi": "Vietnam"}


def questions(count: int, seed: int) -> list[tuple[str, str]]:
    """Return questions with their right answers: facts, which are easy, and sums in words, which are not."""
    draw = random.Random(seed)
    asked: list[tuple[str, str]] = []
    for _ in range(count):
        if draw.random() < 0.7:
            city = draw.choice(list(CITIES))
            asked.append((f"Order {draw.randrange(9999)}: in which country is {city}?", CITIES[city]))
        else:
            boxes, each, broken = draw.randrange(12, 99), draw.randrange(12, 99), draw.randrange(2, 12)
            text = f"A van brings {boxes} boxes of {each} cups each, and {broken} cups break. How many cups are whole?"
            asked.append((text, str(boxes * each - broken)))
    return asked


ANSWERS = dict(questions(200, 1) + questions(50, 2))


def brain(request: ChatRequest) -> Reply:
    """Stands for the models: the cheap one does not work the sums out."""
    right = ANSWERS[request.question]
    knows = request.model == "gpt-5" or not right.isdigit()
    return Reply(text=right if knows else f"about {int(right) // 100 * 100}", reasoning_tokens=100)


def ask_all(model: BaseChatModel, asked: list[tuple[str, str]]) -> tuple[list[str], float]:
    """Return the answers and the share of them that are right."""
    answers = [model.invoke(question).text for question, _ in asked]
    return answers, sum(a == right for a, (_, right) in zip(answers, asked, strict=True)) / len(asked)


def main() -> None:
    """Calibrate on one set of questions, and ask the models and the cascade another one."""
    golden, asked = questions(200, 1), questions(50, 2)
    with LocalProvider(brain, RATES) as provider:
        settings: dict[str, Any] = {"base_url": provider.base_url, "api_key": SecretStr("local")}
        tiers = {"small": ChatOpenAI(model="gpt-5-nano", **settings), "large": ChatOpenAI(model="gpt-5", **settings)}
        answers = {name: ask_all(model, golden)[0] for name, model in tiers.items()}
        rows = [
            {
                "prompt": question,
                "answers": {name: answers[name][place] for name in tiers},
                "scores": {name: answers[name][place] == right for name in tiers},
            }
            for place, (question, right) in enumerate(golden)
        ]
        certificate = calibrate_router(rows, max_loss=0.03)
        print(f"certificate: {certificate.note}")
        for name, model in {**tiers, "cascade": CascadeChatModel(tiers, certificate)}.items():
            before = provider.bill.cost_usd or Decimal(0)
            _, right_share = ask_all(model, asked)
            print(f"{name:8} ${(provider.bill.cost_usd or 0) - before:.6f}, {right_share:.1%} right")


if __name__ == "__main__":
    main()
