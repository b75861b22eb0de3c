"""`ThriftMiddleware` in `create_agent`: less is sent, nothing else changes."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain.tools import tool
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_thrift.costs import track_costs
from langchain_thrift.middleware import ThriftMiddleware
from langchain_thrift.view import message_view
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel
from thrift_core.accounting.budget import Budget
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import BudgetExceeded
from thrift_core.messages import Edit, ReplaceText, Request, unpaired_calls
from thrift_core.thrift import Thrift

from tests.langchain.agents import (
    COUNTER,
    POLICY,
    TASK,
    TOOLS,
    Brain,
    Scripted,
    asked,
    call,
    lean,
    planning,
    reads_and_recalls,
    reads_log,
    results,
    stub_ids,
)

Run = Callable[[Any], Any]


def agent(brain: Brain, middleware: Sequence[Any] = (), **settings: Any) -> tuple[Any, Scripted]:
    model = Scripted(brain=brain)
    return create_agent(model, TOOLS, system_prompt=POLICY, middleware=middleware, **settings), model


async def invoked(graph: Any) -> dict[str, Any]:
    state: dict[str, Any] = graph.invoke({"messages": [("user", TASK)]})
    return state


async def ainvoked(graph: Any) -> dict[str, Any]:
    state: dict[str, Any] = await graph.ainvoke({"messages": [("user", TASK)]})
    return state


async def streamed(graph: Any) -> dict[str, Any]:
    modes = ["messages", "updates", "values"]
    seen = list(graph.stream({"messages": [("user", TASK)]}, stream_mode=modes))
    return dict(next(chunk for mode, chunk in reversed(seen) if mode == "values"))


async def astreamed(graph: Any) -> dict[str, Any]:
    modes = ["messages", "updates", "values"]
    seen = [item async for item in graph.astream({"messages": [("user", TASK)]}, stream_mode=modes)]
    return dict(next(chunk for mode, chunk in reversed(seen) if mode == "values"))


HOW = pytest.mark.parametrize("how", [invoked, ainvoked, streamed, astreamed])


def said(messages: Sequence[BaseMessage]) -> list[tuple[str, str, Any]]:
    return [(message.type, message.text, getattr(message, "tool_calls", None)) for message in messages]


def tokens(requests: Sequence[Sequence[BaseMessage]]) -> int:
    return sum(COUNTER.count(message.text) for request in requests for message in request)


@HOW
@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
async def test_less_is_sent_and_the_state_and_the_answer_are_the_same(how: Run, mode: Any) -> None:
    plain, plain_model = agent(reads_log())
    thrifty, model = agent(reads_log(), [ThriftMiddleware(lean(mode))])
    before, after = await how(plain), await how(thrifty)
    assert said(after["messages"]) == said(before["messages"])
    assert len(model.requests) == len(plain_model.requests)
    less = tokens(model.requests) / tokens(plain_model.requests)
    assert less < 0.7 if mode == "rewrite" else less <= 1


@HOW
async def test_what_was_cut_is_recalled_byte_for_byte(how: Run) -> None:
    graph, model = agent(reads_and_recalls(), [ThriftMiddleware(lean("rewrite"))])
    state = await how(graph)
    first = results(state["messages"])[0].text
    assert stub_ids(model.requests[-2])
    assert state["messages"][-1].text == f"It says: {first}"


async def test_every_request_begins_with_the_one_before_in_append_only_mode() -> None:
    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        done = asked(messages)
        names = ["list_orders", "read_log"]
        return AIMessage("", tool_calls=[order_call(done)]) if done < 6 else AIMessage(f"Done with {names}.")

    def order_call(number: int) -> Any:
        return call(number, "list_orders", customer=f"Ann {number}")

    graph, model = agent(brain, [ThriftMiddleware(lean())])
    await ainvoked(graph)
    assert any("\u00a7" in message.text for message in model.requests[-1])
    for earlier, later in zip(model.requests, model.requests[1:], strict=False):
        assert said(later[: len(earlier)]) == said(earlier)


def test_the_list_of_tools_never_changes_and_is_in_one_order_for_all_agents() -> None:
    names = []
    for tools in (TOOLS, TOOLS[::-1]):
        model = Scripted(brain=reads_and_recalls())
        middleware = ThriftMiddleware(lean("rewrite", is_planning=True))
        create_agent(model, tools, system_prompt=POLICY, middleware=[middleware]).invoke({"messages": [("user", TASK)]})
        names += [[item["function"]["name"] for item in settings["tools"]] for settings in model.settings]
    assert len(names) == 16
    assert all(each == ["list_orders", "read_log", "recall"] for each in names)


def test_parallel_calls_stay_with_their_results() -> None:
    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        done = asked(messages)
        calls = [call(done + n) for n in range(1, 4)]
        return AIMessage("", tool_calls=calls) if done < 12 else AIMessage("Done.")

    graph, model = agent(brain, [ThriftMiddleware(lean("rewrite"))])
    state = graph.invoke({"messages": [("user", TASK)]})
    assert len(results(state["messages"])) == 12
    for request in model.requests:
        assert unpaired_calls([message_view(message) for message in request]) == (frozenset(), frozenset())
    assert stub_ids(model.requests[-1])


class Verdict(BaseModel):
    """What came of it."""

    is_fine: bool


@HOW
@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
async def test_structured_output_comes_out_as_without(how: Run, strategy: Any) -> None:
    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        if asked(messages) < 4:
            return AIMessage("", tool_calls=[call(asked(messages) + 1)])
        if strategy is ToolStrategy:
            return AIMessage("", tool_calls=[call(9, "Verdict", is_fine=True)])
        return AIMessage('{"is_fine": true}')

    thrift = lean("rewrite", is_planning=True)
    graph, _ = agent(brain, [ThriftMiddleware(thrift)], response_format=strategy(Verdict))
    assert (await how(graph))["structured_response"] == Verdict(is_fine=True)
    assert thrift.ledger.faults() == {}


@pytest.mark.parametrize("mode", ["append_only", "rewrite"])
def test_a_run_that_is_interrupted_and_resumed_elsewhere_sends_the_same_bytes(mode: Any) -> None:
    whole, model = agent(reads_log(), [ThriftMiddleware(lean(mode))])
    whole.invoke({"messages": [("user", TASK)]})

    saver, sent = InMemorySaver(), []
    config = {"configurable": {"thread_id": "one"}}
    given: Any = {"messages": [("user", TASK)]}
    is_done = False
    while not is_done:
        # Another process: new agent, new middleware, nothing remembered but the checkpoint.
        middleware = [ThriftMiddleware(lean(mode))]
        graph, part = agent(reads_log(), middleware, checkpointer=saver, interrupt_before=["tools"])
        graph.invoke(given, config)
        sent += part.requests
        given, is_done = None, not graph.get_state(config).next
    assert [said(request) for request in sent] == [said(request) for request in model.requests]


def test_a_thread_of_several_questions_keeps_working_after_a_restart() -> None:
    saver = InMemorySaver()
    config = {"configurable": {"thread_id": "one"}}
    for _ in range(3):
        graph, model = agent(reads_log(3), [ThriftMiddleware(lean("rewrite"))], checkpointer=saver)
        state = graph.invoke({"messages": [("user", TASK)]}, config)
    assert state["messages"][-1].text == "All parts are fine."
    assert len(results(state["messages"])) == 9
    assert all(any(message.text == TASK for message in request) for request in model.requests)


def test_a_sub_agent_has_a_history_of_its_own() -> None:
    inner, inner_model = agent(reads_and_recalls(), [ThriftMiddleware(lean("rewrite"))])

    @tool
    def ask_clerk(question: str) -> str:
        """Ask a clerk."""
        return str(inner.invoke({"messages": [("user", question)]})["messages"][-1].text)

    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        done = asked(messages)
        return AIMessage("", tool_calls=[call(done, "ask_clerk", question=TASK)]) if done < 2 else AIMessage("Done.")

    model = Scripted(brain=brain)
    middleware = ThriftMiddleware(lean("rewrite"))
    outer = create_agent(model, [ask_clerk], system_prompt=POLICY, middleware=[middleware])
    state = outer.invoke({"messages": [("user", "Ask twice.")]})
    answers = [message.text for message in results(state["messages"])]
    assert state["messages"][-1].text == "Done."
    assert len(answers) == 2
    assert all(answer.startswith("It says: LOG-0001") for answer in answers)
    assert len(inner_model.requests) == 16


def test_two_with_different_settings_work_together_and_two_alike_are_refused() -> None:
    thrift, ledger = lean("rewrite"), Ledger()
    budgets = Budgets(Budget(limit_calls=50))
    both = [ThriftMiddleware(Thrift(ledger=ledger), budgets=budgets), ThriftMiddleware(thrift)]
    graph, _ = agent(reads_and_recalls(), both)
    assert graph.invoke({"messages": [("user", TASK)]})["messages"][-1].text.startswith("It says: LOG-0001")
    assert ledger.total().calls == thrift.ledger.total().calls == 8
    with pytest.raises(AssertionError, match="duplicate middleware"):
        agent(reads_log(), [ThriftMiddleware(lean()), ThriftMiddleware(lean())])


def test_two_that_both_cut_each_answer_for_what_they_cut() -> None:
    first, second = lean("rewrite"), lean("rewrite")
    both = [ThriftMiddleware(first), ThriftMiddleware(second, name="second")]
    graph, _ = agent(reads_and_recalls(), both)
    state = graph.invoke({"messages": [("user", TASK)]})
    assert state["messages"][-1].text == f"It says: {results(state['messages'])[0].text}"


def test_without_messages_nothing_goes_wrong() -> None:
    thrift = lean("rewrite", is_planning=True)
    graph, _ = agent(lambda _: AIMessage("Hello."), [ThriftMiddleware(thrift)])
    assert graph.invoke({"messages": []})["messages"][-1].text == "Hello."
    assert thrift.ledger.faults() == {}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
THINKING = {"type": "thinking", "thinking": "hmm", "signature": "s"}


def test_pictures_and_thinking_pass_through_untouched() -> None:
    def brain(messages: Sequence[BaseMessage]) -> AIMessage:
        done = asked(messages)
        block = {"type": "text", "text": "Let me see."}
        return AIMessage([THINKING, block], tool_calls=[call(done + 1)]) if done < 5 else AIMessage("Done.")

    graph, model = agent(brain, [ThriftMiddleware(lean("rewrite", is_planning=True))])
    graph.invoke({"messages": [HumanMessage([{"type": "text", "text": TASK}, IMAGE])]})
    last = model.requests[-1]
    assert [message.content[1] for message in last if isinstance(message, HumanMessage)] == [IMAGE]
    thought = [message.content[0] for message in last if isinstance(message, AIMessage)]
    assert thought == [THINKING] * 5


class Broken:
    """A lever that does what it is told to do wrong."""

    def __init__(self, wrong: Callable[[Request], Any]) -> None:
        self._wrong = wrong

    def decide(self, request: Request, pricing: Any) -> Sequence[Edit]:
        edits: Sequence[Edit] = self._wrong(request)
        return edits


def raises(request: Request) -> Any:
    raise RuntimeError("a lever broke")


@HOW
@pytest.mark.parametrize(
    "wrong",
    [raises, lambda request: [ReplaceText(reason="out of range", index=10_000, text="x")], lambda request: ["no edit"]],
)
async def test_a_lever_that_fails_leaves_the_request_as_it_was(how: Run, wrong: Any) -> None:
    plain, plain_model = agent(reads_log(3))
    thrift = Thrift(compressor=Broken(wrong), ledger=Ledger(), timeout_seconds=20)
    graph, model = agent(reads_log(3), [ThriftMiddleware(thrift)])
    assert said((await how(graph))["messages"]) == said((await how(plain))["messages"])
    assert [said(request) for request in model.requests] == [said(request) for request in plain_model.requests]
    assert sum(thrift.ledger.faults().values()) == 4


def test_a_request_that_cannot_be_viewed_is_sent_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Scripted):
        def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
            if kwargs.pop("is_traced", False):
                raise RuntimeError("no parameters today")
            return {}

    model = Odd(brain=reads_log(2))
    thrift = lean("rewrite")
    middleware = ThriftMiddleware(thrift)
    graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[Settings(is_traced=True), middleware])
    with caplog.at_level(logging.WARNING, "thrift"), pytest.raises(RuntimeError, match="no parameters today"):
        # LangChain's own call of it raises, too: what matters is that ours did not stop the call from being made.
        graph.invoke({"messages": [("user", TASK)]})
    assert thrift.ledger.faults()[("view", "RuntimeError")] == 1
    assert "view was passed over" in caplog.text


class Settings(ThriftMiddleware):
    """Another middleware that sets model settings."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(Thrift(), name="settings")
        self._settings = settings

    def wrap_model_call(self, request: ModelRequest[Any], handler: Any) -> ModelResponse[Any]:
        response: ModelResponse[Any] = handler(request.override(model_settings=self._settings))
        return response


def test_calls_and_savings_are_booked_for_whom_the_run_is() -> None:
    thrift = lean("rewrite")
    graph, _ = agent(reads_log(), [ThriftMiddleware(thrift, feature="log")])
    config = {"configurable": {"thread_id": "t1"}, "metadata": {"user": "ann"}}
    graph.invoke({"messages": [("user", TASK)]}, config)
    assert [(line.key, line.calls) for line in thrift.ledger.spend("feature")] == [("log", 7)]
    assert [(line.key, line.calls) for line in thrift.ledger.spend("user")] == [("ann", 7)]
    savings = list(thrift.ledger.savings())
    assert {(saving.attribution.user, saving.lever) for saving in savings} == {("ann", "summarizer")}
    assert sum((saving.cost_usd or Decimal(0) for saving in savings), Decimal(0)) > 0


@HOW
async def test_a_call_is_counted_once_however_many_count_it(how: Run) -> None:
    thrift = lean()
    graph, _ = agent(reads_log(2), [ThriftMiddleware(thrift)])
    with track_costs(thrift.ledger), track_costs() as others:
        await how(graph)
    assert thrift.ledger.total().calls == others.ledger.total().calls == 3


@pytest.fixture
def without_what_langchain_leaves() -> Iterator[None]:
    """Let go of what LangChain made for its other handlers, and never awaits, where one of them refuses a call."""
    yield
    gc.collect()


@pytest.mark.usefixtures("without_what_langchain_leaves")
@pytest.mark.filterwarnings("ignore:coroutine 'ahandle_event' was never awaited:RuntimeWarning")
@HOW
async def test_a_budget_ends_the_run(how: Run) -> None:
    graph, model = agent(reads_log(), [ThriftMiddleware(lean(), budgets=Budgets(Budget(limit_calls=2)))])
    with pytest.raises(BudgetExceeded):
        await how(graph)
    assert len(model.requests) == 2


def test_an_answer_from_a_cache_is_not_changed_for_others() -> None:
    model = Scripted(brain=lambda _: AIMessage("Hello."), cache=InMemoryCache(), provider="openai", model_name="gpt-5")
    graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[ThriftMiddleware(planning())])
    plain = create_agent(model, TOOLS, system_prompt=POLICY)
    for _ in range(2):
        noted = graph.invoke({"messages": [HumanMessage("Hi", id="1")]})
        assert "thrift" in noted["messages"][-1].response_metadata
        state = plain.invoke({"messages": [HumanMessage("Hi", id="1")]})
        assert "thrift" not in state["messages"][-1].response_metadata


def test_a_system_message_of_blocks_comes_through() -> None:
    system = SystemMessage([{"type": "text", "text": "Be kind."}, "And brief."], id="system")
    model = Scripted(brain=reads_log(2))
    graph = create_agent(model, TOOLS, system_prompt=system, middleware=[ThriftMiddleware(lean("rewrite"))])
    graph.invoke({"messages": [("user", TASK)]})
    assert all(request[0] == system for request in model.requests)


def test_a_human_who_decides_in_between_sees_the_calls_as_without() -> None:
    from langchain.agents.middleware import HumanInTheLoopMiddleware

    saver = InMemorySaver()
    config = {"configurable": {"thread_id": "one"}}
    ask = HumanInTheLoopMiddleware(interrupt_on={"read_log": True})
    graph, model = agent(reads_log(4), [ask, ThriftMiddleware(lean("rewrite"))], checkpointer=saver)
    state = graph.invoke({"messages": [("user", TASK)]}, config)
    while "__interrupt__" in state:
        state = graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert state["messages"][-1].text == "All parts are fine."
    assert len(results(state["messages"])) == 4
    assert all(isinstance(message, ToolMessage) for message in results(model.requests[-1]))
