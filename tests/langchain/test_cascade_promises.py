"""What a cascade promises: nothing retracted, nothing invalid, nothing mixed, nothing unpaid."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_openai import ChatOpenAI
from langchain_thrift import CascadeChatModel, track_costs
from pydantic import BaseModel
from thrift_core.accounting.ledger import Ledger
from thrift_core.demo.rates import RATES
from thrift_core.errors import CascadeExhausted
from thrift_core.messages import ToolCall
from thrift_core.routing import RouterSettings
from thrift_core.testing import ChatRequest, Fault, LocalProvider, Reply

from tests.langchain.fuzzed_tools import arguments, tool_schema
from tests.langchain.scripted_models import Says, scripted

CHEAP, STRONG = "gpt-4.1-nano", "gpt-4.1"
EASY, HARD = "Translate 'bread' into French", "Prove that there is no largest prime"
NO_REST = RouterSettings(cooldown_seconds=0)
SAYINGS = (
    "The bread is le pain.",
    "I'm not sure, perhaps it is le pain, or la baguette; hard to say.",
    "I cannot help with that.",
    "",
    "Pain.",
    "12 * 4 = 49, so it is 49 loaves of bread.",
    "pain pain pain pain " * 20,
)


class Broken(Exception):
    status_code = 503


class Shown(BaseCallbackHandler):
    """What callbacks show to a user."""

    def __init__(self) -> None:
        self.text = ""

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.text += token if isinstance(token, str) else ""


class Talk:
    """One answer of a cascade of two, each of which says something of its own, and may break off anywhere."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.said: list[str] = []
        self.question = f"{self._chance.choice([EASY, HARD])} #{seed}"
        self.is_hedged = self._chance.random() < 0.15
        self.shown = Shown()
        self.emitted = ""
        self.whole: AIMessageChunk | None = None

    def speak(self, name: str) -> Says:
        said = self._chance.choice(SAYINGS)
        text = f"{name}{len(self.said)}: {said}" if said else ""
        self.said.append(text)
        error = Broken() if self._chance.random() < 0.2 else None
        return Says(text, error=error, breaks_after=self._chance.randint(0, 8))

    def _take(self, chunk: AIMessageChunk) -> None:
        self.emitted += chunk.text
        self.whole = chunk if self.whole is None else self.whole + chunk

    def hold(self, model: CascadeChatModel) -> None:
        for chunk in model.stream(self.question, {"callbacks": [self.shown]}):
            self._take(chunk)

    async def ahold(self, model: CascadeChatModel) -> None:
        async for chunk in model.astream(self.question, {"callbacks": [self.shown]}):
            self._take(chunk)

    def retracted(self, failed: Exception | None) -> int:
        """Return how many characters were shown that are not of the one answer; check that all agree on it."""
        assert self.shown.text == self.emitted
        if failed is not None:
            assert isinstance(failed, Broken)
            # What was shown is the beginning of one answer, and nothing followed it.
            return 0 if any(text.startswith(self.emitted) for text in self.said) else len(self.emitted)
        assert self.whole is not None
        return 0 if self.whole.text == self.emitted and self.emitted in self.said else len(self.emitted)


def retracted_in(seeds: range) -> tuple[int, int]:
    """Return the retracted characters of many streams, and how many streams ended with an error."""
    retracted = failures = 0
    talks: dict[str, Talk] = {}

    def speaker(name: str) -> Callable[[list[BaseMessage]], Says]:
        return lambda messages: talks[messages[-1].text].speak(name)

    tiers = {"C": scripted(CHEAP, speaker("C")), "S": scripted(STRONG, speaker("S"))}
    plain = CascadeChatModel(tiers, router_settings=NO_REST)
    hedged = CascadeChatModel(tiers, router_settings=NO_REST, hedge_seconds=0)
    for seed in seeds:
        talk = Talk(seed)
        talks[talk.question] = talk
        model = hedged if talk.is_hedged else plain
        failed: Exception | None = None
        try:
            if seed % 2:
                talk.hold(model)
            else:
                asyncio.run(talk.ahold(model))
        except Broken as error:
            failed = error
            failures += 1
        retracted += talk.retracted(failed)
    return retracted, failures


def test_no_character_of_a_stream_is_ever_taken_back():
    retracted, failures = retracted_in(range(300))
    assert retracted == 0
    assert failures < 100


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_character_of_ten_thousand_streams_is_ever_taken_back():
    retracted, failures = retracted_in(range(10_000))
    assert retracted == 0
    assert 0 < failures < 3000


class Request:
    """Fuzzed tools, and models that call them right and wrong."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.schemas = {f"tool_{n}": tool_schema(self._chance) for n in range(self._chance.randint(1, 3))}
        self._checks = {name: Draft202012Validator(schema) for name, schema in self.schemas.items()}
        self.made: list[Any] = []

    @property
    def tools(self) -> list[dict[str, Any]]:
        about = {"description": "A tool."}
        return [
            {"type": "function", "function": {"name": name, "parameters": schema, **about}}
            for name, schema in self.schemas.items()
        ]

    def is_valid(self, call: Any) -> bool:
        return call["name"] in self._checks and self._checks[call["name"]].is_valid(call["args"])

    def calls(self) -> Says:
        names = [*self.schemas, "no_such_tool"] if self._chance.random() < 0.2 else list(self.schemas)
        made = []
        for number in range(self._chance.randint(1, 2)):
            name = self._chance.choice(names)
            args = arguments(self._chance, self.schemas.get(name) or self.schemas["tool_0"])
            made.append({"name": name, "args": args, "id": f"call-{number}"})
        self.made += made
        return Says(calls=made)


def invalid_emitted(count: int) -> dict[str, int]:
    """Return what became of calls of fuzzed tools: made, invalid among them, emitted, and invalid ones emitted."""
    found = {"made": 0, "made invalid": 0, "emitted": 0, "emitted invalid": 0}
    current: list[Request] = []

    def says(_: list[BaseMessage]) -> Says:
        return current[-1].calls()

    model = CascadeChatModel({"C": scripted(CHEAP, says), "S": scripted(STRONG, says)})
    for seed in range(count):
        request = Request(seed)
        current.append(request)
        try:
            emitted = model.bind_tools(request.tools).invoke("What is in Paris?").tool_calls
        except CascadeExhausted:
            emitted = []
        found["made"] += len(request.made)
        found["made invalid"] += sum(not request.is_valid(call) for call in request.made)
        found["emitted"] += len(emitted)
        found["emitted invalid"] += sum(not request.is_valid(call) for call in emitted)
    return found


def test_no_tool_call_gets_out_that_its_schema_does_not_allow():
    found = invalid_emitted(300)
    assert found["emitted invalid"] == 0
    assert found["made invalid"] > 100
    assert found["emitted"] > 100


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_tool_call_of_ten_thousand_requests_gets_out_that_its_schema_does_not_allow():
    found = invalid_emitted(10_000)
    assert found["emitted invalid"] == 0
    assert found["made invalid"] > 3000
    assert found["emitted"] > 3000


class Form(BaseModel):
    """What was asked for."""

    word: str


def brain(request: ChatRequest) -> Reply:
    """Doubt as the cheap model; fill forms and call tools wrong as the cheap one, right as the strong one."""
    is_cheap = request.model == CHEAP
    if request.response_format:
        return Reply(text='{"letters": 4}' if is_cheap else '{"word": "pain"}')
    if request.tools:
        return Reply(tool_calls=(ToolCall("weigh", '{"loaves": "many"}' if is_cheap else '{"loaves": 2}'),))
    return Reply(text="I'm not sure, perhaps le pain." if is_cheap else "It is le pain, as you may have known.")


def weigh(loaves: int) -> str:
    """Weigh loaves of bread."""
    return f"{loaves} kg"


@pytest.fixture
async def cascade_at() -> AsyncIterator[Callable[..., CascadeChatModel]]:
    """Makes a cascade of two of OpenAI's clients for a local provider."""
    with httpx.Client() as sync:
        async with httpx.AsyncClient() as unsync:

            def make(provider: LocalProvider, *, retries: int = 0, **more: Any) -> CascadeChatModel:
                tiers = [
                    ChatOpenAI(
                        model=name,
                        base_url=provider.base_url,
                        api_key="local",
                        max_retries=retries,
                        stream_usage=True,
                        http_client=sync,
                        http_async_client=unsync,
                    )
                    for name in (CHEAP, STRONG)
                ]
                return CascadeChatModel(tiers, router_settings=NO_REST, **more)

            yield make


async def test_every_tiers_tokens_are_in_the_ledger_to_the_cent_whatever_happens_on_the_way(
    cascade_at: Callable[..., CascadeChatModel],
):
    other = Ledger()
    with LocalProvider(brain, RATES) as provider, track_costs(other):
        model = cascade_at(provider, retries=2)
        ask: Any = model.bind_tools([weigh])
        for fault in (None, Fault.error(429, retry_after_seconds=0), Fault.error(503), Fault.slow(0.01)):
            for question in (EASY, HARD):
                provider.inject(*([fault] if fault else []))
                model.invoke(question)
                await model.ainvoke(question)
                list(model.stream(question))
                _ = [chunk async for chunk in model.astream(question)]
        model.batch([EASY, HARD, EASY])
        model.with_structured_output(Form).invoke(EASY)
        await model.with_structured_output(Form).ainvoke(EASY)
        assert ask.invoke("What is 2?").tool_calls[0]["args"] == {"loaves": 2}
        assert "".join(chunk.text for chunk in ask.stream("What is 2?")) == ""
        assert model.ledger.total().cost_usd == other.total().cost_usd == provider.bill.cost_usd
        assert not any(call.is_estimated for call in model.ledger.calls())


async def test_hedges_are_in_the_ledger_too_winners_and_losers(cascade_at: Callable[..., CascadeChatModel]):
    with LocalProvider(brain, RATES) as provider:
        model = cascade_at(provider, hedge_seconds=0.03)
        for _ in range(3):
            provider.inject(Fault.slow(0.4))
            assert model.invoke(EASY).response_metadata["thrift"]["tier"] == STRONG
            provider.inject(Fault.slow(0.4))
            assert (await model.ainvoke(EASY)).response_metadata["thrift"]["tier"] == STRONG
        await asyncio.sleep(0.5)
        give_up = time.monotonic() + 5
        while model.ledger.total().calls < 12 and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        assert model.ledger.total().cost_usd == provider.bill.cost_usd
        losers = [call for call in model.ledger.calls() if call.outcome == "rejected"]
        assert {call.model for call in losers} == {CHEAP}
        saved = sum((saving.cost_usd or Decimal(0) for saving in model.ledger.savings()), Decimal(0))
        assert saved == -sum((call.cost_usd for call in losers if call.cost_usd), Decimal(0))


@pytest.mark.parametrize(
    "fault",
    [Fault.error(429), Fault.error(500), Fault.garbage(), Fault.disconnect(0), Fault.disconnect(4), Fault.hang()],
)
@pytest.mark.parametrize("question", [EASY, HARD])
async def test_a_tier_that_fails_is_answered_for_by_another_or_by_a_clear_error_and_never_mixed(
    cascade_at: Callable[..., CascadeChatModel], fault: Fault, question: str
):
    whole = {"I'm not sure, perhaps le pain.", "It is le pain, as you may have known."}
    with LocalProvider(brain, RATES) as provider:
        model = cascade_at(provider, timeout_seconds=0.6 if fault.kind == "hang" else 30)
        provider.inject(fault)
        assert model.invoke(question).text in whole
        provider.inject(fault)
        assert (await model.ainvoke(question)).text in whole
        for way in (_streamed, _astreamed):
            provider.inject(fault)
            shown, error = await way(model, question)
            assert shown in whole if error is None else any(text.startswith(shown) for text in whole)
            assert error is None or "streamed already" in error.__notes__[0]


async def _streamed(model: CascadeChatModel, question: str) -> tuple[str, Exception | None]:
    shown = ""
    try:
        for chunk in model.stream(question):
            shown += chunk.text
    except Exception as error:
        return shown, error
    return shown, None


async def _astreamed(model: CascadeChatModel, question: str) -> tuple[str, Exception | None]:
    shown = ""
    try:
        async for chunk in model.astream(question):
            shown += chunk.text
    except Exception as error:
        return shown, error
    return shown, None


def test_when_every_tier_fails_the_last_error_says_what_was_tried(cascade_at: Callable[..., CascadeChatModel]):
    with LocalProvider(brain, RATES) as provider:
        provider.inject(Fault.error(429), Fault.error(500, "strong is down"))
        with pytest.raises(Exception, match="strong is down") as caught:
            cascade_at(provider).invoke(EASY)
    assert caught.value.__notes__[-1] == ("no tier answered: gpt-4.1-nano failed (rate_limit); gpt-4.1 failed (outage)")


def test_the_metadata_of_an_answer_is_plain_json():
    model = CascadeChatModel([scripted(CHEAP, "Pain."), scripted(STRONG, "Le pain.")])
    assert json.loads(json.dumps(model.invoke(EASY).response_metadata["thrift"]))["tier"] == CHEAP
