"""The local provider speaks to the real clients as the real ones do, and bills by the published rule."""

from __future__ import annotations

import http.client
import json
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.errors import ConfigurationError
from thrift_core.messages import ToolCall
from thrift_core.testing import (
    ApiError,
    ChatRequest,
    Fault,
    LocalProvider,
    PieceTokenizer,
    PrefixCache,
    RateCard,
    Reply,
    TokenUse,
    default_tokenizer,
    hashed_vector,
)

RATES = {
    "gpt-5-mini": RateCard(
        Decimal("0.25"),
        Decimal("0.025"),
        Decimal(2),
        tiers={"flex": RateCard(Decimal("0.125"), Decimal("0.0125"), Decimal(1))},
    )
}
USER: Any = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CITIES = ('{"city": "Oslo"}', '{"city": "Santiago de Compostela"}')


def brain(request: ChatRequest) -> Reply:
    """Answer in a way that shows what was asked."""
    if request.tools and request.messages[-1].role != "tool" and request.tool_choice != "none":
        calls = tuple(ToolCall("weather", city) for city in CITIES)
        return Reply(tool_calls=calls, reasoning_tokens=64)
    if request.response_format:
        return Reply(text='{"city": "Paris"}')
    return Reply(text=f"Paris, of course. Choice {request.choice}.", reasoning_tokens=10)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with LocalProvider(brain, RATES, tokenizer=PieceTokenizer()) as running:
        yield running


@pytest.fixture
def client(provider: LocalProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.base_url, api_key="key", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, messages: Any = USER, **settings: Any) -> Any:
    return client.chat.completions.create(model="gpt-5-mini", messages=messages, **settings)


def test_an_answer_carries_usage_that_adds_up(client: openai.OpenAI) -> None:
    answer = ask(client)
    usage = answer.usage
    assert answer.choices[0].message.content == "Paris, of course. Choice 0."
    assert answer.choices[0].finish_reason == "stop"
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens > usage.completion_tokens_details.reasoning_tokens == 10
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert answer.service_tier == "default"
    assert answer.system_fingerprint


async def test_an_async_client_gets_the_same_answer(provider: LocalProvider, client: openai.OpenAI) -> None:
    async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="key") as asynchronous:
        answer = await asynchronous.chat.completions.create(model="gpt-5-mini", messages=USER)
    assert answer.choices == ask(client).choices


def test_a_stream_joined_is_the_answer_and_ends_with_usage_only_if_asked(client: openai.OpenAI) -> None:
    whole = ask(client)
    with_usage = list(ask(client, stream=True, stream_options={"include_usage": True}))
    without = list(ask(client, stream=True))
    for chunks in (with_usage, without):
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
    assert with_usage[-1].choices == []
    assert with_usage[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in [*with_usage[:-1], *without])


def test_stream_options_without_a_stream_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        ask(client, extra_body={"stream_options": {"include_usage": True}})


def test_parallel_tool_calls_arrive_whole_in_both_ways(client: openai.OpenAI) -> None:
    answer = ask(client, tools=[WEATHER]).choices[0]
    assert answer.finish_reason == "tool_calls"
    assert [call.function.arguments for call in answer.message.tool_calls] == list(CITIES)
    with client.chat.completions.stream(model="gpt-5-mini", messages=USER, tools=[WEATHER]) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed is not None
    assert [(call.id, call.function.arguments) for call in streamed] == [
        (call.id, call.function.arguments) for call in answer.message.tool_calls
    ]


def test_parallel_calls_can_be_forbidden(client: openai.OpenAI) -> None:
    answer = ask(client, tools=[WEATHER], parallel_tool_calls=False)
    assert len(answer.choices[0].message.tool_calls) == 1


def test_tool_choice_none_is_answered_in_text(client: openai.OpenAI) -> None:
    assert ask(client, tools=[WEATHER], tool_choice="none").choices[0].finish_reason == "stop"


def test_a_brain_that_ignores_tool_choice_is_told_so(client: openai.OpenAI) -> None:
    messages = [*USER, *called(), *answered()]
    with pytest.raises(openai.UnprocessableEntityError, match="did not call what tool_choice asks for"):
        ask(client, messages, tools=[WEATHER], tool_choice="required")


def called() -> list[dict[str, Any]]:
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "weather", "arguments": "{}"}} for n in (1, 2)
    ]
    return [{"role": "assistant", "content": None, "tool_calls": calls}]


def answered(*numbers: int) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": f"call_{n}", "content": "rain"} for n in numbers or (1, 2)]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([*USER, *answered(1)], "must be a response to a preceeding message"),
        ([*USER, *called(), *answered(1)], "did not have response messages: call_2"),
        ([*USER, *called(), *answered(1), *USER, *answered(2)], "did not have response messages: call_2"),
        ([{"role": "robot", "content": "x"}], "Supported values are"),
        ([], "empty array"),
    ],
)
def test_a_broken_history_is_refused_in_the_real_words(client: openai.OpenAI, messages: Any, words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        ask(client, messages)


def test_a_whole_history_is_answered(client: openai.OpenAI) -> None:
    assert ask(client, [*USER, *called(), *answered()], tools=[WEATHER]).choices[0].finish_reason == "stop"


def test_the_output_limit_cuts_the_answer_and_says_so(client: openai.OpenAI) -> None:
    answer = ask(client, max_completion_tokens=13)
    assert answer.choices[0].finish_reason == "length"
    assert "Paris, of course. Choice 0.".startswith(answer.choices[0].message.content)
    assert answer.usage.completion_tokens == 13


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    answer = ask(client, stop=[" Choice", "!"]).choices[0]
    assert (answer.message.content, answer.finish_reason) == ("Paris, of course.", "stop")


def test_n_answers_are_billed_together_with_one_prompt(client: openai.OpenAI) -> None:
    one, three = ask(client), ask(client, n=3)
    assert [choice.message.content[-2] for choice in three.choices] == ["0", "1", "2"]
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens
    assert three.usage.prompt_tokens == one.usage.prompt_tokens


def test_a_json_schema_is_part_of_the_prompt(client: openai.OpenAI) -> None:
    schema = {"name": "answer", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    answer = ask(client, response_format={"type": "json_schema", "json_schema": schema})
    assert json.loads(answer.choices[0].message.content) == {"city": "Paris"}
    assert answer.usage.prompt_tokens > ask(client).usage.prompt_tokens


def test_text_where_json_was_asked_for_is_an_error_of_the_brain() -> None:
    with LocalProvider(lambda request: Reply(text="no JSON")) as provider:
        reply = post(provider, "/v1/chat/completions", messages=USER, response_format={"type": "json_object"})
    assert reply.status_code == 422
    assert "asks for JSON" in reply.json()["error"]["message"]


def post(provider: LocalProvider, path: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": "Bearer key"}
    return httpx.post(provider.root_url + path, json={"model": "gpt-5-mini", **body}, headers=headers, timeout=5)


def test_a_bug_in_the_brain_reaches_the_caller_and_is_not_billed() -> None:
    def buggy(request: ChatRequest) -> Reply:
        raise KeyError("oops")

    with LocalProvider(buggy, RATES) as provider:
        reply = post(provider, "/v1/chat/completions", messages=USER)
    assert (reply.status_code, provider.bill.calls) == (422, 0)
    assert "KeyError('oops')" in reply.json()["error"]["message"]


def test_a_brain_may_refuse_in_the_api_s_words() -> None:
    def refusing(request: ChatRequest) -> Reply:
        raise ApiError(400, "too long", code="context_length_exceeded")

    with LocalProvider(refusing) as provider:
        reply = post(provider, "/v1/chat/completions", messages=USER)
    assert reply.json()["error"]["code"] == "context_length_exceeded"


# --- who may ask, and for what


def test_no_key_is_401_an_unknown_model_404_and_no_json_400(provider: LocalProvider) -> None:
    url = f"{provider.base_url}/chat/completions"
    assert httpx.post(url, json={}).status_code == 401
    assert (
        post(provider, "/v1/chat/completions", model="gpt-9", messages=USER).json()["error"]["code"]
        == "model_not_found"
    )
    headers = {"Authorization": "Bearer key"}
    assert httpx.post(url, content=b"{", headers=headers).status_code == 400
    assert httpx.post(url, content=b"[]", headers=headers).status_code == 400
    assert post(provider, "/v1/other").status_code == 404


def test_the_models_are_those_with_rates(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["gpt-5-mini"]
    assert client.models.retrieve("gpt-5-mini").id == "gpt-5-mini"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_one_connection_serves_many_requests(provider: LocalProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(provider.root_url.rpartition(":")[2]), timeout=5)
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/v1/models")
        connection.getresponse().read()
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1
    assert None not in sockets


def test_calls_at_once_are_all_answered_and_billed(provider: LocalProvider) -> None:
    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda _: post(provider, "/v1/chat/completions", messages=USER), range(100)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["id"] for reply in replies}) == provider.bill.calls == 100


def test_a_provider_that_is_not_running_says_so() -> None:
    with pytest.raises(RuntimeError, match="with block"):
        _ = LocalProvider(brain).base_url


# --- faults


def test_a_client_that_retries_gets_past_a_rate_limit(provider: LocalProvider) -> None:
    provider.inject(Fault.error(429, retry_after_seconds=0.01), Fault.error(500))
    with openai.OpenAI(base_url=provider.base_url, api_key="key", max_retries=2) as client:
        assert ask(client).choices[0].message.content
    assert provider.bill.calls == 1


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.error(429), openai.RateLimitError), (Fault.error(503), openai.InternalServerError)]
)
def test_an_error_is_not_billed(provider: LocalProvider, client: openai.OpenAI, fault: Fault, error: Any) -> None:
    provider.inject(fault)
    with pytest.raises(error):
        ask(client)
    assert provider.bill.calls == 0


def test_a_hanging_provider_times_out_and_can_still_be_closed(provider: LocalProvider, client: openai.OpenAI) -> None:
    provider.inject(Fault.hang())
    with pytest.raises(openai.APITimeoutError):
        ask(client, timeout=0.1)
    assert provider.bill.calls == 0


def test_a_slow_answer_is_a_good_answer(provider: LocalProvider, client: openai.OpenAI) -> None:
    provider.inject(Fault.slow(0.05))
    assert ask(client).choices[0].message.content


def test_a_stream_that_breaks_off_is_billed_all_the_same(provider: LocalProvider, client: openai.OpenAI) -> None:
    provider.inject(Fault.disconnect(after_events=2))
    chunks: list[Any] = []
    with pytest.raises(httpx.RemoteProtocolError):
        chunks.extend(ask(client, stream=True))
    assert len(chunks) == 2
    assert provider.bill.calls == 1


def test_an_answer_that_breaks_off_or_is_garbage_is_billed(provider: LocalProvider, client: openai.OpenAI) -> None:
    provider.inject(Fault.disconnect(), Fault.garbage())
    with pytest.raises(openai.APIConnectionError):
        ask(client)
    with pytest.raises((openai.APIError, json.JSONDecodeError)):
        ask(client)
    assert provider.bill.calls == 2


# --- the prompt cache


@given(
    prompts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=6)
)
def test_cached_tokens_are_the_longest_earlier_prefix_in_steps_of_128(prompts: list[tuple[int, int, int]]) -> None:
    cache = PrefixCache()
    earlier: list[tuple[int, Any]] = []
    for scope, common, own in prompts:
        tokens = array("i", [7] * common + [100 + len(earlier)] * own)
        expected = max((shared(tokens, other) for other_scope, other in earlier if other_scope == scope), default=0)
        assert cache.read(scope, tokens) == (expected if expected >= 1024 else 0)
        earlier.append((scope, tokens))


def shared(one: array[int], other: array[int]) -> int:
    """The plain rule: whole blocks that both have in common from the start."""
    blocks = 0
    while one[: (blocks + 1) * 128] == other[: (blocks + 1) * 128] and len(one) >= (blocks + 1) * 128 <= len(other):
        blocks += 1
    return blocks * 128


def test_an_entry_dies_after_five_idle_minutes_and_use_keeps_it_alive() -> None:
    now = [0.0]
    cache, prompt = PrefixCache(clock=lambda: now[0]), array("i", range(2000))
    cached = []
    for wait in (0, 299, 299, 301):
        now[0] += wait
        cached.append(cache.read("key", prompt))
    assert cached == [0, 1920, 1920, 0]


def test_tools_and_system_prompt_count_in_the_prefix_and_scopes_do_not_mix(provider: LocalProvider) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "description": "word " * 1500}}]

    def cached(key: str = "key", **body: Any) -> int:
        with openai.OpenAI(base_url=provider.base_url, api_key=key) as client:
            usage = ask(client, tools=tools, tool_choice="none", **body).usage
        return int(usage.prompt_tokens_details.cached_tokens)

    assert cached() == 0
    assert cached() >= 1408
    assert cached(messages=[{"role": "user", "content": "Something else"}]) >= 1408
    assert cached("another key") == 0
    assert cached(prompt_cache_key="mine") == 0
    assert cached(prompt_cache_key="mine") >= 1408
    tools[0]["function"]["description"] = "changed " + "word " * 1500
    assert cached() == 0


# --- the bill


def test_the_bill_is_the_sum_of_what_replies_report(provider: LocalProvider, client: openai.OpenAI) -> None:
    long = [{"role": "system", "content": "rule " * 2000}, *USER]
    usages = [ask(client, long).usage for _ in range(3)] + [ask(client).usage]
    expected = sum(
        (usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens) * Decimal("0.25")
        + usage.prompt_tokens_details.cached_tokens * Decimal("0.025")
        + usage.completion_tokens * Decimal(2)
        for usage in usages
    ) / Decimal(1_000_000)
    assert provider.bill.cost_usd == expected
    assert provider.bill.use.cached_tokens == sum(usage.prompt_tokens_details.cached_tokens for usage in usages) > 0


def test_a_service_tier_has_its_own_rates(provider: LocalProvider, client: openai.OpenAI) -> None:
    plain, flex = ask(client), ask(client, service_tier="flex")
    assert flex.service_tier == "flex"
    assert plain.usage == flex.usage
    first, second = (line.cost_usd for line in provider.bill.lines)
    assert first is not None
    assert second == first / 2


def test_a_bill_without_rates_is_an_error_not_zero() -> None:
    with LocalProvider(brain) as provider:
        post(provider, "/v1/chat/completions", messages=USER)
    with pytest.raises(ConfigurationError, match="rates="):
        _ = provider.bill.cost_usd


@given(
    use=st.builds(
        TokenUse,
        input_tokens=st.integers(2000, 10**7),
        cached_tokens=st.integers(0, 1000),
        output_tokens=st.integers(0, 10**6),
    )
)
def test_costs_are_exact_and_caching_never_costs_more(use: TokenUse) -> None:
    card = RATES["gpt-5-mini"]
    plain = TokenUse(input_tokens=use.input_tokens, output_tokens=use.output_tokens)
    assert card.cost(plain) - card.cost(use) == use.cached_tokens * Decimal("0.225") / 1_000_000


USAGES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920},
        "completion_tokens_details": {"reasoning_tokens": 256},
        "queue_time": 0.01,
    },
    "/v1/responses": {
        "input_tokens": 2006,
        "input_tokens_details": {"cached_tokens": 1920},
        "output_tokens": 300,
        "output_tokens_details": {"reasoning_tokens": 256},
        "total_tokens": 2306,
    },
    "/v1/messages": {"input_tokens": 86, "cache_read_input_tokens": 1920, "output_tokens": 300},
}


@pytest.mark.parametrize("path", USAGES)
def test_a_usage_override_is_sent_as_it_is_and_billed(path: str) -> None:
    override = USAGES[path]
    card = RateCard(Decimal(1), Decimal("0.1"), Decimal(10))
    reply = Reply(text="Hi", usage_override=override, extra={"service_tier": "priority"})
    body: dict[str, Any] = {"messages": USER, "input": "Hi", "max_tokens": 100}
    with LocalProvider(lambda request: reply, card) as provider:
        whole = post(provider, path, **body).json()
        events = post(provider, path, **body, stream=True, stream_options={"include_usage": True}).text
    assert (whole["usage"], whole["service_tier"]) == (override, "priority")
    assert json.dumps(override, separators=(",", ":")) in events
    assert [line.cost_usd for line in provider.bill.lines] == [card.cost(TOLD)] * 2


TOLD = TokenUse(input_tokens=2006, cached_tokens=1920, output_tokens=300)


# --- the other APIs


def test_the_responses_api_streams_text_and_tool_calls(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="gpt-5-mini", input="Capital of France?", instructions="Be brief.")
    assert answer.output_text == "Paris, of course. Choice 0."
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    with client.responses.stream(model="gpt-5-mini", input="Weather?", tools=[tool]) as stream:
        calls = [item for item in stream.get_final_response().output if item.type == "function_call"]
    assert [call.arguments for call in calls] == list(CITIES)
    items: Any = [{"role": "user", "content": "Weather?"}]
    items += [{"type": "function_call", "call_id": call.call_id, "name": "weather", "arguments": call.arguments}
              for call in calls]  # fmt: skip
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"} for call in calls]
    assert client.responses.create(model="gpt-5-mini", input=items, tools=[tool]).output_text.startswith("Paris")


def test_the_messages_api_streams_text_and_tool_calls(provider: LocalProvider) -> None:
    tool = {"name": "weather", "input_schema": {"type": "object"}}
    body = {"messages": USER, "max_tokens": 200, "system": "Be brief.", "tools": [tool]}
    whole = post(provider, "/v1/messages", **body).json()
    assert (whole["stop_reason"], [block["input"]["city"] for block in whole["content"]]) == (
        "tool_use",
        ["Oslo", "Santiago de Compostela"],
    )
    lines = post(provider, "/v1/messages", **body, stream=True).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    pieces = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(pieces) == "".join(CITIES)
    assert events[-2]["usage"] == whole["usage"]
    refused = post(provider, "/v1/messages", messages=USER)
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


def test_an_image_is_billed_and_its_text_is_read(client: openai.OpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    text = {"type": "text", "text": USER[0]["content"]}
    with_image = ask(client, [{"role": "user", "content": [text, image]}]).usage.prompt_tokens
    assert with_image == ask(client).usage.prompt_tokens + 85


def test_embeddings_are_the_same_in_both_encodings_and_near_for_shared_words(client: openai.OpenAI) -> None:
    texts = ["The cat sat on the mat", "the cat sat on a mat!", "Interest rates rose again"]
    floats = client.embeddings.create(model="e", input=texts, encoding_format="float").data
    default = client.embeddings.create(model="e", input=texts).data  # the client asks for base64
    for one, other in zip(floats, default, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    cat, mat, rates = (item.embedding for item in floats)
    assert dot(cat, mat) > 0.7
    assert dot(cat, rates) < 0.3
    assert len(client.embeddings.create(model="e", input="x", dimensions=64).data[0].embedding) == 64
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="e", input=[])


def dot(one: list[float], other: list[float]) -> float:
    return sum(left * right for left, right in zip(one, other, strict=True))


@given(weights=st.dictionaries(st.text(min_size=1), st.floats(0.1, 10), max_size=20), dimensions=st.integers(1, 300))
def test_a_hashed_vector_has_length_one_or_is_zero(weights: dict[str, float], dimensions: int) -> None:
    vector = hashed_vector(weights, dimensions)
    length = dot(vector, vector)
    assert len(vector) == dimensions
    assert length == pytest.approx(1) or not any(vector)


@given(text=st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    tokenizer = PieceTokenizer()
    count = len(tokenizer.encode(text))
    assert tokenizer.shorten(text, count) == text
    assert len(tokenizer.encode(tokenizer.shorten(text, count // 2))) <= count // 2


def test_tokens_are_openai_s_own_where_their_ranks_are_on_disk() -> None:
    pytest.importorskip("llama_index.core")  # brings the ranks
    tokenizer = default_tokenizer()
    assert list(tokenizer.encode("hello world")) == [24912, 2375]
    assert tokenizer.shorten("hello world", 1) == "hello"
