"""The edits that a thread's state amounts to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

from thrift_core.messages import DropSpan, Edit, ReplaceText
from thrift_core.prices import Pricing

if TYPE_CHECKING:
    from thrift_core.trajectory.thread import Thread

_MILLION = Decimal(1_000_000)


@dataclass(slots=True)
class KnownEdits:
    """Edits of messages that were sent before: the same at each call, as long as the prices are.

    Attributes:
        pricing: the prices that they were made for.
        settled: the edits of the first so many changed messages, in their order.
    """

    pricing: Pricing | None = None
    settled: list[Edit] = field(default_factory=list[Edit])


def edits_of(thread: Thread, pricing: Pricing | None) -> list[Edit]:
    """Return one edit for each message or run of messages that is sent otherwise.

    An edit saves its tokens at the price of a cache read, or of a cache write in the call that first sends it. What a
    cut makes the provider write again is taken off, spread over the calls that the cut is expected to serve.
    """
    known = thread.known_edits
    if known.pricing != pricing:
        known.pricing = pricing
        known.settled.clear()
    read, write = _dollars_per_token(pricing)
    edits = list(known.settled)
    for index in islice(thread.changed, len(edits), None):
        is_new = index >= thread.first_new
        edit = _edit(thread, index, write if is_new else read)
        if not is_new and len(known.settled) == len(edits):
            known.settled.append(edit)
        edits.append(edit)
    if thread.rewritten_tokens and edits:
        share = Decimal(thread.rewritten_tokens) * (write - read) / thread.bill.reads_left
        edits[-1] = replace(edits[-1], saved_usd=edits[-1].saved_usd - share)
    return edits


def _dollars_per_token(pricing: Pricing | None) -> tuple[Decimal, Decimal]:
    if pricing is None:
        return Decimal(0), Decimal(0)
    return pricing.cache_read / _MILLION, max(pricing.input, pricing.cache_write_5m) / _MILLION


def _edit(thread: Thread, index: int, price: Decimal) -> Edit:
    entry = thread.entries[index]
    stop = thread.spans.get(index)
    if stop is None:
        saved = entry.raw_tokens - entry.tokens
        return ReplaceText(index=index, text=entry.text, reason=entry.how, saved_tokens=saved, saved_usd=saved * price)
    saved = sum(item.raw_tokens for item in thread.entries[index:stop])
    return DropSpan(start=index, stop=stop, reason=entry.how, saved_tokens=saved, saved_usd=saved * price)
