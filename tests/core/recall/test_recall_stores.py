"""What holds for every place that keeps what was cut: the same bytes come back, or nothing is cut."""

from __future__ import annotations

import hashlib
import logging
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Request, apply_edits
from thrift_core.recall.redis_store import RedisRecallStore
from thrift_core.recall.store import MemoryRecallStore, NoteStore, RecallStore, SQLiteRecallStore, handle_of
from thrift_core.thrift import Thrift

from tests.core.trajectory.histories import prices, requests, sent, step, summarizer, task

Opener = Callable[[], RecallStore]
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=200)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path) -> Opener:
    """Opens a store; each time it is the same texts."""
    if request.param == "memory":
        store = MemoryRecallStore()
        return lambda: store
    if request.param == "sqlite":
        return lambda: SQLiteRecallStore(tmp_path / "recall.db")
    url, prefix = request.getfixturevalue("redis_url"), f"test-{uuid.uuid4().hex}"
    return lambda: RedisRecallStore(url, prefix)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT)
def test_every_text_comes_back_character_for_character(opened: Opener, text: str) -> None:
    handle = opened().put(text)
    assert opened().get(handle) == text
    assert hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest().startswith(handle)


def test_half_a_surrogate_pair_nulls_and_line_ends_come_back(opened: Opener) -> None:
    for text in ("\ud800", "a\x00b", "one\r\ntwo\r", "é" * 3, "é", ""):
        assert opened().get(opened().put(text)) == text


def test_a_text_has_one_handle_however_often_it_is_kept(opened: Opener) -> None:
    assert len({opened().put("a long result") for _ in range(5)}) == 1


def test_what_was_never_kept_is_not_there(opened: Opener) -> None:
    assert opened().get("0123456789") is None
    assert opened().get("") is None


def test_two_texts_that_share_a_handle_get_longer_ones(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def same_beginning(text: str, length: int = 10) -> str:
        return ("0" * 10 + handle_of(text, 20))[:length]

    monkeypatch.setattr("thrift_core.recall.store.handle_of", same_beginning)
    monkeypatch.setattr("thrift_core.recall.redis_store.handle_of", same_beginning)
    store = opened()
    one, other = store.put("one"), store.put("other")
    assert len(other) > len(one)
    assert (store.get(one), store.get(other)) == ("one", "other")
    assert (store.put("one"), store.put("other")) == (one, other)


def test_threads_that_keep_the_same_texts_agree_on_the_handles(opened: Opener) -> None:
    store, found = opened(), list[list[str]]()
    texts = [f"text {number}" for number in range(30)]
    threads = [threading.Thread(target=lambda: found.append([store.put(text) for text in texts])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(tuple, found))) == 1


def test_a_note_is_what_was_said_first_and_no_handle_finds_it(opened: Opener) -> None:
    store = opened()
    assert isinstance(store, NoteStore)
    assert store.noted("summary") is None
    assert store.note("summary", "first \ud800") == "first \ud800"
    assert store.note("summary", "second") == "first \ud800"
    again = opened()
    assert isinstance(again, NoteStore)
    assert again.noted("summary") == "first \ud800"
    assert again.get("summary") is None


def test_stores_of_other_prefixes_do_not_see_one_another(redis_url: str) -> None:
    handle = RedisRecallStore(redis_url, f"one-{uuid.uuid4().hex}").put("mine")
    assert RedisRecallStore(redis_url, f"two-{uuid.uuid4().hex}").get(handle) is None


def test_a_text_lives_its_time_after_it_was_last_kept_or_read(redis_url: str) -> None:
    import redis

    client = redis.Redis.from_url(redis_url)
    prefix = f"ttl-{uuid.uuid4().hex}"
    store = RedisRecallStore(client, prefix, ttl=timedelta(hours=1))
    handle = store.put("kept for an hour")
    key = f"{prefix}:text:{handle}"
    for use in (lambda: store.get(handle), lambda: store.put("kept for an hour")):
        client.pexpire(key, 5000)
        use()
        assert client.pttl(key) > 3_000_000
    RedisRecallStore(client, prefix).put("kept for ever")
    assert client.pttl(f"{prefix}:text:{handle_of('kept for ever')}") == -1
    client.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url_or_client": "http://localhost"}, "begins with one of"),
        ({"url_or_client": object()}, "a URL or a redis client"),
        ({"url_or_client": "redis://localhost", "prefix": ""}, "prefix"),
        ({"url_or_client": "redis://localhost", "ttl": 0}, "a second or more"),
        ({"url_or_client": "redis://localhost", "ttl": True}, "a second or more"),
    ],
)
def test_what_cannot_work_is_refused_at_once(settings, told) -> None:
    with pytest.raises(ConfigurationError, match=told):
        RedisRecallStore(**settings)


def test_a_client_that_decodes_is_refused_and_no_password_is_repeated() -> None:
    import redis

    with pytest.raises(ConfigurationError, match="decode_responses"):
        RedisRecallStore(redis.Redis(decode_responses=True))
    with pytest.raises(ConfigurationError) as refused:
        RedisRecallStore("redis://:s3cret@localhost:nowhere/0")
    assert "s3cret" not in str(refused.value)


def shop(count: int) -> list:
    """Return a conversation in which much can be cut."""
    messages = task()
    for number in range(count):
        messages += step(number, notes(number), "search", order_id=f"A-{number}")
    return messages


def notes(number: int) -> str:
    return f"Notes on B-{number}." + f" Nothing was said of it that anybody could need later, {number} times." * 60


def test_while_redis_is_gone_nothing_new_is_cut_and_it_is_told_once(start_redis, caplog) -> None:
    server = start_redis()
    store = RedisRecallStore(server.url)
    ledger = Ledger()
    thrift = Thrift(summarizer=summarizer("rewrite", store=store), ledger=ledger)
    histories = requests(shop(10))
    model = {"model": "claude-sonnet-4-5", "provider": "anthropic"}
    before = [thrift.plan(Request(tuple(history), **model)).request.messages for history in histories[:5]]
    cut = sum("§cut" in message.text for message in before[-1])
    assert cut > 0
    server.kill()
    with caplog.at_level(logging.WARNING, "thrift"):
        after = [thrift.plan(Request(tuple(history), **model)).request.messages for history in histories[5:8]]
    assert [sum("§cut" in message.text for message in planned) for planned in after] == [cut] * 3
    assert len([record for record in caplog.records if "did only what it could" in record.getMessage()]) == 1
    assert ledger.faults()
    # What was sent before stays as it was, so that the provider's cache holds.
    assert all(planned[: len(before[-1])][:-1] == before[-1][:-1] for planned in after)
    assert "Nothing can be recalled right now" in thrift.recall({"id": "0123456789"})


@pytest.mark.parametrize("failing", range(1, 12))
def test_a_store_that_fails_at_any_moment_leaves_requests_that_can_be_sent(failing: int) -> None:
    class Failing(MemoryRecallStore):
        left = failing

        def put(self, text: str) -> str:
            self.left -= 1
            if self.left <= 0:
                raise OSError("disk full")
            return super().put(text)

    messages = task()
    for number in range(12):
        messages += step(number, notes(number), "search", order_id=f"A-{number}")
        if number % 2:
            messages += [*task(f"And now order B-{number}?")[1:]]
    store = Failing()
    summary = summarizer("rewrite", store=store)
    for history in requests(messages):
        planned = apply_edits(history, summary.plan(history, prices()))
        for message in planned:
            if message.text.startswith(("§cut, recall ", "§earlier turns, recall ")):
                handle = message.text.split("recall ")[1].split()[0].rstrip(":")
                assert store.get(handle)


def test_what_was_recalled_is_not_cut_again() -> None:
    summary = summarizer("rewrite")
    messages = shop(3)
    planned = sent(summary, messages)
    stub = next(message.text for message in planned if message.text.startswith("§cut"))
    handle = stub.split()[2].rstrip(":")
    whole = summary.recall({"id": handle})
    messages += step(50, whole, "recall", id=handle)
    for number in range(60, 70):
        messages += step(number, notes(number), "search")
        sent(summary, messages)
    assert whole in [message.text for message in sent(summary, messages)]


def test_a_query_without_a_hit_is_answered_by_how_long_the_text_is_and_how_it_begins() -> None:
    store = MemoryRecallStore()
    from thrift_core.recall.tool import recall

    text = "\n".join(f"row {number} has words" for number in range(500))
    answer = recall(store, {"id": store.put(text), "query": "absent"})
    assert "None of these words" in answer
    assert str(len(text)) in answer
    assert "500 lines" in answer
    assert "row 0 has words" in answer
    assert len(answer) < 700
    assert recall(store, {"id": store.put("short"), "query": "absent"}) == "short"


def test_of_a_long_line_only_what_stands_around_the_words_is_shown() -> None:
    from thrift_core.recall.tool import recall

    store = MemoryRecallStore()
    text = "x" * 5000 + " Needle " + "y" * 5000
    answer = recall(store, {"id": store.put(text), "query": "needle"})
    assert " Needle " in answer
    assert len(answer) < 500
