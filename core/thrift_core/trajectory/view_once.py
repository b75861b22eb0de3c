"""Tool results that were read once and whose worth is in a few facts: the rest is cut, and can be recalled.

The arithmetic: a result of t tokens with S sent tokens behind it becomes a stub of s. The tokens behind it and the stub
must be written to the cache again, and every call left reads t - s fewer: `r*R*(t - s) - (w - r)*(S + s)`, see
`Rates.gain`. At the first chance S is 0, since what came after the result has not been sent yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thrift_core.recall.store import HANDLE_LENGTH
from thrift_core.recall.tool import RECALL
from thrift_core.trajectory.facts import ledger
from thrift_core.trajectory.results import MARK, parse

if TYPE_CHECKING:
    from thrift_core.trajectory.entry import Entry
    from thrift_core.trajectory.thread import Thread

HEAD = f"{MARK}cut, recall "
_FEWEST_TOKENS = 64
# A text's ledger: a fifth of it, within bounds. Of JSON all ids and names stay, or it is not cut at all.
_FEWEST_CHARACTERS = 120
_MOST_CHARACTERS = 800
_LEDGER_SHARE = 0.2
_CHARACTERS_PER_TOKEN = 4
# A stub of more than half the result saves too little for what it takes from view.
_LARGEST_SHARE = 0.5
# How far back results are considered: older ones were considered when they were new.
_WINDOW = 12
_LONG_TOKENS = 400


@dataclass(frozen=True, slots=True)
class _Stub:
    """What may stand for a result: its facts, and about how many tokens that is."""

    index: int
    facts: str
    tokens: int


def apply(thread: Thread) -> None:
    """Cut those results whose cutting pays, from the newest back to wherever together they pay most."""
    bill = thread.bill
    behind = removed = written = 0
    best_gain = 0.0
    best = 0
    stubs: list[_Stub] = []
    oldest = max(thread.live, thread.already_sent - _WINDOW)
    rest = sum(entry.tokens for entry in thread.entries[oldest : thread.already_sent])
    for index in range(thread.already_sent - 1, oldest - 1, -1):
        # Were all the rest to go for nothing, would it pay to look on? Working out stubs is what takes time here.
        most = bill.gain(
            removed=removed + rest, behind=behind + written, prefix=thread.sent_before, reads=bill.reads_left
        )
        if most <= best_gain:
            break
        entry = thread.entries[index]
        rest -= entry.tokens
        stub = _affordable(thread, index, removed, behind + written) if _is_candidate(thread, entry) else None
        if stub is None:
            behind += entry.tokens
            continue
        stubs.append(stub)
        removed += entry.tokens - stub.tokens
        written += stub.tokens
        prefix = thread.sent_before - behind - written - removed
        gain = bill.gain(removed=removed, behind=behind + written, prefix=prefix, reads=bill.reads_left)
        at_once = bill.gain(removed=removed, behind=behind + written, prefix=prefix, reads=1)
        is_safe = at_once + bill.purse >= 0 and thread.may_be_cut_to(thread.sent_tokens - removed)
        if gain > best_gain and is_safe:
            best_gain, best = gain, len(stubs)
    for stub in stubs[:best]:
        _cut(thread, stub)


def _is_candidate(thread: Thread, entry: Entry) -> bool:
    is_whole = entry.message.role == "tool" and entry.state in ("raw", "short")
    # What the model asked for in full it asked for to keep.
    is_whole = is_whole and entry.tool != RECALL
    return is_whole and entry.tokens >= _FEWEST_TOKENS and entry.is_clean and not thread.needed_by[entry.name]


def _affordable(thread: Thread, index: int, removed: int, behind: int) -> _Stub | None:
    """Return what is to stand for a result: of a long text fewer facts, where more would not pay.

    What is not cut when it was just read is seldom cut later, for more and more stands behind it; and what a stub does
    not say of a long text is one recall away.
    """
    entry, text = thread.entries[index], thread.entries[index].message.text
    if entry.is_kept_whole:
        return None
    stub = _stub(thread, index, removed, _room(text, entry.tokens))
    if entry.tokens < _LONG_TOKENS or parse(text) is not None:
        return stub
    if stub is None:
        entry.is_kept_whole = False
        return _stub(thread, index, removed, _FEWEST_CHARACTERS)
    saved = entry.tokens - stub.tokens
    prefix = thread.sent_before - behind - removed - saved
    bill = thread.bill
    gain = bill.gain(removed=saved, behind=behind + stub.tokens, prefix=prefix, reads=bill.reads_left)
    at_once = bill.gain(removed=saved, behind=behind + stub.tokens, prefix=prefix, reads=1)
    is_paying = gain > 0 and at_once + bill.purse >= 0
    return stub if is_paying else _stub(thread, index, removed, _FEWEST_CHARACTERS)


def _stub(thread: Thread, index: int, removed: int, room: int) -> _Stub | None:
    """Return what is to stand for a result, or None if that would be too long to be worth it."""
    entry, text = thread.entries[index], thread.entries[index].message.text
    facts = ledger(text, _visible_besides(thread, index), max_characters=room)
    written = " ".join(facts)
    frame = entry.raw_tokens - entry.text_tokens
    missing = thread.tokens_to_stay_cached(thread.sent_tokens - removed - entry.tokens + frame)
    if missing > 0:
        written = f"{written}\n{text[: missing * _CHARACTERS_PER_TOKEN]}"
    # Once its facts take too much, a result stays as it is: fewer of them will hardly be needed later.
    # Handles differ in their tokens by very little, and to know one the result must be in the recall store.
    tokens = frame + thread.count(_text("0" * HANDLE_LENGTH, written))
    if tokens > _LARGEST_SHARE * entry.tokens:
        entry.is_kept_whole = missing <= 0
        return None
    return _Stub(index, written, tokens)


def _text(handle: str, facts: str) -> str:
    return f"{HEAD}{handle}: {facts}"


def _room(text: str, tokens: int) -> int:
    if parse(text) is not None:
        return len(text)
    share = int(_LEDGER_SHARE * _CHARACTERS_PER_TOKEN * tokens)
    return min(_MOST_CHARACTERS, max(_FEWEST_CHARACTERS, share))


def _visible_besides(thread: Thread, index: int) -> Callable[[str], bool]:
    return lambda word: thread.is_visible(word, index, index + 1)


def _cut(thread: Thread, stub: _Stub) -> None:
    entry = thread.entries[stub.index]
    handle = thread.keep(entry.message.text)
    thread.release(entry)
    thread.results.forget(entry.name)
    thread.change(stub.index, "stub", _text(handle, stub.facts), "read once; its facts stay, the rest can be recalled")
