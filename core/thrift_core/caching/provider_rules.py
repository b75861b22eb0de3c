"""How each provider's prompt cache works: one table, with a source and a date per row.

Nothing here is a price: prices come from the price book. The multipliers stand in only where no price is known.
Where sources disagree the row takes the careful side (the larger minimum, the shorter life), so that a marker is never
placed where the provider would silently ignore it; `unverified` says what could not be confirmed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from thrift_core.errors import ConfigurationError
from thrift_core.providers import provider_id

Style = Literal["explicit", "managed", "automatic"]
Level = Literal["tools", "system", "messages"]
LifetimeName = Literal["5m", "1h"]
MarkPlace = Literal["tools", "system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a written prefix lives without use.

    Attributes:
        name: what a `CacheBreakpoint` calls it; providers with one lifetime call it `5m`, whatever its length.
        seconds: how long it lives after its last use.
        write_multiplier: what writing costs, as a multiple of the uncached input price.
    """

    name: LifetimeName
    seconds: int
    write_multiplier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRules:
    """The rules of one provider's prompt cache for a family of models.

    Attributes:
        provider: the provider's id as genai-prices spells it.
        models: a regular expression searched in the model's name in lower case.
        style: `explicit` caches only up to markers; `managed` places one marker itself, at the newest user or tool
            message, unless asked not to, and takes explicit ones beside it; `automatic` takes no markers.
        min_tokens: a prefix shorter than this is silently not cached.
        step_tokens: cached lengths are rounded down to a multiple of this.
        max_breakpoints: how many markers a request may carry.
        lookback_blocks: how many blocks, the marked one included, are searched backwards from a marker for an entry.
            None: only what `lookback_breakpoints` says.
        lookback_breakpoints: how many of the latest breakpoints of a conversation are matched.
        lifetimes: shortest first.
        read_multiplier: what reading costs, as a multiple of the uncached input price.
        marks: where a marker may stand.
        unmarkable_blocks: kinds of opaque block that may not carry a marker.
        hoists_system: system messages are rendered before all others wherever they stand in the list.
        max_cached_tokens: what lies beyond is not cached; None: no limit.
        voided_by: request parameters whose change voids the cache, from the named level of the prefix on.
        images_void_messages: adding the first or removing the last image voids the cached messages.
        source: where the row was read.
        checked: when it was read.
        unverified: what in the row is assumed.
    """

    provider: str
    models: str
    style: Style
    min_tokens: int
    lifetimes: tuple[Lifetime, ...]
    read_multiplier: float
    source: str
    checked: date
    step_tokens: int = 1
    max_breakpoints: int = 0
    lookback_blocks: int | None = None
    lookback_breakpoints: int | None = None
    marks: frozenset[MarkPlace] = frozenset()
    unmarkable_blocks: frozenset[str] = frozenset()
    hoists_system: bool = False
    max_cached_tokens: int | None = None
    voided_by: Mapping[str, Level] = field(default_factory=dict[str, Level])
    images_void_messages: bool = False
    unverified: tuple[str, ...] = ()

    @property
    def shortest(self) -> Lifetime:
        """The default lifetime of a marker."""
        return self.lifetimes[0]

    @property
    def longest(self) -> Lifetime:
        """The longest lifetime that a marker can ask for."""
        return self.lifetimes[-1]

    def lifetime(self, name: LifetimeName) -> Lifetime:
        """Return the lifetime of that name, or the shortest where the provider has no such choice."""
        return next((lifetime for lifetime in self.lifetimes if lifetime.name == name), self.shortest)


_EVERYWHERE: frozenset[MarkPlace] = frozenset({"tools", "system", "user", "assistant", "tool"})
_NOT_TOOLS: frozenset[MarkPlace] = _EVERYWHERE - {"tools"}
_INPUT_MESSAGES: frozenset[MarkPlace] = frozenset({"system", "user", "tool"})
_THINKING = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})
_FIVE_MINUTES = Lifetime("5m", 300, 1.25)
_ONE_HOUR = Lifetime("1h", 3600, 2.0)
_CLAUDE_VOIDED_BY: Mapping[str, Level] = {"tool_choice": "messages", "thinking": "messages"}
_BILLING_ASSUMED = (
    "an entry for an hour can extend a prefix that was read from an entry for 5 minutes, at the price of the new part "
    "(the documented billing formula says so, no measurement was found)",
    "a marker on a prefix that is already cached refreshes it and costs nothing",
)


def _claude(models: str, min_tokens: int, source: str, checked: date, *unverified: str) -> CacheRules:
    return CacheRules(
        provider="anthropic",
        models=models,
        style="explicit",
        min_tokens=min_tokens,
        max_breakpoints=4,
        lookback_blocks=20,
        lifetimes=(_FIVE_MINUTES, _ONE_HOUR),
        read_multiplier=0.1,
        marks=_EVERYWHERE,
        unmarkable_blocks=_THINKING,
        hoists_system=True,
        voided_by=_CLAUDE_VOIDED_BY,
        images_void_messages=True,
        source=source,
        checked=checked,
        unverified=(*_BILLING_ASSUMED, *unverified),
    )


def _bedrock_claude(
    models: str, min_tokens: int, lifetimes: tuple[Lifetime, ...], source: str, checked: date, *unverified: str
) -> CacheRules:
    return CacheRules(
        provider="aws",
        models=models,
        style="explicit",
        min_tokens=min_tokens,
        max_breakpoints=4,
        lookback_blocks=20,
        lifetimes=lifetimes,
        read_multiplier=0.1,
        marks=_EVERYWHERE,
        unmarkable_blocks=_THINKING,
        hoists_system=True,
        voided_by=_CLAUDE_VOIDED_BY,
        images_void_messages=True,
        source=source,
        checked=checked,
        unverified=(
            *_BILLING_ASSUMED,
            "a look-back of exactly 20 blocks (Bedrock's page says about 20)",
            "what voids the cache is taken over from Anthropic's own API",
            *unverified,
        ),
    )


def _gemini(models: str, min_tokens: int, *unverified: str) -> CacheRules:
    return CacheRules(
        provider="google",
        models=models,
        style="automatic",
        min_tokens=min_tokens,
        lifetimes=(Lifetime("5m", 300, 1.0),),
        read_multiplier=0.1,
        hoists_system=True,
        source="ai.google.dev/gemini-api/docs/caching (page of 2026-07-07 and later)",
        checked=date(2026, 11, 20),
        unverified=(
            "the life of an implicit entry (not published; 5 minutes are assumed)",
            "the step of cached lengths (not published; exact lengths are assumed)",
            "that a hit is certain (the provider does not promise it)",
            *unverified,
        ),
    )


def _openai(provider: str) -> tuple[CacheRules, ...]:
    guide = "developers.openai.com/api/docs/guides/prompt-caching"
    managed = CacheRules(
        provider=provider,
        models=r"gpt-5\.[6-9]|gpt-([6-9]|\d\d)",
        style="managed",
        min_tokens=1024,
        max_breakpoints=4,
        lookback_breakpoints=80,
        lifetimes=(Lifetime("5m", 1800, 1.25),),
        read_multiplier=0.1,
        marks=_INPUT_MESSAGES,
        voided_by={"response_format": "tools"},
        source=f"{guide}; API reference of PromptCacheOptionsParam, as in async-openai 0.42 and langchain4j 1.21",
        checked=date(2026, 11, 20),
        unverified=(
            "80 breakpoints are matched (the API reference; another source says 50)",
            "30 minutes are a minimum: entries may live longer",
            "without explicit mode every earlier user and tool message end counts as a breakpoint to be matched",
            "with explicit mode only breakpoints that the request carries are matched",
        ),
    )
    automatic = CacheRules(
        provider=provider,
        models=r"",
        style="automatic",
        min_tokens=1024,
        step_tokens=128,
        lifetimes=(Lifetime("5m", 300, 1.0),),
        read_multiplier=0.5,
        voided_by={"response_format": "tools"},
        source=guide,
        checked=date(2026, 11, 20),
        unverified=("an idle life of 5 minutes (the guide says 5 to 10, at most an hour; the worst case is taken)",),
    )
    return managed, automatic


_LITELLM = "docs.litellm.ai/docs/completion/prompt_caching (2026-10-07)"
_ANTHROPIC = "platform.claude.com/docs/en/build-with-claude/prompt-caching"
_AWS = "docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"
_PORTKEY = "portkey.ai/docs/integrations/llms/bedrock/prompt-caching"
_BEDROCK_LIFETIMES = (_FIVE_MINUTES, _ONE_HOUR)

# Of a provider's rows the first whose pattern is found in the model's name applies, so the last one is its default.
RULES: tuple[CacheRules, ...] = (
    _claude(r"(opus|fable|mythos)-5", 512, f"{_ANTHROPIC}; {_LITELLM}", date(2026, 11, 20)),
    _claude(r"haiku-4[-.]5|opus-4[-.][56]", 4096, f"{_ANTHROPIC}; {_LITELLM}", date(2026, 11, 20)),
    _claude(r"opus-4[-.]7", 4096, _LITELLM, date(2026, 11, 20), "4,096 (Bedrock's figure) or 2,048 by source"),
    _claude(
        r"sonnet-4[-.]6",
        2048,
        f"{_LITELLM}; github.com/anthropics/anthropic-sdk-python/issues/1194",
        date(2026, 11, 20),
        "1,024 as documented, 2,048 as measured in the issue",
    ),
    _claude(r"haiku-3|3-5-haiku|3-haiku", 2048, f"{_ANTHROPIC}, as quoted in issue 1194", date(2026, 11, 20)),
    _claude(r"", 1024, f"{_ANTHROPIC}; {_LITELLM}", date(2026, 11, 20)),
    *_openai("openai"),
    *_openai("azure"),
    _gemini(r"gemini-2\.", 2048),
    _gemini(r"", 4096, "Gemini 3 Flash Preview: an older page said 1,024"),
    _bedrock_claude(r"(opus|fable|mythos)-5", 512, _BEDROCK_LIFETIMES, f"{_AWS}; {_LITELLM}", date(2026, 11, 20)),
    _bedrock_claude(
        r"haiku-4[-.]5|opus-4[-.][567]", 4096, _BEDROCK_LIFETIMES, f"{_AWS}; {_LITELLM}", date(2026, 11, 20)
    ),
    _bedrock_claude(r"3-5-haiku", 2048, (_FIVE_MINUTES,), f"{_AWS}; {_PORTKEY}", date(2026, 11, 20)),
    _bedrock_claude(
        r"claude-3|(sonnet|opus)-4(-1)?(-\d{8}|$)",
        1024,
        (_FIVE_MINUTES,),
        f"{_AWS}; {_PORTKEY}; github.com/NousResearch/hermes-agent/issues/11970",
        date(2026, 11, 20),
        "that the models before 4.5 have no lifetime of an hour",
    ),
    _bedrock_claude(r"claude", 1024, _BEDROCK_LIFETIMES, f"{_AWS}; {_LITELLM}", date(2026, 11, 20)),
    CacheRules(
        provider="aws",
        models=r"nova",
        style="explicit",
        min_tokens=1000,
        max_breakpoints=4,
        lookback_blocks=1,
        lifetimes=(Lifetime("5m", 300, 1.0),),
        read_multiplier=0.25,
        marks=_NOT_TOOLS,
        hoists_system=True,
        max_cached_tokens=20_000,
        source=f"{_AWS}; {_PORTKEY}",
        checked=date(2026, 11, 20),
        unverified=(
            "at most 20,000 cached tokens (Amazon's page as recalled; a gateway's page says 32,000)",
            "no look-back (the documented look-back is for Claude)",
        ),
    ),
)


def rules_for(provider: str | None, model: str | None = None) -> CacheRules | None:
    """Return the rules that apply to a model, or None where thrift knows none.

    Args:
        provider: in any spelling that `provider_id` reads.
        model: the model's name as the provider spells it.
    """
    known = provider_id(provider)
    name = (model or "").lower()
    if known == "google" and "claude" in name:
        known = "anthropic"
    return next((rules for rules in RULES if rules.provider == known and re.search(rules.models, name)), None)


def named_rules(provider: str) -> str:
    """Return the id of a provider that has rules.

    Raises:
        ConfigurationError: there are no rules for it.
    """
    known = provider_id(provider)
    if known is None or all(rules.provider != known for rules in RULES):
        offered = ", ".join(sorted({rules.provider for rules in RULES}))
        raise ConfigurationError(f"no prompt-cache rules for provider {provider!r}; there are rules for {offered}")
    return known
