"""How long a cascade waits for a tier."""

from __future__ import annotations

from dataclasses import dataclass

from thrift_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long a cascade waits for a tier, before another one is asked.

    Attributes:
        timeout_seconds: longest wait for an answer, or for the next piece of one that is streamed; None: as long as
            the client waits.
        hedge_seconds: after so long without an answer the strongest tier is asked as well, and whichever answer will
            do first is taken; 0 asks both at once. Quicker, at the price of calls that are not needed. None: never.

    Raises:
        ConfigurationError: a number is negative, or the timeout is not positive.
    """

    timeout_seconds: float | None = None
    hedge_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.timeout_seconds is not None and not self.timeout_seconds > 0:
            raise ConfigurationError(f"timeout_seconds must be more than 0; got {self.timeout_seconds!r}")
        if self.hedge_seconds is not None and not self.hedge_seconds >= 0:
            raise ConfigurationError(f"hedge_seconds must be 0 or more; got {self.hedge_seconds!r}")

    @property
    def is_plain(self) -> bool:
        """Whether calls are made one after the other, with nobody looking at the clock."""
        return self.timeout_seconds is None and self.hedge_seconds is None

    def until_hedge(self) -> float | None:
        """Return how long the first tier is waited for alone; None where it stays alone."""
        if self.hedge_seconds is None:
            return None
        return self.hedge_seconds if self.timeout_seconds is None else min(self.hedge_seconds, self.timeout_seconds)

    def late(self, tier: str) -> TierTimeout:
        """Return the error of a tier that has not answered in time."""
        return TierTimeout(f"{tier} has not answered within {self.timeout_seconds} s")


class TierTimeout(TimeoutError):
    """A tier of a cascade has not answered in time."""
