"""`thrift train`: fits what comes with thrift to labelled traffic of one's own."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrift_core.commands.progress import waiting
from thrift_core.commands.subparsers import Subparsers
from thrift_core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from thrift_core.caching.matching.head import Head

_FEWEST = 40
_FOLDS = 5


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("train", help="fit a lever to labelled traffic of your own", description=__doc__)
    levers = parser.add_subparsers(title="levers", required=True, metavar="LEVER")
    matcher = levers.add_parser("matcher", help="the semantic cache's matcher", description=run_matcher.__doc__)
    matcher.add_argument("pairs", type=Path, help='lines of JSON: "a", "b" and "same" (true or false)')
    matcher.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the head (JSON)")
    matcher.add_argument("--light", action="store_true", help="without the verifier (no extra needed)")
    matcher.add_argument(
        "--strength", type=float, default=20.0, metavar="PAIRS", help="how much the shipped head counts (20 pairs)"
    )
    matcher.set_defaults(run=run_matcher)


def run_matcher(arguments: argparse.Namespace) -> int:
    """Fit the head of the matcher to labelled pairs, starting from the one that comes with thrift.

    The head is what weighs the verifier and the guard: it learns which differences matter in this traffic, in seconds.
    Calibrate on pairs that were not trained on: a certificate made on the same pairs would promise too much.
    """
    import numpy as np  # noqa: PLC0415 - slow to import

    from thrift_core.caching.matching.head import fit_head  # noqa: PLC0415
    from thrift_core.caching.matching.labelled_pairs import read_pairs  # noqa: PLC0415
    from thrift_core.commands.calibrate_cache import chosen_matcher  # noqa: PLC0415

    if not arguments.strength > 0:
        raise ConfigurationError(f"--strength must be more than 0; got {arguments.strength}")
    pairs = read_pairs(arguments.pairs)
    labels = np.array([pair.same for pair in pairs])
    if len(pairs) < _FEWEST or labels.all() or not labels.any():
        raise ConfigurationError(
            f"{arguments.pairs} holds {len(pairs)} pairs, {int(labels.sum())} of them the same: training needs "
            f"{_FEWEST} or more, of both sorts"
        )
    matcher = chosen_matcher(light=arguments.light, head=None)
    with waiting(f"reading {len(pairs):,} pairs"):
        table = matcher.table([(pair.a, pair.b) for pair in pairs])
    start: Head = matcher.head

    def fitted(rows: NDArray[Any]) -> Head:
        return fit_head(
            start.names, table[rows], labels[rows], prior=start, strength=arguments.strength, verifier=start.verifier
        )

    order = np.array(random.Random(0).sample(range(len(pairs)), len(pairs)))  # noqa: S311 - splits, keeps no secret
    held = np.zeros(len(pairs))
    for fold in range(_FOLDS):
        test, rest = order[fold::_FOLDS], np.setdiff1d(order, order[fold::_FOLDS])
        one_sort = labels[rest].all() or not labels[rest].any()
        held[test] = (start if one_sort else fitted(rest)).probabilities(table[test])
    before = start.probabilities(table)
    head = fitted(order)
    try:
        arguments.out.write_text(head.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{arguments.out} cannot be written: {error.strerror or error}") from error
    sys.stdout.write(
        f"{len(pairs):,} pairs: how often a matching pair scores above another one (AUC) {_auc(before, labels):.3f} "
        f"before, {_auc(held, labels):.3f} after, on pairs left out of training\n"
        f"next: thrift calibrate cache OTHER_PAIRS --head {arguments.out}\n"
    )
    sys.stderr.write(f"written: {arguments.out}\n")
    return 0


def _auc(scores: NDArray[Any], labels: NDArray[np.bool_]) -> float:
    import numpy as np  # noqa: PLC0415 - slow to import

    others = np.sort(scores[~labels])
    below = np.searchsorted(others, scores[labels], side="left") + np.searchsorted(others, scores[labels], side="right")
    return float(below.mean() / 2 / len(others))
