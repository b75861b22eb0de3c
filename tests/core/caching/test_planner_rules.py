from datetime import date

import pytest
from thrift_core.caching.planner import PromptCachePlanner
from thrift_core.caching.provider_rules import RULES, CacheRules, rules_for
from thrift_core.errors import ConfigurationError


def _rules(provider: str, model: str) -> CacheRules:
    rules = rules_for(provider, model)
    assert rules is not None
    return rules


@pytest.mark.parametrize(
    ("provider", "model", "min_tokens"),
    [
        ("anthropic", "claude-opus-5", 512),
        ("anthropic", "claude-fable-5-1", 512),
        ("anthropic", "claude-sonnet-5", 1024),
        ("anthropic", "claude-opus-4-8", 1024),
        ("anthropic", "claude-sonnet-4-5-20250929", 1024),
        ("anthropic", "claude-sonnet-4-6", 2048),
        ("anthropic", "claude-haiku-4-5-20251001", 4096),
        ("anthropic", "claude-opus-4-6", 4096),
        ("anthropic", "claude-3-5-haiku-20241022", 2048),
        ("anthropic", "claude-3-5-sonnet-20241022", 1024),
        ("bedrock_converse", "us.anthropic.claude-haiku-4-5-20251001-v1:0", 4096),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", 1024),
        ("aws", "amazon.nova-pro-v1:0", 1000),
        ("openai", "gpt-4.1", 1024),
        ("openai", "gpt-5.6-mini", 1024),
        ("gemini", "gemini-2.5-flash", 2048),
        ("google_vertexai", "gemini-3.5-flash", 4096),
    ],
)
def test_each_model_has_its_smallest_cacheable_prefix(provider: str, model: str, min_tokens: int) -> None:
    assert _rules(provider, model).min_tokens == min_tokens


@pytest.mark.parametrize(
    ("model", "style"),
    [
        ("gpt-4o", "automatic"),
        ("gpt-5", "automatic"),
        ("gpt-5.5", "automatic"),
        ("gpt-5.6", "managed"),
        ("gpt-6", "managed"),
    ],
)
def test_openai_takes_breakpoints_from_gpt_5_6_on(model: str, style: str) -> None:
    assert _rules("openai", model).style == style


def test_claude_on_bedrock_had_no_hour_before_4_5() -> None:
    old = _rules("aws", "anthropic.claude-3-7-sonnet-20250219-v1:0")
    new = _rules("aws", "anthropic.claude-sonnet-4-5-20250929-v1:0")
    assert [lifetime.name for lifetime in old.lifetimes] == ["5m"]
    assert [lifetime.name for lifetime in new.lifetimes] == ["5m", "1h"]


def test_claude_on_vertex_follows_anthropics_rules() -> None:
    assert _rules("google", "claude-sonnet-5@20260101").provider == "anthropic"


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: f"{rules.provider}:{rules.models or 'default'}")
def test_every_row_says_where_and_when_it_was_read(rules: CacheRules) -> None:
    assert "." in rules.source
    assert date(2026, 1, 1) < rules.checked
    assert [lifetime.seconds for lifetime in rules.lifetimes] == sorted(
        lifetime.seconds for lifetime in rules.lifetimes
    )
    assert 0 < rules.read_multiplier < 1
    assert (rules.style == "automatic") == (rules.max_breakpoints == 0) == (not rules.marks)


def test_an_unknown_provider_has_no_rules() -> None:
    assert rules_for("a-local-server", "llama") is None
    assert rules_for(None, "claude-sonnet-5") is None


def test_a_provider_without_rules_is_refused_at_construction() -> None:
    with pytest.raises(ConfigurationError, match=r"'cohere'.*anthropic"):
        PromptCachePlanner("cohere")
    with pytest.raises(ConfigurationError, match="max_conversations"):
        PromptCachePlanner(max_conversations=0)
