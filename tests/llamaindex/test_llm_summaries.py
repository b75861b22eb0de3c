"""A cheap LLM summarizes an agent's old steps: unseen, counted, in the background, and only where it pays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.llms import MockLLM
from llama_index.core.tools import FunctionTool
from llamaindex_thrift import track_costs
from llamaindex_thrift.llm import ThriftLLM
from thrift_core.errors import ConfigurationError
from thrift_core.messages import unpaired_calls
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift

from tests.summarized_task import (
    DONE,
    LARGE,
    POLICY,
    SAID,
    SMALL,
    TASK,
    brain,
    failing_brain,
    inventing_brain,
    levers,
    part,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecationWarning", "ignore:.*unserializable key"
)


def agent_with(llm: ThriftLLM, *, streaming: bool = True) -> FunctionAgent:
    def read_log(part_: int) -> str:
        assert llm.summaries is None or llm.summaries.wait(seconds=20)
        return part(part_)

    def read(part: int) -> str:
        """Read a part of the log."""
        return read_log(part)

    tool = FunctionTool.from_defaults(fn=read, name="read_log")
    return FunctionAgent(tools=[tool], llm=llm, system_prompt=POLICY, streaming=streaming)


def large(provider: LocalProvider) -> list[Any]:
    return [request for request in provider.requests if request.model == LARGE]


async def run(agent: FunctionAgent) -> tuple[str, str]:
    """Return the answer, and all that was streamed."""
    handler = agent.run(TASK, max_iterations=100)
    streamed = [event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
    return str(await handler), "".join(streamed)


@pytest.mark.parametrize("streaming", [True, False])
async def test_steps_are_summarized_the_answer_is_the_same_and_nothing_leaks(
    openai_at: Callable[..., Any], streaming: bool
) -> None:
    with LocalProvider(brain) as provider:
        llm = ThriftLLM(openai_at(provider, model=LARGE), levers(), summary_llm=openai_at(provider, model=SMALL))
        answer, streamed = await run(agent_with(llm, streaming=streaming))
        assert answer == DONE
        assert SAID not in streamed
        assert any(SAID in message.text for message in large(provider)[-1].messages)
        assert all(unpaired_calls(request.messages) == (frozenset(), frozenset()) for request in provider.requests)
        assert llm.thrift.ledger.faults() == {}
        # Nobody else counts here, so the levers' own ledger has what the summaries cost.
        calls = list(llm.thrift.ledger.calls())
        assert {(call.model, call.attribution.feature) for call in calls} == {(SMALL, "thrift-summarizer")}


async def test_its_tokens_are_counted_where_the_apps_own_are_under_another_feature(
    openai_at: Callable[..., Any],
) -> None:
    with LocalProvider(brain) as provider, track_costs(feature="logs") as costs:
        llm = ThriftLLM(openai_at(provider, model=LARGE), levers(), summary_llm=openai_at(provider, model=SMALL))
        await run(agent_with(llm))
        calls = list(costs.ledger.calls())
        ours = [call for call in calls if call.attribution.feature == "thrift-summarizer"]
        assert len(ours) == sum(request.model == SMALL for request in provider.requests) >= 1
        assert len(calls) == len(provider.requests)
        assert list(llm.thrift.ledger.calls()) == []


@pytest.mark.parametrize("failing", [failing_brain, inventing_brain])
async def test_a_summary_that_fails_or_makes_things_up_changes_nothing(
    openai_at: Callable[..., Any], failing: Any
) -> None:
    with LocalProvider(failing) as provider, LocalProvider(brain) as without:
        llm = ThriftLLM(openai_at(provider, model=LARGE), levers(), summary_llm=openai_at(provider, model=SMALL))
        assert (await run(agent_with(llm)))[0] == DONE
        await run(agent_with(ThriftLLM(openai_at(without, model=LARGE), levers())))
        assert [request.messages for request in large(provider)] == [request.messages for request in large(without)]
        assert {lever for lever, _ in llm.thrift.ledger.faults()} == {"summarizer"}


async def test_a_copy_of_the_wrapper_has_its_summaries_and_what_cannot_work_is_refused(
    openai_at: Callable[..., Any],
) -> None:
    with LocalProvider(brain) as provider:
        small = openai_at(provider, model=SMALL)
        llm = ThriftLLM(openai_at(provider, model=LARGE), summary_llm=small)
        assert llm.thrift.modes["summarizer"] == "on"
        assert copy.deepcopy(ThriftLLM(MockLLM(), summary_llm=MockLLM())).summaries is not None
        with pytest.raises(ConfigurationError, match="rewrite"):
            ThriftLLM(small, Thrift.safe(), summary_llm=small)
        with pytest.raises(ConfigurationError, match="summary_llm"):
            ThriftLLM(small, summary_llm="gpt")  # type: ignore[arg-type]
