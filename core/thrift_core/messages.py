"""The read-only view of a request that the levers see, and the edits they answer with.

An adapter builds the view from its framework's own objects, hands it to the levers, and applies the edits to those
objects. What the view marks `opaque` (media, thinking, signatures) is never edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, cast

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool that an assistant message asks for.

    Attributes:
        name: the tool's name.
        arguments: the arguments as JSON text, byte for byte as the model wrote them where that is known.
        id: joins the call to the tool message that answers it.
    """

    name: str
    arguments: str = "{}"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """A content block that levers may not touch, such as an image, a thinking block or a signature.

    Attributes:
        kind: `image`, `audio`, `video`, `file`, `thinking` or the framework's own name for the block.
        value: the native block, as given. Only its token count is ever read from it.
    """

    kind: str
    value: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the levers see it.

    Attributes:
        role: who speaks.
        text: the text of the message, all its text blocks joined by nothing.
        tool_calls: the calls an assistant message asks for, in order.
        tool_call_id: for a tool message, the call that it answers.
        name: the tool's name on a tool message, the speaker's elsewhere.
        opaque: blocks that may not be touched.
    """

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    opaque: tuple[Opaque, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What is about to be sent to a model, as the levers see it.

    Attributes:
        messages: the conversation in order, system messages included.
        model: the model's name as the provider spells it, if known.
        provider: the provider's id as genai-prices spells it (`openai`, `anthropic`, `google`...), if known.
        tools: tool definitions as JSON-schema dictionaries, in the order they are sent.
        max_output_tokens: the limit on the answer that the request carries, if it carries one.
        parameters: everything else that decides the answer (temperature, response format...).
    """

    messages: tuple[Message, ...]
    model: str | None = None
    provider: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    max_output_tokens: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change to the request that a lever proposes.

    Attributes:
        reason: why, in words a user can read.
        saved_tokens: tokens that the request loses by it, negative where it grows.
        saved_usd: dollars that it is predicted to save over the calls to come, cached prices included.
    """

    reason: str
    saved_tokens: int = 0
    saved_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceText(Edit):
    """Gives message `index` another text; its calls, ids and opaque blocks stay."""

    index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSpan(Edit):
    """Leaves out messages `start` up to but not including `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendBlock(Edit):
    """Adds a message after the last one."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheBreakpoint(Edit):
    """Marks the end of message `index` (-1: the tools) as the end of a cacheable prefix."""

    index: int
    ttl: Literal["5m", "1h"] = "5m"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceTools(Edit):
    """Sends the same tools, in the same order, as other definitions."""

    tools: tuple[Mapping[str, Any], ...]


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool definition in OpenAI's, Anthropic's, Gemini's or Bedrock's shape, or ''."""
    for inner in (tool, tool.get("function"), tool.get("toolSpec")):
        if isinstance(inner, Mapping):
            name = cast("Mapping[str, object]", inner).get("name")
            if isinstance(name, str):
                return name
    return ""


def apply_edits(messages: Sequence[Message], edits: Sequence[Edit]) -> tuple[Message, ...]:
    """Return the messages with the edits applied; indices refer to the messages as given.

    Raises:
        ValueError: an index lies outside the messages, two edits change the same message, or the result would
            answer a tool call that is not there or leave one unanswered that was answered.
    """
    out: list[Message | None] = list(messages)
    added: list[Message] = []
    touched: set[int] = set()
    for edit in edits:
        match edit:
            case ReplaceText():
                _touch([edit.index], touched, len(messages), edit)
                out[edit.index] = _with_text(messages[edit.index], edit.text)
            case DropSpan():
                if edit.start >= edit.stop:
                    raise ValueError(f"DropSpan from {edit.start} to {edit.stop} drops nothing")
                _touch(range(edit.start, edit.stop), touched, len(messages), edit)
                out[edit.start : edit.stop] = [None] * (edit.stop - edit.start)
            case AppendBlock():
                added.append(edit.message)
            case CacheBreakpoint():
                _check_index(edit.index, len(messages), edit, least=-1)
            case ReplaceTools():
                pass  # no message changes
            case _:
                raise ValueError(f"unknown edit {type(edit).__name__}")
    result = tuple(message for message in out if message is not None) + tuple(added)
    _check_pairs(messages, out, result)
    return result


def unpaired_calls(messages: Sequence[Message]) -> tuple[frozenset[str], frozenset[str]]:
    """Return ids of tool calls of which one has no answer, and ids of answers without a call before them.

    An id may come up again: an answer is that of the last call of its id that waits for one.
    """
    _, waiting, orphans = _paired(messages)
    return frozenset(name for name, calls in waiting.items() if calls), frozenset(orphans)


def _paired(messages: Sequence[Message]) -> tuple[list[tuple[int, int]], dict[str, list[int]], set[str]]:
    """Return where each answered call and its answer stand, the calls that wait by id, and ids of stray answers."""
    pairs: list[tuple[int, int]] = []
    waiting: dict[str, list[int]] = {}
    orphans: set[str] = set()
    for index, message in enumerate(messages):
        for call in message.tool_calls:
            if call.id is not None:
                waiting.setdefault(call.id, []).append(index)
        if message.role == "tool" and message.tool_call_id is not None:
            if calls := waiting.get(message.tool_call_id):
                pairs.append((calls.pop(), index))
            else:
                orphans.add(message.tool_call_id)
    return pairs, waiting, orphans


def _with_text(message: Message, text: str) -> Message:
    # What `dataclasses.replace` does, at a quarter of the time: histories have thousands of edits.
    return Message(message.role, text, message.tool_calls, message.tool_call_id, message.name, message.opaque)


def _touch(indices: Iterable[int], touched: set[int], count: int, edit: Edit) -> None:
    for index in indices:
        _check_index(index, count, edit)
        if index in touched:
            raise ValueError(f"two edits change message {index}")
        touched.add(index)


def _check_index(index: int, count: int, edit: Edit, *, least: int = 0) -> None:
    if not least <= index < count:
        raise ValueError(f"{type(edit).__name__} points at message {index}, but there are {count}")


def _check_pairs(before: Sequence[Message], kept: Sequence[Message | None], after: Sequence[Message]) -> None:
    """Refuse to keep an answer without its call, or a call without the answer that it had."""
    pairs, waiting, orphans = _paired(before)
    broken = {
        str(before[answer].tool_call_id) for call, answer in pairs if (kept[call] is None) != (kept[answer] is None)
    }
    if len(after) > sum(message is not None for message in kept):
        open_after, orphans_after = unpaired_calls(after)
        broken |= {name for name in open_after if not waiting.get(name)} | (orphans_after - orphans)
    if broken:
        raise ValueError(f"edits separate tool calls from their results: {', '.join(sorted(broken))}")
