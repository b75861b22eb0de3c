import json
from dataclasses import replace
from typing import Any

import pytest
from caching_conversations import SYSTEM, TOOL, Words, loop, request
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.caching.prefix import Prefix, PrefixRenderer, canonical_json, canonical_tools
from thrift_core.caching.provider_rules import CacheRules, rules_for
from thrift_core.messages import Message, Opaque, Request, ToolCall


def _rules(provider: str = "anthropic", model: str = "claude-sonnet-5") -> CacheRules:
    rules = rules_for(provider, model)
    assert rules is not None
    return rules


def _digests(asked: Request, rules: CacheRules | None = None) -> list[bytes]:
    return [segment.digest for segment in PrefixRenderer(Words()).render(asked, rules or _rules()).segments]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_says_the_same(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.lists(st.dictionaries(st.text(max_size=6), JSON, min_size=1, max_size=3), max_size=5), st.randoms())
def test_canonical_tools_do_not_depend_on_the_order_they_come_in(tools: list[dict[str, Any]], random: Any) -> None:
    shuffled = [dict(random.sample(list(tool.items()), len(tool))) for tool in random.sample(tools, len(tools))]
    assert canonical_json(canonical_tools(shuffled)) == canonical_json(canonical_tools(tools))
    assert sorted(map(canonical_json, canonical_tools(tools))) == sorted(map(canonical_json, tools))


def test_canonical_tools_keep_the_order_of_arrays() -> None:
    [tool] = canonical_tools([{"parameters": {"required": ["b", "a"]}, "name": "x"}])
    assert list(tool) == ["name", "parameters"]
    assert tool["parameters"]["required"] == ["b", "a"]


def test_tools_come_first_then_system_wherever_it_stands() -> None:
    messages = (Message("user", "hi"), Message("system", "be kind"), Message("assistant", "hello"))
    segments = PrefixRenderer(Words()).render(request(messages), _rules()).segments
    assert [(segment.place, segment.points_at) for segment in segments] == [
        ("tools", -1),
        ("system", 1),
        ("user", 0),
        ("assistant", 2),
    ]


def test_one_changed_byte_changes_every_digest_behind_it_and_none_before() -> None:
    base = loop(4)[-1]
    changed = (*base[:3], replace(base[3], text=base[3].text + " "), *base[4:])
    before, after = _digests(request(base)), _digests(request(changed))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True] * 4 + [False] * 5


def test_another_order_of_tools_voids_everything() -> None:
    other = {"name": "other"}
    first, second = (_digests(request(loop(2)[-1], tools=tools)) for tools in ((TOOL, other), (other, TOOL)))
    assert not set(first) & set(second)


@pytest.mark.parametrize(
    ("parameters", "kept"), [({"tool_choice": "any"}, 2), ({"thinking": {"budget": 1}}, 2), ({"temperature": 1}, 6)]
)
def test_parameters_void_what_the_table_says(parameters: dict[str, Any], kept: int) -> None:
    base = request(loop(3)[-1])
    before, after = _digests(base), _digests(replace(base, parameters=parameters))
    assert sum(a == b for a, b in zip(before, after, strict=True)) == (kept if kept < 6 else len(before))


def test_a_first_image_voids_the_messages_of_claude() -> None:
    base = loop(2)[-1]
    image = Message("user", "see", opaque=(Opaque("image", {"data": "AAAA"}),))
    before, after = _digests(request(base)), _digests(request((*base, image)))
    assert [a == b for a, b in zip(before, after, strict=False)] == [True, True, False, False, False]


def test_images_with_other_bytes_are_other_prefixes() -> None:
    def ask(data: str) -> Request:
        return request((SYSTEM, Message("user", "see", opaque=(Opaque("image", {"data": data}),))))

    assert _digests(ask("AAAA"))[-1] != _digests(ask("BBBB"))[-1]


@pytest.mark.parametrize(
    ("message", "is_markable"),
    [
        (Message("user", "hi"), True),
        (Message("user", "  "), False),
        (Message("assistant", "", opaque=(Opaque("thinking", "hm"),)), False),
        (Message("assistant", "so", opaque=(Opaque("thinking", "hm"),)), True),
        (Message("assistant", "", (ToolCall("f"),)), True),
        (Message("tool", "", tool_call_id="1"), True),
        (Message("user", "", opaque=(Opaque("image", "x"),)), True),
    ],
)
def test_a_marker_cannot_stand_on_thinking_or_on_nothing(message: Message, is_markable: bool) -> None:
    segments = PrefixRenderer(Words()).render(request((SYSTEM, message)), _rules()).segments
    assert segments[-1].is_markable is is_markable


def test_openai_marks_what_goes_in_but_not_tools_and_answers() -> None:
    segments = PrefixRenderer(Words()).render(request(loop(2)[-1]), _rules("openai", "gpt-5.6")).segments
    assert [(s.place, s.is_markable) for s in segments] == [
        ("tools", False),
        ("system", True),
        ("user", True),
        ("assistant", False),
        ("tool", True),
    ]


def test_what_is_taken_over_from_an_earlier_rendering_is_the_same_as_rendered_anew() -> None:
    renderer = PrefixRenderer(Words())
    known: list[Prefix] = []
    for messages in loop(8):
        asked = request(messages)
        with_memory = renderer.render(asked, _rules(), recall=lambda *_: known[-1] if known else None)
        assert with_memory == PrefixRenderer(Words()).render(asked, _rules())
        known.append(with_memory)


def test_each_text_is_counted_once() -> None:
    counted: list[str] = []

    class Watching:
        def count(self, text: str) -> int:
            counted.append(text)
            return len(text)

    renderer = PrefixRenderer(Watching())
    for messages in loop(6):
        renderer.render(request(messages), _rules())
    long = [text for text in counted if len(text) > 200]
    assert len(long) == len(set(long))
