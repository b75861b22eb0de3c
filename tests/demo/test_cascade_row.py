"""The row with a cascade: a weaker model is asked first, where a workload has one and it is the cheaper one."""

from __future__ import annotations

import pytest
from langchain_thrift.demo.support import FAQ, SYSTEM, faq_text, support_brain, support_cheap_brain
from thrift_core.accounting.ledger import Ledger
from thrift_core.demo import Result, Row, Setup, Workload, run_row
from thrift_core.demo.rates import CHEAP_MODEL, DEFAULT_MODEL
from thrift_core.messages import Message
from thrift_core.testing import ChatRequest, Reply

ROW = Row("cascade", lambda ledger: None, cheap_model=CHEAP_MODEL)


def workload(seen: list[str | None], **more: object) -> Workload:
    def run(setup: Setup) -> Result:
        seen.append(setup.cheap_model)
        return Result(name="w", outcomes=())

    return Workload(name="w", about="", tasks=0, brain=lambda _: Reply(text="x"), run=run, **more)


@pytest.mark.parametrize(
    ("model", "has_cheap_brain", "expected"),
    [
        (DEFAULT_MODEL, True, CHEAP_MODEL),
        (DEFAULT_MODEL, False, None),
        (CHEAP_MODEL, True, None),
    ],
)
def test_a_cascade_needs_a_weaker_model_that_is_cheaper(model: str, has_cheap_brain: bool, expected: str | None):
    seen: list[str | None] = []
    more = {"cheap_brain": lambda _: Reply(text="y")} if has_cheap_brain else {}
    run_row(ROW, [workload(seen, **more)], model=model, ledger=Ledger())
    assert seen == [expected]


def test_the_weaker_model_answers_as_the_strong_one_or_says_that_it_is_not_sure():
    unsure = 0
    for entry in FAQ:
        for text in (entry.question, f"pelase, {entry.question[3:20]}"):
            messages = (Message("system", SYSTEM.format(faq=faq_text())), Message("user", text))
            asked = ChatRequest(api="chat", model="m", messages=messages)
            said = support_cheap_brain(asked).text
            unsure += "not sure" in said
            assert "not sure" in said or said == support_brain(asked).text
    assert unsure == len(FAQ)
