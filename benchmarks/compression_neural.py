"""`python -m benchmarks compression --part neural`: how fast models choose on a CPU, beside our own scorer of prose.

The models have the architectures of LLMLingua-2's, at random weights: what they choose says nothing, how long they take
does. They are made here, with a tokenizer learned from the texts; nothing is downloaded. XLM-RoBERTa-large, the larger
of the two that were published, is three times BERT-base and left out. Needs what `make test-neural` installs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from thrift_core.compression import CompressionBackend, Compressor
from thrift_core.compression.neural import LLMLinguaBackend, TokenClassifierBackend, export_onnx
from thrift_core.relevance.segmentation import forget_segments
from thrift_core.token_counters import TokenCounter

from benchmarks.records import Options, Record, stem, watched

FIGURES = {
    "--part neural": "models of LLMLingua-2's architectures at random weights, choosing 30 % of prose."
    " times_slower: than our own scorer in the same run; outside_model_us: microseconds a token that a backend spends"
    " outside its model",
}
_SHARE = 0.3
_QUESTION = "Who was the first to win it, and when?"
# The small models read more, so that a run is long enough to be timed.
_TOKENS = {"base": 1_000, "mini": 4_000, "tiny": 10_000}
_ROUNDS = 2


class Size(NamedTuple):
    """A BERT's size."""

    layers: int
    hidden: int
    vocabulary: int


SIZES = {
    # bert-base-multilingual-cased, of which LLMLingua-2's small model was made.
    "base": Size(12, 768, 119_547),
    # As many layers and dimensions as the multilingual MiniLMs.
    "mini": Size(6, 384, 119_547),
    # Hardly a model: what is left is what goes on around it.
    "tiny": Size(1, 32, 8_000),
}


def run(options: Options, counter: TokenCounter) -> Iterator[Record]:
    """Yield one record for each data file, size and way to run it.

    Args:
        options: of the command line.
        counter: counts the tokens that speeds are given in.
    """
    if any(find_spec(module) is None for module in ("torch", "transformers", "llmlingua")):
        raise SystemExit("--part neural needs torch, transformers and llmlingua: make test-neural installs them")
    for file in options.files("rag/passages"):
        rows = [row for row in options.rows(file) if "passages" in row]
        texts = ["\n\n".join(passage["text"] for passage in row["passages"]) for row in rows]
        if texts:
            yield from _of_texts(stem(file), texts, counter)


def _of_texts(data: str, texts: Sequence[str], counter: TokenCounter) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as root:
        for name, size in SIZES.items():
            read = _up_to(texts, _TOKENS[name], counter)
            folder = _saved(Path(root) / name, size, texts)
            ours = _timed(Compressor(counter=counter), read, counter)
            yield _record(data, "thrift", name, ours, ours)
            for system, make in watched(list(_ways(folder).items()), f"{data} {name}"):
                yield _record(data, f"{system}, {name}", name, _measured(make(), read, counter), ours)


def _ways(folder: Path) -> dict[str, Callable[[], CompressionBackend]]:
    whole, small = folder / "onnx", folder / "onnx-8-bit"
    return {
        "llmlingua 0.2.2": lambda: LLMLinguaBackend(folder),
        "thrift torch": lambda: TokenClassifierBackend(folder, runtime="torch"),
        "thrift onnx": lambda: TokenClassifierBackend(export_onnx(folder, whole)),
        "thrift onnx 8-bit": lambda: TokenClassifierBackend(export_onnx(folder, small, is_eight_bit=True)),
    }


class Times(NamedTuple):
    """What was spent on the same texts: all in all, by the backend outside its model, and on how many tokens."""

    seconds: float
    outside: float
    tokens: int
    n: int


def _measured(backend: CompressionBackend, texts: Sequence[str], counter: TokenCounter) -> Times:
    keeping, inside = _watched_backend(backend)
    return _timed(Compressor(counter=counter, backend=backend), texts, counter, (keeping, inside))


def _timed(
    compressor: Compressor,
    texts: Sequence[str],
    counter: TokenCounter,
    spent: tuple[list[float], list[float]] = ([], []),
) -> Times:
    """Return the faster of the rounds, once a text was done to warm up: others may be using the machine."""
    compressor.compress(texts[0], _QUESTION, max_tokens=int(_SHARE * counter.count(texts[0])), kind="prose")
    rounds: list[tuple[float, float]] = []
    for _ in range(_ROUNDS):
        forget_segments()
        for times in spent:
            times.clear()
        began = time.perf_counter()
        for text in texts:
            compressor.compress(text, _QUESTION, max_tokens=int(_SHARE * counter.count(text)), kind="prose")
        rounds.append((time.perf_counter() - began, sum(spent[0]) - sum(spent[1])))
    seconds, outside = min(rounds)
    return Times(seconds, outside, sum(map(counter.count, texts)), len(texts))


def _watched_backend(backend: Any) -> tuple[list[float], list[float]]:
    """Note how long each call of a backend takes, and each call of its model."""
    backend.prepare()
    is_ours = isinstance(backend, TokenClassifierBackend)
    model, call = (backend._reader.model, "logits") if is_ours else (backend._compressor.model, "forward")
    return _watched_call(backend, "keep"), _watched_call(model, call)


def _watched_call(owner: Any, name: str) -> list[float]:
    called = getattr(owner, name)
    spent: list[float] = []

    def timed(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        done = called(*args, **options)
        spent.append(time.perf_counter() - began)
        return done

    setattr(owner, name, timed)
    return spent


def _record(data: str, system: str, size: str, times: Times, ours: Times) -> Record:
    more = {"outside_model_us": round(1e6 * times.outside / times.tokens, 2)} if times.outside else {}
    return {
        "benchmark": "compression",
        "part": "neural",
        "data": data,
        "system": system,
        "mode": "question-30",
        "what": size,
        "n": times.n,
        "tokens": times.tokens,
        "tokens_per_s": round(times.tokens / times.seconds),
        "times_slower": round(times.seconds / ours.seconds, 1),
        **more,
    }


def _up_to(texts: Sequence[str], most: int, counter: TokenCounter) -> list[str]:
    kept: list[str] = []
    tokens = 0
    for text in texts:
        kept.append(text)
        tokens += counter.count(text)
        if tokens >= most:
            break
    return kept


def _saved(folder: Path, size: Size, texts: Sequence[str]) -> Path:
    """Write a model of random weights, and a WordPiece tokenizer learned from the texts."""
    import torch  # noqa: PLC0415 - large, and only for this part
    from tokenizers import BertWordPieceTokenizer  # noqa: PLC0415
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast  # noqa: PLC0415

    torch.manual_seed(0)
    learner = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    learner.train_from_iterator(texts[:200], vocab_size=8_000, show_progress=False)
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learner._tokenizer, mask_token="[MASK]", **special)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=max(1, size.hidden // 64),
        intermediate_size=4 * size.hidden,
        num_labels=2,
    )
    BertForTokenClassification(config).save_pretrained(folder)
    return folder
