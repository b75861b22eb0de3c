"""A call that was answered before is answered from the cache, whichever way it is made, and nothing else is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAIResponses
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import instrument_tags
from llamaindex_thrift import CacheHitEvent, ThriftLLM, track_costs
from llamaindex_thrift.answers import NotKept, chat_payload, finish_reason
from pydantic import BaseModel, PrivateAttr
from thrift_core.accounting.attribution import attribute
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching.semantic import Admission, CacheSettings, SemanticCache
from thrift_core.demo.rates import RATES
from thrift_core.messages import ToolCall
from thrift_core.testing import ApiError, ChatRequest, LocalProvider, Reply
from thrift_core.thrift import Thrift

from tests.llamaindex.conftest import user
from tests.llamaindex.native_histories import PIXEL

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
QUESTION = "How do I reset my password?"
ALIKE = "Hi, how can I reset my password?"
ANSWER = "Under Settings, then Security."


class Verdict(BaseModel):
    is_kind: bool


class Brain:
    """Answers, says which answer it is, and stops or fails where it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.finish_reason: str | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, request: ChatRequest) -> Reply:
        self.asked += 1
        self.gate.wait(20)
        last = request.messages[-1]
        if "fail" in last.text:
            raise ApiError(400, "told to fail")
        if request.response_format or request.tool_names == ("Verdict",):
            text = '{"is_kind": true}'
            return Reply(text=text) if request.response_format else Reply(tool_calls=(ToolCall("Verdict", text),))
        if request.tools and last.role == "user":
            return Reply(tool_calls=(ToolCall(request.tool_names[0], '{"product": "lamp"}'),))
        return Reply(text=f"{ANSWER} ({self.asked})", finish_reason=self.finish_reason)


@pytest.fixture
def brain() -> Brain:
    return Brain()


@pytest.fixture
def provider(brain: Brain) -> Iterator[LocalProvider]:
    with LocalProvider(brain, {**RATES, "gpt-4-turbo": RATES["gpt-4o"]}) as running:
        yield running


@pytest.fixture
def wrapped(provider: LocalProvider, openai_at: Callable[..., Any]) -> Callable[..., ThriftLLM]:
    """Makes an LLM with a cache: one that is given, or one with the settings given."""

    def wrap(cache: SemanticCache | None = None, llm: Any = None, **settings: Any) -> ThriftLLM:
        made = cache or SemanticCache(settings=CacheSettings(**{"checked_share": 0.0, **settings}))
        return ThriftLLM(llm or openai_at(provider), Thrift(cache=made, ledger=Ledger()))

    return wrap


def stock(product: str) -> str:
    """How many there are."""
    return f"7 of {product}"


STOCK = FunctionTool.from_defaults(stock)


async def ask(llm: ThriftLLM, way: str, text: str) -> tuple[str, Any]:
    """Return what an LLM answers in one of its eight ways, and its response, of a stream the last one."""
    method, argument = getattr(llm, way), text if "complete" in way else user(text)
    if not way.startswith(("a", "stream")):
        response = method(argument)
    elif way.startswith("stream"):
        chunks = list(method(argument))
        assert len(chunks) > 1
        response = chunks[-1]
        assert "".join(chunk.delta or "" for chunk in chunks) == said(response)
    elif way.startswith("astream"):
        chunks = [chunk async for chunk in await method(argument)]
        assert len(chunks) > 1
        response = chunks[-1]
        assert "".join(chunk.delta or "" for chunk in chunks) == said(response)
    else:
        response = await method(argument)
    return said(response), response


def said(response: Any) -> str:
    return response.text if hasattr(response, "text") else response.message.content


CHATS = ("chat", "achat", "stream_chat", "astream_chat")
COMPLETIONS = ("complete", "acomplete", "stream_complete", "astream_complete")


@pytest.mark.parametrize("ways", [CHATS, COMPLETIONS])
@pytest.mark.parametrize("first", range(4))
async def test_every_way_answers_what_any_other_was_answered(
    wrapped: Callable[..., ThriftLLM], provider: LocalProvider, ways: tuple[str, ...], first: int
) -> None:
    llm = wrapped()
    expected, _ = await ask(llm, ways[first], QUESTION)
    for way in ways:
        for text in (QUESTION, ALIKE):
            answer, response = await ask(llm, way, text)
            assert answer == expected == f"{ANSWER} (1)"
            cache = response.additional_kwargs["thrift"]["cache"]
            assert cache["question"] == QUESTION
            assert cache["tier"] == ("exact" if text == QUESTION else "semantic")
            assert response.raw["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
            assert response.additional_kwargs["total_tokens"] == 0
    assert provider.bill.calls == 1


def test_the_ledger_is_told_what_each_hit_saved(wrapped: Callable[..., ThriftLLM], provider: LocalProvider) -> None:
    llm = wrapped()
    with attribute("support", "ann"):
        llm.chat(user(QUESTION))
        llm.chat(user(ALIKE))
        list(llm.stream_chat(user(QUESTION)))
    savings = list(llm.thrift.ledger.savings(feature="support", user="ann"))
    assert [saving.cost_usd for saving in savings] == [provider.bill.cost_usd] * 2
    assert savings[0].tokens == savings[1].tokens == provider.bill.use.input_tokens + provider.bill.use.output_tokens
    calls = list(llm.thrift.ledger.calls())
    assert [(call.outcome, call.cost_usd, call.usage.total_tokens) for call in calls] == [("cache_hit", 0, 0)] * 2
    assert {saving.call_id for saving in savings} == {call.id for call in calls}


def test_what_a_cost_handler_counts_is_the_providers_bill(
    wrapped: Callable[..., ThriftLLM], provider: LocalProvider
) -> None:
    llm = wrapped()
    with track_costs() as costs:
        for _ in range(3):
            llm.chat(user(QUESTION))
            "".join(chunk.delta or "" for chunk in llm.stream_complete(QUESTION))
    assert costs.ledger.total().cost_usd == provider.bill.cost_usd
    assert costs.ledger.total().calls == provider.bill.calls == 2


def test_observers_are_told_of_a_hit(wrapped: Callable[..., ThriftLLM]) -> None:
    seen: list[str] = []

    class Handler(BaseEventHandler):
        @classmethod
        def class_name(cls) -> str:
            return "Seeing"

        def handle(self, event: Any, **_: Any) -> None:
            seen.append(f"{type(event).__name__} {event.hit['tier']}" if isinstance(event, CacheHitEvent) else "other")

    llm = wrapped()
    llm.chat(user(QUESTION))
    handler = Handler()
    get_dispatcher().add_event_handler(handler)
    try:
        llm.chat(user(QUESTION))
    finally:
        get_dispatcher().event_handlers.remove(handler)
    assert seen == ["CacheHitEvent exact"]


@pytest.mark.parametrize("name", ["tenant", "user", "feature"])
@pytest.mark.parametrize("by", ["attribute", "instrument_tags"])
def test_nobody_gets_the_answer_of_another(
    wrapped: Callable[..., ThriftLLM], provider: LocalProvider, name: str, by: str
) -> None:
    within: Any = attribute if by == "attribute" else lambda **tags: instrument_tags(tags)
    llm = wrapped()
    for whom in ("ann", "bob", "ann", "bob"):
        with within(**{name: whom}):
            llm.chat(user(QUESTION))
    llm.chat(user(QUESTION))
    assert provider.bill.calls == 3


def test_what_decides_the_answer_is_part_of_the_key(
    wrapped: Callable[..., ThriftLLM], provider: LocalProvider, openai_at: Callable[..., Any]
) -> None:
    cache = SemanticCache(settings=CacheSettings(checked_share=0.0))
    warm = {"model": "gpt-4o", "temperature": 0.7}
    others = [{}, {"model": "gpt-4o"}, warm, {"max_tokens": 77}, {"api_key": "sk-another"}]
    for settings in others:
        wrapped(cache, openai_at(provider, **settings)).chat(user(QUESTION))
    llm = wrapped(cache)
    llm.chat(user(QUESTION), seed=7)
    llm.chat(user(QUESTION), seed=8)
    llm.chat([ChatMessage(role="system", content="Be brief."), *user(QUESTION)])
    llm.chat([*user("Hello"), ChatMessage(role="assistant", content="Hello"), *user(QUESTION)])
    llm.chat([ChatMessage(role="user", content=QUESTION, additional_kwargs={"audience": "staff"})])
    llm.complete(QUESTION)
    llm.chat_with_tools([STOCK], QUESTION)
    made = provider.bill.calls
    assert made == len(others) + 7
    # How a call travels decides nothing.
    wrapped(cache, openai_at(provider, timeout=77.0, max_retries=1)).chat(user(QUESTION))
    assert provider.bill.calls == made


def test_a_picture_is_what_it_shows_and_not_what_its_file_is_called(
    wrapped: Callable[..., ThriftLLM], provider: LocalProvider, tmp_path: Any
) -> None:
    llm = wrapped()
    paths = [tmp_path / name for name in ("one.png", "same.png", "other.png")]
    for path, content in zip(paths, (PIXEL, PIXEL, PIXEL + b"more"), strict=True):
        path.write_bytes(content)
        blocks = [TextBlock(text="What is this?"), ImageBlock(path=path, image_mimetype="image/png")]
        llm.chat([ChatMessage(role="user", blocks=blocks)])
    assert provider.bill.calls == 2
    paths[0].write_bytes(PIXEL + b"now something else")
    blocks = [TextBlock(text="What is this?"), ImageBlock(path=paths[0], image_mimetype="image/png")]
    llm.chat([ChatMessage(role="user", blocks=blocks)])
    assert provider.bill.calls == 3


def test_a_conversation_that_the_provider_keeps_is_never_cached(
    wrapped: Callable[..., ThriftLLM], provider: LocalProvider, openai_at: Callable[..., Any]
) -> None:
    llm = wrapped(llm=openai_at(provider, OpenAIResponses, track_previous_responses=True, additional_kwargs={}))
    llm.chat(user(QUESTION))
    llm.chat(user(QUESTION))
    assert provider.bill.calls == 2


@pytest.mark.parametrize("way", CHATS + COMPLETIONS)
async def test_an_error_reaches_the_app_and_is_not_kept(
    wrapped: Callable[..., ThriftLLM], brain: Brain, way: str
) -> None:
    llm = wrapped()
    for _ in range(2):
        with pytest.raises(Exception, match="told to fail"):
            await ask(llm, way, "Please fail.")
    assert brain.asked == 2


async def test_a_stream_that_is_closed_early_is_not_kept(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    llm = wrapped()
    for method in (llm.stream_chat, llm.stream_complete):
        stream = method(user(QUESTION) if method == llm.stream_chat else QUESTION)
        next(stream)
        stream.close()
    for amethod in (llm.astream_chat, llm.astream_complete):
        astream = await amethod(user(QUESTION) if amethod == llm.astream_chat else QUESTION)
        await anext(astream)
        await astream.aclose()
    llm.stream_chat(user(QUESTION))  # never begun, so never sent
    assert brain.asked == 4
    assert not (await llm.achat(user(QUESTION))).additional_kwargs.get("thrift")
    assert not (await llm.acomplete(QUESTION)).additional_kwargs.get("thrift")


@pytest.mark.parametrize("way", CHATS)
async def test_an_answer_that_was_cut_short_is_not_kept(
    wrapped: Callable[..., ThriftLLM], brain: Brain, way: str
) -> None:
    brain.finish_reason = "length"
    llm = wrapped()
    await ask(llm, way, QUESTION)
    await ask(llm, way, QUESTION)
    assert brain.asked == 2


async def test_those_who_ask_at_the_same_time_share_one_call(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    llm = wrapped()
    brain.gate.clear()
    asking = [asyncio.create_task(ask(llm, way, QUESTION)) for way in ("achat", "astream_chat") * 5]
    await asyncio.sleep(0.2)
    brain.gate.set()
    answers = await asyncio.gather(*asking)
    assert {answer for answer, _ in answers} == {f"{ANSWER} (1)"}
    assert brain.asked == 1


def test_threads_that_ask_at_the_same_time_share_one_stream(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    llm = wrapped()
    brain.gate.clear()
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append("".join(c.delta or "" for c in llm.stream_chat(user(QUESTION)))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    threading.Timer(0.2, brain.gate.set).start()
    for thread in threads:
        thread.join()
    assert set(answers) == {f"{ANSWER} (1)"}
    assert brain.asked == 1


@pytest.mark.parametrize("way", CHATS)
async def test_in_shadow_the_model_answers_and_hits_are_measured(
    wrapped: Callable[..., ThriftLLM], brain: Brain, way: str
) -> None:
    llm = wrapped(mode="shadow")
    for number in (1, 2, 3):
        answer, response = await ask(llm, way, QUESTION)
        assert answer == f"{ANSWER} ({number})"
        assert not (response.additional_kwargs or {}).get("thrift")
    savings = list(llm.thrift.ledger.savings())
    assert [saving.is_shadow for saving in savings] == [True, True]
    cache = llm.thrift.cache
    assert cache is not None
    assert cache.stats().checks == 2


def test_a_hit_that_is_checked_asks_the_model_too(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    llm = wrapped(checked_share=1.0)
    llm.chat(user(QUESTION))
    assert said(llm.chat(user(ALIKE))) == f"{ANSWER} (2)"
    assert brain.asked == 2
    cache = llm.thrift.cache
    assert cache is not None
    assert cache.stats().checks == 1


def tools_allowed() -> SemanticCache:
    admission = Admission(allow_tool_calls=True)
    return SemanticCache(admission=admission, settings=CacheSettings(checked_share=0.0))


async def test_tool_calls_are_kept_only_where_asked_and_come_under_new_ids(
    wrapped: Callable[..., ThriftLLM], brain: Brain
) -> None:
    plain, allowed = wrapped(), wrapped(tools_allowed())
    plain.chat_with_tools([STOCK], "Is the lamp in stock?")
    plain.chat_with_tools([STOCK], "Is the lamp in stock?")
    assert brain.asked == 2
    calls = [
        allowed.chat_with_tools([STOCK], "Is the lamp in stock?"),
        await allowed.achat_with_tools([STOCK], "Is the lamp in stock?"),
        list(allowed.stream_chat_with_tools([STOCK], "Is the lamp in stock?"))[-1],
        [c async for c in await allowed.astream_chat_with_tools([STOCK], "Is the lamp in stock?")][-1],
    ]
    selected = [allowed.get_tool_calls_from_response(response)[0] for response in calls]
    assert brain.asked == 3
    assert {(call.tool_name, str(call.tool_kwargs)) for call in selected} == {("stock", "{'product': 'lamp'}")}
    assert len({call.tool_id for call in selected}) == 4
    assert all(call.tool_id.startswith("call_") for call in selected)
    assert str(allowed.predict_and_call([STOCK], "Is the lamp in stock?")) == "7 of lamp"
    assert str(await allowed.apredict_and_call([STOCK], "Is the lamp in stock?")) == "7 of lamp"
    assert brain.asked == 3


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_runs_again_from_the_cache(
    wrapped: Callable[..., ThriftLLM], brain: Brain, streaming: bool
) -> None:
    llm = wrapped(tools_allowed())
    outputs = []
    for _ in range(2):
        agent = FunctionAgent(tools=[STOCK], llm=llm, streaming=streaming, system_prompt="Help.")
        outputs.append(await agent.run("Is the lamp in stock?"))
    assert brain.asked == 2
    assert [str(output) for output in outputs] == [f"{ANSWER} (2)"] * 2
    assert outputs[1].raw["thrift"]["cache"]["tier"] == "exact"


def test_after_a_tool_only_the_very_same_conversation_is_a_hit(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    llm = wrapped()

    def after_tool(question: str, result: str, call_id: str) -> list[ChatMessage]:
        call = ToolCallBlock(tool_call_id=call_id, tool_name="stock", tool_kwargs={"product": "lamp"})
        answer = ChatMessage(role="tool", content=result, additional_kwargs={"tool_call_id": call_id})
        return [*user(question), ChatMessage(role="assistant", blocks=[call]), answer]

    llm.chat(after_tool(QUESTION, "7", "call_1"))
    llm.chat(after_tool(QUESTION, "7", "call_2"))
    assert brain.asked == 1
    llm.chat(after_tool(ALIKE, "7", "call_1"))
    llm.chat(after_tool(QUESTION, "8", "call_1"))
    assert brain.asked == 3


async def test_objects_are_kept_for_their_class_and_prompt(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    class Opinion(Verdict):
        """Another class with the same fields."""

    llm = wrapped()
    prompt = PromptTemplate("Is this kind? {text}")
    for _ in range(2):
        assert llm.structured_predict(Verdict, prompt, text="Well done!") == Verdict(is_kind=True)
        assert await llm.astructured_predict(Verdict, prompt, text="Well done!") == Verdict(is_kind=True)
    assert brain.asked == 1
    llm.structured_predict(Verdict, prompt, text="You there.")
    assert brain.asked == 2
    with pytest.raises(Exception):  # noqa: B017, PT011 - the scripted model does not know that class
        llm.structured_predict(Opinion, PromptTemplate("fail {text}"), text="Well done!")
    assert brain.asked == 3
    assert len(list(llm.thrift.ledger.savings())) == 3


def test_predictions_and_streams_of_prompts_are_cached_as_the_calls_they_make(
    wrapped: Callable[..., ThriftLLM], brain: Brain
) -> None:
    llm = wrapped()
    first = llm.predict(PromptTemplate("{x}"), x=QUESTION)
    assert llm.predict(PromptTemplate("{x}"), x=QUESTION) == first
    assert "".join(llm.stream(PromptTemplate("{x}"), x=QUESTION)) == first
    assert brain.asked == 1


def test_an_entry_that_cannot_be_read_is_a_miss_and_goes(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    llm = wrapped()
    cache = llm.thrift.cache
    assert cache is not None
    keep = cache.store
    cache.store = lambda *a, **k: keep(a[0], type(a[1])(payload='{"v": 99}', text="odd"), **k)  # type: ignore[method-assign]
    llm.chat(user(QUESTION))
    cache.store = keep  # type: ignore[method-assign]
    assert said(llm.chat(user(QUESTION))) == f"{ANSWER} (2)"
    assert said(llm.chat(user(QUESTION))) == f"{ANSWER} (2)"
    assert llm.thrift.ledger.faults()[("cache", "entry: ValueError")] == 1


def test_a_cache_that_fails_everywhere_costs_the_app_nothing(wrapped: Callable[..., ThriftLLM], brain: Brain) -> None:
    class Away(SemanticCache):
        def begin(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError("away")

    llm = wrapped(Away())
    with pytest.raises(OSError, match="away"):
        llm.thrift.cache.begin()  # type: ignore[union-attr]
    assert said(llm.chat(user(QUESTION))) == f"{ANSWER} (1)"
    assert said(list(llm.stream_chat(user(QUESTION)))[-1]) == f"{ANSWER} (2)"


@pytest.mark.parametrize(
    "blocks",
    [
        [ThinkingBlock(content="hm"), ToolCallBlock(tool_name="stock")],
        [ImageBlock(image=PIXEL)],
        [TextBlock(text="half a pair: \ud800")],
    ],
)
def test_what_could_not_come_back_as_it_was_is_not_kept(blocks: list[Any]) -> None:
    from llama_index.core.base.llms.types import ChatResponse

    response = ChatResponse(message=ChatMessage(role="assistant", blocks=blocks))
    if isinstance(blocks[0], TextBlock):
        assert "half a pair" in chat_payload(response)
    else:
        with pytest.raises(NotKept):
            chat_payload(response)


def test_what_was_thought_is_left_out_of_what_is_kept() -> None:
    from llama_index.core.base.llms.types import ChatResponse

    blocks = [ThinkingBlock(content="a secret thought"), TextBlock(text="Yes.")]
    assert "secret" not in chat_payload(ChatResponse(message=ChatMessage(role="assistant", blocks=blocks)))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"choices": [{"finish_reason": "length"}]}, "length"),
        ({"stop_reason": "max_tokens"}, "max_tokens"),
        ({"message": {"stop_reason": "tool_use"}}, "tool_use"),
        ({"candidates": [{"finish_reason": "MAX_TOKENS"}]}, "MAX_TOKENS"),
        ({"stopReason": "end_turn"}, "end_turn"),
        ({"done_reason": "length"}, "length"),
        ({"response": {"status": "incomplete"}}, "incomplete"),
        ({"choices": [], "usage": {}}, None),
        (None, None),
        ("text", None),
    ],
)
def test_why_a_model_stopped_is_read_from_every_providers_payload(raw: Any, reason: str | None) -> None:
    assert finish_reason(raw) == reason


def test_an_llm_of_the_frameworks_own_is_cached_too() -> None:
    llm = ThriftLLM(MockFunctionCallingLLM(), Thrift(cache="on", ledger=Ledger()))
    llm.chat(user("Hello there"))
    assert llm.chat(user("Hello there")).additional_kwargs["thrift"]["cache"]["tier"] == "exact"


def test_llms_that_differ_only_in_what_they_keep_private_share_nothing() -> None:
    class Hosted(MockFunctionCallingLLM):
        _name: str = PrivateAttr()
        _tiers: list[Any] = PrivateAttr(default_factory=list)
        _calls: int = PrivateAttr(default=0)

        def __init__(self, name: str, *tiers: Any) -> None:
            super().__init__()
            self._name, self._tiers = name, list(tiers)

    cache = SemanticCache(settings=CacheSettings(checked_share=0.0))

    def is_hit(llm: Hosted) -> bool:
        return "thrift" in ThriftLLM(llm, Thrift(cache=cache, ledger=Ledger())).chat(user("Hello")).additional_kwargs

    one = Hosted("one")
    assert not is_hit(one)
    one._calls = 7
    assert is_hit(one)
    assert is_hit(Hosted("one"))
    assert not is_hit(Hosted("two"))
    assert not is_hit(Hosted("one", Hosted("small")))
    assert not is_hit(Hosted("one", Hosted("large")))
