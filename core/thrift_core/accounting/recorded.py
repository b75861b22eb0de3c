"""Lets whoever makes calls for an app see what the ledgers recorded of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from thrift_core.accounting.call import Call

if TYPE_CHECKING:
    from thrift_core.accounting.ledger import Ledger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call and the ledger that recorded it."""

    ledger: Ledger
    call: Call


_listening: ContextVar[tuple[list[Recorded], ...]] = ContextVar("thrift_recorded_calls", default=())


@contextmanager
def recorded_into(seen: list[Recorded]) -> Generator[None]:
    """Add every call that any meter records inside the block, in this thread or asyncio task and those it starts.

    Blocks nest: each gets the calls made inside it.
    """
    token = _listening.set((*_listening.get(), seen))
    try:
        yield
    finally:
        _listening.reset(token)


def recorded_while_advancing(pieces: Generator[T], seen: list[Recorded]) -> Generator[T]:
    """Yield what a generator yields; calls count as seen only while it is advanced, not while its reader works."""
    with closing(pieces):
        while True:
            with recorded_into(seen):
                try:
                    piece = next(pieces)
                except StopIteration:
                    return
            yield piece


def tell(ledger: Ledger, call: Call) -> None:
    """Say that a call was recorded."""
    for seen in _listening.get():
        seen.append(Recorded(ledger, call))
