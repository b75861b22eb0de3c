"""Keeps a certificate honest while the app runs: shadow checks, a bound that always holds, a lever that shuts."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from thrift_core.caching.matching.calibrate_cache import ScoredPairs, certify
from thrift_core.caching.matching.partitions import PartitionedCertificate
from thrift_core.calibration.bounds import RunningMean
from thrift_core.calibration.certificate import Certificate
from thrift_core.errors import ConfigurationError

_log = logging.getLogger("thrift")
_MOST_LABELS = 20_000


@dataclass(frozen=True, slots=True)
class WatchState:
    """What shadow checks say of a certificate.

    Attributes:
        is_open: hits are served.
        checks: hits that were compared with the model's own answer since the certificate.
        false_hits: those that were wrong.
        at_least: the lower bound on the true false-hit rate, valid at every moment.
        at_most: the upper bound, likewise.
        reason: why the lever is shut; empty while it is open.
    """

    is_open: bool
    checks: int
    false_hits: int
    at_least: float
    at_most: float
    reason: str = ""


class WatchedThreshold:
    """A certificate's threshold that shuts when shadow checks prove it broken, and opens with a new one.

    Shadow checks are a random share of hits that are sent to the model as well. Their bounds are valid at every moment
    (betting, `RunningMean`), so looking after each check costs nothing. Once the lower bound passes the rate that was
    certified, traffic has drifted: nothing is a hit any more, one warning is logged, and `recertify` is tried on the
    labels that checks and judges have written since. Exchangeability is what every certificate assumes and no data can
    prove; this is how its failure is noticed.

    Example:
        >>> made = Certificate(kind="cache", version="m1", max_loss=0.02, confidence=0.95, n=900, threshold=0.9)
        >>> watched = WatchedThreshold(made)
        >>> for _ in range(40): watched.observe(0.95, agrees=False)
        >>> watched.threshold is None, watched.state.is_open
        (True, False)

    Args:
        certificate: what is watched.
        tolerance: the lever shuts when the rate is proven above this many times the certified one.
    """

    def __init__(
        self,
        certificate: Certificate | PartitionedCertificate,
        *,
        tolerance: float = 1.0,
    ) -> None:
        if not tolerance > 0:
            raise ConfigurationError(f"tolerance must be more than 0; got {tolerance!r}")
        self._lock = threading.Lock()
        self._tolerance = tolerance
        self._labels: deque[tuple[float, bool]] = deque(maxlen=_MOST_LABELS)
        self._reason = ""
        self._start(certificate)

    @property
    def certificate(self) -> Certificate | PartitionedCertificate:
        """What is watched now."""
        return self._certificate

    @property
    def matcher(self) -> str:
        """The version of the matcher."""
        return self._certificate.matcher

    @property
    def name(self) -> str:
        """Names the certificate in a hit's provenance."""
        return self._certificate.name

    @property
    def threshold(self) -> float | None:
        """The least score that is a hit; None while the lever is shut."""
        return None if self._reason else self._certificate.threshold

    @property
    def is_open(self) -> bool:
        """Whether there is a threshold for any part of the traffic."""
        own = self._certificate
        return not self._reason and (own.is_open if isinstance(own, PartitionedCertificate) else own.is_certified)

    def threshold_for(self, feature: str | None) -> float | None:
        """Return the least score of a hit in a part of the traffic."""
        if self._reason:
            return None
        if isinstance(self._certificate, PartitionedCertificate):
            return self._certificate.threshold_for(feature)
        return self._certificate.threshold

    @property
    def state(self) -> WatchState:
        """What the checks say."""
        with self._lock:
            seen = self._seen
            return WatchState(
                not self._reason, seen.count, round(seen.total), seen.at_least, seen.at_most, self._reason
            )

    def observe(self, score: float, *, agrees: bool) -> None:
        """Take in one shadow check: the score of the hit, and whether the model's own answer agreed with it."""
        with self._lock:
            self._labels.append((score, agrees))
            if self._reason:
                return
            self._seen.add(0.0 if agrees else 1.0)
            if self._seen.at_least <= self._limit * self._tolerance:
                return
            self._reason = (
                f"{round(self._seen.total)} of {self._seen.count} checked hits were wrong, which is more than the "
                f"{100 * self._limit:.2g} % that the certificate {self.name} states"
            )
        _log.warning("the semantic cache serves no paraphrases any more: %s; calibrate again", self._reason)

    def label(self, score: float, *, same: bool) -> None:
        """Take in a label that is no check of a hit, such as a judge's word on a near miss."""
        with self._lock:
            self._labels.append((score, same))

    def recertify(self) -> Certificate:
        """Certify anew on the labels seen since the certificate, and open if they support a threshold.

        Labels of hits say nothing of pairs below the threshold of then: what is certified now is never looser than what
        was certified before, unless a judge labelled such pairs as well.
        """
        with self._lock:
            labels = list(self._labels)
        if not labels:
            raise ConfigurationError("there are no labels to certify on yet: checks and judges write them")
        one = self._certificate if isinstance(self._certificate, Certificate) else self._certificate.shared
        scored = ScoredPairs(tuple(score for score, _ in labels), tuple(same for _, same in labels))
        made = certify(scored, one.version, one.max_loss, confidence=one.confidence)
        if made.is_certified:
            with self._lock:
                self._start(made)
        return made

    def renew(self, certificate: Certificate | PartitionedCertificate) -> None:
        """Go on with another certificate, such as one that was calibrated anew.

        Raises:
            ConfigurationError: it is for another matcher.
        """
        if certificate.matcher != self.matcher:
            raise ConfigurationError(
                f"the certificate is for the matcher {certificate.matcher}, and this is {self.matcher}"
            )
        with self._lock:
            self._start(certificate)

    def _start(self, certificate: Certificate | PartitionedCertificate) -> None:
        one = certificate if isinstance(certificate, Certificate) else certificate.shared
        self._certificate = certificate
        self._limit = one.max_loss
        self._seen = RunningMean(confidence=one.confidence)
        self._reason = ""
        self._labels.clear()
