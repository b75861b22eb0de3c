"""Certificates for parts of the traffic: each its own where there is data, a shared one where there is not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrift_core.caching.matching.calibrate_cache import Row, calibrate_cache
from thrift_core.caching.matching.labelled_pairs import LabelledPair, pairs_of
from thrift_core.caching.semantic.matcher import Matcher
from thrift_core.calibration.certificate import Certificate
from thrift_core.errors import ConfigurationError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class PartitionedCertificate:
    """Certificates by part of the traffic, and one for all of it together.

    Parts are features, as in `attribute(feature=...)`. A part without a certificate of its own uses the shared one,
    which holds for the traffic as a whole and not for each part of it; with `strict`, such a part has no hits.

    Attributes:
        shared: for all the traffic together.
        parts: by the name of the feature.
        strict: parts without a certificate of their own abstain.
    """

    shared: Certificate
    parts: Mapping[str, Certificate]
    strict: bool = False

    @property
    def matcher(self) -> str:
        """The version of the matcher."""
        return self.shared.version

    @property
    def threshold(self) -> float | None:
        """The shared threshold."""
        return self.shared.threshold

    @property
    def name(self) -> str:
        """Names the certificate in a hit's provenance."""
        return self.shared.name

    @property
    def is_open(self) -> bool:
        """Whether there is a threshold for any part of the traffic."""
        own = any(part.is_certified for part in self.parts.values())
        return own or (self.shared.is_certified and not self.strict)

    def threshold_for(self, feature: str | None) -> float | None:
        """Return the least score of a hit in a part of the traffic; None where nothing is a hit."""
        own = self.parts.get(feature or "")
        if own is not None and own.is_certified:
            return own.threshold
        return None if self.strict else self.shared.threshold

    def save(self, path: str | Path) -> None:
        """Write all of them to one file.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        parts = {name: json.loads(one.to_json()) for name, one in self.parts.items()}
        fields = {
            "format": FORMAT,
            "shared": json.loads(self.shared.to_json()),
            "parts": parts,
            "strict": self.strict,
        }
        try:
            Path(path).write_text(json.dumps(fields, sort_keys=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path, *, version: str | None = None) -> PartitionedCertificate:
        """Read what `save` wrote, or a single certificate, and refuse one for another matcher.

        Raises:
            ConfigurationError: the file cannot be read, is no certificate, or is one for something else.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
            fields: dict[str, Any] = json.loads(text)
            if "shared" not in fields:
                return cls(_required(Certificate.from_json(text), version), {})
            if fields["format"] != FORMAT:
                raise ConfigurationError(f"{path} has format {fields['format']!r}; this version reads {FORMAT}")
            parts = {name: _read(one, version) for name, one in fields["parts"].items()}
            return cls(_read(fields["shared"], version), parts, bool(fields["strict"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"{path} cannot be read as a certificate: {error}") from error


def calibrate_partitions(
    pairs: Iterable[Row],
    max_false_hit_rate: float = 0.01,
    *,
    confidence: float = 0.95,
    matcher: Matcher | None = None,
    strict: bool = False,
) -> PartitionedCertificate:
    """Return a certificate for each part of the traffic that has the data for one, and a shared one.

    A part's testing begins where the labels of the *other* parts point: they are a prior that shares strength without
    touching the guarantee, which rests on the part's own labels. Each statement holds at the confidence by itself.

    Args:
        pairs: labelled pairs with a `partition`.
        max_false_hit_rate: the share of hits that may be wrong.
        confidence: of each certificate.
        matcher: whose thresholds they are; the one that comes with thrift by default.
        strict: parts that cannot be certified abstain; otherwise they use the shared threshold.

    Raises:
        ConfigurationError: as `calibrate_cache`.
    """
    labelled = pairs_of(pairs)
    settings: dict[str, Any] = {"confidence": confidence, "matcher": matcher}
    shared = calibrate_cache(labelled, max_false_hit_rate, **settings)
    own: dict[str, list[LabelledPair]] = {}
    for pair in labelled:
        own.setdefault(pair.partition, []).append(pair)
    parts: dict[str, Certificate] = {}
    for name, part in own.items():
        if name and len(own) > 1:
            others = [pair for pair in labelled if pair.partition != name]
            prior = calibrate_cache(others, max_false_hit_rate, **settings)
            parts[name] = calibrate_cache(part, max_false_hit_rate, prior=prior, **settings)
    return PartitionedCertificate(shared, parts, strict)


def _read(fields: Mapping[str, Any], version: str | None) -> Certificate:
    return _required(Certificate.from_json(json.dumps(fields)), version)


def _required(certificate: Certificate, version: str | None) -> Certificate:
    return certificate.require(kind="cache", version=version or certificate.version)
