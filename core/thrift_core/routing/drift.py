"""Watches whether a calibrated router still does what its certificate says, from audits and from escalations."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from thrift_core.calibration.bounds import RunningMean


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What the watch has seen.

    Attributes:
        audits: compared answers.
        loss: their mean loss; None without an audit.
        loss_at_least: the loss that is certain, at 95 %, whenever one looks.
        loss_at_most: the loss that is not passed, likewise.
        is_broken: the loss is certain to be above what was certified.
        escalations: the share of drafts that went up, lately; None while nothing was expected of it.
        has_shifted: that share has moved away from what calibration saw: a reason to look, no proof of loss.
    """

    audits: int
    loss: float | None
    loss_at_least: float
    loss_at_most: float
    is_broken: bool
    escalations: float | None
    has_shifted: bool


class DriftWatch:
    """Bounds the loss from audited answers at every moment, and sums up departures of the escalation rate (CUSUM).

    The bounds are always valid (`RunningMean`), so looking after every audit costs nothing. CUSUM follows Page 1954:
    departures beyond `slack` add up, and pass `alarm` only if they last.

    Example:
        >>> watch = DriftWatch(max_loss=0.05)
        >>> for _ in range(100): watch.add_audit(0.5)
        >>> watch.report().is_broken
        True

    Args:
        max_loss: what was certified.
        escalations: the share of drafts that went up in calibration; None: not known.
        slack: departures of the share that are not counted.
        alarm: the sum at which it has shifted.
    """

    def __init__(
        self, *, max_loss: float, escalations: float | None = None, slack: float = 0.05, alarm: float = 12.0
    ) -> None:
        self._max_loss = max_loss
        self._expected = escalations
        self._slack, self._alarm = slack, alarm
        self._loss = RunningMean(low=-1.0, high=1.0)
        self._above = self._below = 0.0
        self._share = escalations
        self._lock = threading.Lock()

    def add_audit(self, loss: float) -> None:
        """Take in the loss of one audited answer: the strongest tier's quality less the accepted answer's."""
        with self._lock:
            self._loss.add(min(1.0, max(-1.0, loss)))

    def add_draft(self, *, has_escalated: bool) -> None:
        """Take in whether a draft went up."""
        if self._expected is None or self._share is None:
            return
        with self._lock:
            departure = float(has_escalated) - self._expected
            self._above = max(0.0, self._above + departure - self._slack)
            self._below = max(0.0, self._below - departure - self._slack)
            self._share += 0.02 * (float(has_escalated) - self._share)

    def report(self) -> DriftReport:
        """Return what was seen so far."""
        with self._lock:
            return DriftReport(
                audits=self._loss.count,
                loss=self._loss.mean,
                loss_at_least=self._loss.at_least,
                loss_at_most=self._loss.at_most,
                is_broken=self._loss.at_least > self._max_loss,
                escalations=self._share,
                has_shifted=max(self._above, self._below) > self._alarm,
            )
