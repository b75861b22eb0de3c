"""Wild histories of LangChain messages: what agents, resumed threads and careless apps can hand to a middleware."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
THINKING: dict[str, Any] = {"type": "thinking", "thinking": "hmm", "signature": "s"}
REASONING: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
_WORDS = (
    "order",
    "parcel",
    "lamp",
    "harbour",
    "A-001",
    "A-002",
    "2026-01-02",
    "shipped",
    "ann@example.org",
    "12.5",
    "yes",
)
_TOOLS = ("get_order", "search", "read log", "")


def draw_history(chance: Random) -> list[BaseMessage]:
    """Return a history: mostly a task and steps of an agent, some of it out of order."""
    messages: list[BaseMessage] = []
    if chance.random() < 0.7:
        messages.append(SystemMessage("Be kind to customers. " * chance.choice((1, 30, 300))))
    messages.append(HumanMessage(_content(chance, _text(chance, 12))))
    for number in range(chance.choice((0, 1, 3, 6, 10))):
        messages += _step(chance, number)
        if chance.random() < 0.25:
            messages += [AIMessage(_text(chance, 8)), HumanMessage(_content(chance, _text(chance, 8)))]
    for at, message in enumerate(messages):
        if chance.random() < 0.7:
            message.id = f"m{at}"
    if chance.random() < 0.15:
        # A thread that was cut by hand: results without calls, calls without results.
        del messages[chance.randrange(len(messages))]
    return messages


def _step(chance: Random, number: int) -> list[BaseMessage]:
    if chance.random() < 0.05:
        odd: list[BaseMessage] = [
            ChatMessage("Go on.", role="narrator"),
            FunctionMessage("x", name="f"),
            SystemMessage("Hm."),
        ]
        return [chance.choice(odd)]
    count = chance.choice((1, 1, 1, 2, 3))
    # Some providers use the same ids again in each turn.
    ids = [f"c{n}" if chance.random() < 0.1 else f"c{number}-{n}" for n in range(count)]
    names = [chance.choice(_TOOLS) for _ in ids]
    calls: list[Any] = [
        {"name": name, "args": {"order_id": chance.choice(_WORDS)}, "id": id_}
        for name, id_ in zip(names, ids, strict=True)
    ]
    blocks: list[Any] = [chance.choice((THINKING, REASONING))] if chance.random() < 0.1 else []
    if blocks or chance.random() < 0.2:
        # As Anthropic's client gives them: text and calls as blocks, too.
        blocks += [{"type": "text", "text": "Let me see."}]
        blocks += [
            {"type": "tool_use", "id": item["id"], "name": item["name"], "input": item["args"]} for item in calls
        ]
    kind = AIMessageChunk if chance.random() < 0.1 else AIMessage
    bad: list[Any] = [{"name": None, "args": "{bro", "id": "bad", "error": None}] if chance.random() < 0.03 else []
    asked = kind(blocks or _text(chance, 3), tool_calls=calls, invalid_tool_calls=bad)
    answers = [_result(chance, item) for item in calls]
    if chance.random() < 0.1:
        chance.shuffle(answers)
    return [asked, *answers]


def _result(chance: Random, asked: Any) -> BaseMessage:
    text = chance.choice((_order, _rows, _log, _text))(chance, 40)
    content = _content(chance, text)
    status: Any = "error" if chance.random() < 0.05 else "success"
    return ToolMessage(content, tool_call_id=asked["id"], name=asked["name"] or None, artifact=object(), status=status)


def _content(chance: Random, text: str) -> Any:
    """Return text as it is, as blocks, or with a picture."""
    draw = chance.random()
    if draw < 0.8:
        return text
    blocks: list[Any] = [{"type": "text", "text": text}, chance.choice(_WORDS)]
    return [*blocks, IMAGE] if draw < 0.9 else blocks if draw < 0.97 else [IMAGE]


def _text(chance: Random, most: int) -> str:
    return " ".join(chance.choices(_WORDS, k=chance.randrange(most)))


def _order(chance: Random, most: int) -> str:
    return json.dumps(
        {"order_id": chance.choice(_WORDS), "items": [_row(chance) for _ in range(most // 8)], "is_open": True}
    )


def _rows(chance: Random, most: int) -> str:
    return json.dumps([_row(chance) for _ in range(most // 2)])


def _log(chance: Random, most: int) -> str:
    return "\n".join(f"{_text(chance, 6)} done" for _ in range(most))


def _row(chance: Random) -> dict[str, Any]:
    return {"sku": f"SKU-{chance.randrange(99)}", "title": chance.choice(_WORDS), "quantity": chance.randrange(9)}
