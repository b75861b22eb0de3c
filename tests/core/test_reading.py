"""What providers report, read into what is billed."""

from __future__ import annotations

import doctest
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from thrift_core.accounting import reading as reading_module
from thrift_core.accounting.reading import Reading, read_usage
from thrift_core.accounting.usage import Usage

OPENAI_CHAT = {
    "model": "gpt-4o-2024-11-20",
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 300,
        "total_tokens": 1500,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 5},
    },
}
OPENAI_RESPONSES = {
    "model": "gpt-5-mini",
    "usage": {
        "input_tokens": 2000,
        "input_tokens_details": {"cached_tokens": 1500},
        "output_tokens": 800,
        "output_tokens_details": {"reasoning_tokens": 600},
        "total_tokens": 2800,
    },
}
ANTHROPIC = {
    "model": "claude-sonnet-4-5",
    "usage": {
        "input_tokens": 20,
        "cache_read_input_tokens": 5000,
        "cache_creation_input_tokens": 1000,
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
        "output_tokens": 250,
        "server_tool_use": {"web_search_requests": 2},
        "service_tier": "standard",
    },
}
GEMINI = {
    "modelVersion": "gemini-2.5-flash",
    "usageMetadata": {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 600,
        "candidatesTokenCount": 200,
        "thoughtsTokenCount": 300,
        "totalTokenCount": 1500,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900}, {"modality": "IMAGE", "tokenCount": 100}],
        "trafficType": "ON_DEMAND_FLEX",
    },
}
GEMINI_SNAKE = {
    "model_version": "gemini-2.5-flash",
    "usage_metadata": {
        "prompt_token_count": 1000,
        "cached_content_token_count": 600,
        "candidates_token_count": 200,
        "thoughts_token_count": 300,
        "total_token_count": 1500,
        "prompt_tokens_details": [
            {"modality": "TEXT", "token_count": 900},
            {"modality": "IMAGE", "token_count": 100},
        ],
        "traffic_type": "ON_DEMAND_FLEX",
    },
}
BEDROCK = {
    "usage": {
        "inputTokens": 10,
        "outputTokens": 7,
        "cacheReadInputTokens": 100,
        "cacheWriteInputTokens": 50,
        "totalTokens": 167,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 50}],
    }
}
COHERE = {"usage": {"billed_units": {"input_tokens": 5, "output_tokens": 6}, "tokens": {"input_tokens": 70}}}
GROQ = {"model": "openai/gpt-oss-20b", "usage": {"queue_time": 0.1, "prompt_tokens": 9, "completion_tokens": 3}}
STANDARD = {
    "input_tokens": 6020,
    "output_tokens": 250,
    "total_tokens": 6270,
    "input_token_details": {
        "cache_read": 5000,
        "cache_creation": 0,
        "ephemeral_5m_input_tokens": 400,
        "ephemeral_1h_input_tokens": 600,
    },
    "output_token_details": {"reasoning": 30, "audio": 4},
}
GEMINI_USAGE = Usage(
    input_tokens=1000,
    cache_read_tokens=600,
    output_tokens=500,
    reasoning_tokens=300,
    other={"input_text_tokens": 900, "input_image_tokens": 100},
)


@pytest.mark.parametrize(
    ("payload", "reading"),
    [
        (
            OPENAI_CHAT,
            Reading(
                usage=Usage(
                    input_tokens=1200,
                    output_tokens=300,
                    cache_read_tokens=1024,
                    reasoning_tokens=200,
                    input_audio_tokens=10,
                    output_audio_tokens=5,
                ),
                model="gpt-4o-2024-11-20",
                provider="openai",
                service_tier="default",
                api_flavor="chat",
            ),
        ),
        (
            OPENAI_RESPONSES,
            Reading(
                usage=Usage(input_tokens=2000, cache_read_tokens=1500, output_tokens=800, reasoning_tokens=600),
                model="gpt-5-mini",
                provider="openai",
                api_flavor="responses",
            ),
        ),
        (
            ANTHROPIC,
            Reading(
                usage=Usage(
                    input_tokens=6020,
                    cache_read_tokens=5000,
                    cache_write_tokens=1000,
                    cache_write_1h_tokens=600,
                    output_tokens=250,
                    other={"web_searches": 2},
                ),
                model="claude-sonnet-4-5",
                provider="anthropic",
                service_tier="standard",
                api_flavor="default",
            ),
        ),
        (
            GEMINI,
            Reading(
                usage=GEMINI_USAGE,
                model="gemini-2.5-flash",
                provider="google",
                service_tier="ON_DEMAND_FLEX",
                api_flavor="default",
            ),
        ),
        (
            BEDROCK,
            Reading(
                usage=Usage(
                    input_tokens=160,
                    cache_read_tokens=100,
                    cache_write_tokens=50,
                    cache_write_1h_tokens=50,
                    output_tokens=7,
                ),
                provider="aws",
                api_flavor="default",
            ),
        ),
        (
            COHERE,
            Reading(usage=Usage(input_tokens=5, output_tokens=6), provider="cohere", api_flavor="default"),
        ),
        (
            GROQ,
            Reading(
                usage=Usage(input_tokens=9, output_tokens=3),
                model="openai/gpt-oss-20b",
                provider="groq",
                api_flavor="default",
            ),
        ),
    ],
    ids=["openai", "responses", "anthropic", "gemini", "bedrock", "cohere", "groq"],
)
def test_a_response_is_read_in_its_providers_words(payload: dict[str, Any], reading: Reading) -> None:
    assert read_usage(payload) == reading


def test_the_usage_block_alone_is_enough() -> None:
    assert read_usage(OPENAI_CHAT["usage"]).usage == read_usage(OPENAI_CHAT).usage  # type: ignore[index]
    assert read_usage(ANTHROPIC["usage"]).provider == "anthropic"
    assert read_usage(GEMINI["usageMetadata"]).usage == GEMINI_USAGE


def test_geminis_python_clients_write_snake_case_and_mean_the_same() -> None:
    reading = read_usage(GEMINI_SNAKE, provider="google_genai")
    assert reading.usage == GEMINI_USAGE
    assert (reading.model, reading.service_tier) == ("gemini-2.5-flash", "ON_DEMAND_FLEX")


def test_the_words_that_frameworks_share_count_cached_tokens_into_the_input() -> None:
    reading = read_usage(STANDARD, provider="anthropic")
    assert reading == Reading(
        usage=Usage(
            input_tokens=6020,
            cache_read_tokens=5000,
            cache_write_tokens=1000,
            cache_write_1h_tokens=600,
            output_tokens=250,
            reasoning_tokens=30,
            output_audio_tokens=4,
        ),
        provider="anthropic",
        api_flavor="standard",
    )


def test_a_sum_of_cache_writes_that_includes_their_lifetimes_is_not_counted_twice() -> None:
    details = {"cache_creation": 1000, "ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}
    block = {"input_tokens": 1000, "output_tokens": 0, "total_tokens": 1000, "input_token_details": details}
    assert read_usage(block).usage.cache_write_tokens == 1000


def test_what_is_billed_apart_is_read_from_the_shared_words() -> None:
    details = {"audio": 80, "input_image_tokens": 258, "input_text_tokens": 62}
    block = {"input_tokens": 400, "output_tokens": 9, "total_tokens": 409, "input_token_details": details}
    usage = read_usage(block).usage
    assert (usage.input_audio_tokens, usage.other) == (80, {"input_image_tokens": 258, "input_text_tokens": 62})


def test_the_tier_that_marks_the_shared_words_is_read_and_its_details_too() -> None:
    block = {
        "input_tokens": 100,
        "output_tokens": 50,
        "total_tokens": 150,
        "input_token_details": {"flex_cache_read": 40, "flex": 60},
        "output_token_details": {"flex_reasoning": 20, "flex": 30},
    }
    reading = read_usage(block, provider="openai")
    assert reading.service_tier == "flex"
    assert (reading.usage.cache_read_tokens, reading.usage.reasoning_tokens) == (40, 20)


def test_openais_realtime_details_are_not_taken_for_the_shared_words() -> None:
    block = {
        "input_tokens": 100,
        "output_tokens": 50,
        "total_tokens": 150,
        "input_token_details": {"text_tokens": 60, "audio_tokens": 40, "cached_tokens": 30},
        "output_token_details": {"text_tokens": 20, "audio_tokens": 30},
    }
    reading = read_usage({"response": {"usage": block}}, provider="openai")
    assert reading.api_flavor == "realtime"
    assert (reading.usage.input_audio_tokens, reading.usage.cache_read_tokens) == (40, 30)


def test_a_clients_object_is_read_like_its_json() -> None:
    class Details(BaseModel):
        cached_tokens: int | None = None

    class Block(BaseModel):
        prompt_tokens: int
        completion_tokens: int
        prompt_tokens_details: Details | None = None

    class Response(BaseModel):
        model: str
        usage: Block

    block = Block(prompt_tokens=10, completion_tokens=5, prompt_tokens_details=Details(cached_tokens=4))
    expected = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4)
    assert read_usage(Response(model="gpt-4o", usage=block)).usage == expected
    assert read_usage({"model": "gpt-4o", "usage": block}).usage == expected
    assert read_usage(block).usage == expected


def test_reasoning_that_a_provider_reports_beside_the_output_is_counted_into_it() -> None:
    block = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    assert read_usage(block, provider="xai").usage.output_tokens == 105
    assert read_usage(block).usage.output_tokens == 105


def test_a_gateway_that_already_counted_reasoning_into_the_output_is_believed() -> None:
    block = {
        "prompt_tokens": 10,
        "completion_tokens": 105,
        "total_tokens": 115,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    usage = read_usage(block, provider="xai").usage
    assert usage == Usage(input_tokens=10, output_tokens=105, reasoning_tokens=100, cache_read_tokens=4)


def test_a_provider_without_words_of_its_own_is_read_in_the_common_ones() -> None:
    reading = read_usage(OPENAI_CHAT, provider="together")
    assert reading.provider == "together"
    assert reading.usage == read_usage(OPENAI_CHAT).usage


def test_embeddings_have_no_output() -> None:
    reading = read_usage({"model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8}})
    assert reading == Reading(
        usage=Usage(input_tokens=8), model="text-embedding-3-small", provider="openai", api_flavor="embeddings"
    )


@pytest.mark.parametrize(
    ("payload", "provider"),
    [
        ({"model": "gpt-oss-120b", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, None),
        ({"model": "claude-x", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, None),
        ({"model": "a/b", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "is_byok": True}}, "openrouter"),
    ],
)
def test_a_provider_is_named_only_where_the_response_can_come_from_no_other(
    payload: dict[str, Any], provider: str | None
) -> None:
    assert read_usage(payload).provider == provider


def test_an_address_names_the_provider() -> None:
    assert read_usage(OPENAI_CHAT, provider="https://api.groq.com/openai/v1").provider == "groq"


def test_the_fast_speed_is_a_tier() -> None:
    payload = {"usage": {"input_tokens": 1, "output_tokens": 1, "speed": "fast", "service_tier": "standard"}}
    assert read_usage(payload, provider="anthropic").service_tier == "fast"


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (None, "usage must be a mapping or a pydantic object; got None"),
        ([1], "usage must be a mapping or a pydantic object; got [1]"),
        ({}, "no usage in the response"),
        ({"usage": None, "model": "m"}, "its keys are 'usage', 'model'"),
        ({"usage": {}}, "none of its keys is known"),
        ({"completion_tokens": 2}, "prompt_tokens missing beside completion_tokens"),
        ({"prompt_tokens": 5, "completion_tokens": None}, "completion_tokens missing"),
        ({"prompt_tokens": -1, "completion_tokens": 2}, "prompt_tokens must be a whole number, 0 or more; got -1"),
        ({"prompt_tokens": True, "completion_tokens": 2}, "prompt_tokens must be a whole number, 0 or more; got True"),
        ({"prompt_tokens": "12", "completion_tokens": 2}, "got '12'"),
        ({"prompt_tokens": float("nan"), "completion_tokens": 2}, "got nan"),
        ({"prompt_tokens": float("inf"), "completion_tokens": 2}, "got inf"),
        ({"prompt_tokens": 1.5, "completion_tokens": 2}, "got 1.5"),
        (
            {"prompt_tokens": 2, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": "x"}},
            "prompt_tokens_details.cached_tokens must be a whole number, 0 or more; got 'x'",
        ),
        (
            {"prompt_tokens": 2, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}},
            "cache_read_tokens 5 cannot be more than input_tokens 2",
        ),
        (
            {"prompt_tokens": 2, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 5}},
            "reasoning_tokens 5 cannot be more than output_tokens 2",
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "input_token_details": {"cache_read": -3}},
            "input_token_details.cache_read must be a whole number, 0 or more; got -3",
        ),
        ({"input_tokens": 1, "output_tokens": None, "total_tokens": 2}, "output_tokens"),
        ({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": "2"}, "total_tokens must be"),
    ],
)
def test_malformed_usage_is_refused_by_key_and_value(payload: object, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        read_usage(payload)


def test_a_long_value_is_not_shown_in_full() -> None:
    with pytest.raises(ValueError, match="prompt_tokens") as error:
        read_usage({"prompt_tokens": "9" * 5000, "completion_tokens": 1})
    assert len(str(error.value)) < 200


def test_an_unknown_dialect_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"known: .*chat.*standard"):
        read_usage(OPENAI_CHAT, provider="openai", api_flavor="chatty")
    with pytest.raises(ValueError, match="cannot be read as 'responses'"):
        read_usage(OPENAI_CHAT, provider="openai", api_flavor="responses")


def test_a_whole_number_that_is_written_with_a_point_is_whole() -> None:
    assert read_usage({"prompt_tokens": 12.0, "completion_tokens": Decimal(3)}).usage == Usage(
        input_tokens=12, output_tokens=3
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("usage", "usageMetadata", "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens"),
        *("output_tokens", "prompt_tokens_details", "input_token_details", "cache_read", "cached_tokens"),
        *("promptTokenCount", "candidatesTokenCount", "cacheTokensDetails", "inputTokens", "outputTokens"),
        *("billed_units", "tokens", "model", "service_tier", "response", "cache_creation"),
    ]
)


@given(payload=st.recursive(JSON, lambda inner: st.dictionaries(KEYS, inner, max_size=5), max_leaves=20))
def test_whatever_comes_is_read_or_refused_with_a_value_error(payload: object) -> None:
    try:
        usage = read_usage(payload).usage
    except ValueError:
        return
    assert usage.cache_read_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens


@given(fresh=st.integers(0, 10**7), read=st.integers(0, 10**7), write=st.integers(0, 10**7), out=st.integers(0, 10**7))
def test_anthropics_own_words_and_the_shared_ones_mean_the_same(fresh: int, read: int, write: int, out: int) -> None:
    own = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write,
        "output_tokens": out,
    }
    shared = {
        "input_tokens": fresh + read + write,
        "output_tokens": out,
        "total_tokens": fresh + read + write + out,
        "input_token_details": {"cache_read": read, "cache_creation": write},
    }
    assert read_usage(own, provider="anthropic").usage == read_usage(shared, provider="anthropic").usage


def test_the_example_in_the_documentation_holds() -> None:
    result = doctest.testmod(reading_module)
    assert (result.failed, result.attempted > 0) == (0, True)
