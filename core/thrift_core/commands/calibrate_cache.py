"""`thrift calibrate cache`: what a matcher does to labelled pairs of questions, and the threshold they support."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from thrift_core.commands.progress import waiting
from thrift_core.commands.subparsers import Subparsers
from thrift_core.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from thrift_core.caching.matching.calibrate_cache import ScoredPairs
    from thrift_core.caching.matching.curve import CurvePoint
    from thrift_core.caching.matching.labelled_pairs import LabelledPair
    from thrift_core.caching.matching.learned_matcher import LearnedMatcher

_MOST_EXAMPLES = 5


def add_cache(levers: Subparsers) -> None:
    """Add `cache` to the levers that can be calibrated."""
    parser = levers.add_parser("cache", help="the semantic cache", description=run_cache.__doc__)
    parser.add_argument("pairs", type=Path, help='lines of JSON: "a", "b", "same" (true or false), and "partition"')
    parser.add_argument(
        "--max-false-hits", type=float, default=0.01, metavar="SHARE", help="of hits that may be wrong (0.01)"
    )
    parser.add_argument("--confidence", type=float, default=0.95, metavar="SHARE", help="how often that holds (0.95)")
    parser.add_argument("--head", type=Path, metavar="FILE", help="a head that `thrift train matcher` wrote")
    parser.add_argument("--light", action="store_true", help="without the verifier (no extra needed, fewer hits)")
    parser.add_argument("--by-partition", action="store_true", help="a threshold for each partition that supports one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write the certificate (JSON)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="where to write the curve as one page")
    parser.set_defaults(run=run_cache)


def run_cache(arguments: argparse.Namespace) -> int:
    """Show precision, recall and false hits at thresholds, and certify the loosest threshold the pairs support."""
    from thrift_core.caching.matching.calibrate_cache import ScoredPairs, calibrate_cache, score  # noqa: PLC0415
    from thrift_core.caching.matching.curve import curve, curve_page, text_plot  # noqa: PLC0415 - brings numpy
    from thrift_core.caching.matching.labelled_pairs import read_pairs  # noqa: PLC0415
    from thrift_core.caching.matching.partitions import calibrate_partitions  # noqa: PLC0415

    pairs = read_pairs(arguments.pairs)
    matcher = chosen_matcher(light=arguments.light, head=arguments.head)
    with waiting(f"scoring {len(pairs):,} pairs"):
        scored = ScoredPairs(tuple(score(matcher, pairs)), tuple(pair.same for pair in pairs))
        limit, confidence = float(arguments.max_false_hits), float(arguments.confidence)
        certificate = calibrate_cache(pairs, limit, confidence=confidence, matcher=matcher)
    lines = [
        f"{len(pairs):,} pairs, {sum(scored.labels):,} of them the same question; matcher {matcher.version}",
        "",
        "threshold   hits  precision  recall  false hits (95 % interval)",
        *(_row(point) for point in curve(scored)),
        "",
        "false hits by recall (*: measured, -: upper bound)",
        text_plot(scored),
        "",
        *_examples(pairs, scored, matcher),
        certificate.note,
    ]
    if arguments.by_partition:
        parts = calibrate_partitions(pairs, limit, confidence=confidence, matcher=matcher)
        lines += [f"  {name}: {one.note}" for name, one in parts.parts.items()]
        if arguments.out is not None:
            parts.save(arguments.out)
    elif arguments.out is not None:
        certificate.save(arguments.out)
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.html is not None:
        try:
            arguments.html.write_text(curve_page(scored, certificate), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{arguments.html} cannot be written: {error.strerror or error}") from error
    for file in (arguments.out, arguments.html):
        if file is not None:
            sys.stderr.write(f"written: {file}\n")
    return 0


def chosen_matcher(*, light: bool, head: Path | None) -> LearnedMatcher:
    """Return the matcher that comes with thrift, or the light one where its extra is not installed."""
    from thrift_core.caching.matching.head import Head  # noqa: PLC0415 - brings numpy
    from thrift_core.caching.matching.learned_matcher import LearnedMatcher  # noqa: PLC0415

    own = None if head is None else Head.load(head)
    if light or (own is not None and not own.verifier):
        return LearnedMatcher(verifier=None, head=own)
    try:
        return LearnedMatcher(head=own)
    except MissingExtra as error:
        if own is not None:
            raise
        sys.stderr.write(f"thrift: {error}; going on without the verifier\n")
        return LearnedMatcher(verifier=None)


def _row(point: CurvePoint) -> str:
    return (
        f"{point.threshold:9.3f} {point.hits:6,} {100 * point.precision:8.2f} % {100 * point.recall:5.1f} % "
        f"{100 * point.false_hit_rate:6.2f} % ({100 * point.low:.2f} to {100 * point.high:.2f} %)"
    )


def _examples(pairs: list[LabelledPair], scored: ScoredPairs, matcher: LearnedMatcher) -> list[str]:
    """Return the worst false hits with the guard's reasons: labels that are wrong are often among them."""
    from thrift_core.caching.semantic.matcher import Candidate  # noqa: PLC0415 - brings numpy

    wrong = sorted(
        ((value, at) for at, value in enumerate(scored.scores) if not scored.labels[at] and value > 0), reverse=True
    )
    if not wrong:
        return []
    lines = ["the surest of the pairs labelled as different (a wrong label is often among them)"]
    for value, at in wrong[:_MOST_EXAMPLES]:
        pair = pairs[at]
        (judged,) = matcher.judge(pair.a, [Candidate(pair.b, 1.0)])
        lines.append(f"  {value:.3f}  {pair.a[:70]!r} / {pair.b[:70]!r}: {judged.reason}")
    return [*lines, ""]
