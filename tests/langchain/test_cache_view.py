"""Two requests share a partition of the cache if nothing that decides their answers differs, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI
from langchain_thrift.cache_view import cache_request, settings_of
from pydantic import BaseModel, SecretStr
from thrift_core.caching.semantic import CacheKey
from thrift_core.caching.semantic.fingerprint import Uncacheable

SECRET = b"for this test of the cache's keys"
MODEL = ChatOpenAI(model="gpt-4.1-mini", api_key=SecretStr("key"))
QUESTION = HumanMessage("How do I reset my password?")


def partition(
    messages: list[BaseMessage], *, inner: BaseChatModel = MODEL, stop: list[str] | None = None, **kwargs: Any
) -> bytes:
    return CacheKey.of(cache_request(inner, messages, stop, kwargs), secret=SECRET).partition


WORDS = st.sampled_from(["yes", "no", "maybe"])
CALLS = st.builds(lambda word: AIMessage("", tool_calls=[{"name": "f", "args": {"w": word}, "id": "1"}]), WORDS)
EARLIER = st.lists(
    st.one_of(
        st.builds(HumanMessage, WORDS),
        st.builds(AIMessage, WORDS),
        st.builds(SystemMessage, WORDS),
        CALLS,
        st.builds(lambda word: ToolMessage(word, tool_call_id="1"), WORDS),
        st.builds(lambda word: ChatMessage(word, role="critic"), WORDS),
    ),
    max_size=3,
)
BOUND = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.5]),
        "model": st.sampled_from(["gpt-5-mini", "gpt-4.1-mini"]),
        "tool_choice": WORDS,
        "response_format": st.builds(lambda word: {"type": word}, WORDS),
        "tools": st.lists(st.builds(lambda word: {"type": "function", "function": {"name": word}}, WORDS), max_size=2),
        "max_tokens": st.sampled_from([10, 20]),
    },
)
REQUESTS = st.tuples(EARLIER, BOUND, st.none() | st.lists(WORDS, min_size=1, max_size=2))


def essence(request: tuple[list[BaseMessage], dict[str, Any], list[str] | None]) -> Any:
    """Return what decides a request's answer, found in another way than the cache finds it."""
    messages, bound, stop = request
    said = [(m.type, getattr(m, "role", None), m.text, getattr(m, "tool_calls", None)) for m in messages]
    bound = {name: value for name, value in bound.items() if (name, value) != ("tools", [])}
    return repr((said, sorted(bound.items(), key=str), stop))


@given(REQUESTS, REQUESTS)
@settings(max_examples=150)
def test_requests_share_a_partition_only_if_all_but_the_question_is_the_same(one: Any, two: Any) -> None:
    keys = [partition([*earlier, QUESTION], stop=stop, **bound) for earlier, bound, stop in (one, two)]
    assert (keys[0] == keys[1]) == (essence(one) == essence(two))


@given(REQUESTS)
@settings(max_examples=50)
def test_ids_and_usage_of_earlier_turns_do_not_count(request: Any) -> None:
    earlier, bound, stop = request
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    again = [
        message.model_copy(
            update={"id": f"m{n}", "response_metadata": {"id": str(n)}}
            | ({"usage_metadata": usage} if isinstance(message, AIMessage) else {})
        )
        for n, message in enumerate(earlier)
    ]
    assert partition([*earlier, QUESTION], stop=stop, **bound) == partition([*again, QUESTION], stop=stop, **bound)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ChatMessage("x", role="critic"), ChatMessage("x", role="friend")),
        (ToolMessage("x", tool_call_id="1"), ToolMessage("x", tool_call_id="1", status="error")),
        (HumanMessage("x", name="ann"), HumanMessage("x", name="bob")),
        (SystemMessage("x"), SystemMessage("x", additional_kwargs={"__openai_role__": "developer"})),
        (AIMessage("x"), AIMessage("x", additional_kwargs={"reasoning_content": "because"})),
        (
            HumanMessage([{"type": "image_url", "image_url": {"url": "https://a"}}]),
            HumanMessage([{"type": "image_url", "image_url": {"url": "https://b"}}]),
        ),
    ],
)
def test_what_a_view_of_the_text_would_miss_counts(one: BaseMessage, other: BaseMessage) -> None:
    assert partition([one, QUESTION]) != partition([other, QUESTION])


def test_the_same_turn_counts_the_same_whole_or_streamed() -> None:
    assert partition([AIMessage("x"), QUESTION]) == partition([AIMessageChunk("x"), QUESTION])


def test_models_of_two_providers_or_classes_never_share() -> None:
    class Own(ChatOpenAI):
        """Answers in a way of its own."""

    others = [
        MODEL,
        Own(model="gpt-4.1-mini", api_key=SecretStr("key")),
        ChatOpenAI(model="gpt-4.1-mini", api_key=SecretStr("key"), base_url="https://other.example"),
        ChatOpenAI(model="gpt-4.1-mini", api_key=SecretStr("key"), seed=7),
        ChatAnthropic(model_name="claude-sonnet-4-6", api_key=SecretStr("key")),
        FakeListChatModel(responses=["a"]),
        FakeListChatModel(responses=["b"]),
    ]
    assert len({partition([QUESTION], inner=model) for model in others}) == len(others)


def test_no_secret_is_in_what_is_compared() -> None:
    class Own(BaseChatModel):
        token: SecretStr
        style: str

        @property
        def _llm_type(self) -> str:
            return "own"

        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            raise NotImplementedError

    for model in (
        ChatOpenAI(model="gpt-4.1-mini", api_key=SecretStr("hush-hush")),
        Own(token=SecretStr("hush-hush"), style="a"),
    ):
        assert "hush-hush" not in repr(settings_of(model))
    assert settings_of(Own(token=SecretStr("x"), style="a")) != settings_of(Own(token=SecretStr("x"), style="b"))


def test_a_schema_counts_by_what_it_says() -> None:
    class One(BaseModel):
        name: str

    class Two(BaseModel):
        name: int

    keys = {partition([QUESTION], response_format=schema) for schema in (One, Two, One)}
    assert len(keys) == 2


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(Uncacheable):
        partition([QUESTION], response_format=object())
