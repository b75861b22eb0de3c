"""LlamaIndex messages for the histories that the core's fuzzer draws, in all the shapes that clients give them."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from thrift_core.messages import Message, ToolCall

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def native_history(messages: list[Message], random: Random) -> list[ChatMessage]:
    """Return the messages as LlamaIndex has them."""
    return [native_message(message, random) for message in messages]


def native_message(message: Message, random: Random) -> ChatMessage:
    """Return one message: calls as blocks or beside them, arguments parsed or not, text in one block, two or none."""
    more: dict[str, Any] = {"kept": {"by": ["the", "app"]}} if random.random() < 0.2 else {}
    if message.tool_call_id is not None:
        more["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        more["name"] = message.name
    blocks: list[ContentBlock] = [_opaque(block.kind) for block in message.opaque]
    blocks += _texts(message.text, random)
    if message.tool_calls and random.random() < 0.3:
        more["tool_calls"] = [_beside(call) for call in message.tool_calls]
    else:
        blocks += [_block(call, random) for call in message.tool_calls]
    return ChatMessage(role=MessageRole(message.role), blocks=blocks, additional_kwargs=more)


def _texts(text: str, random: Random) -> list[ContentBlock]:
    if not text and random.random() < 0.5:
        return []
    cut = random.randint(0, len(text)) if random.random() < 0.1 else 0
    return [TextBlock(text=part) for part in ((text[:cut], text[cut:]) if cut else (text,))]


def _opaque(kind: str) -> ContentBlock:
    if kind == "image":
        return ImageBlock(image=PIXEL, image_mimetype="image/gif")
    if kind == "audio":
        return AudioBlock(audio=b"AAAA", format="wav")
    return ThinkingBlock(content="hm", additional_information={"signature": "s1gned"})


def _block(call: ToolCall, random: Random) -> ToolCallBlock:
    arguments: Any = call.arguments
    if random.random() < 0.5 and arguments.startswith("{"):
        arguments = json.loads(arguments)
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=arguments)


def _beside(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
