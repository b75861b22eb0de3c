import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from caching_conversations import Words, loop, request
from thrift_core.caching.bill import InputBill
from thrift_core.caching.prefix_cache_simulator import IllegalMarkers, PrefixCacheSimulator
from thrift_core.caching.provider_rules import CacheRules, rules_for
from thrift_core.messages import CacheBreakpoint, Message, Opaque, Request, ToolCall
from thrift_core.testing.chat import ChatRequest
from thrift_core.testing.prefix_cache import PrefixCache
from thrift_core.testing.prompt_tokens import PieceTokenizer, PromptTokens


def _simulator(provider: str = "anthropic", model: str = "claude-sonnet-5", **changes: object) -> PrefixCacheSimulator:
    rules = rules_for(provider, model)
    assert rules is not None
    return PrefixCacheSimulator(replace(rules, **changes), counter=Words())  # type: ignore[arg-type]


def _at(*indices: int, ttl: str = "5m") -> list[CacheBreakpoint]:
    return [CacheBreakpoint(reason="", index=index, ttl="1h" if ttl == "1h" else "5m") for index in indices]


def _text(words: int, word: str = "w") -> str:
    return " ".join([word] * words)


# Every message has three tokens of frame, so 97 words are 100 tokens.
S = Message("system", _text(1997))
U = Message("user", _text(497))


def _ask(*messages: Message) -> Request:
    return Request(messages)


def test_a_marked_prefix_is_written_once_and_read_after() -> None:
    provider = _simulator()
    first = provider.send(_ask(S, U), _at(0), now=0)
    second = provider.send(_ask(S, Message("user", "other")), _at(0), now=10)
    assert first == InputBill(cache_write_5m=2000, uncached=500)
    assert second == InputBill(cache_read=2000, uncached=4)


def test_without_a_marker_nothing_is_read() -> None:
    provider = _simulator()
    provider.send(_ask(S, U), _at(0), now=0)
    assert provider.send(_ask(S, U), now=1) == InputBill(uncached=2500)


@pytest.mark.parametrize(("words", "written"), [(1020, 0), (1021, 1024)])
def test_below_the_minimum_a_marker_is_silently_ignored(words: int, written: int) -> None:
    provider = _simulator()
    assert provider.send(_ask(Message("system", _text(words)), U), _at(0), now=0).cache_write_5m == written


def test_reading_keeps_an_entry_alive_and_silence_ends_it() -> None:
    provider = _simulator()
    reads = [provider.send(_ask(S, U), _at(0), now=now).cache_read for now in (0, 299, 598, 899)]
    assert reads == [0, 2000, 2000, 0]


def test_an_hour_costs_its_own_price_and_lasts() -> None:
    provider = _simulator()
    assert provider.send(_ask(S, U), _at(0, ttl="1h"), now=0) == InputBill(cache_write_1h=2000, uncached=500)
    assert provider.send(_ask(S, U), _at(0), now=3600).cache_read == 2000


def test_mixed_lifetimes_are_billed_in_the_order_of_the_prefix() -> None:
    provider = _simulator()
    bill = provider.send(_ask(S, U, Message("assistant", _text(97))), [*_at(0, ttl="1h"), *_at(1)], now=0)
    assert bill == InputBill(cache_write_1h=2000, cache_write_5m=500, uncached=100)


@pytest.mark.parametrize(("blocks", "is_read"), [(19, True), (20, False)])
def test_a_marker_sees_twenty_blocks_back_itself_included(blocks: int, is_read: bool) -> None:
    provider = _simulator()
    provider.send(_ask(S, U), _at(1), now=0)
    calls = tuple(ToolCall("f", "{}", str(n)) for n in range(blocks - 1))
    later = (S, U, Message("assistant", "", calls), Message("user", "and"))
    assert (provider.send(_ask(*later), _at(3), now=1).cache_read == 2500) is is_read


def test_only_what_was_marked_can_be_read() -> None:
    provider = _simulator()
    provider.send(_ask(S, U), _at(1), now=0)
    assert provider.send(_ask(S, Message("user", "other")), _at(0, 1), now=1).cache_read == 0


def test_an_entry_can_be_read_once_the_answer_has_begun() -> None:
    rules = rules_for("anthropic", "claude-sonnet-5")
    assert rules is not None
    provider = PrefixCacheSimulator(rules, counter=Words(), latency_seconds=lambda: 2.0)
    assert [provider.send(_ask(S, U), _at(0), now=now).cache_read for now in (0, 1, 2)] == [0, 0, 2000]


@pytest.mark.parametrize(
    ("messages", "markers", "says"),
    [
        (loop(4)[-1], _at(0, 1, 2, 3, 4), "5 markers"),
        ((S, U), _at(2), "points at 2"),
        ((S, U), _at(0, 0), "one place"),
        ((S, U), [*_at(0), *_at(1, ttl="1h")], "behind"),
        ((S, Message("assistant", "", opaque=(Opaque("thinking"),))), _at(1), "cannot carry"),
        ((S, U), _at(-1), "points at -1"),
    ],
)
def test_what_the_provider_would_refuse_is_refused(
    messages: Sequence[Message], markers: list[CacheBreakpoint], says: str
) -> None:
    with pytest.raises(IllegalMarkers, match=says):
        _simulator().send(_ask(*messages), markers, now=0)


def test_nova_takes_no_marker_on_tools_and_no_hour() -> None:
    provider = _simulator("aws", "amazon.nova-pro-v1:0")
    with pytest.raises(IllegalMarkers, match="cannot carry"):
        provider.send(request((S, U)), _at(-1), now=0)
    with pytest.raises(IllegalMarkers, match="no lifetime 1h"):
        provider.send(_ask(S, U), _at(0, ttl="1h"), now=0)


def test_openai_before_5_6_reads_in_steps_of_128_and_writes_for_nothing() -> None:
    provider = _simulator("openai", "gpt-5")
    assert provider.send(_ask(S, U), now=0) == InputBill(uncached=2500)
    assert provider.send(_ask(S, U, U), now=10) == InputBill(cache_read=2432, uncached=568)
    assert provider.send(_ask(S, U, U), now=400).cache_read == 0


def test_gemini_reads_nothing_below_its_minimum() -> None:
    provider = _simulator("google", "gemini-2.5-flash")
    small, large = _ask(Message("system", _text(1500))), _ask(Message("system", _text(2500)))
    for asked in (small, large):
        provider.send(asked, now=0)
    assert [provider.send(asked, now=1).cache_read for asked in (small, large)] == [0, 2503]


def test_gpt_5_6_shares_no_prefix_with_a_changing_tail_until_it_is_marked() -> None:
    """github.com/openai/codex/issues/35300: 0 % hits, and every request written at 1.25 times the price."""
    questions = [Message("user", _text(97, f"q{n}")) for n in range(4)]
    plain, marked = _simulator("openai", "gpt-5.6"), _simulator("openai", "gpt-5.6")
    assert [plain.send(_ask(S, q), now=n) for n, q in enumerate(questions)] == [InputBill(cache_write_5m=2100)] * 4
    reads = [marked.send(_ask(S, q), _at(0), now=n).cache_read for n, q in enumerate(questions)]
    assert reads == [0, 2000, 2000, 2000]


def test_gpt_5_6_carries_a_growing_conversation_by_itself() -> None:
    provider = _simulator("openai", "gpt-5.6")
    bills = [provider.send(request(messages), now=60 * n) for n, messages in enumerate(loop(4))]
    assert all(later.cache_read == earlier.input_tokens for earlier, later in pairwise(bills))


def test_gpt_5_6_in_explicit_mode_caches_only_what_is_marked() -> None:
    provider = _simulator("openai", "gpt-5.6")
    assert provider.send(_ask(S, U), now=0, mode="explicit") == InputBill(uncached=2500)
    assert provider.send(_ask(S, U), _at(0), now=1, mode="explicit") == InputBill(cache_write_5m=2000, uncached=500)


def test_automatic_caching_agrees_with_the_token_exact_cache_of_the_local_provider() -> None:
    """Two independent programs of one rule: the other one matches single tokens, this one whole messages."""
    rng = random.Random(7)
    tokens = PromptTokens(PieceTokenizer())

    class Pieces:
        def count(self, text: str) -> int:
            return tokens.count(text)

    now = 0.0
    exact = PrefixCache(300.0, clock=lambda: now)
    rules: CacheRules | None = rules_for("openai", "gpt-5")
    assert rules is not None
    provider = PrefixCacheSimulator(rules, counter=Pieces())
    streams = [loop(6, task=f"task{n}", words=rng.randrange(20, 400)) for n in range(5)]
    positions = [0] * len(streams)
    theirs = ours = 0
    while open_streams := [n for n, stream in enumerate(streams) if positions[n] < len(stream)]:
        n = rng.choice(open_streams)
        messages = streams[n][positions[n]]
        positions[n] += 1
        now += rng.choice((5.0, 30.0, 400.0))
        theirs += exact.read("one", tokens.render(ChatRequest(api="chat", model="gpt-5", messages=messages)))
        ours += provider.send(Request(messages, model="gpt-5"), now=now).cache_read
    assert theirs > 10_000
    assert abs(ours - theirs) / theirs < 0.02
