"""`thrift calibrate`: turns labelled examples into a threshold with a guarantee."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from thrift_core.commands.calibrate_cache import add_cache
from thrift_core.commands.progress import waiting
from thrift_core.commands.subparsers import Subparsers
from thrift_core.errors import ConfigurationError

if TYPE_CHECKING:
    from thrift_core.routing.calibrating import Learned
    from thrift_core.routing.tier import Tier
    from thrift_core.routing.trained import RouterCertificate

_ROWS, _COLUMNS = 12, 61


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("calibrate", help="certify a lever on labelled examples", description=__doc__)
    levers = parser.add_subparsers(title="levers", required=True, metavar="LEVER")
    router = levers.add_parser("router", help="a cascade of models", description=run_router.__doc__)
    router.add_argument("golden", type=Path, help="lines of JSON: prompt, scores by tier, answers by tier (best), cost")
    router.add_argument("--max-loss", type=float, default=0.01, metavar="SHARE", help="quality lost at most (0.01)")
    router.add_argument("--confidence", type=float, default=0.95, metavar="SHARE", help="how often that holds (0.95)")
    router.add_argument(
        "--tier",
        action="append",
        metavar="NAME=MODEL[@PROVIDER]",
        help="a tier of the golden set and its model, cheapest first, for dollars where the rows have none",
    )
    router.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write the policy with its certificate (.npz)"
    )
    router.set_defaults(run=run_router)
    add_cache(levers)


def run_router(arguments: argparse.Namespace) -> int:
    """Learn a routing policy, show its cost-quality curve, and certify what it loses against the strongest tier."""
    from thrift_core.routing.calibrating import certify, learn  # noqa: PLC0415 - brings numpy
    from thrift_core.routing.golden import read_golden  # noqa: PLC0415

    if not 0 < arguments.max_loss < 1 or not 0 < arguments.confidence < 1:
        raise ConfigurationError("--max-loss and --confidence must lie between 0 and 1")
    with waiting("learning"):
        rows = read_golden(arguments.golden)
        learned = learn(rows, tiers=_tiers(arguments.tier))
        certificate = certify(learned, rows, max_loss=arguments.max_loss, confidence=arguments.confidence)
    sys.stdout.write("\n".join([*_plot(learned, certificate), "", *_words(certificate)]) + "\n")
    if arguments.out is not None:
        certificate.save(arguments.out)
        sys.stderr.write(f"written: {arguments.out}\n")
    return 0


def _tiers(given: list[str] | None) -> list[Tier] | None:
    from thrift_core.routing.tier import Tier  # noqa: PLC0415 - brings prices

    if not given:
        return None
    tiers: list[Tier] = []
    for text in given:
        name, is_there, model = text.partition("=")
        if not is_there:
            raise ConfigurationError(f"--tier {text}: write NAME=MODEL, such as small=gpt-4.1-nano@openai")
        model, _, provider = model.partition("@")
        tiers.append(Tier(name, model, provider or None))
    return tiers


def _words(certificate: RouterCertificate) -> list[str]:
    figures = certificate.figures
    lines = [
        f"labels            {certificate.n}",
        f"quality           {_percent(figures, 'cheap_quality')} cheapest, {_percent(figures, 'strong_quality')} "
        "strongest",
    ]
    if "apgr" in figures:
        lines.append(f"APGR              {figures['apgr']:.3f} (0.5 is chance)")
    for name, what in (("cpt50", "CPT50"), ("cpt80", "CPT80")):
        if name in figures:
            lines.append(f"{what}             {_percent(figures, name)} strong calls recover {what[3:]} % of the gap")
    if "parity_cost" in figures:
        lines.append(f"parity            at {_percent(figures, 'parity_cost')} of the dollars of always the strongest")
    point = "certified" if certificate.is_certified else "best point"
    lines.append(
        f"{point:<18}{_percent(figures, 'strong_calls')} strong calls, {_percent(figures, 'cost_share')} of the "
        f"dollars, quality {_percent(figures, 'quality')}"
    )
    return [*lines, "", certificate.note]


def _percent(figures: Mapping[str, float], name: str) -> str:
    value = figures.get(name)
    return "?" if value is None else f"{100 * value:.1f} %"


def _plot(learned: Learned, certificate: RouterCertificate) -> list[str]:
    """Return the curve of quality over dollars, drawn with characters; o marks the operating point."""
    found = learned.curve()
    low, high = float(found.quality.min()), float(found.quality.max())
    span = high - low or 1.0
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]
    most = max(1.0, float(found.cost.max()))

    def put(cost: float, quality: float, mark: str) -> None:
        row = _ROWS - 1 - round((quality - low) / span * (_ROWS - 1))
        grid[min(max(row, 0), _ROWS - 1)][min(round(cost / most * (_COLUMNS - 1)), _COLUMNS - 1)] = mark

    for cost, quality in zip(found.cost, found.quality, strict=True):
        put(float(cost), float(quality), ".")
    put(1.0, found.strong, "S")
    put(certificate.figures["cost_share"], certificate.figures["quality"], "o")
    lines = [
        f"{low + (high - low) * (_ROWS - 1 - at) / (_ROWS - 1):6.1%} |{''.join(row)}" for at, row in enumerate(grid)
    ]
    return [
        "quality by dollars, cross-fitted (S: always the strongest, o: the operating point)",
        *lines,
        " " * 7 + "+" + "-" * _COLUMNS,
        " " * 8 + f"0 %{f'{most:.0%} of the dollars':>{_COLUMNS - 3}}",
    ]
