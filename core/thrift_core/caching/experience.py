"""What the planner remembers of past calls: conversations, and how those like them went on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from thrift_core.caching.prefix import Prefix, common_start
from thrift_core.caching.provider_rules import CacheRules
from thrift_core.caching.reuse import Odds, OpenCalls, SharedUse, VolatileTail
from thrift_core.messages import Request

# A conversation goes on also where its last few messages were replaced, as by a summarizer.
_MAX_REPLACED = 4
_CANDIDATES = 8
_PRIOR_OF_MANAGED = 0.9


@dataclass(slots=True)
class Conversation:
    """A conversation as its last call left it.

    Attributes:
        id: tells it from all others of this planner.
        prefix: its last request.
        at: when that was sent, in seconds.
        soon: how often it went on within the shortest cache life.
        not_soon: how often it did not.
    """

    id: int
    prefix: Prefix
    at: float = 0.0
    soon: int = 0
    not_soon: int = 0


@dataclass(slots=True)
class Family:
    """What was learned from all conversations with one model and one set of tools."""

    odds: dict[tuple[str, bool], Odds] = field(default_factory=dict[tuple[str, bool], Odds])
    all_calls: Odds = field(default_factory=lambda: Odds(0.5))
    system: SharedUse = field(default_factory=SharedUse)
    tools: SharedUse = field(default_factory=SharedUse)
    tails: dict[str, VolatileTail] = field(default_factory=dict[str, VolatileTail])


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it is looked at: what it is, and whose it is.

    Attributes:
        request: the request.
        rules: the provider's rules.
        prefix: the request as the provider's cache sees it.
        conversation: the conversation that it carries on, None for a new one.
        family: what is known of its like.
        now: seconds.
    """

    request: Request
    rules: CacheRules
    prefix: Prefix
    conversation: Conversation | None
    family: Family
    now: float


class Experience:
    """Remembers conversations and counts how they go on; the least recently used are forgotten.

    Args:
        max_conversations: how many conversations, and how many families of them, are remembered.
    """

    def __init__(self, max_conversations: int) -> None:
        self._max_conversations = max_conversations
        self._open_calls = OpenCalls()
        self._conversations: OrderedDict[int, Conversation] = OrderedDict()
        self._by_opening: OrderedDict[Hashable, list[int]] = OrderedDict()
        self._families: OrderedDict[Hashable, Family] = OrderedDict()
        self._shared_used_at: OrderedDict[bytes, float] = OrderedDict()
        self._next_id = 0

    def most_alike(self, fixed_digest: bytes, keys: list[int]) -> Conversation | None:
        """Return the conversation that shares most with the request; of equals the one that was used last."""
        best: Conversation | None = None
        best_rank = (False, 0)
        for identity in reversed(self._by_opening.get((fixed_digest, keys[0]), ())):
            conversation = self._conversations.get(identity)
            if conversation is None:
                continue
            theirs = conversation.prefix.keys
            rank = (goes_on(keys, theirs), common_start(keys, theirs))
            if rank > best_rank:
                best, best_rank = conversation, rank
        return best

    def family(self, key: Hashable) -> Family:
        """Return what is known of conversations with this model and these tools."""
        family = self._families.pop(key, None) or Family()
        self._families[key] = family
        if len(self._families) > self._max_conversations:
            self._families.popitem(last=False)
        return family

    def learn(self, seen: Seen) -> None:
        """Count what this request says about the calls before it."""
        self._open_calls.settle(seen.now)
        conversation = seen.conversation
        if conversation is not None:
            is_soon = self._open_calls.go_on(conversation.id, seen.now)
            conversation.soon += is_soon is True
            conversation.not_soon += is_soon is False
            theirs = conversation.prefix.keys
            depth = len(theirs) - common_start(seen.prefix.keys, theirs)
            last_role = conversation.prefix.segments[-1].place
            seen.family.tails.setdefault(last_role, VolatileTail()).depths.append(depth)
        self._learn_shared(seen)
        for segment in seen.prefix.segments[: seen.prefix.fixed]:
            self._shared_used_at[segment.digest] = seen.now
            self._shared_used_at.move_to_end(segment.digest)
        while len(self._shared_used_at) > 4 * self._max_conversations:
            self._shared_used_at.popitem(last=False)

    def _learn_shared(self, seen: Seen) -> None:
        """Count a call against what it shares with earlier ones: the system prompt, or else the tools."""
        lives = _lives(seen.rules)
        is_further = seen.conversation is None
        fixed = seen.prefix.segments[: seen.prefix.fixed]
        if not fixed:
            return
        used_at = self._shared_used_at.get(fixed[-1].digest)
        seen.family.system.note(None if used_at is None else seen.now - used_at, lives, is_further=is_further)
        # Where the system prompt is known, the tools by themselves are of no further use.
        tools_used_at = self._shared_used_at.get(fixed[0].digest) if used_at is None else None
        gap = None if tools_used_at is None else seen.now - tools_used_at
        seen.family.tools.note(gap, lives, is_further=is_further)

    def odds(self, seen: Seen) -> Odds:
        """Return what is known of conversations that stand where this one stands."""
        last = seen.prefix.segments[-1].place
        has_history = any(message.role == "assistant" for message in seen.request.messages)
        kind = (last, has_history)
        odds = seen.family.odds.get(kind)
        if odds is None:
            if seen.rules.style == "managed":
                # Left to itself the provider writes everything, so not to write is the bet that needs proof.
                odds = Odds(_PRIOR_OF_MANAGED, seen.family.all_calls, open_weight=0.0)
                seen.family.all_calls.open_weight = 0.0
            else:
                odds = Odds(_prior(last, has_history, has_tools=bool(seen.request.tools)), seen.family.all_calls)
            seen.family.odds[kind] = odds
        return odds

    def note_sent(self, seen: Seen, odds: Odds) -> None:
        """Remember that a request was sent and may be followed by another."""
        conversation = seen.conversation
        if conversation is None:
            conversation = self._new_conversation(seen.prefix)
        conversation.prefix, conversation.at = seen.prefix, seen.now
        self._conversations.move_to_end(conversation.id)
        self._open_calls.begin(conversation.id, odds, seen.now, _lives(seen.rules))

    def _new_conversation(self, prefix: Prefix) -> Conversation:
        conversation = Conversation(self._next_id, prefix)
        self._next_id += 1
        self._conversations[conversation.id] = conversation
        if len(self._conversations) > self._max_conversations:
            self._conversations.popitem(last=False)
        if prefix.keys:
            opening = (prefix.fixed_digest, prefix.keys[0])
            alike = self._by_opening.pop(opening, [])
            self._by_opening[opening] = [*alike[-(_CANDIDATES - 1) :], conversation.id]
            if len(self._by_opening) > self._max_conversations:
                self._by_opening.popitem(last=False)
        return conversation


def goes_on(ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """Return whether a request carries on a conversation of which only the last few messages may have been replaced."""
    return len(ours) >= len(theirs) and common_start(ours, theirs) >= max(1, len(theirs) - _MAX_REPLACED)


def _lives(rules: CacheRules) -> tuple[float, float]:
    return float(rules.shortest.seconds), float(rules.longest.seconds)


def _prior(last: str, has_history: bool, *, has_tools: bool) -> float:
    """Return the chance that a conversation goes on soon, before any was seen.

    A tool's result is followed by another call unless the answer is the last; a first question without tools is mostly
    asked once.
    """
    if last == "tool":
        return 0.9
    if has_tools:
        return 0.8
    return 0.6 if has_history else 0.15
