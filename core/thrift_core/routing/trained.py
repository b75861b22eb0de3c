"""A policy learned from labelled examples, and the certificate that carries it, in one file of plain arrays."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thrift_core.calibration.certificate import Certificate
from thrift_core.errors import ConfigurationError
from thrift_core.messages import Request
from thrift_core.routing.decision import Attempt
from thrift_core.routing.draft import Draft
from thrift_core.routing.features import VERSION, Prompt, draft_signs, read_prompt
from thrift_core.routing.operating_point import Limits
from thrift_core.routing.policy import Estimate
from thrift_core.routing.stage import Stage

if TYPE_CHECKING:
    from typing import Self

_SHOWN = ("hedges", "refusals", "is_cut", "repeats", "wrong_sums", "unused_share", "chosen", "marked", "mean_logprob")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """Estimates by what was learned from a golden set; made by `calibrate_router`.

    Attributes:
        tiers: the names it was trained for, cheapest first.
        stages: one for each tier but the strongest.
        limits: likewise, where decisions turn; empty: nothing was certified, and the strongest tier answers everything.
    """

    tiers: tuple[str, ...]
    stages: tuple[Stage, ...]
    limits: tuple[Limits, ...] = ()
    _last: list[tuple[str, Prompt]] = field(default_factory=list[tuple[str, Prompt]], repr=False, compare=False)

    @property
    def version(self) -> str:
        """Names its weights and rules."""
        digest = blake2b(VERSION.encode(), digest_size=6)
        for stage in self.stages:
            for name, array in sorted(stage.arrays().items()):
                digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return f"router-{VERSION}-{digest.hexdigest()}"

    def require(self, tiers: Sequence[str]) -> None:
        """Check that the tiers are those it was trained for.

        Raises:
            ConfigurationError: they are others; says which.
        """
        if tuple(tiers) != self.tiers:
            raise ConfigurationError(
                f"the policy was trained for the tiers {', '.join(self.tiers)}, and these are {', '.join(tiers)}: name "
                "them alike, or calibrate again"
            )

    def before(self, request: Request, tier: str) -> Estimate:
        """Estimate from the prompt where the tier's answers were not there to learn from; else have it draft."""
        place = self.tiers.index(tier)
        if not self.limits:
            return Estimate(gain=1.0, threshold=-1.0, reason="nothing could be certified")
        stage, turn = self.stages[place], self.limits[place]
        if stage.reads_answers:
            return Estimate(gain=-1.0, threshold=turn.accept, reason="drafts first")
        prompt = self._read(request)
        gain = stage.gain(prompt, prompt.signs)
        return Estimate(
            gain=gain, threshold=turn.accept, is_sure=True, is_calibrated=True, reason=_said(gain), ask=self.tiers[-1]
        )

    def after(self, request: Request, tier: str, draft: Draft, earlier: Sequence[Attempt] = ()) -> Estimate:
        """Estimate from the prompt, the answer and earlier tiers' answers."""
        place = self.tiers.index(tier)
        if not self.limits or place >= len(self.stages):
            return Estimate(gain=1.0, threshold=-1.0, reason="nothing could be certified")
        stage, turn = self.stages[place], self.limits[place]
        prompt = self._read(request)
        signs = prompt.signs
        if stage.reads_answers:
            texts = {attempt.tier: draft_text(attempt.draft) for attempt in earlier if attempt.draft is not None}
            signs = draft_signs(
                prompt, draft_text(draft), [texts.get(name) for name in self.tiers[:place]], draft.logprobs
            )
        gain = stage.gain(prompt, signs)
        is_direct = gain > turn.direct or place + 1 == len(self.stages)
        shown = {
            name: value
            for name, value in signs.items()
            if (name in _SHOWN or name.startswith("agrees_")) and not math.isnan(value)
        }
        return Estimate(
            gain=gain,
            threshold=turn.accept,
            is_calibrated=True,
            reason=_said(gain),
            signals={**shown, "gain": gain},
            ask=self.tiers[-1] if is_direct else self.tiers[place + 1],
        )

    def _read(self, request: Request) -> Prompt:
        """Return the prompt read; the same one is judged several times in a row, so the last few are kept."""
        text = asked(request)
        for known, prompt in tuple(self._last):
            if known == text:
                return prompt
        prompt = read_prompt(text)
        self._last.append((text, prompt))
        del self._last[:-8]
        return prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterCertificate(Certificate):
    """A certificate with the policy it vouches for.

    Attributes:
        policy: the policy, with the limits of the certified operating point.
    """

    policy: TrainedPolicy = field(compare=False, repr=False)

    def save(self, path: str | Path) -> None:
        """Write certificate and policy to one `.npz` file of plain arrays.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        stages = [{"names": stage.names, "reads_answers": stage.reads_answers} for stage in self.policy.stages]
        header: dict[str, Any] = {
            "certificate": json.loads(self.to_json()),
            "features": VERSION,
            "tiers": self.policy.tiers,
            "stages": stages,
            "limits": [[turn.accept, turn.direct] for turn in self.policy.limits],
        }
        arrays: dict[str, Any] = {
            f"stage{place}.{name}": array
            for place, stage in enumerate(self.policy.stages)
            for name, array in stage.arrays().items()
        }
        written = io.BytesIO()
        np.savez_compressed(written, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
        try:
            Path(path).write_bytes(written.getvalue())
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error

    def to_json(self) -> str:
        """Return the certificate as one JSON object, without the policy."""
        shared = {name: getattr(self, name) for name in _CERTIFICATE_FIELDS}
        return Certificate(**shared).to_json()

    @classmethod
    def load(cls, path: str | Path, *, kind: str | None = None, version: str | None = None) -> Self:
        """Read it from a file.

        Raises:
            ConfigurationError: the file cannot be read, is damaged, or was made by another version.
        """
        try:
            with np.load(Path(path), allow_pickle=False) as found:
                header: dict[str, Any] = json.loads(found["header"].tobytes())
                arrays = {name: found[name] for name in found.files if name != "header"}
            policy = _policy(header, arrays)
            certificate = Certificate.from_json(json.dumps(header["certificate"]))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"{path} is no router certificate: {type(error).__name__}: {error}") from error
        certificate.require(kind=kind or "router", version=version or policy.version)
        return cls(**{name: getattr(certificate, name) for name in _CERTIFICATE_FIELDS}, policy=policy)


_CERTIFICATE_FIELDS = tuple(Certificate.__dataclass_fields__)


def asked(request: Request) -> str:
    """Return the text that a request is judged by: the last user message."""
    return next((message.text for message in reversed(request.messages) if message.role == "user"), "")


def draft_text(draft: Draft) -> str:
    """Return an answer as text, its tool calls written out."""
    return "\n".join([draft.text, *(f"{call.name}({call.arguments})" for call in draft.tool_calls)]).strip("\n")


def _policy(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> TrainedPolicy:
    if header["features"] != VERSION:
        raise ConfigurationError(
            f"the policy was trained on features {header['features']!r}, and this version has {VERSION!r}: calibrate "
            "again"
        )
    stages: list[Stage] = []
    for place, told in enumerate(header["stages"]):
        prefix = f"stage{place}."
        own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        stages.append(Stage.read(own, told["names"], reads_answers=bool(told["reads_answers"])))
    turns = tuple(Limits(float(accept), float(direct)) for accept, direct in header["limits"])
    return TrainedPolicy(tiers=tuple(header["tiers"]), stages=tuple(stages), limits=turns)


def _said(gain: float) -> str:
    return f"the strongest tier is expected to add {100 * gain:+.1f} points"
