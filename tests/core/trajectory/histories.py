"""Histories to test the trajectory summarizer on: small ones by hand, wild ones by Hypothesis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st
from thrift_core.messages import DropSpan, Edit, Message, Opaque, ReplaceText, ToolCall, apply_edits
from thrift_core.notation.writing import same
from thrift_core.prices import Pricing
from thrift_core.tokens import EstimatedCounter
from thrift_core.trajectory import blocks, view_once
from thrift_core.trajectory.read_back import ReadBack
from thrift_core.trajectory.results import parse
from thrift_core.trajectory.summarizer import SummarizerMode, TrajectorySummarizer


def prices(read: str = "0.1", write: str = "1.25") -> Pricing:
    """Return a price list with an uncached token at a dollar per million."""
    return Pricing(
        input=Decimal(1),
        cache_read=Decimal(read),
        cache_write_5m=Decimal(write),
        cache_write_1h=Decimal(2),
        output=Decimal(5),
        reasoning=Decimal(5),
    )


SCHEMES = (prices("1", "1"), prices("0.5", "1"), prices("0.25", "1"), prices("0.1", "1"), prices("0.1", "1.25"))


class RememberingCounter(EstimatedCounter):
    """Counts as thrift's estimate does, each text once: the same few texts come up in thousands of histories."""

    _count = staticmethod(lru_cache(maxsize=20_000)(EstimatedCounter().count))

    def count(self, text: str) -> int:
        return self._count(text)


def summarizer(mode: SummarizerMode = "append_only", **settings: Any) -> TrajectorySummarizer:
    """Return a summarizer with a counter that is quick and the same on every machine."""
    return TrajectorySummarizer(mode=mode, counter=RememberingCounter(), **settings)


def task(text: str = "Please sort out my orders.") -> list[Message]:
    """Return a system message long enough for a provider's cache, and a task."""
    return [Message("system", "You look after orders. " * 400), Message("user", text)]


def step(number: int, result: object, tool: str = "get_order", **arguments: Any) -> list[Message]:
    """Return a call of a tool and its result, JSON unless it is a text already."""
    text = result if isinstance(result, str) else json.dumps(result)
    call = ToolCall(tool, json.dumps(arguments or {"order_id": f"A-{number}"}), f"call_{number}")
    return [Message("assistant", "", (call,)), Message("tool", text, tool_call_id=f"call_{number}", name=tool)]


def order(number: int, **changes: Any) -> dict[str, Any]:
    """Return an order as a tool returns it."""
    return {
        "order_id": f"A-{number}",
        "customer": {"name": "Ada Lind", "email": "ada.lind@example.org", "is_member": True},
        "items": [
            {"sku": f"SKU-{number}{row}", "title": "Enamel mug", "quantity": row + 1, "price": 12.5} for row in range(3)
        ],
        "status": "shipped",
        "address": "Harbour Street 7",
        **changes,
    }


def sent(summary: TrajectorySummarizer, messages: Sequence[Message], pricing: Pricing | None = None) -> list[Message]:
    """Return what would be sent."""
    return list(apply_edits(messages, summary.plan(messages, pricing if pricing is not None else prices())))


def requests(messages: Sequence[Message]) -> list[Sequence[Message]]:
    """Return the history at each call that the messages tell of, and at the end."""
    return [messages[:at] for at, message in enumerate(messages) if at and message.role == "assistant"] + [messages]


def edits_as_text(edits: Sequence[Edit]) -> list[str]:
    """Return edits in a form that can be compared, money left out."""
    return [repr((type(edit).__name__, getattr(edit, "index", None), getattr(edit, "text", None))) for edit in edits]


def reads_back(messages: Sequence[Message], edits: Sequence[Edit]) -> bool:
    """Say whether each result that was shortened, not cut, is equal to what the tool said to who reads the request."""
    dropped = {at for edit in edits if isinstance(edit, DropSpan) for at in range(edit.start, edit.stop)}
    texts = {edit.index: edit.text for edit in edits if isinstance(edit, ReplaceText)}
    names: dict[str | None, str] = {}
    reader = ReadBack()
    for index, message in enumerate(messages):
        if message.role != "tool":
            names.update((call.id, call.name) for call in message.tool_calls if call.id is not None)
        text = texts.get(index, message.text)
        if index in dropped:
            continue
        if text.startswith(blocks.HEAD):
            reader = ReadBack()
        if message.role == "tool":
            said = reader.text(message.name or names.get(message.tool_call_id) or "tool", text)
            is_shortened = index in texts and not text.startswith((blocks.HEAD, view_once.HEAD))
            if is_shortened and not _says_the_same(said, message.text):
                return False
    return True


def _says_the_same(text: str, other: str) -> bool:
    return text == other or (parse(other) is not None and same(parse(text), parse(other)))


_IDS = st.sampled_from(["c1", "c2", "c3", "c4", "c1", None])
_TOOLS = st.sampled_from(["get_order", "search", "bash", "odd tool/name", ""])
_TEXTS = st.one_of(
    st.just(""),
    st.text(max_size=30),
    st.sampled_from(
        ["§", "§ a=1", "§= x", "§get_order#1 ", "§lines\nbash#1:1-2", "§cut, recall 0123456789: a", "[]", "{}"]
    ),
    st.builds(lambda n, rows: json.dumps([order(n)] * rows), st.integers(0, 3), st.integers(1, 6)),
    st.builds(lambda n: json.dumps(dict(reversed(order(n).items()))), st.integers(0, 3)),
    st.builds(lambda n, status: json.dumps(order(n, status=status)), st.integers(0, 3), st.sampled_from("abc")),
    st.builds(lambda n: "\n".join(f"{i}: some line of a file_{i % 7}.py" for i in range(n, n + 40)), st.integers(0, 9)),
)
_OPAQUE = st.lists(st.builds(Opaque, st.sampled_from(["image", "thinking", "audio"])), max_size=1).map(tuple)
_CALLS = st.lists(
    st.builds(ToolCall, _TOOLS, st.sampled_from(["{}", '{"order_id": "A-1"}', "not json"]), _IDS), max_size=3
)
_MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool", "tool", "assistant"]),
    _TEXTS,
    _CALLS.map(tuple),
    _IDS,
    st.one_of(st.none(), _TOOLS),
    _OPAQUE,
)


@st.composite
def _steps(draw: st.DrawFn) -> list[Message]:
    """Return a batch of parallel calls and their results, in any order."""
    ids = draw(st.lists(st.sampled_from([f"k{n}" for n in range(12)]), min_size=1, max_size=3, unique=True))
    arguments = st.integers(0, 5).map(lambda number: json.dumps({"order_id": f"A-{number}"}))
    calls = tuple(ToolCall(draw(_TOOLS), draw(arguments), name) for name in ids)
    return [Message("assistant", "", calls), *(Message("tool", draw(_TEXTS), tool_call_id=name) for name in ids)]


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Return any history at all: orderly ones, with stray messages in them, with or without a beginning."""
    messages = draw(st.sampled_from([[], task(), [Message("user", "Go on.")]]))
    for _ in range(draw(st.integers(0, 9))):
        kind = draw(st.integers(0, 6))
        if kind <= 3:
            messages = [*messages, *draw(_steps())]
        elif kind == 4:
            messages = [*messages, Message("assistant", "Done."), Message("user", f"Now order A-{len(messages)}.")]
        else:
            messages = [*messages, draw(_MESSAGES)]
    return messages
