"""What users of other history tools complain about, each a rule that holds here; the numbers are their issues'."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.tools import FunctionTool
from llamaindex_thrift.llm import ThriftLLM
from llamaindex_thrift.view import message_view
from thrift_core.accounting.ledger import Ledger
from thrift_core.demo.rates import RATES
from thrift_core.messages import DropSpan, ReplaceText, Request, unpaired_calls
from thrift_core.recall.store import MemoryRecallStore
from thrift_core.testing import LocalProvider, Reply
from thrift_core.thrift import Thrift
from thrift_core.tokens import count_message
from thrift_core.trajectory.summarizer import SummarizerMode

from tests.core.trajectory.fuzzer import draw_history
from tests.core.trajectory.histories import order
from tests.llamaindex.conftest import levers
from tests.llamaindex.native_histories import PIXEL, native_history

MODES: tuple[SummarizerMode, ...] = ("append_only", "rewrite")


def get_order(order_id: str) -> str:
    """Return an order."""
    return order_id


TOOLS = [FunctionTool.from_defaults(get_order)]


class Listening:
    """An LLM that remembers what it was sent, and answers nothing in particular."""

    def __init__(self) -> None:
        self.sent: list[list[ChatMessage]] = []
        self.llm = MockFunctionCallingLLM(response_generator=self._answer)

    def _answer(self, messages: Any, **kwargs: Any) -> ChatMessage:
        self.sent.append(list(messages))
        return ChatMessage(role="assistant", content="ok")


@pytest.fixture
def listening() -> Listening:
    return Listening()


def call(number: int, result: str) -> list[ChatMessage]:
    block = ToolCallBlock(tool_call_id=f"c{number}", tool_name="get_order", tool_kwargs={"order_id": f"A-{number}"})
    return [
        ChatMessage(role="assistant", blocks=[block]),
        ChatMessage(role="tool", content=result, additional_kwargs={"tool_call_id": f"c{number}"}),
    ]


def conversation(turns: int, task: str = "Sort out my orders.") -> list[ChatMessage]:
    messages = [
        ChatMessage(role="system", content="You look after orders. " * 400),
        ChatMessage(role="user", content=task),
    ]
    for turn in range(turns):
        messages += call(2 * turn, json.dumps(order(turn))) + call(2 * turn + 1, json.dumps(order(turn, status="late")))
        messages += [
            ChatMessage(role="assistant", content=f"Order A-{turn} is late."),
            ChatMessage(role="user", content=f"And order A-{turn + 1}?"),
        ]
    return messages


def ask(llm: ThriftLLM, history: list[ChatMessage]) -> None:
    llm.chat_with_tools(TOOLS, chat_history=history, allow_parallel_tool_calls=True)


@pytest.mark.parametrize("mode", MODES)
def test_no_tool_result_is_orphaned(listening: Listening, mode: SummarizerMode) -> None:
    """langchain 34282, 38352, 33245; deepagents 270."""
    llm = ThriftLLM(listening.llm, levers(mode))
    for seed in range(30):
        random = Random(seed)
        history = native_history(draw_history(random, longest=12), random)
        ask(llm, history)
        open_calls, orphans = unpaired_calls([message_view(message) for message in listening.sent[-1]])
        given = unpaired_calls([message_view(message) for message in history])
        assert open_calls <= given[0]
        assert orphans <= given[1]


def test_a_lever_that_fails_in_the_middle_erases_nothing(listening: Listening) -> None:
    """langchain 39261, 38867: the summary was never made or failed, and the history was gone."""

    class Failing:
        def decide(self, request: Request, pricing: Any) -> Any:
            yield DropSpan(start=1, stop=len(request.messages), reason="about to fail")
            raise RuntimeError("no summary today")

    history = conversation(3)
    ask(ThriftLLM(listening.llm, Thrift(summarizer=Failing(), ledger=Ledger())), history)
    assert listening.sent[-1] == history


def test_a_lever_that_would_drop_everything_drops_nothing(listening: Listening) -> None:
    class Greedy:
        def decide(self, request: Request, pricing: Any) -> Any:
            return [DropSpan(start=0, stop=len(request.messages), reason="all of it")]

    history = conversation(1)
    ask(ThriftLLM(listening.llm, Thrift(summarizer=Greedy(), ledger=Ledger())), history)
    assert listening.sent[-1] == history


async def test_nothing_of_ours_leaks_into_a_users_stream(openai_at: Callable[..., Any]) -> None:
    """langchainjs 9455, 11238; deer-flow 2503, 3378."""
    with LocalProvider(lambda request: Reply(text="The answer is here."), RATES) as provider:
        llm = ThriftLLM(openai_at(provider), levers("rewrite"))
        stream = await llm.astream_chat_with_tools(TOOLS, chat_history=conversation(6))
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.delta or "" for chunk in chunks) == "The answer is here."
    assert provider.bill.calls == 1


async def test_the_cached_prefix_is_kept(openai_at: Callable[..., Any]) -> None:
    """deepagents 5319; OpenHands 7588, 7893, 7781: each compaction threw the provider's cache away."""
    shares = []
    for thrift in (None, levers()):
        with LocalProvider(lambda request: Reply(text="ok"), RATES) as provider:
            inner = openai_at(provider)
            llm = inner if thrift is None else ThriftLLM(inner, thrift)
            for turns in range(1, 8):
                llm.chat_with_tools(TOOLS, chat_history=conversation(turns))
            use = provider.bill.use
            shares.append((use.cached_tokens / use.input_tokens, provider.bill.cost_usd))
    assert shares[1][0] >= shares[0][0] - 0.05
    assert shares[1][1] < shares[0][1]


@pytest.mark.parametrize("mode", MODES)
def test_the_apps_own_state_is_never_overwritten(listening: Listening, mode: SummarizerMode) -> None:
    """deer-flow 1430, 3026; deepagents 2874."""
    llm = ThriftLLM(listening.llm, levers(mode))
    history = conversation(6)
    before = pickle.dumps(history)
    for stop in range(2, len(history) + 1):
        ask(llm, history[:stop])
    assert pickle.dumps(history) == before


@pytest.mark.parametrize("mode", MODES)
def test_the_task_and_what_was_pasted_into_it_stay_to_the_byte(listening: Listening, mode: SummarizerMode) -> None:
    """x2a-convertor 237; sourcelens 61; deepagentsjs 846; deepagents 2389."""
    task = "Fix this:\n" + "\n".join(f"  line {number} {{x}} \t" for number in range(2_000))
    ask(ThriftLLM(listening.llm, levers(mode)), conversation(8, task))
    assert listening.sent[-1][1].content == task
    assert listening.sent[-1][0].content == "You look after orders. " * 400


def test_agents_that_share_a_store_do_not_overwrite_each_other() -> None:
    """deepagents 5470: sub-agents wrote one file; deepagentsjs 621: a pointer to what was never saved."""
    store = MemoryRecallStore()
    texts = []
    for name in ("one", "two"):
        report = "\n".join(f"{name}: line {number} of a long report" for number in range(300))
        history = [*conversation(0), *call(1, report), ChatMessage(role="assistant", content="Read.")]
        history.append(ChatMessage(role="user", content="Go on."))
        listening = Listening()
        thrift = levers("rewrite", store=store)
        ask(ThriftLLM(listening.llm, thrift), history)
        cut = next(message.content for message in listening.sent[-1] if message.role == "tool")
        assert cut is not None
        if "recall" in cut:
            texts.append((report, thrift.recall({"id": cut.split("recall ")[1].split(":")[0]})))
    assert len(texts) == 2
    assert all(report == recalled for report, recalled in texts)


def test_calls_and_pictures_are_counted_for_what_they_are() -> None:
    """langchain 34664; senpi 233; LlamaIndex's own memory does not count the calls at all."""
    plain = ChatMessage(role="assistant", content="")
    calling = ChatMessage(
        role="assistant", blocks=[ToolCallBlock(tool_name="search", tool_kwargs={"query": "many words " * 200})]
    )
    assert count_message(message_view(calling)) > count_message(message_view(plain)) + 300
    picture = ChatMessage(role="user", blocks=[TextBlock(text="look"), ImageBlock(image=PIXEL * 4_000)])
    assert count_message(message_view(picture)) < 2_500


@pytest.mark.parametrize("mode", MODES)
def test_the_same_history_is_not_shortened_again_and_again(listening: Listening, mode: SummarizerMode) -> None:
    """deer-flow 2622, 2638: one summary of another."""
    llm = ThriftLLM(listening.llm, levers(mode))
    for _ in range(4):
        ask(llm, conversation(6))
    assert len({pickle.dumps([message.model_dump() for message in sent]) for sent in listening.sent}) == 1


@pytest.mark.parametrize("mode", MODES)
def test_signed_thoughts_go_back_as_they_came(listening: Listening, mode: SummarizerMode) -> None:
    """langmem 118, 156; langchain 34794; Anthropic refuses a request whose thinking was changed."""
    thoughts = [ThinkingBlock(content=f"hm {n}", additional_information={"signature": f"s{n}"}) for n in range(4)]
    history = conversation(6)
    for number, thought in enumerate(thoughts):
        history[2 + 6 * number].blocks.insert(0, thought)
    ask(ThriftLLM(listening.llm, levers(mode)), history)
    sent = [block for message in listening.sent[-1] for block in message.blocks if isinstance(block, ThinkingBlock)]
    assert len(sent) == len(thoughts)
    assert all(ours is theirs for ours, theirs in zip(sent, thoughts, strict=True))


def test_what_a_lever_says_is_put_where_the_text_stood(listening: Listening) -> None:
    class Short:
        def decide(self, request: Request, pricing: Any) -> Any:
            return [ReplaceText(index=3, text="short", reason="", saved_tokens=1)]

    history = conversation(1)
    ask(ThriftLLM(listening.llm, Thrift(compressor=Short(), ledger=Ledger())), history)
    assert listening.sent[-1][3].content == "short"
    assert listening.sent[-1][3].additional_kwargs == {"tool_call_id": "c0"}
    assert [m for n, m in enumerate(listening.sent[-1]) if n != 3] == [m for n, m in enumerate(history) if n != 3]
