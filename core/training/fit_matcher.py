"""Fits the heads of the cache's matcher, with the verifier's outputs and without, and measures them.

    python core/training/fit_matcher.py --data FOLDER [--pairs FOLDER] [--light] [--write]

Needs numpy and, without `--light`, onnxruntime. The verifier knows its own pairs by heart, so the head that weighs its
outputs is fitted on groups that it never saw (`matcher_pairs.is_held_out`), and on changes to texts that it never
saw. The light head needs no verifier and is fitted on all groups. Figures are those of ten folds: every group is
measured by a head that did not see it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
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
from thrift_core.embedding.static_embedder import shipped_embedder

HERE = Path(__file__).parent
OUT = Path(head_module.__file__).parent / "data"
# Texts up to here were seen by the verifier; see `fit_verifier.make_pairs`.
SEEN_TEXTS = 6_000
GENERATED = 1_200
FOLDS = 10
NEIGHBOURS = 3_000
# What each sort of pair counts for: much of a cache's traffic lies near a stored question and is plainly another.
SHARES = {"same": 0.2, "near": 0.15, "generated same": 0.05, "generated": 0.05, "neighbour": 0.35, "twin": 0.2}
# Features that speak for a match; all others that are used speak against one.
ALIKE = ("cosine", "shared_least", "rare_shared_least", "rare_shared_most", "trigrams", "alike_mean", "is_equal")
# Differences that are rare in the pairs and leave little doubt take away so much log odds at least.
DECISIVE = {"direction_both": 6.0, "antonym_both": 2.5, "negated_one": 2.5, "language_both": 3.0, "entity_both": 2.0}
# The least cosine of two questions of one intent that count as one question.
TWIN = 0.75


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
    made = _generated(chosen.data) + _neighbours(chosen.data, groups)
    pairs = [pair for pair, _ in written] + made
    table, labels, can_tell = _table(pairs, verifier)
    folds = np.array([fold for _, fold in written] + [index % FOLDS for index in range(len(made))])
    counts = _counts(pairs)
    scores = np.zeros(len(pairs))
    for fold in range(FOLDS):
        fitted = _fit(table, labels, counts * (folds != fold) * can_tell, strength=chosen.strength, verifier=verifier)
        scores[folds == fold] = fitted.probabilities(table[folds == fold])
    scores[~can_tell] = 0.0
    report("written", scores[: len(written)], labels[: len(written)])
    sorts = np.array([pair.kind.split()[0] for pair in pairs])
    natural = np.isin(sorts, ["same", "twin", "neighbour"])
    report("written against neighbours", scores[natural], labels[natural])
    report("generated", scores[sorts == "generated"], labels[sorts == "generated"])
    for kind in sorted({pair.kind for pair in pairs if not pair.same}):
        chosen_pairs = np.array([pair.kind == kind for pair in pairs])
        say(f"  {kind}: mean score {scores[chosen_pairs].mean():.3f} of {chosen_pairs.sum()}")
    head = _fit(table, labels, counts * can_tell, strength=chosen.strength, verifier=verifier)
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


def _counts(pairs: Sequence[Pair]) -> np.ndarray:
    """Return what each pair counts: as much for each sort of pair as `SHARES` says, one on average."""
    sorts = [pair.kind if pair.kind in SHARES else pair.kind.split()[0] for pair in pairs]
    sorts = [sort if sort in SHARES else "near" for sort in sorts]
    tally = Counter(sorts)
    return np.array([SHARES[sort] * len(pairs) / tally[sort] for sort in sorts])


def _fold(group: dict) -> int:
    return blake2b(f"fold {group['same'][0]}".encode(), digest_size=4).digest()[0] % FOLDS


def _generated(folder: Path) -> list[Pair]:
    chance = random.Random(1)  # noqa: S311 - makes data, keeps no secret
    texts = [text for text, _ in trainable_texts(folder, 0)][SEEN_TEXTS : SEEN_TEXTS + GENERATED]
    pairs = list(generated_pairs(texts, chance))
    for text in texts[: len(texts) // 5]:
        a, b, other = with_id(text, chance)
        pairs += [Pair(a, b, True, "generated same id"), Pair(a, other, False, "generated id")]
    return pairs


def _neighbours(folder: Path, groups: Sequence[dict]) -> list[Pair]:
    """Return questions that lie near each other: two of different intents or groups, or near twins of one intent.

    One intent is no proof of one question, so a twin must lie very near and differ in nothing that the guard names.
    """
    named = [(text, intent) for text, intent in trainable_texts(folder, 0)[SEEN_TEXTS:] if not intent.endswith(":")]
    named = named[:NEIGHBOURS] + [(text, str(place)) for place, group in enumerate(groups) for text in group["same"]]
    vectors = shipped_embedder().embed([text for text, _ in named])
    found = []
    for place, (text, intent) in enumerate(named):
        cosines = vectors @ vectors[place]
        near = [int(other) for other in np.argsort(-cosines)[1:13]]
        found += [Pair(text, named[at][0], False, "neighbour") for at in near if named[at][1] != intent][:2]
        twins = [at for at in near if named[at][1] == intent and cosines[at] > TWIN]
        found += [Pair(text, named[at][0], True, "twin") for at in twins[:1] if not _differs(text, named[at][0])]
    return found


def _differs(one: str, other: str) -> bool:
    kinds = {difference.kind for difference in compare(one, other, likeness).differences}
    return bool(kinds - {"content", "question", "quantifier", "action", "principal"})


def _table(pairs: Sequence[Pair], verifier: Verifier | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels, and which pairs the head is asked about: those that the guard does not settle."""
    found = [compare(pair.a, pair.b, likeness) for pair in pairs]
    can_tell = np.array([one.can_tell and one.veto is None for one in found])
    table = feature_table([(pair.a, pair.b) for pair in pairs], verifier)
    return table, np.array([bool(pair.same) for pair in pairs]), can_tell


def _fit(
    table: np.ndarray, labels: np.ndarray, counts: np.ndarray, *, strength: float, verifier: Verifier | None
) -> Head:
    """Return a head whose signs make sense, with what the verifier and its cosine say counted alike.

    Written pairs are hard on purpose: their paraphrases share few words and their near misses most. A head that may
    choose freely learns from them that shared words speak against a match, which in traffic they do not. So what is
    alike may only add and what differs only take away, and the verifier and the cosine have equal weight, each on the
    scale of its own spread: the one knows near misses, the other topics.
    """
    names = feature_names(0 if verifier is None else verifier.outputs)
    kept = counts > 0
    table, labels, counts = table[kept], labels[kept], counts[kept]
    means, scales = table.mean(0), np.maximum(table.std(0), 1e-6)
    inputs = (table - means) / scales
    columns: dict[str, np.ndarray] = {
        name: inputs[:, at] for at, name in enumerate(names) if name.endswith(("_both", "_one")) or name == "turned"
    }
    together = [names.index(name) for name in ("verifier_0", "verifier_1") if name in names]
    if together:
        columns["verifier"] = inputs[:, together].sum(1)
    else:
        columns |= {name: inputs[:, names.index(name)] for name in ALIKE}
    weights, bias = _signed(columns, labels, counts, strength)
    full = [weights.get("verifier", 0.0) if at in together else weights.get(name, 0.0) for at, name in enumerate(names)]
    full = [
        min(weight, -DECISIVE[names[at]] * scales[at]) if names[at] in DECISIVE else weight
        for at, weight in enumerate(full)
    ]
    rounded = tuple(round(float(weight), 6) for weight in full)
    name = "" if verifier is None else verifier.name
    return Head(names, tuple(map(float, means)), tuple(map(float, scales)), rounded, round(bias, 6), name)


def _signed(
    columns: dict[str, np.ndarray], labels: np.ndarray, counts: np.ndarray, strength: float
) -> tuple[dict[str, float], float]:
    """Return weights of which none has the wrong sign: what would have one is left out, and the rest fitted again."""
    while True:
        fitted = fit_head(
            list(columns), np.column_stack(list(columns.values())), labels, weights=counts, strength=strength
        )
        weights = dict(zip(fitted.names, fitted.weights, strict=True))
        wrong = [name for name, weight in weights.items() if weight * (1 if name in (*ALIKE, "verifier") else -1) < 0]
        if not wrong:
            # The columns have means near 0 and their own spread, which the fit divided by.
            scales = dict(zip(fitted.names, fitted.scales, strict=True))
            means = dict(zip(fitted.names, fitted.means, strict=True))
            own = {name: weight / scales[name] for name, weight in weights.items()}
            return own, fitted.bias - sum(own[name] * means[name] for name in own)
        columns = {name: column for name, column in columns.items() if name not in wrong}


if __name__ == "__main__":
    main()
