"""Old turns that later ones no longer draw on become one block of facts, where the arithmetic says that it pays.

A cut keeps the messages from some user turn on. It is made only where no tool call from that turn on takes a value from
before it: the conversation has moved on. With dT tokens going, a block of k coming and S sent tokens behind it, the
gain over R reads is `r*R*(dT - k) - (w - r)*S - w*k`. If the conversation ended at once, R would be 1; that loss must
be covered by what was saved before (`Bill.purse`), so that no conversation ends up dearer than without edits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thrift_core.trajectory import blocks
from thrift_core.trajectory.entry import NEEDS_NOTHING

if TYPE_CHECKING:
    from thrift_core.trajectory.thread import Thread

FEWEST_CALLS = 2
_FEWEST_TOKENS = 200
_EXPECTED_BLOCK = 100
# What is kept now will go at a later cut, so a cut earns for a few calls, however long the conversation lasts.
_HORIZON = 8
_WINDOW = 120


def apply(thread: Thread) -> None:
    """Collapse the turns before the best cut, if any cut pays."""
    stop = _best_cut(thread)
    anchor = _anchor(thread, stop) if stop is not None else None
    if stop is None or anchor is None:
        return
    text = blocks.write(thread, anchor, stop)
    thread.drop(anchor + 1, stop, "their facts are in the block before")
    how = f"{stop - anchor} messages that later ones do not draw on, as a block of facts"
    thread.change(anchor, "block", text, how)
    thread.live = stop
    blocks.merge_old(thread, anchor)
    thread.blocks.append(anchor)
    thread.write_again(stop)


def _best_cut(thread: Thread) -> int | None:
    bill, entries = thread.bill, thread.entries
    before_live: int | None = None
    behind = fresh = calls = 0
    earliest = NEEDS_NOTHING
    best_gain = 0.0
    best: int | None = None
    for index in range(len(entries) - 1, max(thread.live + 1, len(entries) - _WINDOW), -1):
        entry = entries[index]
        fresh += entry.tokens if index >= thread.already_sent else 0
        behind += entry.tokens if index < thread.already_sent else 0
        earliest = min(earliest, entry.earliest_needed)
        calls += len(entry.message.tool_calls)
        if entry.message.role != "user" or not calls or earliest < index:
            continue
        if before_live is None:
            before_live = thread.tokens_before(thread.live)
        start = _start_of_exchange(thread, index)
        kept = behind + sum(item.tokens for item in entries[start:index])
        removed = thread.sent_tokens - before_live - kept - fresh - _EXPECTED_BLOCK
        if removed < _FEWEST_TOKENS or not thread.may_be_cut_to(thread.sent_tokens - removed):
            continue
        rewritten = kept + _EXPECTED_BLOCK
        reads = min(bill.reads_left, _HORIZON)
        gain = bill.gain(removed=removed, behind=rewritten, prefix=before_live, reads=reads)
        at_once = bill.gain(removed=removed, behind=rewritten, prefix=before_live, reads=1)
        if gain > best_gain and at_once + bill.purse >= 0:
            best_gain, best = gain, start
    return best


def _start_of_exchange(thread: Thread, index: int) -> int:
    """Go back to the user turn before, if only talk lies between: a request is often made in two turns."""
    for before in range(index - 1, thread.live, -1):
        message = thread.entries[before].message
        if message.role == "user":
            return before
        if message.role != "assistant" or message.tool_calls:
            break
    return index


def _anchor(thread: Thread, stop: int) -> int | None:
    """Return the message that is to carry the block: the first user turn from which on all units may be dropped."""
    start = stop
    while start > thread.live and thread.units.may_drop(thread.entries[start - 1]):
        start -= 1
    return next((index for index in range(start, stop) if thread.entries[index].message.role == "user"), None)
