"""A policy learned from labelled examples, with the certificate that vouches for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from thrift_core.calibration.certificate import Certificate
from thrift_core.errors import ConfigurationError
from thrift_core.routing.policy import Policy


@runtime_checkable
class TrainedPolicy(Policy, Protocol):
    """A policy that knows for which tiers it was trained."""

    def require(self, tiers: Sequence[str]) -> None:
        """Check that the tiers are those it was trained for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterCertificate(Certificate):
    """A certificate with the policy it vouches for."""

    policy: TrainedPolicy

    @classmethod
    def load(cls, path: str | Path, *, kind: str | None = None, version: str | None = None) -> RouterCertificate:
        """Read it from a file."""
        raise ConfigurationError(f"{path}: no policy can be loaded yet")
