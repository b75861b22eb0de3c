"""What an adapter has to bring, so that a cascade can be driven over its framework's models."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable
from typing import Protocol, TypeVar

from thrift_core.routing.cascade_run import CascadeRun
from thrift_core.routing.draft import Draft

A = TypeVar("A")
P = TypeVar("P")


class Caller(Protocol[A]):
    """Makes the calls of one request."""

    def ask(self, index: int) -> A:
        """Return a tier's whole answer."""
        ...

    async def aask(self, index: int) -> A:
        """Do what `ask` does."""
        ...

    def draft(self, index: int, answer: A) -> Draft:
        """Return an answer as the router sees it."""
        ...


class StreamCaller(Caller[A], Protocol[A, P]):
    """Makes the calls of one request whose answer is streamed."""

    @property
    def may_pass_on(self) -> bool:
        """Whether pieces may be passed on before the whole answer was checked."""
        ...

    def stream(self, index: int) -> Generator[P]:
        """Yield the pieces of a tier's answer."""
        ...

    def astream(self, index: int) -> AsyncGenerator[P]:
        """Do what `stream` does."""
        ...

    def says(self, piece: P) -> bool:
        """Return whether a piece says anything that could not be taken back."""
        ...

    def acts(self, piece: P) -> bool:
        """Return whether a piece is of a tool call, which is checked before it is passed on."""
        ...

    def joined(self, pieces: list[P]) -> A:
        """Return the pieces of an answer as a whole one.

        Raises:
            Exception: it did not come to its end.
        """
        ...

    def pieces(self, run: CascadeRun[A]) -> Iterable[P]:
        """Return the accepted answer as a stream of it would come."""
        ...

    def closing(self, run: CascadeRun[A], held: list[P]) -> Iterable[P]:
        """Return the last pieces of an answer that was streamed: what was held back, and what was decided."""
        ...
