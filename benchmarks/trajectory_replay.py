"""Replays a recorded run through a policy and works out what it would have cost.

The replay is teacher-forced: whatever the policy sends, the recording goes on as it was. So it measures money and what
later steps still need, never whether the model would have done the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from thrift_core.messages import Message, unpaired_calls

from benchmarks.trajectory_data import Trajectory
from benchmarks.trajectory_losses import Losses, find_losses

MINIMUM_CACHED = 1024
LOOK_BACK = 6


@dataclass(frozen=True, slots=True)
class Scheme:
    """Prices of a token read from the cache and of one written to it, an uncached token costing 1."""

    name: str
    read: float
    write: float


SCHEMES = (
    Scheme("none", 1.0, 1.0),
    Scheme("r0.5", 0.5, 1.0),
    Scheme("r0.25", 0.25, 1.0),
    Scheme("r0.1", 0.1, 1.0),
    Scheme("w1.25_r0.1", 0.1, 1.25),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a policy sends at one call.

    Attributes:
        messages: the request's messages.
        also_read: what the policy had another model read for it, at the uncached price.
        also_written: what the other model wrote, at five times that price.
        tool_tokens: tokens of tools that the policy adds to each request.
        recallable: the texts that one recall would return, given the handles in this request.
    """

    messages: Sequence[Message]
    also_read: str = ""
    also_written: str = ""
    tool_tokens: int = 0
    recallable: Sequence[str] = ()


Policy = Callable[[tuple[Message, ...]], Sent]
OUTPUT_PRICE = 5.0


@dataclass(slots=True)
class Outcome:
    """What a replay came to: tokens by price class for each call, and what was lost."""

    fresh: int = 0
    cached: int = 0
    extra: float = 0.0
    calls: int = 0
    invalid: int = 0
    losses: Losses = field(default_factory=Losses)
    milliseconds: list[float] = field(default_factory=list)

    def cost(self, scheme: Scheme) -> float:
        """Return the input bill in tokens at the uncached price."""
        if scheme.read == scheme.write:
            return self.fresh + self.cached + self.extra
        return scheme.read * self.cached + scheme.write * self.fresh + self.extra


class Sizes:
    """Token counts of messages, each text counted once."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._texts: dict[str, int] = {}

    def text(self, text: str) -> int:
        """Return the tokens of a text."""
        if text not in self._texts:
            self._texts[text] = self._count(text)
        return self._texts[text]

    def message(self, message: Message) -> int:
        """Return the tokens of a message: its text, its calls' names and arguments, four for the frame."""
        calls = sum(self.text(call.name) + self.text(call.arguments) for call in message.tool_calls)
        return self.text(message.text) + calls + 4


def replay(run: Trajectory, policy: Policy, sizes: Sizes, *, with_losses: bool = True) -> Outcome:
    """Return what it costs to run the recording through the policy."""
    outcome = Outcome()
    recent: deque[Sequence[Message]] = deque(maxlen=LOOK_BACK)
    tool_tokens = sizes.text(run.tools) if run.tools else 0
    seen = 0
    for at in run.calls:
        history = run.messages[:at]
        begin = time.thread_time()
        sent = policy(history)
        outcome.milliseconds.append((time.thread_time() - begin) * 1000 / max(1, at - seen))
        seen = at
        static = tool_tokens + sent.tool_tokens
        counts = [sizes.message(message) for message in sent.messages]
        shared = max((_common(sent.messages, earlier) for earlier in recent), default=-1)
        cached = static + sum(counts[:shared]) if shared >= 0 else 0
        cached = cached if cached >= MINIMUM_CACHED else 0
        outcome.cached += cached
        outcome.fresh += static + sum(counts) - cached
        outcome.extra += sizes.text(sent.also_read) + OUTPUT_PRICE * sizes.text(sent.also_written)
        outcome.calls += 1
        outcome.invalid += is_invalid(history, sent.messages)
        recent.append(sent.messages)
        if with_losses:
            find_losses(outcome.losses, run, at, sent.messages, sent.recallable)
    return outcome


def ideal(run: Trajectory, sizes: Sizes) -> Outcome:
    """Return the limit without shortening anything: each token paid once, only system and tools read again."""
    calls = run.calls
    if not calls:
        return Outcome()
    system = sum(sizes.message(message) for message in run.messages if message.role == "system")
    static = system + (sizes.text(run.tools) if run.tools else 0)
    everything = sum(sizes.message(message) for message in run.messages[: calls[-1]])
    return Outcome(everything + static - system, static * (len(calls) - 1), calls=len(calls))


def is_invalid(history: Sequence[Message], sent: Sequence[Message]) -> bool:
    """Say whether a provider would refuse the request: results without their calls or the reverse, or no task."""
    open_before, orphans_before = unpaired_calls(history)
    open_after, orphans_after = unpaired_calls(sent)
    has_task = any(message.role == "user" for message in sent) or not any(m.role == "user" for m in history)
    return bool((open_after - open_before) | (orphans_after - orphans_before)) or not has_task


def _common(one: Sequence[Message], other: Sequence[Message]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left is not right and left != right:
            break
        count += 1
    return count
