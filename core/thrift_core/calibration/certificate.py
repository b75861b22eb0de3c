"""The certificate: what a calibration vouches for, at which confidence, for which version of a lever."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from thrift_core.errors import ConfigurationError

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """States a bound on what a lossy lever loses at one operating point; holds for one version of the lever only.

    A certificate whose `threshold` is None vouches for nothing: the lever must abstain.

    Attributes:
        kind: the lever: `router`, `cache`, `compression`...
        version: names the lever's weights and rules, as the lever itself does.
        max_loss: the loss that was asked for.
        confidence: how often a statement like this one is true.
        n: the labels that it rests on.
        threshold: the operating point, on the lever's own scale; None where nothing could be certified.
        bound: the upper bound on the loss at the operating point, or at the safest one where nothing was certified;
            None where there is none.
        data: a fingerprint of the labels.
        created: when.
        figures: what was measured at the operating point, by name.
        note: in words, what was certified, or why nothing was.

    Example:
        >>> certificate = Certificate(kind="cache", version="m1", max_loss=0.01, confidence=0.95, n=400, threshold=0.8)
        >>> Certificate.from_json(certificate.to_json()) == certificate, certificate.is_certified
        (True, True)
    """

    kind: str
    version: str
    max_loss: float
    confidence: float
    n: int
    threshold: float | None = None
    bound: float | None = None
    data: str = ""
    created: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    note: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1 or self.n < 0:
            raise ConfigurationError(f"confidence={self.confidence!r} and n={self.n!r} make no certificate")
        if self.threshold is not None and math.isnan(self.threshold):
            raise ConfigurationError("threshold must be a number or None; got nan")

    @property
    def is_certified(self) -> bool:
        """Whether there is an operating point that holds."""
        return self.threshold is not None

    @property
    def matcher(self) -> str:
        """The version, by the name that the semantic cache asks for."""
        return self.version

    @property
    def name(self) -> str:
        """Names the certificate in provenance, such as `cache-1f0c2a9b`."""
        return f"{self.kind}-{hashlib.blake2b(self.to_json().encode(), digest_size=4).hexdigest()}"

    def require(self, *, kind: str, version: str) -> Self:
        """Return the certificate if it is for this lever in this version.

        Raises:
            ConfigurationError: it is for another; says for which.
        """
        if (self.kind, self.version) != (kind, version):
            raise ConfigurationError(
                f"the certificate is for {self.kind} {self.version!r}, and this is {kind} {version!r}: calibrate again"
            )
        return self

    def to_json(self) -> str:
        """Return it as one JSON object."""
        fields: dict[str, Any] = {"format": FORMAT, **asdict(self), "created": self.created.isoformat()}
        return json.dumps(fields, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """Read what `to_json` wrote.

        Raises:
            ConfigurationError: it is not a certificate, or one of another format.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            found = fields.pop("format")
            if found != FORMAT:
                raise ConfigurationError(f"the certificate has format {found!r}; this version reads {FORMAT}")
            fields["created"] = datetime.fromisoformat(fields["created"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"not a certificate: {type(error).__name__}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write it to a file.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        try:
            Path(path).write_text(self.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path, *, kind: str | None = None, version: str | None = None) -> Certificate:
        """Read it from a file, and refuse one for another lever or version where those are named.

        Raises:
            ConfigurationError: the file cannot be read, is no certificate, or is one for something else.
        """
        try:
            certificate = cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from error
        return certificate.require(kind=kind or certificate.kind, version=version or certificate.version)


def fingerprint(lines: Iterable[str]) -> str:
    """Return a short name of labelled data; the order of the lines plays no part.

    Example:
        >>> fingerprint(["a", "b"]) == fingerprint(["b", "a"]) != fingerprint(["a"])
        True
    """
    digests = sorted(hashlib.blake2b(line.encode(), digest_size=16).digest() for line in lines)
    return hashlib.blake2b(b"".join(digests), digest_size=8).hexdigest()
