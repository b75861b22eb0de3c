"""Lets the requests of a batch go through the tiers in waves: all cheap calls first, then all that went up."""

from __future__ import annotations

import asyncio
import threading


class Wave:
    """Holds calls to a tier back while others of the batch are still asking a cheaper one.

    Only requests that have begun count, so a batch that is worked on by few threads goes in small waves.
    """

    def __init__(self) -> None:
        self._places: dict[object, int] = {}
        self._moved = threading.Condition()
        self._amoved: asyncio.Condition | None = None

    def wait(self, request: object, index: int) -> None:
        """Say that a request is about to ask a tier, and wait for its turn."""
        with self._moved:
            self._places[request] = index
            self._moved.notify_all()
            self._moved.wait_for(lambda: self._is_turn(index))

    async def await_turn(self, request: object, index: int) -> None:
        """Do what `wait` does; one wave is waited for either in threads or in one event loop."""
        if self._amoved is None:
            self._amoved = asyncio.Condition()
        async with self._amoved:
            self._places[request] = index
            self._amoved.notify_all()
            await self._amoved.wait_for(lambda: self._is_turn(index))

    def leave(self, request: object) -> None:
        """Say that a request has its answer, or failed."""
        with self._moved:
            self._places.pop(request, None)
            self._moved.notify_all()

    async def aleave(self, request: object) -> None:
        """Do what `leave` does."""
        self._places.pop(request, None)
        if self._amoved is not None:
            async with self._amoved:
                self._amoved.notify_all()

    def _is_turn(self, index: int) -> bool:
        return min(self._places.values(), default=index) >= index
