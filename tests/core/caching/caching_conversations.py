"""Small conversations, and a counter that counts words."""

from __future__ import annotations

from typing import Any

from thrift_core.messages import Message, Request, ToolCall

TOOL: dict[str, Any] = {"name": "look_up", "description": "finds a record " * 400, "input_schema": {"type": "object"}}
SYSTEM = Message("system", "a rule of the house " * 400)


class Words:
    """One token per word."""

    def count(self, text: str) -> int:
        return len(text.split())


def loop(steps: int, *, task: str = "find it", words: int = 100, system: Message = SYSTEM) -> list[tuple[Message, ...]]:
    """Return the messages of each call of an agent's loop."""
    messages = [system, Message("user", f"{task} " * 20)]
    calls = [tuple(messages)]
    for step in range(steps - 1):
        call = ToolCall("look_up", f'{{"step": {step}}}', f"call_{step}")
        messages += [
            Message("assistant", "", (call,)),
            Message("tool", f"value{step} " * words, tool_call_id=call.id),
        ]
        calls.append(tuple(messages))
    return calls


def request(
    messages: tuple[Message, ...], *, model: str = "claude-sonnet-5", provider: str = "anthropic", **given: Any
) -> Request:
    """Return a request with one tool unless told otherwise."""
    return Request(messages, model=model, provider=provider, tools=given.pop("tools", (TOOL,)), **given)
