"""How a step of an app's pipeline tells the ledger what it saved, and what went wrong in it; never in the app's way."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Literal, get_args

from thrift_core.accounting.attribution import current_attribution
from thrift_core.accounting.call import Saving
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.prices import PriceBook, Pricing, Unpriced

logger = logging.getLogger("thrift")
BookingMode = Literal["on", "shadow"]


class Booking:
    """Books the savings of one step, at the prices of the model that reads what comes out of it.

    Args:
        lever: under which name.
        ledger: where; None: nowhere, and faults are only logged.
        model: the model that reads what comes out, for the dollars; None: tokens alone are booked.
        provider: who bills it.
        mode: `shadow` books what would be saved; the step must then leave everything as it is.

    Raises:
        ConfigurationError: the mode is unknown.
    """

    def __init__(
        self,
        lever: str,
        ledger: Ledger | None = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        mode: BookingMode = "on",
    ) -> None:
        if mode not in get_args(BookingMode):
            raise ConfigurationError(f"mode must be 'on' or 'shadow'; got {mode!r}")
        self.is_on = mode == "on"
        self.ledger = ledger
        self._lever = lever
        self._model, self._provider = model, provider
        self._prices: PriceBook | None = ledger.prices if ledger is not None else None
        self._warned: set[str] = set()

    def pricing(self) -> Pricing | None:
        """Return what the model's tokens cost, None where no model is named or no price is known."""
        if self._model is None:
            return None
        if self._prices is None:
            self._prices = PriceBook()
        pricing = self._prices.pricing(self._model, self._provider)
        return None if isinstance(pricing, Unpriced) else pricing

    def book(self, tokens: int, cost_usd: Decimal | None) -> None:
        """Book what one request saved, or in shadow would have.

        Args:
            tokens: fewer tokens sent.
            cost_usd: dollars against what the call would have cost; None where no price is known.
        """
        if self.ledger is None or not tokens:
            return
        self.ledger.book(
            Saving(
                lever=self._lever,
                tokens=tokens,
                cost_usd=cost_usd,
                is_shadow=not self.is_on,
                attribution=current_attribution(),
            )
        )

    def note(self, error: Exception) -> None:
        """Count a fault and warn of its kind once."""
        if self.ledger is not None:
            try:
                self.ledger.count_fault(self._lever, type(error).__name__)
            except Exception:
                logger.debug("a fault could not be counted", exc_info=True)
        self.warn(type(error).__name__, f"it was passed over, everything is sent as it was: {error}")

    def warn(self, reason: str, words: str) -> None:
        """Warn, once for each reason."""
        if reason not in self._warned:
            self._warned.add(reason)
            logger.warning("thrift's %s: %s", self._lever, words)
