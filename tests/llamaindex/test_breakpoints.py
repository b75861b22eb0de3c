"""Breakpoints reach the provider where the client can carry them, as the provider takes them, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import MockLLM
from llama_index.core.tools import FunctionTool
from llamaindex_thrift.breakpoints import cache_key, marked, marker_of
from llamaindex_thrift.llm import ThriftLLM
from thrift_core.accounting.ledger import Ledger
from thrift_core.caching import CacheAdvice, CacheHints, PromptCachePlanner
from thrift_core.demo.rates import RATES
from thrift_core.messages import CacheBreakpoint
from thrift_core.testing import LocalProvider, RateCard, Reply
from thrift_core.thrift import Thrift

from tests.llamaindex.conftest import user

# One that this client sends no temperature, which anthropic 2 would not take.
CLAUDE = "claude-opus-5"


def look_up(word: str) -> str:
    """Look a word up."""
    return word


TOOLS = [FunctionTool.from_defaults(look_up)]


def planning() -> Thrift:
    return Thrift(planner=PromptCachePlanner(), ledger=Ledger())


def conversation(steps: int) -> list[ChatMessage]:
    messages = [ChatMessage(role="system", content="A long handbook. " * 900), *user("Look words up. " * 100)]
    for step in range(steps):
        call = ToolCallBlock(tool_call_id=f"c{step}", tool_name="look_up", tool_kwargs={"word": "lamp"})
        messages.append(ChatMessage(role="assistant", blocks=[TextBlock(text="I look."), call]))
        result = f"A lamp gives light, {step}. " * 150
        messages.append(ChatMessage(role="tool", content=result, additional_kwargs={"tool_call_id": f"c{step}"}))
    return messages


def marks(body: Any) -> list[str]:
    """Return where a request's JSON carries a marker."""
    found: list[str] = []

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            if "cache_control" in value or "cachePoint" in value:
                found.append(path)
            for key, item in value.items():
                walk(item, f"{path}/{key}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                walk(item, f"{path}/{number}")

    walk(body, "")
    return found


@pytest.fixture
def claude(monkeypatch: pytest.MonkeyPatch) -> Any:
    anthropic = pytest.importorskip("llama_index.llms.anthropic")
    # Version 0.12.3 calls this type, which anthropic 2 made a union of typed dictionaries.
    monkeypatch.setattr("llama_index.llms.anthropic.utils.MessageParam", dict)
    with LocalProvider(
        lambda request: Reply(text="ok"), RateCard(*map(type(RATES["gpt-5"].input_usd), (3, 0, 15)))
    ) as provider:
        yield lambda **settings: (
            anthropic.Anthropic(model=CLAUDE, api_key="k", base_url=provider.root_url, max_retries=0, **settings),
            provider,
        )


def test_anthropics_client_carries_them_in_tools_system_and_messages(claude: Any) -> None:
    inner, provider = claude()
    llm = ThriftLLM(inner, planning())
    for steps in range(4):
        history = conversation(steps)
        before = [message.model_dump() for message in history]
        llm.chat_with_tools(TOOLS, chat_history=history)
        assert [message.model_dump() for message in history] == before
    found = marks(provider.requests[-1].body)
    assert found
    assert all(path.startswith(("/tools/", "/system/", "/messages/")) for path in found)
    assert len(found) <= 4
    assert any(path.startswith("/messages/") for path in found)
    plain = ThriftLLM(inner, Thrift())
    plain.chat_with_tools(TOOLS, chat_history=conversation(3))
    assert provider.requests[-2].messages == provider.requests[-1].messages
    assert marks(provider.requests[-1].body) == []


def test_anthropics_system_prompt_is_marked_as_a_block_of_the_same_text(claude: Any) -> None:
    inner, provider = claude()
    messages = [ChatMessage(role="system", content="One."), ChatMessage(role="system", content="Two."), *user("Hi")]
    marker = marker_of(inner, messages, {})
    assert marker is not None
    sent, kwargs = marked(messages, {}, [CacheBreakpoint(index=1, ttl="1h", reason="")], marker)
    inner.chat(sent, **kwargs)
    (block,) = provider.requests[-1].body["system"]
    assert block == {"type": "text", "text": "One.\nTwo.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


def test_thinking_and_empty_texts_carry_none(claude: Any) -> None:
    inner, _ = claude()
    messages = [
        ChatMessage(role="assistant", blocks=[TextBlock(text="Hi"), ThinkingBlock(content="hm")]),
        ChatMessage(role="tool", content="", additional_kwargs={"tool_call_id": "1"}),
    ]
    marker = marker_of(inner, messages, {})
    assert marker is not None
    breakpoints = [CacheBreakpoint(index=index, reason="") for index in range(2)]
    assert marked(messages, {}, breakpoints, marker) == (messages, {})


@pytest.mark.parametrize(
    ("settings", "message", "kwargs"),
    [
        ({"cache_idx": 0}, {}, {}),
        ({"additional_kwargs": {"extra_body": {"metadata": {}}}}, {}, {}),
        ({}, {"additional_kwargs": {"cache_control": {"type": "ephemeral"}}}, {}),
        ({}, {"content": [TextBlock(text="x"), CachePoint(cache_control=CacheControl(type="ephemeral"))]}, {}),
        ({}, {}, {"tools": [{"name": "f", "cache_control": {"type": "ephemeral"}}]}),
        ({}, {}, {"cache_control": {"type": "ephemeral"}}),
    ],
)
def test_an_app_that_places_its_own_keeps_them(claude: Any, settings: Any, message: Any, kwargs: Any) -> None:
    inner, _ = claude(**settings)
    assert marker_of(inner, [ChatMessage(**{"role": "user", "content": "x", **message})], kwargs) is None


def test_bedrocks_client_carries_them_where_converse_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bedrock = pytest.importorskip("llama_index.llms.bedrock_converse")
    from llama_index.llms.bedrock_converse.utils import messages_to_converse_messages

    inner = bedrock.BedrockConverse(
        model="anthropic.claude-sonnet-4-5-20250929-v1:0",
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="k",
    )
    messages = conversation(1)
    kwargs = inner._prepare_chat_with_tools(TOOLS, chat_history=messages)
    marker = marker_of(inner, messages, kwargs)
    assert marker is not None
    breakpoints = [CacheBreakpoint(index=index, reason="") for index in (-1, 0, 1, 3)]
    sent, params = marked(messages, kwargs, breakpoints, marker)
    turns, system = messages_to_converse_messages(sent)
    assert params["tools"]["tools"][-1] == {"cachePoint": {"type": "default"}}
    assert len(kwargs["tools"]["tools"]) == 1
    assert system[-1] == {"cachePoint": {"type": "default"}}
    assert [list(block) for block in turns[0]["content"]] == [["text"], ["cachePoint"]]
    assert [list(block) for block in turns[-1]["content"]] == [["toolResult"], ["cachePoint"]]
    assert "cachePoint" not in json.dumps(turns[-1]["content"][0])


async def test_openais_client_gets_none_and_nothing_is_booked(openai_at: Any) -> None:
    with LocalProvider(lambda request: Reply(text="ok"), {**RATES, "gpt-5.6": RATES["gpt-5"]}) as provider:
        thrift = planning()
        llm = ThriftLLM(openai_at(provider, model="gpt-4o"), thrift)
        for steps in range(3):
            llm.chat_with_tools(TOOLS, chat_history=conversation(steps))
        assert marks(provider.requests[-1].body) == []
        assert "prompt_cache_key" not in provider.requests[-1].body
        assert list(thrift.ledger.savings()) == []


@pytest.mark.parametrize(
    ("settings", "kwargs", "expected"),
    [
        ({"api_base": "https://api.openai.com/v1"}, {}, {"prompt_cache_key": "thrift-1"}),
        ({"api_base": "http://127.0.0.1:1/v1"}, {}, {}),
        ({"api_base": "https://api.groq.com/openai/v1"}, {}, {}),
        ({"api_base": "https://api.openai.com/v1"}, {"prompt_cache_key": "own"}, {}),
        ({"api_base": "https://api.openai.com/v1", "additional_kwargs": {"prompt_cache_key": "own"}}, {}, {}),
    ],
)
def test_a_cache_key_goes_to_openai_alone(settings: Any, kwargs: Any, expected: Any) -> None:
    from llama_index.llms.openai import OpenAI

    advice = CacheAdvice(hints=CacheHints(prompt_cache_key="thrift-1"))
    assert cache_key(OpenAI(model="gpt-4o", api_key="k", **settings), advice, kwargs) == expected
    assert cache_key(MockLLM(), advice, kwargs) == {}


def test_the_key_arrives_and_is_the_same_for_requests_with_the_same_beginning() -> None:
    from llama_index.llms.openai import OpenAI

    keys = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(json.loads(request.content).get("prompt_cache_key"))
        message = {"role": "assistant", "content": "ok"}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
        return httpx.Response(
            200, json={**body, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        )

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        llm = ThriftLLM(OpenAI(model="gpt-4o", api_key="k", http_client=client), planning())
        for text in ("one", "two"):
            llm.chat([ChatMessage(role="system", content="A handbook."), *user(text)])
        llm.chat([ChatMessage(role="system", content="Another handbook."), *user("one")])
    assert keys[0] is not None
    assert keys[0] == keys[1] != keys[2]
