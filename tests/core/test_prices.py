"""What calls cost: the bundled list, a user's own prices, LiteLLM's map; and never 0 for what nobody knows."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Usage as ReportedUsage
from hypothesis import given
from hypothesis import strategies as st
from thrift_core import prices
from thrift_core.accounting.usage import Usage
from thrift_core.errors import ConfigurationError
from thrift_core.prices import Price, PriceBook, Pricing, Unpriced
from thrift_core.providers import maker_of, provider_id

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
MODELS = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]


def priced(book: PriceBook, usage: Usage, model: str, provider: str | None = None, **asked: object) -> Price:
    price = book.price(usage, model, provider, **asked)  # type: ignore[arg-type]
    assert isinstance(price, Price), price
    return price


def unpriced(book: PriceBook, model: str | None, provider: str | None = None, **asked: object) -> str:
    price = book.price(MILLION, model, provider, **asked)  # type: ignore[arg-type]
    assert isinstance(price, Unpriced), price
    return price.reason


def test_cached_tokens_cost_the_cache_price_and_the_rest_the_input_price() -> None:
    usage = Usage(input_tokens=1200, cache_read_tokens=1024, output_tokens=300)
    price = priced(PriceBook(), usage, "gpt-4o", "openai", at=AT)
    assert (price.input_usd, price.output_usd) == (Decimal("0.00172"), Decimal("0.003"))
    assert price.cost_usd == Decimal("0.00472")
    assert price.source.startswith("genai-prices ")


def test_cache_writes_cost_by_their_lifetime() -> None:
    usage = Usage(
        input_tokens=6020,
        cache_read_tokens=5000,
        cache_write_tokens=1000,
        cache_write_1h_tokens=600,
        output_tokens=250,
    )
    price = priced(PriceBook(), usage, "claude-sonnet-4-5", "anthropic", at=AT)
    assert (price.input_usd, price.output_usd) == (Decimal("0.00666"), Decimal("0.00375"))


def test_a_paid_tool_is_in_the_cost_but_neither_in_input_nor_in_output() -> None:
    usage = Usage(input_tokens=1000, output_tokens=100, other={"web_searches": 2})
    price = priced(PriceBook(), usage, "claude-sonnet-4-5", "anthropic", at=AT)
    assert price.cost_usd - price.input_usd - price.output_usd == Decimal("0.02")


def test_audio_costs_its_own_price() -> None:
    usage = Usage(input_tokens=1000, input_audio_tokens=400, output_tokens=0)
    price = priced(PriceBook(), usage, "gemini-2.5-flash", "google", at=AT)
    assert price.input_usd == Decimal("0.3") * 600 / 1_000_000 + Decimal("1") * 400 / 1_000_000


def test_a_long_prompt_costs_the_long_price_for_all_its_tokens() -> None:
    short = priced(PriceBook(), Usage(input_tokens=200_000), "claude-sonnet-4-5", "anthropic", at=AT)
    long = priced(PriceBook(), Usage(input_tokens=200_001), "claude-sonnet-4-5", "anthropic", at=AT)
    assert (short.input_usd, long.input_usd) == (Decimal("0.6"), Decimal("1.200006"))


def test_a_batch_costs_half_whether_asked_for_or_reported() -> None:
    book = PriceBook()
    full = priced(book, MILLION, "claude-haiku-4-5", "anthropic", at=AT)
    asked = priced(book, MILLION, "claude-haiku-4-5", "anthropic", at=AT, is_batch=True)
    reported = priced(book, MILLION, "claude-haiku-4-5", "anthropic", at=AT, service_tier="batch")
    assert asked.cost_usd * 2 == full.cost_usd
    assert asked == reported


@pytest.mark.parametrize("tier", [None, "", "default", "auto", "standard", "ON_DEMAND", "on-demand"])
def test_the_standard_tier_has_many_names_and_one_price(tier: str | None) -> None:
    standard = priced(PriceBook(), MILLION, "gpt-5-mini", "openai", at=AT)
    assert priced(PriceBook(), MILLION, "gpt-5-mini", "openai", at=AT, service_tier=tier) == standard


def test_tiers_have_prices_of_their_own() -> None:
    book = PriceBook()
    assert priced(book, MILLION, "gpt-5-mini", "openai", at=AT, service_tier="flex").cost_usd == Decimal("1.125")
    assert priced(book, MILLION, "gpt-5-mini", "openai", at=AT, service_tier="priority").cost_usd == Decimal("4.05")
    fast = priced(book, MILLION, "claude-fable-5-2", "anthropic", at=AT, service_tier="fast")
    assert fast.cost_usd == Decimal(96)
    after_new_year = datetime(2027, 2, 1, tzinfo=UTC)
    flex = priced(book, MILLION, "gemini-3.8-flash-tts", "google", at=after_new_year, service_tier="ON_DEMAND_FLEX")
    assert flex.cost_usd == Decimal("9.5")


def test_a_tier_or_batch_that_the_list_has_no_price_for_is_unpriced_and_not_the_standard_price() -> None:
    book = PriceBook()
    assert "'scale' tier" in unpriced(book, "gpt-5-mini", "openai", at=AT, service_tier="scale")
    assert "no batch price" in unpriced(book, "gpt-4o", "azure", at=AT, is_batch=True)
    assert "2025-01-01" in unpriced(book, "gpt-4o", "openai", at=datetime(2025, 1, 1, tzinfo=UTC), is_batch=True)


def test_groq_bills_flex_at_the_list_price() -> None:
    book = PriceBook()
    model = "llama-3.3-70b-versatile"
    assert book.price(MILLION, model, "groq", at=AT, service_tier="flex") == book.price(MILLION, model, "groq", at=AT)


def test_a_price_is_the_one_in_force_at_the_time() -> None:
    book = PriceBook()
    before = priced(book, MILLION, "grok-4.20", "xai", at=datetime(2026, 4, 29, 23, 59, tzinfo=UTC))
    after = priced(book, MILLION, "grok-4.20", "xai", at=datetime(2026, 4, 30, tzinfo=UTC))
    assert before.cost_usd > after.cost_usd
    naive = priced(book, MILLION, "grok-4.20", "xai", at=datetime(2026, 4, 30))
    assert naive == after


@pytest.mark.parametrize(
    ("model", "provider", "why"),
    [
        ("no-such-model", None, "no provider is known"),
        ("no-such-model", "openai", "no price for model"),
        ("gpt-4o", "ollama", "no provider 'ollama'"),
        ("gpt-4o", "OpenAILike", "no provider 'openailike'"),
        ("gpt-oss-120b", None, "no provider is known"),
        ("", "openai", "names no model"),
        (None, "openai", "names no model"),
    ],
)
def test_what_nobody_knows_is_unpriced_and_says_why(model: str | None, provider: str | None, why: str) -> None:
    assert why in unpriced(PriceBook(), model, provider)


def test_a_model_without_any_price_in_the_list_is_unpriced_unless_it_is_given_away() -> None:
    book = PriceBook()
    assert "has no price for it" in unpriced(book, "google/lyria-3-pro-preview", "openrouter")
    assert priced(book, MILLION, "openai/gpt-oss-20b:free", "openrouter").cost_usd == 0


def test_a_known_address_goes_before_the_name_and_an_unknown_one_does_not() -> None:
    book = PriceBook()
    openrouter = "https://openrouter.ai/api/v1"
    assert "of openrouter" in unpriced(book, "gpt-4o", "openai", api_url=openrouter)
    local = priced(book, MILLION, "gpt-4o", "openai", api_url="http://127.0.0.1:8000/v1")
    assert local == priced(book, MILLION, "gpt-4o", "openai")


def test_a_usage_that_does_not_add_up_is_unpriced() -> None:
    odd = Usage(input_tokens=1, cache_read_tokens=5)
    price = PriceBook().price(odd, "gpt-4o", "openai")
    assert isinstance(price, Unpriced)
    assert "cache_read_tokens" in price.reason


@given(st.data())
def test_our_arithmetic_gives_what_the_price_list_itself_gives(data: st.DataObject) -> None:
    provider, model = data.draw(st.sampled_from(MODELS))
    counts = st.integers(0, 400_000)
    read, write, fresh, plain, reasoning = (data.draw(counts) for _ in range(5))
    hour = data.draw(st.integers(0, write))
    usage = Usage(
        input_tokens=read + write + fresh,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=hour,
        output_tokens=plain + reasoning,
        reasoning_tokens=reasoning,
    )
    reported = ReportedUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_5m_tokens=write - hour,
        cache_write_1h_tokens=hour,
        output_reasoning_tokens=reasoning,
    )
    own = PriceBook().price(usage, model, provider, at=AT)
    try:
        listed = calc_price(reported, model, provider_id=provider, genai_request_timestamp=AT)
    except LookupError:
        assert isinstance(own, Unpriced)
        return
    if isinstance(own, Unpriced):
        assert "no price for it" in own.reason
        assert listed.total_price == 0
    else:
        assert (own.input_usd, own.output_usd) == (listed.input_price, listed.output_price)
        assert own.cost_usd == listed.total_price


@given(
    usage=st.builds(
        Usage,
        input_tokens=st.integers(0, 10**9),
        output_tokens=st.integers(0, 10**9),
        cache_read_tokens=st.integers(0, 10**9),
        cache_write_tokens=st.integers(0, 10**9),
        cache_write_1h_tokens=st.integers(0, 10**9),
        reasoning_tokens=st.integers(0, 10**9),
        input_audio_tokens=st.integers(0, 10**9),
        output_audio_tokens=st.integers(0, 10**9),
        other=st.dictionaries(st.sampled_from(["web_searches", "cache_audio_read_tokens", "made_up"]), st.integers(0)),
    ),
    model=st.sampled_from(["gpt-4o", "gemini-2.5-flash", "claude-sonnet-4-5", "whisper-large-v3", "\x00", "a/b:c"]),
    provider=st.sampled_from([None, "openai", "google", "groq", "anthropic", "no one", "://"]),
    tier=st.text(max_size=8),
)
def test_no_usage_model_or_tier_makes_pricing_raise(usage: Usage, model: str, provider: str | None, tier: str) -> None:
    price = PriceBook().price(usage, model, provider, service_tier=tier)
    assert isinstance(price, Unpriced) or price.cost_usd >= 0


def test_pricing_says_what_tokens_cost_and_what_is_not_listed_costs_what_contains_it() -> None:
    book = PriceBook()
    listed = book.pricing("claude-sonnet-4-5", "anthropic", at=AT)
    assert isinstance(listed, Pricing)
    assert (listed.input, listed.cache_read, listed.cache_write_5m, listed.cache_write_1h, listed.output) == (
        Decimal(3),
        Decimal("0.3"),
        Decimal("3.75"),
        Decimal(6),
        Decimal(15),
    )
    assert listed.reasoning == listed.output
    assert listed.has_cache_discount
    plain = PriceBook({"plain": {"input": 2, "output": 8}}).pricing("plain")
    assert isinstance(plain, Pricing)
    assert {plain.input, plain.cache_read, plain.cache_write_5m, plain.cache_write_1h} == {Decimal(2)}
    assert not plain.has_cache_discount


def test_pricing_is_that_of_the_size_of_the_request() -> None:
    book = PriceBook()
    long = book.pricing("claude-sonnet-4-5", "anthropic", at=AT, input_tokens=200_001)
    assert isinstance(long, Pricing)
    assert (long.input, long.output) == (Decimal(6), Decimal("22.5"))


def test_pricing_and_price_agree_on_text() -> None:
    usage = Usage(input_tokens=5000, cache_read_tokens=3000, cache_write_tokens=700, output_tokens=90)
    pricing = PriceBook().pricing("claude-sonnet-4-5", "anthropic", at=AT)
    assert isinstance(pricing, Pricing)
    assert pricing.cost(usage) == priced(PriceBook(), usage, "claude-sonnet-4-5", "anthropic", at=AT).cost_usd


def test_pricing_of_the_unknown_and_of_what_is_not_billed_by_the_token_is_unpriced() -> None:
    assert isinstance(PriceBook().pricing("no-such-model", "openai"), Unpriced)
    assert isinstance(PriceBook().pricing("whisper-large-v3", "groq"), Unpriced)


TOML = """
["my-*"]
provider = "groq"
input = "0.10"
output = 0.3
cache_read = 0.01
per_call = 0.001
[ "my-*".above.1000 ]
input = 0.2
[ "my-*".batch ]
input = 0.05
[ "my-*".tiers.flex ]
output = 0.15

["gpt-4o*"]
input = 1
output = 2
"""


def test_a_users_prices_go_before_the_list(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(TOML)
    book = PriceBook(file)
    assert priced(book, MILLION, "GPT-4o-mini", "openai").cost_usd == Decimal(3)
    small = Usage(input_tokens=1000, cache_read_tokens=500, output_tokens=100)
    price = priced(book, small, "my-model", "ChatGroq")
    assert price.cost_usd == Decimal("0.000085") + Decimal("0.001")
    assert price.source == "override prices.toml"
    assert isinstance(book.price(small, "my-model", "openai"), Unpriced)


def test_a_users_prices_have_sizes_tiers_and_batches(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(TOML)
    book = PriceBook(str(file))
    long = Usage(input_tokens=1001)
    call = Decimal("0.001")
    assert priced(book, long, "my-m", "groq").cost_usd == Decimal("0.0002002") + call
    assert priced(book, Usage(input_tokens=1000), "my-m", "groq", is_batch=True).cost_usd == Decimal("0.00005") + call
    flex = priced(book, Usage(output_tokens=1000), "my-m", "groq", service_tier="flex")
    assert flex.cost_usd == Decimal("0.00015") + call
    assert isinstance(book.price(long, "my-m", "groq", service_tier="priority"), Unpriced)
    assert isinstance(book.price(long, "gpt-4o", is_batch=True), Unpriced)


def test_json_and_a_mapping_say_the_same_as_toml(tmp_path: Path) -> None:
    content = {"x*": {"input": 0.1, "output": "0.7", "input_audio": 3, "cache_read": 0.05}}
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(content))
    usage = Usage(input_tokens=1000, input_audio_tokens=300, cache_read_tokens=200, output_tokens=10)
    expected = (500 * Decimal("0.1") + 300 * 3 + 200 * Decimal("0.05") + 10 * Decimal("0.7")) / 1_000_000
    assert priced(PriceBook(file), usage, "x1").cost_usd == expected
    assert priced(PriceBook(content), usage, "x1").cost_usd == expected


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"input": 1}, "has no 'output' price; state one, 0 if output is free"),
        ({"input": -1, "output": 1}, "'m.input' is -1; a price is a number of dollars, 0 or more"),
        ({"input": "a", "output": 1}, "'m.input' is 'a'"),
        ({"input": True, "output": 1}, "'m.input' is True"),
        ({"input": "NaN", "output": 1}, "'m.input' is 'NaN'"),
        ({"input": 1, "output": 1, "cache_reed": 1}, "unknown key 'cache_reed'; did you mean 'cache_read'?"),
        ({"input": 1, "output": 1, "provider": 3}, "'m.provider' is 3"),
        ({"input": 1, "output": 1, "above": {"many": {"input": 2}}}, "a number of tokens is due"),
        ({"input": 1, "output": 1, "above": {"5": {"reasoning": 2}}}, "no price below that size"),
        ({"input": 1, "output": 1, "batch": 3}, "'m.batch' is 3; a table is due"),
        (7, "'m' is 7; a table is due"),
    ],
)
def test_a_wrong_override_is_refused_at_once_and_says_which_key(entry: object, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        PriceBook({"m": entry})
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("prices.yaml", "a: 1", "ends in '.yaml'; a price file ends in .toml or .json"),
        ("prices.toml", "= 1", "is broken"),
        ("prices.json", "{", "is broken"),
        ("prices.json", "[]", "holds a list; one object with models as keys is due"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(tmp_path: Path, name: str, content: str, told: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(ConfigurationError) as error:
        PriceBook(file)
    assert told in str(error.value)
    assert str(file) in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        PriceBook(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        PriceBook(litellm=tmp_path / "none.json")


@pytest.fixture
def litellm(tmp_path: Path) -> Path:
    file = tmp_path / "model_prices_and_context_window.json"
    file.write_text(
        """{
        "sample_spec": {"litellm_provider": "one of many", "input_cost_per_token": 0.0},
        "acme/wonder": {
            "litellm_provider": "acme", "mode": "chat",
            "input_cost_per_token": 2e-06, "output_cost_per_token": 1.1e-05,
            "input_cost_per_token_above_200k_tokens": 4e-06,
            "cache_read_input_token_cost": 2e-07,
            "cache_creation_input_token_cost": 2.5e-06,
            "cache_creation_input_token_cost_above_1hr": 4e-06,
            "input_cost_per_audio_token": 1e-05,
            "input_cost_per_token_batches": 1e-06, "output_cost_per_token_batches": 5.5e-06,
            "input_cost_per_token_flex": 1.5e-06,
            "output_cost_per_token_priority": 2e-05,
            "supports_vision": true
        },
        "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 1, "output_cost_per_token": 1},
        "drawer": {"litellm_provider": "acme", "output_cost_per_image": 0.04}
        }"""
    )
    return file


def test_litellms_map_is_asked_for_what_the_list_does_not_know(litellm: Path) -> None:
    book = PriceBook(litellm=litellm)
    price = priced(book, MILLION, "wonder", "acme")
    assert price.cost_usd == Decimal(4) + Decimal(11)
    assert price.source == "litellm model_prices_and_context_window.json"
    assert priced(book, MILLION, "acme/wonder") == price
    assert priced(book, Usage(input_tokens=1), "gpt-4o", "openai").source.startswith("genai-prices")


def test_litellms_map_prices_caches_audio_sizes_and_tiers(litellm: Path) -> None:
    book = PriceBook(litellm=litellm)
    usage = Usage(
        input_tokens=1000,
        cache_read_tokens=300,
        cache_write_tokens=200,
        cache_write_1h_tokens=100,
        input_audio_tokens=50,
    )
    dollars = 450 * 2 + 300 * Decimal("0.2") + 100 * Decimal("2.5") + 100 * 4 + 50 * 10
    assert priced(book, usage, "wonder", "acme").cost_usd == dollars / 1_000_000
    thousand = Usage(input_tokens=1000, output_tokens=1000)
    assert priced(book, thousand, "wonder", "acme", is_batch=True).cost_usd == Decimal("0.0065")
    assert priced(book, thousand, "wonder", "acme", service_tier="flex").cost_usd == Decimal("0.0125")
    assert priced(book, thousand, "wonder", "acme", service_tier="priority").cost_usd == Decimal("0.022")
    assert isinstance(book.price(thousand, "wonder", "acme", service_tier="scale"), Unpriced)


def test_litellms_map_has_no_price_by_the_token_for_an_image_model(litellm: Path) -> None:
    assert isinstance(PriceBook(litellm=litellm).price(MILLION, "drawer", "acme"), Unpriced)


def test_a_file_that_is_not_litellms_map_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"a": 1}')
    with pytest.raises(ConfigurationError, match="litellm_provider"):
        PriceBook(litellm=file)


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("google_genai", "google"),
        ("google_vertexai", "google"),
        ("GenAI", "google"),
        ("amazon_bedrock", "aws"),
        ("Bedrock_Converse_LLM", "aws"),
        ("azure", "azure"),
        ("azure_openai_llm", "azure"),
        ("xai", "x-ai"),
        ("mistralai", "mistral"),
        ("MistralAI_LLM", "mistral"),
        ("fireworks", "fireworks"),
        ("Anthropic_LLM", "anthropic"),
        ("openai_llm", "openai"),
        ("openai_responses_llm", "openai"),
        ("ChatGroq", "groq"),
        ("OpenRouter_LLM", "openrouter"),
        ("TogetherLLM", "together"),
        ("https://api.deepseek.com/v1", "deepseek"),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com", "aws"),
        ("https://bedrock-mantle.eu-west-1.api.aws/v1", "aws"),
        ("https://bedrock-mantle.eu-west-1.api.aws.example/v1", None),
        ("http://localhost:8000/v1", None),
        ("OpenAILike", "openailike"),
        ("ollama", "ollama"),
        ("  ", None),
        (None, None),
    ],
)
def test_every_spelling_of_a_provider_means_one(name: str | None, provider: str | None) -> None:
    assert provider_id(name) == provider


@pytest.mark.parametrize(
    ("model", "maker"),
    [
        ("gpt-4o", "openai"),
        ("text-embedding-3-small", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("gemini-2.5-flash", "google"),
        ("gpt-oss-120b", None),
        ("google/gemini-2.0-flash-exp:free", None),
        ("nobody", None),
    ],
)
def test_a_models_name_points_to_its_maker_only_if_to_nobody_else(model: str, maker: str | None) -> None:
    assert maker_of(model) == maker


def test_importing_prices_loads_no_price_list() -> None:
    code = "import sys, thrift_core.prices, thrift_core.tokens; print(*map(sys.modules.get, sys.argv[1:]))"
    command = [sys.executable, "-c", code, "genai_prices", "tiktoken"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["None", "None"]


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(prices).failed == 0
    assert doctest.testmod(prices).attempted > 0
