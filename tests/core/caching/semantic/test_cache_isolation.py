"""Nothing crosses from one scope or context to another, whatever the embedder and the matcher say."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_core.accounting.call import Attribution
from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.cache_key import CacheKey
from thrift_core.caching.semantic.fingerprint import Uncacheable, digest
from thrift_core.caching.semantic.matcher import Candidate, Judgement
from thrift_core.caching.semantic.settings import CacheSettings
from thrift_core.caching.semantic.store import CacheStore
from thrift_core.messages import Message, Opaque, Request, ToolCall

SECRET = b"s" * 32


class Gullible:
    """The worst there can be: all questions look the same, and one answer serves them all."""

    version = "gullible"
    min_similarity = -1.0
    needs_threshold = False

    def judge(self, question: str, candidates: Sequence[Candidate]) -> list[Judgement]:
        return [Judgement("accept", 1.0, "why not") for _ in candidates]


class OneVector:
    name = "one vector"
    dimensions = 4

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0, 0.0, 0.0] for _ in texts]


# Chosen to look alike: prefixes, separators, empty and missing, numbers and the same as text, other orders.
NAMES = [None, "", "a", "b", "ab", "a:b", "a|b", "A", "acme", "acme ", "null"]
MODELS = ["gpt-4.1", "gpt-4.1-mini", None]
CORPORA = [None, "v1", "v2"]
PARAMETERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.0},
    {"temperature": "0"},
    {"temperature": False},
    {"top_p": 0},
    {"stop": ["a", "b"]},
    {"stop": ["ab"]},
    {"stop": ["b", "a"]},
    {"response_format": {"type": "json"}},
]
TOOLS: list[tuple[dict[str, Any], ...]] = [(), ({"name": "a"},), ({"name": "b"},), ({"name": "a"}, {"name": "b"})]
CALLED = (
    Message("user", "x"),
    Message("assistant", tool_calls=(ToolCall("t", "{}", "1"),)),
    Message("tool", "r", tool_call_id="1"),
)
HISTORIES: list[tuple[Message, ...]] = [
    (),
    (Message("system", "Be brief."),),
    (Message("system", "Be brief"), Message("user", ".")),
    (Message("user", "How old is Ann?"), Message("assistant", "40")),
    (Message("user", "How old is Bob?"), Message("assistant", "40")),
    (Message("user", "How old is Ann?40"),),
    (Message("assistant", "How old is Ann?"), Message("user", "40")),
    CALLED,
    (*CALLED, Message("assistant", "done")),
]
QUESTIONS = ["What is it?", "what is it?", "Where is it?", "How is she?", "Is there a meeting?", "Is there no meeting?"]


Context = dict[str, Any]
WORLD: Context = {
    "tenant": NAMES,
    "user": NAMES[:4],
    "feature": NAMES[:3],
    "history": HISTORIES,
    "corpus": CORPORA,
    "limit": [None, 10, 11],
    "model": MODELS,
    "tools": TOOLS,
    "parameters": PARAMETERS,
}


class World:
    """Random requests: new ones, those that were stored, and those that differ from them in one thing alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.stored: list[Context] = []

    def context(self) -> Context:
        pick = self._random.choice
        if not self.stored or self._random.random() < 0.2:
            return {name: pick(values) for name, values in WORLD.items()}
        context = dict(pick(self.stored))
        if self._random.random() < 0.7:
            name = pick(list(WORLD))
            context[name] = pick(WORLD[name])
        return context

    def request(self, context: Context) -> tuple[Request, Attribution, str]:
        question = self._random.choice(QUESTIONS)
        history = context["history"]
        request = Request(
            messages=(*history, Message("user", question)),
            model=context["model"],
            tools=context["tools"],
            max_output_tokens=context["limit"],
            parameters=context["parameters"],
        )
        is_exact = any(message.role == "tool" for message in history)
        scope = Attribution(tenant=context["tenant"], user=context["user"], feature=context["feature"])
        return request, scope, repr((context, question if is_exact else None))


def look_up(cache: SemanticCache, lookups: int, seed: int) -> tuple[int, int]:
    """Store and look up at random; return hits, and hits that were answered out of another context."""
    world = World(seed)
    hits = wrong = 0
    for number in range(lookups):
        context = world.context()
        request, scope, told = world.request(context)
        hit = cache.lookup(request, scope=scope, corpus=context["corpus"])
        if hit is not None:
            hits += 1
            wrong += hit.answer.payload != told
        if number % 10 == 0:
            cache.store(request, CachedAnswer(payload=told), scope=scope, corpus=context["corpus"])
            world.stored.append(context)
    return hits, wrong


def test_no_lookup_crosses_scopes_or_contexts(store: CacheStore) -> None:
    cache = SemanticCache(store, OneVector(), matcher=Gullible())
    hits, wrong = look_up(cache, 2500, seed=7)
    assert wrong == 0
    assert hits > 250, "or this would show nothing"
    assert cache.stats().faults == {}


@pytest.mark.soak
def test_a_million_lookups_cross_nothing(store: CacheStore, request: pytest.FixtureRequest) -> None:
    count = {"memory": 1_000_000, "sqlite": 300_000, "redis": 50_000}[request.node.callspec.params["open_store"]]
    cache = SemanticCache(store, OneVector(), matcher=Gullible())
    hits, wrong = look_up(cache, count, seed=11)
    assert wrong == 0
    assert hits > count / 10
    print(f"{count:,} lookups, {hits:,} hits, {wrong} from another context")  # noqa: T201 - what the run is for


def test_hits_do_happen_in_that_world(store: CacheStore) -> None:
    cache = SemanticCache(store, OneVector(), matcher=Gullible())
    scope, messages = Attribution(tenant="a"), (Message("user", "What is it?"),)
    cache.store(Request(messages=messages), CachedAnswer(payload="x"), scope=scope)
    other = Request(messages=(Message("user", "Something else altogether"),))
    assert cache.lookup(other, scope=scope) is not None, "or the tests above would show nothing"


@pytest.mark.parametrize(
    ("shared", "crossing", "is_hit"),
    [
        (("tenant", "user", "feature"), {"user": "bob"}, False),
        (("tenant", "feature"), {"user": "bob"}, True),
        (("tenant", "feature"), {"feature": "other"}, False),
        (("tenant",), {"user": "bob", "feature": "other"}, True),
        (("tenant",), {"tenant": "t2"}, False),
        ((), {"tenant": "t2", "user": "bob", "feature": "other"}, True),
    ],
)
def test_who_shares_is_the_users_to_say(shared: Any, crossing: dict[str, str], is_hit: bool) -> None:
    cache = SemanticCache(settings=CacheSettings(isolate_by=shared, tiers=("exact",)))
    request = Request(messages=(Message("user", "q"),))
    mine = {"tenant": "t1", "user": "ann", "feature": "chat"}
    cache.store(request, CachedAnswer(payload="a"), scope=Attribution(**mine))
    assert (cache.lookup(request, scope=Attribution(**{**mine, **crossing})) is not None) == is_hit


@given(
    one=st.lists(st.sampled_from(NAMES), min_size=3, max_size=3),
    other=st.lists(st.sampled_from(NAMES), min_size=3, max_size=3),
)
def test_scopes_share_a_partition_only_if_they_are_equal(one: list[str | None], other: list[str | None]) -> None:
    request = Request(messages=(Message("user", "q"),))
    keys = [
        CacheKey.of(request, Attribution(tenant=who[0], user=who[1], feature=who[2]), secret=SECRET)
        for who in (one, other)
    ]
    assert (keys[0].partition == keys[1].partition) == (one == other)
    assert (keys[0].id == keys[1].id) == (one == other)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def shape(value: Any) -> Any:
    """Tell 1, 1.0, True and "1" apart, as == does not."""
    if isinstance(value, dict):
        return ("map", sorted((name, shape(inner)) for name, inner in value.items()).__repr__())
    if isinstance(value, list):
        return ("list", [shape(inner) for inner in value])
    return (type(value).__name__, repr(value))


@given(one=plain, other=plain)
def test_two_values_have_one_digest_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (digest(SECRET, one) == digest(SECRET, other)) == (shape(one) == shape(other))


def test_the_order_of_parameters_does_not_count_and_that_of_a_list_does() -> None:
    assert digest(SECRET, {"a": 1, "b": 2}) == digest(SECRET, {"b": 2, "a": 1})
    assert digest(SECRET, ["a", "b"]) != digest(SECRET, ["b", "a"])
    assert digest(SECRET, ["ab"]) != digest(SECRET, ["a", "b"])
    assert digest(SECRET, 1) != digest(b"t" * 32, 1)


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": {1, 2}}, [lambda: None]])
def test_what_cannot_be_compared_is_said_to_be_so(value: Any) -> None:
    with pytest.raises(Uncacheable):
        digest(SECRET, value)


def test_a_value_that_contains_itself_cannot_be_compared() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Uncacheable, match="contains itself"):
        digest(SECRET, loop)


def test_nothing_of_the_scope_is_ever_embedded(embedder: Any) -> None:
    cache = SemanticCache(None, embedder)
    request = Request(messages=(Message("system", "sysprompt"), Message("user", "the question")), model="some-model")
    scope = Attribution(tenant="tenant-x", user="user-x", feature="feature-x")
    cache.store(request, CachedAnswer(payload="a"), scope=scope, corpus="corpus-x")
    cache.lookup(Request(messages=(Message("user", "another"),)), scope=scope)
    assert embedder.asked == ["the question", "another"]


def test_no_name_can_be_read_in_the_store(tmp_path: Any, embedder: Any) -> None:
    from thrift_core.caching.semantic.sqlite_store import SQLiteStore

    cache = SemanticCache(SQLiteStore(tmp_path / "c.sqlite"), embedder)
    scope = Attribution(tenant="tenant-x", user="user-x", feature="feature-x")
    cache.store(Request(messages=(Message("user", "q"),)), CachedAnswer(payload="a"), scope=scope, corpus="corpus-x")
    cache.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for name in (b"tenant-x", b"user-x", b"feature-x", b"corpus-x"):
        assert name not in content


def test_an_entry_moved_to_another_partition_does_not_open(tmp_path: Any) -> None:
    """Whoever can write the file but does not know the secret cannot plant an answer."""
    import sqlite3

    from thrift_core.caching.semantic.sqlite_store import SQLiteStore

    path = tmp_path / "c.sqlite"
    cache = SemanticCache(SQLiteStore(path), OneVector(), matcher=Gullible(), secret=b"known to the app only")
    request = Request(messages=(Message("user", "q"),))
    ann, bob = Attribution(user="ann"), Attribution(user="bob")
    cache.store(request, CachedAnswer(payload="for ann"), scope=ann)
    cache.store(request, CachedAnswer(payload="for bob"), scope=bob)
    with sqlite3.connect(path) as connection:
        records = dict(connection.execute("SELECT id, record FROM entries"))
        first, second = (CacheKey.of(request, who, secret=b"known to the app only").id for who in (ann, bob))
        connection.execute("UPDATE entries SET record = ? WHERE id = ?", (records[first], second))
        connection.execute("UPDATE entries SET partition = (SELECT partition FROM entries WHERE id = ?)", (second,))
    connection.close()
    found = [cache.lookup(request, scope=who) for who in (ann, bob)]
    assert [hit.answer.payload if hit else None for hit in found] == ["for ann", None]
    assert cache.stats().faults.keys() == {"entry: Broken"}


def test_pictures_and_tool_results_are_part_of_the_context() -> None:
    def key(*messages: Message) -> bytes:
        return CacheKey.of(Request(messages=messages), secret=SECRET).id

    cat, dog = (Message("user", "what", opaque=(Opaque("image", {"url": url}),)) for url in ("cat", "dog"))
    assert key(cat) != key(dog) != key(Message("user", "what"))
    assert key(cat, Message("user", "q")) != key(dog, Message("user", "q"))
    one, two = ((*CALLED[:2], Message("tool", result, tool_call_id="1")) for result in ("r", "s"))
    assert key(*one) != key(*two)


def crossed(ids: tuple[str, str]) -> tuple[Message, ...]:
    calls = (ToolCall("t", "{}", "a"), ToolCall("t", "{}", "b"))
    results = (Message("tool", "1", tool_call_id=ids[0]), Message("tool", "2", tool_call_id=ids[1]))
    return (Message("user", "q"), Message("assistant", tool_calls=calls), *results)


def test_which_result_belongs_to_which_call_counts_though_the_ids_do_not() -> None:
    keys = [CacheKey.of(Request(messages=crossed(ids)), secret=SECRET).id for ids in (("a", "b"), ("b", "a"))]
    assert keys[0] != keys[1]


def test_how_an_answer_travels_does_not_count(ask: Callable[..., Request]) -> None:
    keys = {
        CacheKey.of(ask("q", parameters=parameters), secret=SECRET).id
        for parameters in ({}, {"stream": True}, {"timeout": 9, "stream_options": {"include_usage": True}})
    }
    assert len(keys) == 1
