"""Fits the heads of the cache's matcher, with the verifier's outputs and without, and measures them.

    python core/training/fit_matcher.py --data FOLDER [--pairs FOLDER] [--light] [--write]

Needs numpy and, without `--light`, onnxruntime. The verifier has learned its own pairs by heart, so the head that weighs
its outputs is fitted on groups that it never saw (`matcher_pairs.is_held_out`), and on changes to texts that it never
saw. The light head needs no verifier and is fitted on all groups. Figures are those of ten folds: every group is
measured by a head that did not see it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from matcher_pairs import Pair, generated_pairs, group_pairs, is_held_out, trainable_texts, with_id, written_groups
from thrift_core.caching.matching import head as head_module
from thrift_core.caching.matching.head import Head, fit_head
from thrift_core.caching.matching.near_miss import compare
from thrift_core.caching.matching.pair_features import feature_names, feature_table
from thrift_core.caching.matching.verifier import Verifier, shipped_verifier
from thrift_core.caching.matching.words import likeness

HERE = Path(__file__).parent
OUT = Path(head_module.__file__).parent / "data"
# Texts up to here were seen by the verifier; see `fit_verifier.MOST_TEXTS`.
SEEN_TEXTS = 8_000
GENERATED = 2_500
FOLDS = 10
# What a generated pair counts, next to a written one.
WEIGHT_GENERATED = 0.25


def main() -> None:
    """Fit, measure, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of texts that may be trained on")
    parser.add_argument("--pairs", type=Path, default=HERE / "pairs", help="folder of written groups")
    parser.add_argument("--light", action="store_true", help="without a verifier")
    parser.add_argument("--strength", type=float, default=3.0, help="how strongly weights are held near 0, in pairs")
    parser.add_argument("--write", action="store_true", help="replace the head that is shipped")
    chosen = parser.parse_args()
    verifier = None if chosen.light else shipped_verifier()
    groups = [group for group in written_groups(chosen.pairs) if chosen.light or is_held_out(group)]
    written = [(pair, _fold(group)) for group in groups for pair in group_pairs(group)]
    made = _generated(chosen.data)
    pairs = [pair for pair, _ in written] + made
    table, labels, can_tell = _table(pairs, verifier)
    folds = np.array([fold for _, fold in written] + [index % FOLDS for index in range(len(made))])
    counts = np.where(np.arange(len(pairs)) < len(written), 1.0, WEIGHT_GENERATED)
    names = feature_names(0 if verifier is None else verifier.outputs)
    scores = np.zeros(len(pairs))
    for fold in range(FOLDS):
        fitted = _fit(names, table, labels, counts * (folds != fold) * can_tell, chosen.strength, verifier)
        scores[folds == fold] = fitted.probabilities(table[folds == fold])
    scores[~can_tell] = 0.0
    report("written", scores[: len(written)], labels[: len(written)])
    report("generated", scores[len(written) :], labels[len(written) :])
    for kind in sorted({pair.kind for pair in pairs if not pair.same}):
        chosen_pairs = np.array([pair.kind == kind for pair in pairs])
        say(f"  {kind}: mean score {scores[chosen_pairs].mean():.3f} of {chosen_pairs.sum()}")
    head = _fit(names, table, labels, counts * can_tell, chosen.strength, verifier)
    for name, weight in sorted(zip(head.names, head.weights, strict=True), key=lambda item: -abs(item[1]))[:16]:
        say(f"  {name}: {weight:+.2f}")
    if chosen.write:
        file = OUT / ("head_light.json" if verifier is None else "head.json")
        file.write_text(head.to_json() + "\n", encoding="utf-8")
        say(f"wrote {file.name}, version {head.version}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def report(name: str, scores: np.ndarray, labels: np.ndarray) -> None:
    """Print AUC and recall at precisions."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(labels[order])
    precision = right / np.arange(1, len(order) + 1)
    recalls = [
        f"{100 * (right[precision >= least].max(initial=0)) / labels.sum():.1f} at {100 * least:.0f} %"
        for least in (0.9, 0.95, 0.97, 0.99)
    ]
    better = (scores[labels][:, None] > scores[~labels][None, :]).mean()
    equal = (scores[labels][:, None] == scores[~labels][None, :]).mean()
    say(f"{name}: {len(labels)} pairs, AUC {better + equal / 2:.4f}, recall {', '.join(recalls)} precision")


def _fold(group: dict) -> int:
    return blake2b(f"fold {group['same'][0]}".encode(), digest_size=4).digest()[0] % FOLDS


def _generated(folder: Path) -> list[Pair]:
    chance = random.Random(1)  # noqa: S311 - makes data, keeps no secret
    texts = [text for text, _ in trainable_texts(folder, 0)][SEEN_TEXTS : SEEN_TEXTS + GENERATED]
    pairs = list(generated_pairs(texts, chance))
    for text in texts[: len(texts) // 5]:
        a, b, other = with_id(text, chance)
        pairs += [Pair(a, b, True, "generated same id"), Pair(a, other, False, "generated id")]
    pairs += [Pair(a, b, False, "unrelated") for a, b in zip(texts, reversed(texts), strict=True) if a != b][:500]
    return pairs


def _table(pairs: Sequence[Pair], verifier: Verifier | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels, and which pairs the head is asked about: those that the guard does not settle."""
    found = [compare(pair.a, pair.b, likeness) for pair in pairs]
    can_tell = np.array([one.can_tell and one.veto is None for one in found])
    table = feature_table([(pair.a, pair.b) for pair in pairs], verifier)
    return table, np.array([bool(pair.same) for pair in pairs]), can_tell


def _fit(
    names: Sequence[str],
    table: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    strength: float,
    verifier: Verifier | None,
) -> Head:
    kept = counts > 0
    name = "" if verifier is None else verifier.name
    return fit_head(names, table[kept], labels[kept], weights=counts[kept], strength=strength, verifier=name)


if __name__ == "__main__":
    main()
