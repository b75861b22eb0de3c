"""Prompt-cache markers as each provider's real client sends them, and what is predicted beside what is billed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_anthropic import ChatAnthropic
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langchain_thrift.breakpoints import AnthropicMarker, BedrockMarker, OpenAIMarker, is_refusal, marker_for
from langchain_thrift.middleware import ThriftMiddleware
from thrift_core.messages import ToolCall
from thrift_core.testing import ApiError, ChatRequest, LocalProvider, Reply

from tests.langchain.agents import POLICY, TASK, TOOLS, lean, planning

CONTROL = {"type": "ephemeral"}


def reads(request: ChatRequest, parts: int = 4) -> Reply:
    done = sum(len(message.tool_calls) for message in request.messages)
    if done < parts:
        return Reply(tool_calls=(ToolCall("read_log", f'{{"part": {done + 1}}}'),))
    return Reply(text="All parts are fine.")


@contextmanager
def anthropic(brain: Callable[[ChatRequest], Reply] = reads) -> Iterator[tuple[LocalProvider, ChatAnthropic]]:
    with LocalProvider(brain) as provider:
        model = ChatAnthropic(model_name="claude-sonnet-4-6", base_url=provider.root_url, api_key="key", max_retries=0)
        yield provider, model
        model._client.close()


def marks(body: Mapping[str, Any]) -> list[str]:
    """Return where a request to Anthropic carries markers."""
    found = ["tools" for tool in body.get("tools", ()) if "cache_control" in tool]
    if isinstance(body.get("system"), list):
        found += ["system" for block in body["system"] if "cache_control" in block]
    for index, message in enumerate(body["messages"]):
        if isinstance(message["content"], list):
            found += [f"{index}:{block['type']}" for block in message["content"] if "cache_control" in block]
    return found + ["top"] * ("cache_control" in body)


def run(model: Any, middleware: Sequence[Any]) -> list[BaseMessage]:
    graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=middleware)
    messages: list[BaseMessage] = graph.invoke({"messages": [("user", TASK)]})["messages"]
    return messages


def test_anthropic_gets_markers_on_the_system_prompt_and_the_end_of_the_conversation() -> None:
    with anthropic() as (provider, model):
        messages = run(model, [ThriftMiddleware(planning())])
    placed = [marks(request.body) for request in provider.requests]
    assert all(1 <= len(each) <= 4 and each[0] == "system" for each in placed)
    assert [each[-1] for each in placed] == ["0:text", *(f"{n}:tool_result" for n in (2, 4, 6, 8))]
    # The agent's own messages carry none.
    assert all(isinstance(message.content, str) for message in messages if not isinstance(message, AIMessage))


def test_without_markers_the_requests_are_the_same() -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: plain(item) for key, item in value.items() if key != "cache_control"}
            return kept["text"] if kept.keys() == {"type", "text"} else kept
        return [plain(item) for item in value] if isinstance(value, list) else value

    def unwrapped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: unwrapped(item) for key, item in value.items()}
        if isinstance(value, list):
            return (
                unwrapped(value[0]) if len(value) == 1 and isinstance(value[0], str) else [unwrapped(v) for v in value]
            )
        return value

    with anthropic() as (first, model):
        run(model, [])
    with anthropic() as (second, model):
        run(model, [ThriftMiddleware(planning())])
    sent, marked = ([request.body for request in provider.requests] for provider in (first, second))
    for one, other in zip(sent, marked, strict=True):
        one["tools"].sort(key=lambda tool: tool["name"])
        assert [call["id"] for call in ids(one)] == [] or len(ids(one)) == len(ids(other))
        assert unwrapped(plain(without_ids(one))) == unwrapped(plain(without_ids(other)))


def ids(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        block
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_use"
    ]


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in ("id", "tool_use_id")}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def refuses_five(request: ChatRequest) -> Reply:
    """Answer as Anthropic does: at most four markers, none on thinking or empty text."""
    placed = marks(request.body)
    if len(placed) > 4:
        text = f"A maximum of 4 blocks with cache_control may be provided. Found {len(placed)}."
        raise ApiError(400, text)
    return reads(request)


@pytest.mark.parametrize("is_before", [True, False])
def test_anthropics_own_caching_middleware_can_stand_before_and_after(
    is_before: bool, caplog: pytest.LogCaptureFixture
) -> None:
    thrift = lean(is_planning=True)
    ours, theirs = ThriftMiddleware(thrift), AnthropicPromptCachingMiddleware()
    with anthropic(refuses_five) as (provider, model):
        messages = run(model, [theirs, ours] if is_before else [ours, theirs])
    assert messages[-1].text == "All parts are fine."
    assert all(len(marks(request.body)) == 3 for request in list(provider.requests)[-2:])
    assert caplog.text.count("prompt-cache markers") == 1


def test_markers_that_are_refused_are_left_out_and_the_call_is_made() -> None:
    def brain(request: ChatRequest) -> Reply:
        if marks(request.body):
            raise ApiError(400, "cache_control: Extra inputs are not permitted")
        return reads(request)

    thrift = planning()
    with anthropic(brain) as (provider, model):
        messages = run(model, [ThriftMiddleware(thrift)])
    assert messages[-1].text == "All parts are fine."
    assert thrift.ledger.faults() == {("planner", "markers refused"): 1}
    assert len(provider.requests) == 5


def test_other_refusals_reach_the_app() -> None:
    def brain(request: ChatRequest) -> Reply:
        raise ApiError(400, "prompt is too long")

    with anthropic(brain) as (_, model), pytest.raises(Exception, match="prompt is too long"):
        run(model, [ThriftMiddleware(planning())])


class OtherModel(AgentMiddleware[Any, Any, Any]):
    """Sends every call to another model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def wrap_model_call(self, request: ModelRequest[Any], handler: Any) -> ModelResponse[Any]:
        response: ModelResponse[Any] = handler(request.override(model=self._model))
        return response


@pytest.mark.parametrize("is_before", [True, False])
def test_a_model_that_another_middleware_puts_in_is_planned_for_or_does_not_mind(is_before: bool) -> None:
    with anthropic() as (_, first), LocalProvider(reads) as provider, httpx.Client() as client:
        model = ChatOpenAI(model="gpt-5-mini", base_url=provider.base_url, api_key="key", http_client=client)
        ours, other = ThriftMiddleware(planning()), OtherModel(model)
        messages = run(first, [other, ours] if is_before else [ours, other])
        bodies = [str(request.body) for request in provider.requests]
    assert messages[-1].text == "All parts are fine."
    assert not is_before or not any("cache_control" in body for body in bodies)


def stream(graph: Any, given: Any) -> dict[str, Any]:
    return list(graph.stream(given, stream_mode="values"))[-1]


@pytest.mark.parametrize("is_streaming", [False, True])
def test_the_predicted_input_stands_beside_the_billed_one(is_streaming: bool) -> None:
    with LocalProvider(reads) as provider, httpx.Client() as client:
        model = ChatOpenAI(
            model="gpt-5-mini", base_url=provider.base_url, api_key="key", http_client=client, stream_usage=True
        )
        graph = create_agent(model, TOOLS, system_prompt=POLICY, middleware=[ThriftMiddleware(planning())])
        state = (stream if is_streaming else type(graph).invoke)(graph, {"messages": [("user", TASK)]})
    answers = [message for message in state["messages"] if isinstance(message, AIMessage)]
    assert len(answers) == 5
    for answer in answers:
        assert answer.usage_metadata is not None
        predicted = answer.response_metadata["thrift"]["predicted_input"]
        billed = answer.usage_metadata["input_tokens"]
        assert abs(sum(predicted.values()) - billed) <= 0.1 * billed
        assert (predicted["cache_read"] > 0) == (answer.usage_metadata["input_token_details"]["cache_read"] > 0)


CONVERSATION: list[BaseMessage] = [
    SystemMessage("Be kind."),
    HumanMessage("Hi"),
    AIMessage("", tool_calls=[{"name": "read_log", "args": {"part": 1}, "id": "c1"}]),
    ToolMessage("Nothing.", tool_call_id="c1", id="t1"),
    AIMessage([{"type": "thinking", "thinking": "hmm", "signature": "s"}, {"type": "text", "text": "Good."}]),
]


@pytest.mark.parametrize("marker", [AnthropicMarker(), BedrockMarker(), OpenAIMarker()])
@pytest.mark.parametrize("message", CONVERSATION)
def test_a_marked_message_is_a_copy_that_says_the_same(marker: Any, message: BaseMessage) -> None:
    before = message.model_copy(deep=True)
    marked = marker.message(message, "1h")
    assert message == before
    if marked is not None:
        assert (marked.text, marked.id, type(marked)) == (message.text, message.id, type(message))


def test_thinking_empty_text_and_calls_are_never_marked() -> None:
    thinking = {"type": "thinking", "thinking": "hmm", "signature": "s"}
    for marker in (AnthropicMarker(), OpenAIMarker()):
        assert marker.message(HumanMessage(""), "5m") is None
        assert marker.message(ToolMessage(" \n", tool_call_id="c"), "5m") is None
        assert marker.message(AIMessage([thinking]), "5m") is None
    marked = AnthropicMarker().message(AIMessage([{"type": "text", "text": "so"}, thinking]), "5m")
    assert marked is not None
    assert marked.content == [{"type": "text", "text": "so", "cache_control": CONTROL}, thinking]
    assert BedrockMarker().message(AIMessage([{"type": "text", "text": "so"}, thinking]), "5m") is None
    assert AnthropicMarker().message(CONVERSATION[2], "5m") is None


def test_lifetimes_are_written_as_each_provider_takes_them() -> None:
    hour = AnthropicMarker().message(HumanMessage("Hi"), "1h")
    assert hour is not None
    assert hour.content == [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    point = BedrockMarker().message(HumanMessage("Hi"), "1h")
    assert point is not None
    assert point.content == ["Hi", {"cachePoint": {"type": "default", "ttl": "1h"}}]


def test_tools_are_marked_in_copies() -> None:
    marked = AnthropicMarker().tools(TOOLS, "5m")
    assert marked is not None
    assert (marked[0], marked[-1].extras) == (TOOLS[0], {"cache_control": CONTROL})  # type: ignore[union-attr]
    assert TOOLS[-1].extras is None
    own = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
    assert AnthropicMarker().tools([own], "5m") == [{**own, "cache_control": CONTROL}]
    assert AnthropicMarker().tools([{"type": "function", "function": own}], "5m") is None
    assert BedrockMarker().tools(TOOLS, "5m") == [*TOOLS, {"cachePoint": {"type": "default"}}]
    assert OpenAIMarker().tools(TOOLS, "5m") is None


def test_only_openai_itself_is_sent_what_other_servers_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    class ChatBedrockConverse(ChatOpenAI):
        """Named like Amazon's client."""

    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert isinstance(marker_for(ChatOpenAI(model="gpt-5.6", api_key="key")), OpenAIMarker)
    assert marker_for(ChatOpenAI(model="gpt-5.6", api_key="key", base_url="http://127.0.0.1:1/v1")) is None
    assert marker_for(ChatOpenAI(model="gpt-5.6", api_key="key", base_url="https://evilopenai.com/v1")) is None
    bedrock = ChatBedrockConverse(model="claude", api_key="key", base_url="http://127.0.0.1:1/v1")
    assert isinstance(marker_for(bedrock), BedrockMarker)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert marker_for(ChatOpenAI(model="gpt-5.6", api_key="key")) is None


@pytest.mark.parametrize("responses", [False, True])
def test_openais_breakpoints_reach_the_wire_in_both_of_its_apis(responses: bool) -> None:
    model = ChatOpenAI(model="gpt-5.6", api_key="key", use_responses_api=responses)
    marker = OpenAIMarker()
    for message in CONVERSATION:
        marked = marker.message(message, "5m")
        if marked is not None:
            before = CONVERSATION[2:3] if isinstance(message, ToolMessage) else []
            payload = model._get_request_payload([*before, marked])
            assert str(payload).count("'prompt_cache_breakpoint': {'mode': 'explicit'}") == 1


@pytest.mark.parametrize(
    ("text", "is_about_markers"),
    [
        ("A maximum of 4 blocks with cache_control may be provided. Found 5.", True),
        ("Unknown parameter: 'prompt_cache_key'", True),
        ("cachePoint is not supported by this model", True),
        ("rate limit reached", False),
    ],
)
def test_a_refusal_of_markers_is_told_from_others(text: str, is_about_markers: bool) -> None:
    assert is_refusal(RuntimeError(text)) is is_about_markers
