"""A running agent's messages shrink, its answers do not change, and the provider bills less."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llamaindex_thrift import track_costs
from llamaindex_thrift.demo.docs import WORKLOAD as DOCS
from llamaindex_thrift.demo.parcels import WORKLOAD as PARCELS
from llamaindex_thrift.demo.parcels import Conversation, questions
from llamaindex_thrift.demo.parcels_brain import parcels_brain, report
from llamaindex_thrift.llm import ThriftLLM
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching import PromptCachePlanner
from thrift_core.demo import Figures, Row, Workload, run_row
from thrift_core.demo.rates import RATES
from thrift_core.messages import Message, unpaired_calls
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift
from thrift_core.trajectory.summarizer import SummarizerMode, TrajectorySummarizer

from tests.llamaindex.conftest import levers

pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecationWarning", "ignore:.*unserializable key"
)
EXAMPLES = Path(__file__).parents[2] / "examples"
MODES: tuple[SummarizerMode, ...] = ("append_only", "rewrite")


async def converse(llm: Any, turns: int, *, streaming: bool = True) -> tuple[list[str], list[Any]]:
    conversation = Conversation(llm, streaming=streaming)
    answers = [await conversation.ask(question) for question in questions(0, turns)]
    return answers, conversation.memory.get_all()


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("mode", MODES)
async def test_the_answers_are_the_same_and_the_agent_keeps_all_it_had(
    openai_at: Callable[..., Any], mode: SummarizerMode, streaming: bool
) -> None:
    with LocalProvider(parcels_brain, RATES) as plain, LocalProvider(parcels_brain, RATES) as shrunk:
        expected, kept = await converse(openai_at(plain), 2, streaming=streaming)
        llm = ThriftLLM(openai_at(shrunk), levers(mode))
        answers, memory = await converse(llm, 2, streaming=streaming)
        assert answers == expected == [report(question, str) for question in questions(0, 2)]
        # The agent's own messages are whole; results of parallel calls come in any order.
        assert sorted((m.role, m.content or "") for m in memory) == sorted((m.role, m.content or "") for m in kept)
        assert all(unpaired_calls(request.messages) == (frozenset(), frozenset()) for request in shrunk.requests)
        assert len(_text(shrunk.requests[-1].messages)) < 0.9 * len(_text(plain.requests[-1].messages))
        assert llm.thrift.ledger.faults() == {}


async def test_the_messages_of_a_run_in_progress_shrink(openai_at: Callable[..., Any]) -> None:
    with LocalProvider(parcels_brain, RATES) as provider:
        await Conversation(ThriftLLM(openai_at(provider), levers())).ask(questions(0)[0])
        one_run = list(provider.requests)
    whole = [message.text for message in one_run[-1].messages if message.role == "tool"]
    assert any(text.startswith("§") for text in whole)
    # Each message was shortened when it was first sent, and never changed again.
    for before, after in itertools.pairwise(one_run):
        assert after.messages[: len(before.messages)] == before.messages


@pytest.mark.parametrize(("mode", "share"), [("append_only", "0.95"), ("rewrite", "0.9")])
async def test_a_long_run_costs_less_by_the_providers_own_bill(
    openai_at: Callable[..., Any], mode: SummarizerMode, share: str
) -> None:
    with LocalProvider(parcels_brain, RATES) as plain, LocalProvider(parcels_brain, RATES) as shrunk:
        await converse(openai_at(plain), 5)
        with track_costs() as costs:
            answers, _ = await converse(ThriftLLM(openai_at(shrunk), levers(mode)), 5)
        assert answers == [report(question, str) for question in questions(0)]
        assert shrunk.bill.cost_usd < float(share) * float(plain.bill.cost_usd)
        assert costs.ledger.total().cost_usd == shrunk.bill.cost_usd
        assert costs.ledger.total().calls == shrunk.bill.calls


def _figures(workload: Workload, mode: SummarizerMode | None) -> Figures:
    def configure(ledger: Ledger) -> Thrift | None:
        if mode is None:
            return None
        return Thrift(summarizer=TrajectorySummarizer(mode=mode), planner=PromptCachePlanner(), ledger=ledger)

    ledger = Ledger()
    figures = run_row(Row(str(mode), configure), [workload], model="gpt-5-mini", ledger=ledger).figures[workload.name]
    assert ledger.faults() == {}
    assert figures.spend.cost_usd == figures.billed_usd
    assert figures.spend.unpriced_calls == figures.spend.estimated_calls == 0
    return figures


def test_the_demos_agent_resolves_every_task() -> None:
    figures = _figures(PARCELS, "rewrite")
    assert (figures.resolved, figures.tasks) == (PARCELS.tasks, PARCELS.tasks)


def test_the_demos_query_engine_answers_the_same_at_the_same_price() -> None:
    plain, wrapped = _figures(DOCS, None), _figures(DOCS, "append_only")
    assert (wrapped.resolved, wrapped.billed_usd) == (plain.resolved, plain.billed_usd)


@pytest.mark.parametrize("name", ["function_agent", "memory_block"])
def test_the_examples_run_with_no_key(name: str) -> None:
    example = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(example, check=True, capture_output=True, text=True, timeout=100)
    answers = [line for line in done.stdout.splitlines() if "was left" in line]
    assert answers
    assert all(answer.endswith(report(questions(0)[-1], str)) for answer in answers)


def _text(messages: tuple[Message, ...]) -> str:
    return "\n".join(message.text for message in messages)
