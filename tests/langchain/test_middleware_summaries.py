"""A cheap model summarizes an agent's old steps: unseen, counted, in the background, and only where it pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_thrift.costs import track_costs
from langchain_thrift.middleware import ThriftMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from thrift_core.errors import ConfigurationError
from thrift_core.messages import unpaired_calls
from thrift_core.recall.store import SQLiteRecallStore
from thrift_core.testing import LocalProvider
from thrift_core.thrift import Thrift

from tests.summarized_task import (
    DONE,
    LARGE,
    PARTS,
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

LIMIT: Any = {"recursion_limit": 200}
Client = Callable[..., ChatOpenAI]


@pytest.fixture
def client() -> Iterator[Callable[[LocalProvider], Client]]:
    with httpx.Client() as sync:

        def at(provider: LocalProvider) -> Client:
            def make(model: str = LARGE, **settings: Any) -> ChatOpenAI:
                return ChatOpenAI(
                    model=model,
                    base_url=provider.base_url,
                    api_key="key",  # type: ignore[arg-type]
                    http_client=sync,
                    stream_usage=True,
                    max_retries=0,
                    **settings,
                )

            return make

        yield at


def reading(middleware: ThriftMiddleware | None) -> Any:
    """Return a tool that first waits for summaries that are being written."""

    @tool("read_log")
    def read(part: int) -> str:
        """Read a part of the log."""
        assert middleware is None or middleware.summaries is None or middleware.summaries.wait(seconds=20)
        return text_of(part)

    return read


def agent_with(make: Client, thrift: Thrift, **settings: Any) -> tuple[Any, ThriftMiddleware]:
    middleware = ThriftMiddleware(thrift, summary_model=make(settings.pop("summary_model", SMALL)))
    tools = [reading(middleware)]
    return create_agent(make(), tools, system_prompt=POLICY, middleware=[middleware], **settings), middleware


def text_of(number: int) -> str:
    return part(number)


def large(provider: LocalProvider) -> list[Any]:
    return [request for request in provider.requests if request.model == LARGE]


@pytest.mark.parametrize("is_streaming", [False, True])
def test_steps_are_summarized_for_less_and_the_answer_is_the_same(client: Any, is_streaming: bool) -> None:
    with LocalProvider(brain) as provider:
        agent, middleware = agent_with(client(provider), levers())
        if is_streaming:
            shown = list(agent.stream({"messages": [("user", TASK)]}, LIMIT, stream_mode="messages"))
            assert not any(SAID in chunk.text for chunk, _ in shown)
            assert not any(about.get("lever") == "summarizer" for _, about in shown)
            assert "".join(chunk.text for chunk, _ in shown if chunk.type == "AIMessageChunk").endswith(DONE)
        else:
            messages = agent.invoke({"messages": [("user", TASK)]}, LIMIT)["messages"]
            assert messages[-1].text == DONE
            # The agent's own state is whole.
            assert [m.text for m in messages if m.type == "tool"][:3] == [part(1), part(2), part(3)]
        last = large(provider)[-1].messages
        assert any(SAID in message.text for message in last)
        assert sum(len(message.text) for message in last) < 0.75 * sum(len(part(n)) for n in range(1, 37)) + len(POLICY)
        assert all(unpaired_calls(request.messages) == (frozenset(), frozenset()) for request in provider.requests)
        assert middleware.thrift.ledger.faults() == {}


async def test_no_token_of_a_summary_reaches_any_event_of_the_app(client: Any) -> None:
    with LocalProvider(brain) as provider:
        async with httpx.AsyncClient() as unsync:
            make = client(provider)
            agent, _ = agent_with(lambda model=LARGE, **more: make(model, http_async_client=unsync, **more), levers())
            said: list[str] = []
            async for event in agent.astream_events({"messages": [("user", TASK)]}, LIMIT, version="v2"):
                data: Any = event["data"]
                if event["event"] in ("on_chat_model_stream", "on_chat_model_end"):
                    said.append((data.get("chunk") or data.get("output")).text)
            assert DONE in said
            assert SAID not in "".join(said)
            assert any(SAID in message.text for message in large(provider)[-1].messages)


def test_its_tokens_are_in_the_ledger_under_a_feature_of_their_own(client: Any) -> None:
    with LocalProvider(brain) as provider:
        agent, middleware = agent_with(client(provider), levers())
        config = {**LIMIT, "metadata": {"user_id": "ann", "feature": "logs"}}
        with track_costs() as costs:
            agent.invoke({"messages": [("user", TASK)]}, config)
        for ledger in (middleware.thrift.ledger, costs.ledger):
            calls = list(ledger.calls())
            ours = [call for call in calls if call.attribution.feature == "thrift-summarizer"]
            assert 1 <= len(ours) == sum(request.model == SMALL for request in provider.requests)
            assert {call.model for call in ours} == {SMALL}
            assert {call.attribution.user for call in ours} == {"ann"}
            assert len(calls) == len(provider.requests)


@pytest.mark.parametrize("failing", [failing_brain, inventing_brain])
def test_a_summary_that_fails_or_makes_things_up_changes_nothing(client: Any, failing: Any) -> None:
    with LocalProvider(failing) as provider, LocalProvider(brain) as without:
        agent, middleware = agent_with(client(provider), levers())
        assert agent.invoke({"messages": [("user", TASK)]}, LIMIT)["messages"][-1].text == DONE
        other = create_agent(
            client(without)(), [reading(None)], system_prompt=POLICY, middleware=[ThriftMiddleware(levers())]
        )
        other.invoke({"messages": [("user", TASK)]}, LIMIT)
        assert [request.messages for request in large(provider)] == [request.messages for request in large(without)]
        assert {lever for lever, _ in middleware.thrift.ledger.faults()} == {"summarizer"}


def test_a_resumed_agent_sends_the_same_bytes(client: Any, tmp_path: Any) -> None:
    saver, config = InMemorySaver(), {**LIMIT, "configurable": {"thread_id": "1"}}
    with LocalProvider(brain) as provider:
        make = client(provider)
        agent, _ = agent_with(make, levers(SQLiteRecallStore(tmp_path / "recall.db")), checkpointer=saver)
        agent.invoke({"messages": [("user", TASK)]}, config)
        before = large(provider)[-1].messages
        again, _ = agent_with(make, levers(SQLiteRecallStore(tmp_path / "recall.db")), checkpointer=saver)
        again.invoke({"messages": [("user", "Thank you. Anything else?")]}, config)
        after = large(provider)[-1].messages
    assert any(SAID in message.text for message in before)
    # The last result was read by then, and may be cut for that.
    assert after[: len(before) - 1] == before[:-1]


def test_the_same_model_reads_its_own_prefix_from_the_providers_cache(client: Any) -> None:
    def one_model(request: Any) -> Any:
        from thrift_core.testing import Reply

        if "Summarize for yourself" in request.messages[-1].text:
            return Reply(text=SAID)
        return brain(request)

    with LocalProvider(one_model) as provider:
        agent, middleware = agent_with(client(provider), levers(), summary_model=LARGE)
        agent.invoke({"messages": [("user", TASK.replace(str(PARTS), "80"))]}, {"recursion_limit": 400})
        own = [call for call in middleware.thrift.ledger.calls() if call.attribution.feature == "thrift-summarizer"]
        assert own
        assert all(call.usage.cache_read_tokens > 0.8 * call.usage.input_tokens for call in own)


def test_a_summarizer_that_changes_nothing_sent_takes_no_summaries(client: Any) -> None:
    with LocalProvider(brain) as provider:
        model = client(provider)(SMALL)
        with pytest.raises(ConfigurationError, match="rewrite"):
            ThriftMiddleware(Thrift.safe(), summary_model=model)
        assert ThriftMiddleware(summary_model=model).thrift.tools
