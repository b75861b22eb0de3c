"""Old steps of a long task, summarized by a model: where, whether it pays, and whether the answer can be believed.

Nothing here calls a model. A task goes out with the plan, whoever runs the model answers it when it can, and at the
next call of the conversation the summary takes the place of the steps. With dT tokens going, a block of k coming, S
sent tokens behind it and C for the model's own call, the gain over R reads is `r*R*(dT - k) - (w - r)*S - w*k - C`; R
is half of what is expected otherwise, for the summary comes later than a cut that can be made at once.

The block holds more than what the model says: ids, numbers and names of the steps that it left out stand below it, and
an answer with a number that stands nowhere in the conversation is not used. It is noted in the recall store under a
hash of the conversation, so that a resumed one is sent the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thrift_core.messages import Message
from thrift_core.recall.store import HANDLE_LENGTH, NoteStore
from thrift_core.trajectory import blocks
from thrift_core.trajectory.entry import NotKept
from thrift_core.trajectory.results import MARK
from thrift_core.trajectory.summary_task import LlmSummary, SummaryPrices, SummaryTask
from thrift_core.trajectory.words import naming_words

if TYPE_CHECKING:
    from thrift_core.trajectory.thread import Thread

_FEWEST_CALLS = 4
_FEWEST_TOKENS = 1500
# The newest part of what may be summarized stays whole.
_KEPT_SHARE = 0.3
_EXPECTED_SHARE = 0.6
_CAUTION = 2
# After an answer that was of no use, the conversation must have grown by this much before the next.
_GROWTH = 1.5
_LONGEST_RESULT = 4000
_DIGIT = re.compile(r"\d")
_ASKED = (
    "Summarize for yourself the steps {where}, in at most {words} words of plain text. Say what was asked, done, found "
    "and decided, what failed, and what is still open. Copy ids, paths, names, numbers and dates exactly, and say "
    "nothing that is not there. Answer with the summary alone; call no tool."
)


@dataclass(frozen=True, slots=True)
class _Span:
    """Steps that may be summarized: `carrier` is the message that is to hold the block."""

    start: int
    carrier: int
    stop: int


@dataclass(slots=True)
class Summaries:
    """What a thread knows of summaries by a model.

    Attributes:
        settings: the model.
        prices: what it costs.
        wanted: a task that would pay, as of the last call.
        asked: the task that somebody is at work on.
        ready: its answer.
        blocks: the messages that hold summaries.
        notes: what was noted, where the recall store takes no notes; shared by all threads of a summarizer.
    """

    settings: LlmSummary
    prices: SummaryPrices
    wanted: SummaryTask | None = None
    asked: SummaryTask | None = None
    ready: str | None = None
    blocks: list[int] = field(default_factory=list[int])
    notes: dict[str, str] = field(default_factory=dict[str, str])
    _retry_above: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)
    _hashed: int = 0

    def key(self, thread: Thread) -> str:
        """Return what a summary made at this call is noted under: a hash of the whole conversation, and the model."""
        for entry in thread.entries[self._hashed :]:
            self._digest.update(repr(entry.message).encode("utf-8", "surrogatepass"))
        self._hashed = len(thread.entries)
        return f"summary:{self._digest.hexdigest()}:{self.settings.provider}:{self.settings.model}"

    def give_up(self, raw_tokens: int) -> None:
        """Forget the task, and ask for none before the conversation has grown."""
        self.asked = self.ready = self.wanted = None
        self._retry_above = int(_GROWTH * raw_tokens)

    def may_ask(self, raw_tokens: int) -> bool:
        """Say whether a new task may be set."""
        return self.asked is None and raw_tokens > self._retry_above


def apply(thread: Thread) -> None:
    """Put a summary in place if one is ready and pays still, or else note what would be worth one."""
    state = thread.summaries
    if state is None:
        return
    state.wanted = None
    if thread.bill.calls < _FEWEST_CALLS or (span := _span(thread)) is None:
        return
    key = state.key(thread)
    noted = _noted(thread, state, key)
    if noted is not None:
        _take_noted(thread, state, noted)
    elif state.ready is not None:
        _take_ready(thread, state, key)
    elif state.may_ask(thread.raw_tokens):
        _ask(thread, state, span, key)


def _ask(thread: Thread, state: Summaries, span: _Span, key: str) -> None:
    """Want a summary of a span if it would pay, the facts that must stand beside it included."""
    expected, cost = int(_EXPECTED_SHARE * state.settings.max_tokens), _cost(thread, span)
    if _gain(thread, span, expected, cost) <= 0:
        return
    if _gain(thread, span, expected + thread.count(_facts(thread, span, "")), cost) > 0:
        state.wanted = _task(thread, state, span, key)
    else:
        # Looking for the facts takes time, so not at every call.
        state.give_up(thread.raw_tokens)


def answered(thread: Thread, task: SummaryTask, text: str | None) -> str | None:
    """Take in the answer to a task, None for none; return why it is not used, if it is not."""
    state = thread.summaries
    if state is None or state.asked is not task:
        return "the conversation has changed"
    reason = "no answer" if text is None else _objection(thread, task, text.strip())
    if reason is not None or text is None:
        state.give_up(thread.raw_tokens)
        return reason
    state.ready = text.strip()
    return None


def _objection(thread: Thread, task: SummaryTask, text: str) -> str | None:
    if not text or MARK in text:
        return "an empty summary" if not text else f"a summary with the mark {MARK}"
    if (tokens := thread.count(text)) > task.max_tokens:
        return f"a summary of {tokens} tokens, {task.max_tokens} are allowed"
    said = "\n".join(_said(entry.message) for entry in thread.entries)
    invented = [word for word in naming_words(text) if _DIGIT.search(word) and word.strip(".,:/-") not in said]
    return f"a summary with numbers that stand nowhere before, such as {invented[0]!r}" if invented else None


def _said(message: Message) -> str:
    return "\n".join([message.text, *(call.arguments for call in message.tool_calls)])


def _span(thread: Thread) -> _Span | None:
    """Return the oldest steps, up to the last user's message or after it, whichever are more; None for too few."""
    end = _end(thread, thread.already_sent)
    first = max(thread.live, thread.head)
    if not thread.head <= thread.last_user < end:
        return _carried(thread, first, end)
    spans = [_carried(thread, first, thread.last_user), _carried(thread, thread.last_user + 1, end)]
    return max((span for span in spans if span is not None), key=lambda span: _tokens(thread, span), default=None)


def _end(thread: Thread, stop: int) -> int:
    """Return where the newest part of the conversation begins, which stays whole; it begins with a unit."""
    kept = _KEPT_SHARE * (thread.sent_before - thread.tokens_before(thread.live))
    while stop > thread.live and kept > 0:
        stop -= 1
        kept -= thread.entries[stop].tokens
    return thread.entries[stop].unit_start if stop < len(thread.entries) else stop


def _carried(thread: Thread, first: int, stop: int) -> _Span | None:
    """Return the longest span of units that may be dropped, one of which can hold the block."""
    start = stop
    while start > first and thread.units.may_drop(thread.entries[start - 1]):
        start -= 1
    entries = thread.entries
    for at in range(start, stop):
        message = entries[at].message
        if entries[at].unit_start != at or entries[at].state == "block":
            continue
        is_call = len(message.tool_calls) == 1 and at + 1 < stop and entries[at + 1].message.role == "tool"
        if message.role == "user" or is_call:
            span = _Span(at, at + is_call, stop)
            return span if _tokens(thread, span) >= _FEWEST_TOKENS else None
    return None


def _tokens(thread: Thread, span: _Span) -> int:
    return sum(entry.tokens for entry in thread.entries[span.start : span.stop])


def _gain(thread: Thread, span: _Span, block_tokens: int, cost: float) -> float:
    """Return what a block of so many tokens in place of a span earns, in fresh tokens."""
    bill = thread.bill
    # Of the messages behind it, those that are new in this call are written in any case.
    behind = sum(entry.tokens for entry in thread.entries[span.stop : thread.already_sent])
    removed = _tokens(thread, span) - block_tokens
    if removed <= 0 or not thread.may_be_cut_to(thread.sent_tokens - removed):
        return 0.0
    reads = max(1, bill.reads_left // _CAUTION)
    prefix = thread.tokens_before(span.start)
    return bill.gain(removed=removed, behind=behind + block_tokens, prefix=prefix, reads=reads) - cost


def _cost(thread: Thread, span: _Span) -> float:
    """Return what the model's own call costs, in fresh tokens of the conversation's model."""
    state = thread.summaries
    if state is None:
        return 0.0
    prices = state.prices
    words = thread.count(_ASKED)
    read = thread.bill.static_tokens + thread.sent_tokens if prices.shares_prefix else _tokens(thread, span)
    return prices.read * read + prices.fresh * words + prices.output * state.settings.max_tokens * _EXPECTED_SHARE


def _task(thread: Thread, state: Summaries, span: _Span, key: str) -> SummaryTask:
    steps = thread.entries[span.start : span.stop]
    words = int(0.5 * state.settings.max_tokens)
    if state.prices.shares_prefix:
        calls = sum(len(entry.message.tool_calls) for entry in steps)
        after = blocks.within(_said(thread.entries[span.stop].message), 120)
        where = f"of this conversation after its first task, the {calls} oldest calls, up to before: {after!r}"
        text = _ASKED.format(where=where, words=words)
    else:
        shown = "\n".join(_shown(entry.message) for entry in steps)
        text = f"{_ASKED.format(where='of an agent that follow', words=words)}\n\n{shown}"
    return SummaryTask(
        key=key,
        instruction=Message("user", text),
        shares_prefix=state.prices.shares_prefix,
        max_tokens=state.settings.max_tokens,
        start=span.start,
        stop=span.stop,
    )


def _shown(message: Message) -> str:
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return f"{message.role}: " + " ".join([blocks.within(message.text, _LONGEST_RESULT), *calls])


def _take_ready(thread: Thread, state: Summaries, key: str) -> None:
    task, text = state.asked, state.ready or ""
    if task is None or (span := _carried_again(thread, task.start, task.stop)) is None:
        state.give_up(thread.raw_tokens)
        return
    written = thread.count(_block("0" * HANDLE_LENGTH, text, _facts(thread, span, text)))
    if _gain(thread, span, written, 0.0) <= 0:
        state.give_up(thread.raw_tokens)
        return
    thread.keep(blocks.transcript(thread.entries[span.start : span.stop]))
    note = {"start": span.start, "stop": span.stop, "text": text, "cost": _cost(thread, span)}
    _take_noted(thread, state, _note(thread, state, key, json.dumps(note)))


def _take_noted(thread: Thread, state: Summaries, note: str) -> None:
    """Put a noted summary in place of its steps; one that does not fit this conversation is passed over."""
    try:
        read: dict[str, Any] = json.loads(note)
        start, stop, text, cost = int(read["start"]), int(read["stop"]), str(read["text"]), float(read["cost"])
    except (ValueError, LookupError, TypeError):
        return
    if (span := _carried_again(thread, start, stop)) is None:
        return
    facts = _facts(thread, span, text)
    handle = thread.keep(blocks.transcript(thread.entries[start:stop]))
    how = f"{stop - start} messages, summarized by {state.settings.model or 'a model'}"
    after = span.carrier + 1
    thread.drop(after, stop, "in the summary before")
    thread.change(span.carrier, "block", _block(handle, text, facts), how)
    thread.live = stop
    thread.write_again(stop, carrier=span.carrier)
    thread.bill.actual += cost
    state.blocks.append(span.carrier)
    state.give_up(0)


def _block(handle: str, text: str, facts: str) -> str:
    return "\n".join(part for part in (f"{blocks.HEAD}{handle}", text, facts) if part)


def _facts(thread: Thread, span: _Span, text: str) -> str:
    return "\n".join(blocks.fact_lines(thread, span.start, span.stop, said=text))


def _note(thread: Thread, state: Summaries, key: str, note: str) -> str:
    """Note a summary and return what is noted: that of another process, if it came first.

    Raises:
        NotKept: the store does not answer; a resumed conversation could not know of the summary.
    """
    if not isinstance(thread.store, NoteStore):
        return state.notes.setdefault(key, note)
    try:
        return thread.store.note(key, note)
    except Exception as error:
        thread.faults.append(error)
        raise NotKept(str(error)) from error


def _noted(thread: Thread, state: Summaries, key: str) -> str | None:
    if not isinstance(thread.store, NoteStore):
        return state.notes.get(key)
    try:
        return thread.store.noted(key)
    except Exception as error:
        thread.faults.append(error)
        return None


def _carried_again(thread: Thread, start: int, stop: int) -> _Span | None:
    """Return a span that was found before, if it can be replaced still."""
    if start < max(thread.live, thread.head) or stop > thread.already_sent:
        return None
    span = _carried(thread, start, stop)
    return span if span is not None and (span.start, span.stop) == (start, stop) else None
