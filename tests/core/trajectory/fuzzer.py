"""Draws histories by the hundred thousand, faster and longer than Hypothesis would."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from thrift_core.messages import Message, Opaque, ToolCall

from tests.core.trajectory.histories import order, task

_TOOLS = ("get_order", "search", "bash", "odd tool/name")
_STATES = ("shipped", "late", "lost", "paid")


def draw_history(random: Random, *, longest: int = 40) -> list[Message]:
    """Return a history: tasks, batches of calls, talk, and now and then something that should not be there."""
    is_wild = random.random() < 0.5
    messages = [] if random.random() < 0.1 else task(f"Order A-{random.randint(0, 9)} please.")
    if random.random() < 0.3:
        messages = messages[1:]
    for _ in range(random.randint(0, longest)):
        kind = random.random()
        if is_wild and kind < 0.15:
            messages.append(_stray(random))
        elif kind < 0.8:
            messages.extend(_batch(random, len(messages)))
        else:
            messages.append(Message("assistant", f"Order A-{random.randint(0, 9)} costs {random.randint(1, 999)}."))
            messages.append(Message("user", f"And order A-{random.randint(0, 9)}?"))
    return messages[: random.randint(0, len(messages))] if random.random() < 0.3 else messages


def _batch(random: Random, at: int) -> list[Message]:
    count = 1 if random.random() < 0.7 else random.randint(2, 4)
    ids = [f"c{random.randint(0, 5)}x{row}" if random.random() < 0.3 else f"c{at}-{row}" for row in range(count)]
    calls = tuple(
        ToolCall(random.choice(_TOOLS), json.dumps({"order_id": f"A-{random.randint(0, 9)}"}), name) for name in ids
    )
    results = [
        Message("tool", _text(random), tool_call_id=name, name=call.name if random.random() < 0.5 else None)
        for name, call in zip(ids, calls, strict=True)
    ]
    random.shuffle(results)
    opaque = (Opaque("thinking"),) if random.random() < 0.02 else ()
    return [Message("assistant", "", calls, opaque=opaque), *results]


def _stray(random: Random) -> Message:
    kind = random.randint(0, 5)
    if kind == 0:
        return Message("tool", _text(random), tool_call_id=f"c{random.randint(0, 5)}x0")
    if kind == 1:
        return Message("assistant", "", (ToolCall("search", "{}", f"c{random.randint(0, 5)}x0"),))
    if kind == 2:
        return Message("user", "", opaque=(Opaque("image"),))
    if kind == 3:
        return Message("assistant", "", (ToolCall("search", "not json", None), ToolCall("search", "{}", "c1x0")))
    return Message("tool", "", tool_call_id=None) if kind == 4 else Message("system", "Be brief.")


def _order(number: int, **changes: str) -> dict[str, Any]:
    """Return an order; some tools give its fields in another order."""
    fields = order(number, **changes)
    return dict(reversed(fields.items())) if number >= 7 else fields


def _text(random: Random) -> str:
    kind = random.randint(0, 7)
    if kind <= 2:
        return json.dumps(_order(random.randint(0, 9), status=random.choice(_STATES)))
    if kind == 3:
        return json.dumps(
            [_order(random.randint(0, 9)) for _ in range(random.randint(0, 8))], indent=random.choice((None, 2))
        )
    if kind == 4:
        start = random.randint(1, 30)
        return "\n".join(f"{line}:    value_{line % 11} = compute({line % 7})" for line in range(start, start + 60))
    if kind == 5:
        return "word " * random.randint(0, 900)
    return random.choice(
        ("", "[]", "not found", "§ a=1", "§get_order#1 ", "§cut, recall 0123456789: x", "\ud800", "null")
    )
