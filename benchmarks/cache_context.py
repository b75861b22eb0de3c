"""Last turns of conversations, each behind every other conversation's history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thrift_core.caching.semantic.answer import CachedAnswer
from thrift_core.caching.semantic.cache import SemanticCache
from thrift_core.caching.semantic.matcher import Candidate, Judgement
from thrift_core.caching.semantic.normal_form import normal_form
from thrift_core.messages import Message, Request

from benchmarks.records import Options, Record, stem, watched

# How many other histories each last turn is put behind.
_CROSSINGS = 40


class Gullible:
    """Takes whatever it is shown, so that nothing but the key can keep contexts apart."""

    version = "gullible"
    min_similarity = -1.0
    needs_threshold = False

    def judge(self, question: str, candidates: Sequence[Candidate]) -> list[Judgement]:
        return [Judgement("accept", one.similarity, "shown") for one in candidates]


def run(options: Options) -> Iterator[Record]:
    for file in options.files("cache/multiturn"):
        yield _measured(options.rows(file), stem(file))


def _measured(rows: Sequence[Mapping[str, Any]], data: str) -> Record:
    cache = SemanticCache(matcher=Gullible())
    histories = [_history(row) for row in rows]
    lasts = [str(row["last_turn"]) for row in rows]
    for history, last in zip(histories, lasts, strict=True):
        cache.store(_request(history, last), CachedAnswer(payload=_context(history)))
    crossed = asked = own = 0
    for place in watched(range(len(rows)), f"{data}: lookups"):
        hit = cache.lookup(_request(histories[place], lasts[place]))
        own += hit is not None and hit.answer.payload == _context(histories[place])
        crossed += hit is not None and hit.answer.payload != _context(histories[place])
        for step in range(1, _CROSSINGS + 1):
            # Other steps for other rows, so that near and far rows meet.
            history = histories[(place + step * (1 + place % 7)) % len(rows)]
            hit = cache.lookup(_request(history, lasts[place]))
            asked += 1
            crossed += hit is not None and hit.answer.payload != _context(history)
    return {
        "data": data,
        "system": "thrift",
        "n": len(rows) + asked,
        "cross_context_hits": crossed,
        "own_context_hits": own,
        "colliding_pairs": _colliding(histories, lasts),
        "blind_hits": _blind(histories, lasts),
    }


def _history(row: Mapping[str, Any]) -> tuple[Message, ...]:
    roles = {"user": "user", "agent": "assistant"}
    return tuple(Message(roles.get(turn["speaker"], "user"), turn["text"]) for turn in row["turns"][:-1])  # type: ignore[arg-type]


def _request(history: tuple[Message, ...], last: str) -> Request:
    return Request(messages=(*history, Message("user", last)), model="gpt-4.1-mini")


def _context(history: tuple[Message, ...]) -> str:
    return "|".join(f"{message.role}:{message.text}" for message in history) or "none"


def _colliding(histories: Sequence[tuple[Message, ...]], lasts: Sequence[str]) -> int:
    groups: dict[str, list[int]] = defaultdict(list)
    for place, last in enumerate(lasts):
        groups[normal_form(last)].append(place)
    return sum(
        histories[one] != histories[other]
        for group in groups.values()
        for one in group
        for other in group
        if one < other
    )


def _blind(histories: Sequence[tuple[Message, ...]], lasts: Sequence[str]) -> int:
    """Count what a key of the last turn alone would have answered out of another context, over the same lookups."""
    first: dict[str, tuple[Message, ...]] = {}
    for history, last in zip(histories, lasts, strict=True):
        first[normal_form(last)] = history
    wrong = 0
    for place, last in enumerate(lasts):
        found = first[normal_form(last)]
        wrong += found != histories[place]
        for step in range(1, _CROSSINGS + 1):
            wrong += found != histories[(place + step * (1 + place % 7)) % len(lasts)]
    return wrong
