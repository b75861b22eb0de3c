"""A request as its provider's cache sees it: tools, system, messages, each with the hash of all that comes before."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

from thrift_core.caching.provider_rules import CacheRules, Level
from thrift_core.messages import Message, Opaque, Request, tool_name

# Three tokens frame a message (OpenAI cookbook, "How to count tokens with tiktoken"); an image of usual size is billed
# at about 1,000 to 1,600 tokens by every provider; other opaque blocks are counted by their text.
_FRAME_TOKENS = 3
_IMAGE_TOKENS = 1200
_CHARACTERS_PER_TOKEN = 4
_TOOLS_INDEX = -1


class TextCounter(Protocol):
    """Counts the tokens of a text; `thrift_core.tokens.TokenCounter` is one."""

    def count(self, text: str) -> int:
        """Return how many tokens the text has."""
        ...


class Segment(NamedTuple):
    """A stretch of the prefix at whose end a marker can stand.

    Attributes:
        points_at: what a `CacheBreakpoint` at its end would point at: -1 for the tools, else the message.
        place: `tools`, or the message's role.
        digest: stands for everything up to the segment's end, byte for byte.
        end_tokens: tokens from the start of the request to the segment's end.
        end_blocks: content blocks up to there.
        is_markable: a marker may stand at its end.
    """

    points_at: int
    place: str
    digest: bytes
    end_tokens: int
    end_blocks: int
    is_markable: bool


@dataclass(frozen=True, slots=True)
class Prefix:
    """A rendered request.

    Attributes:
        segments: in the order in which the provider reads them.
        fixed: how many leading segments are tools and system.
        keys: one hash per segment after the fixed ones, for comparing requests; not stable between processes.
        fixed_digest: stands for tools, system and everything else that must be equal for two requests to share a
            conversation.
    """

    segments: list[Segment]
    fixed: int
    keys: list[int]
    fixed_digest: bytes

    @property
    def tokens(self) -> int:
        """How many tokens the request has."""
        return self.segments[-1].end_tokens if self.segments else 0

    @property
    def digest(self) -> bytes:
        """Stands for the whole request."""
        return self.segments[-1].digest if self.segments else self.fixed_digest


Recall = Callable[[bytes, list[int]], Prefix | None]


@dataclass(slots=True)
class _Counts:
    """Token counts by content, the oldest forgotten first."""

    most: int
    by_digest: OrderedDict[bytes, int] = field(default_factory=OrderedDict[bytes, int])

    def get(self, digest: bytes) -> int | None:
        return self.by_digest.get(digest)

    def put(self, digest: bytes, tokens: int) -> int:
        self.by_digest[digest] = tokens
        if len(self.by_digest) > self.most:
            self.by_digest.popitem(last=False)
        return tokens


def canonical_json(value: Any) -> str:
    """Return JSON text that is the same for equal values: keys sorted, no blanks, arrays in their own order.

    Example:
        >>> canonical_json({"b": [2, 1], "a": {"d": 1, "c": "é"}})
        '{"a":{"c":"é","d":1},"b":[2,1]}'
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=repr)


def canonical_tools(tools: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return tool definitions in an order that does not depend on how they were registered, their keys sorted.

    A set of tools that comes in another order, or with its keys in another order, voids the whole cached prefix.
    Sorted by name; arrays inside a schema (`required`, `enum`) keep their order, which may carry meaning.
    """
    return tuple(
        sorted((_sorted_keys(tool) for tool in tools), key=lambda tool: (tool_name(tool), canonical_json(tool)))
    )


class PrefixRenderer:
    """Renders requests; each text is counted once while it is remembered.

    Args:
        counter: counts tokens; None: the default counter of `thrift_core.tokens`.
        max_remembered: how many counts are kept.
    """

    def __init__(self, counter: TextCounter | None = None, *, max_remembered: int = 16384) -> None:
        self._counter = counter
        self._counts = _Counts(max_remembered)

    def render(self, request: Request, rules: CacheRules, *, recall: Recall | None = None) -> Prefix:
        """Return the request as the provider's cache sees it.

        Args:
            request: what is about to be sent.
            rules: the provider's rules.
            recall: finds the rendering of an earlier request of the same conversation, given what both have in common
                before the messages and one key per message; its shared start is taken over, not hashed again.
        """
        fixed, chain = self._fixed(request, rules)
        fixed_digest = chain
        rest = [(i, m) for i, m in enumerate(request.messages) if not (rules.hoists_system and m.role == "system")]
        if not rules.hoists_system:
            # Leading system messages are part of what conversations share, also where the provider does not hoist them.
            lead = next((n for n, (_, m) in enumerate(rest) if m.role != "system"), len(rest))
            for index, message in rest[:lead]:
                chain = self._append(fixed, chain, index, message, rules)
            fixed_digest = chain
            rest = rest[lead:]
        keys = [_key(message) for _, message in rest]
        segments = list(fixed)
        shared = 0
        known = recall(fixed_digest, keys) if recall is not None and keys else None
        if known is not None and known.fixed_digest == fixed_digest:
            shared = common_start(keys, known.keys)
        if known is not None and shared:
            segments += known.segments[known.fixed : known.fixed + shared]
            chain = segments[-1].digest
        for index, message in rest[shared:]:
            chain = self._append(segments, chain, index, message, rules)
        return Prefix(segments, len(fixed), keys, fixed_digest)

    def _fixed(self, request: Request, rules: CacheRules) -> tuple[list[Segment], bytes]:
        segments: list[Segment] = []
        chain = _digest(b"", repr((rules.provider, request.model)), _salt(request, rules, "tools"))
        if request.tools:
            # As sent, not canonical: another order of tools is another prefix.
            text = json.dumps(request.tools, ensure_ascii=False, separators=(",", ":"), default=repr)
            chain = _digest(chain, text)
            tokens = self._counts.get(chain)
            if tokens is None:
                tokens = self._counts.put(chain, self._count(text))
            can_mark = "tools" in rules.marks
            segments.append(Segment(_TOOLS_INDEX, "tools", chain, tokens, len(request.tools), can_mark))
        if salt := _salt(request, rules, "system"):
            chain = _digest(chain, salt)
        if rules.hoists_system:
            for index, message in enumerate(request.messages):
                if message.role == "system":
                    chain = self._append(segments, chain, index, message, rules)
        salt = _salt(request, rules, "messages")
        if rules.images_void_messages and any(b.kind == "image" for m in request.messages for b in m.opaque):
            salt += "images"
        return segments, _digest(chain, salt) if salt else chain

    def _append(self, segments: list[Segment], chain: bytes, index: int, message: Message, rules: CacheRules) -> bytes:
        own = _own_digest(message)
        tokens = self._counts.get(own)
        if tokens is None:
            tokens = self._counts.put(own, self._message_tokens(message))
        chain = hashlib.blake2b(chain + own, digest_size=16).digest()
        start_tokens, start_blocks = (segments[-1].end_tokens, segments[-1].end_blocks) if segments else (0, 0)
        segments.append(
            Segment(
                index,
                message.role,
                chain,
                start_tokens + tokens,
                start_blocks + _blocks(message),
                _is_markable(message, rules),
            )
        )
        return chain

    def _message_tokens(self, message: Message) -> int:
        tokens = _FRAME_TOKENS + self._count(message.text)
        for call in message.tool_calls:
            tokens += _FRAME_TOKENS + self._count(call.name) + self._count(call.arguments)
        return tokens + sum(self._opaque_tokens(block) for block in message.opaque)

    def _opaque_tokens(self, block: Opaque) -> int:
        if block.kind == "image":
            return _IMAGE_TOKENS
        return max(1, len(json.dumps(block.value, default=repr)) // _CHARACTERS_PER_TOKEN)

    def prepare(self) -> TextCounter:
        """Return the token counter; the default one takes a second to load."""
        if self._counter is None:
            from thrift_core.tokens import default_counter  # noqa: PLC0415 - loads an encoding, on first use only

            self._counter = default_counter()
        return self._counter

    def _count(self, text: str) -> int:
        return self.prepare().count(text) if text else 0


def _salt(request: Request, rules: CacheRules, level: Level) -> str:
    given = {
        name: request.parameters[name]
        for name, at in rules.voided_by.items()
        if at == level and name in request.parameters
    }
    return canonical_json(given) if given else ""


def common_start(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Return the length of the common start of two lists of keys."""
    least = min(len(ours), len(theirs))
    if ours[:least] == theirs[:least]:
        return least
    return next(n for n in range(least) if ours[n] != theirs[n])


def _key(message: Message) -> int:
    # A text's hash is remembered by Python, so this does not read old messages again.
    if not message.opaque:
        return hash(message)
    return hash((message, tuple(_frozen(block.value) for block in message.opaque)))


def _frozen(value: object) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((k, _frozen(v)) for k, v in cast("Mapping[object, object]", value).items())
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in cast("Sequence[object]", value))
    return value if isinstance(value, str | bytes | int | float | None) else repr(value)


def _own_digest(message: Message) -> bytes:
    own = hashlib.blake2b(digest_size=16)
    parts: list[str] = [message.role, message.text, message.tool_call_id or "", message.name or ""]
    for call in message.tool_calls:
        parts += (call.name, call.arguments, call.id or "")
    for block in message.opaque:
        parts += (block.kind, json.dumps(block.value, default=repr))
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        own.update(len(data).to_bytes(8, "big"))
        own.update(data)
    return own.digest()


def _digest(chain: bytes, *texts: str) -> bytes:
    joined = hashlib.blake2b(chain, digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        joined.update(len(data).to_bytes(8, "big"))
        joined.update(data)
    return joined.digest()


def _blocks(message: Message) -> int:
    return max(1, bool(message.text) + len(message.tool_calls) + len(message.opaque))


def _is_markable(message: Message, rules: CacheRules) -> bool:
    """Return whether a marker may stand at the message's end; an empty text or a thinking block cannot carry one."""
    if message.role not in rules.marks:
        return False
    return (
        message.role == "tool"
        or bool(message.text.strip())
        or bool(message.tool_calls)
        or any(block.kind not in rules.unmarkable_blocks for block in message.opaque)
    )


def _sorted_keys(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", _sorted(tool))


def _sorted(value: object) -> object:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value)
        return {key: _sorted(items[key]) for key in sorted(items, key=str)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in cast("Sequence[object]", value)]
    return value
