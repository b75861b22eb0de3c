"""A chain as it was, seen and limited: one callback counts what it costs, and stops who asks too much.

The chain does not change. A script that asks in a loop is stopped at half a cent a day, before the call that would
pass the limit goes out; the customers beside it never notice. (LangChain itself logs that the callback raised.) Runs on
a provider of this machine, with no key and no network.

    python examples/existing_chain.py
"""

from __future__ import annotations

from decimal import Decimal

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langchain_thrift import CostCallbackHandler
from pydantic import SecretStr
from thrift_core import Budget, BudgetExceeded, Budgets, Ledger
from thrift_core.demo.rates import RATES
from thrift_core.testing import ChatRequest, LocalProvider, Reply

ASKED = [("ann", 3), ("bob", 2), ("a script", 60)]


def brain(request: ChatRequest) -> Reply:
    """Stands for the model."""
    return Reply(text=f"About {request.question!r}: our opening hours are 9 to 17, Monday to Friday. " * 3)


def ask_all(budgets: Budgets | None) -> tuple[Ledger, Decimal, int]:
    """Return the ledger, the provider's own bill and how many questions were not asked any more."""
    ledger, refused = Ledger(), 0
    with LocalProvider(brain, RATES) as provider:
        model = ChatOpenAI(
            model="gpt-5-mini", base_url=provider.base_url, api_key=SecretStr("local"), max_completion_tokens=200
        )
        chain = ChatPromptTemplate.from_template("Answer in one line: {question}") | model | StrOutputParser()
        handler = CostCallbackHandler(ledger, budgets, feature="support")
        for user, questions in ASKED:
            for number in range(questions):
                try:
                    chain.invoke(
                        {"question": f"question {number}, when do you open?"},
                        config={"callbacks": [handler], "metadata": {"user": user}},
                    )
                except BudgetExceeded as error:
                    refused = questions - number
                    print(f"refused: {error}")
                    break
        return ledger, provider.bill.cost_usd or Decimal(0), refused


def main() -> None:
    """Ask with and without a limit."""
    _, unlimited, _ = ask_all(None)
    ledger, limited, refused = ask_all(Budgets(Budget(limit_usd="0.005", per="user", window="day")))
    print(f"no limit    ${unlimited:.6f}")
    print(f"with limit  ${limited:.6f} ({limited / unlimited:.0%}), {refused} calls not made")
    print(f"its ledger  ${ledger.total().cost_usd:.6f}")
    for line in ledger.spend("user"):
        print(f"  {line.key}: {line.calls} calls, ${line.cost_usd:.6f}")


if __name__ == "__main__":
    main()
