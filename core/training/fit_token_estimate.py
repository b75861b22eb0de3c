"""Fits the weights of `thrift_core.token_estimate` and measures the error on text they were not fitted on.

    python core/training/fit_token_estimate.py [--data FOLDER] [--translations FOLDER] [--write]

Needs numpy and tiktoken with the ranks of `o200k_base` on disk. Fits on documents that every Python carries (the manual
in `pydoc_data`, the standard library's source), on translated messages (`.mo` files, /usr/share/locale by default),
and, where `--data` names them, on the dialogues, JSON texts and agent runs that may be trained on. Half of each,
chosen by a hash, is held out; reading passages and logs are only ever measured on.
"""

from __future__ import annotations

import argparse
import gettext
import gzip
import hashlib
import json
import pydoc_data.topics
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from thrift_core import token_estimate
from thrift_core.tokens import TiktokenCounter

MODULE = Path(token_estimate.__file__)
CHARS = 3000
PER_LANGUAGE = 60
# How much a corpus counts, whatever its size: English most, then the languages most written to models.
IMPORTANCE = {"en": 2.0, "ru": 1.2, "zh_CN": 0.8, "ja": 0.8, "ar": 0.8, "hi": 0.8, "ko": 0.6, "de": 0.6, "fr": 0.6}
OTHER_LANGUAGE = 0.25
# Languages of the error table, in the order of their scripts.
_LANGUAGES = "de es fr it pt_BR pl cs tr vi id fi sv nl hu ro da el ru uk bg sr kk he ar fa hi mr bn ta te gu th ka hy"
LANGUAGES = [*_LANGUAGES.split(), "ko", "ja", "zh_CN", "zh_TW"]
# What the splitting rules of the tokenizer alone say; the data may move the weights from here.
PRIOR = {
    **{f"word_{length}": 1.0 for length in range(1, 8)},
    "word_8": 1.05,
    "word_9": 1.1,
    "word_10": 1.15,
    "word_11": 1.2,
    "word_12": 1.3,
    "word_13": 1.4,
    "word_14": 1.5,
    "word_15": 1.8,
    "word_rest": 0.25,
    **{f"punctuation_{length}": cost for length, cost in enumerate((1.0, 1.1, 1.3, 1.6, 2.0), start=1)},
    "punctuation_rest": 0.1,
    "digits": 1.0,
    "digits_after_space": 1.0,
    "space_runs": 1.0,
    "capitalised": 0.1,
    "names": 0.4,
    # Rows of blanks, dashes or dots: the longest tokens have 8 to 128 of them.
    "repeats": 0.02,
}
FIRM = {
    *(f"word_{length}" for length in range(1, 8)),
    "word_rest",
    "names",
    "punctuation_1",
    "digits",
    "digits_after_space",
    "repeats",
}
SIGNED = re.compile("other_|letter_|punctuation_between|contractions|not_english|foreign_words")
RIDGE = 1e-3
FIRMNESS = 300


def main() -> None:
    """Fit, print the errors, and print or write the weights."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, help="development data; only what may be trained on is fitted on")
    arguments.add_argument("--translations", type=Path, default=Path("/usr/share/locale"))
    arguments.add_argument("--write", action="store_true", help=f"write the weights into {MODULE.name}")
    chosen = arguments.parse_args()
    counter = TiktokenCounter("o200k_base")
    corpora = [*_python(), *_translations(chosen.translations)]
    if chosen.data is not None:
        corpora += [*_trainable(chosen.data), *_only_measured(chosen.data)]
    names = np.array([name for name, _ in corpora])
    texts = [text for _, text in corpora]
    tokens = np.array([counter.count(text) for text in texts], dtype=float)
    counted = [token_estimate.features(text) for text in texts]
    keys = sorted({key for counts in counted for key in counts})
    matrix = np.array([[counts.get(key, 0.0) for key in keys] for counts in counted])
    held_out = np.array([name.startswith("only-") or _hash(text) % 2 == 0 for name, text in corpora])
    weights = _fit(matrix[~held_out], tokens[~held_out], names[~held_out], keys)
    _print_errors(names[held_out], matrix[held_out] @ weights, tokens[held_out])
    rounded = {key: round(float(weight), 3) for key, weight in zip(keys, weights, strict=True) if abs(weight) >= 0.0005}
    if chosen.write:
        _write(rounded)
    else:
        sys.stdout.write(json.dumps(rounded, indent=1) + "\n")


def _fit(matrix: np.ndarray, tokens: np.ndarray, names: np.ndarray, keys: list[str]) -> np.ndarray:
    """Return the weights with the least squared relative error, drawn towards PRIOR, mostly not negative."""
    sizes = Counter(names)
    importance = np.array([_importance(name) / np.sqrt(sizes[name]) for name in names])
    rows = matrix / tokens[:, None] * importance[:, None]
    scale = np.sqrt((rows**2).sum(axis=0)) + 1e-9
    rows = rows / scale
    prior = np.array([PRIOR.get(key, 0.0) for key in keys]) * scale
    ridge = RIDGE * np.array([FIRMNESS if key in FIRM else 1.0 for key in keys])
    gram = rows.T @ rows + np.diag(ridge)
    target = rows.T @ importance + ridge * prior
    is_signed = np.array([bool(SIGNED.match(key)) for key in keys])
    weights = np.linalg.solve(gram, target)
    weights = np.where(is_signed, weights, np.maximum(0, weights))
    for _ in range(3000):
        for index in range(len(weights)):
            step = weights[index] + (target[index] - gram[index] @ weights) / gram[index, index]
            weights[index] = step if is_signed[index] else max(0.0, step)
    return weights / scale


def _importance(name: str) -> float:
    kind, _, rest = name.partition("-")
    if kind == "mo":
        return IMPORTANCE.get(rest, OTHER_LANGUAGE)
    return IMPORTANCE.get(kind, 1.0)


def _print_errors(names: np.ndarray, estimated: np.ndarray, tokens: np.ndarray) -> None:
    relative = (estimated - tokens) / tokens
    sys.stdout.write(f"{'held out':36s} {'texts':>6s} {'error %':>8s} {'bias %':>8s}\n")
    for name in sorted(set(names)):
        own = relative[names == name]
        sys.stdout.write(f"{name:36s} {len(own):6d} {100 * np.abs(own).mean():8.1f} {100 * own.mean():+8.1f}\n")


def _write(weights: dict[str, float]) -> None:
    lines = "".join(f'        "{key}": {weight},\n' for key, weight in weights.items())
    source = MODULE.read_text(encoding="utf-8")
    block = f"WEIGHTS = MappingProxyType(\n    {{\n{lines}    }}\n)\n"
    MODULE.write_text(re.sub(r"WEIGHTS = MappingProxyType\((?s:.*?)\n?\)\n", lambda _: block, source, count=1), "utf-8")


def _python() -> Iterator[tuple[str, str]]:
    for text in pydoc_data.topics.topics.values():
        yield from (("en-pydoc", part) for part in _parts(text))
    library = Path(sysconfig.get_path("stdlib"))
    for folder in ("", "asyncio", "email"):
        for path in sorted((library / folder).glob("*.py")):
            yield from (("code-stdlib", part) for part in _parts(path.read_text("utf-8", errors="replace")))


def _translations(folder: Path) -> Iterator[tuple[str, str]]:
    for language in LANGUAGES:
        messages: list[str] = []
        for path in sorted(folder.glob(f"{language}/LC_MESSAGES/*.mo")):
            messages += _messages(path)
        parts = list(_parts("\n".join(messages)))
        step = max(1, len(parts) // PER_LANGUAGE)
        yield from ((f"mo-{language}", part) for part in parts[::step][:PER_LANGUAGE])


def _messages(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            catalogue = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
    except UnicodeDecodeError:  # an old file in another encoding than it says
        return []
    return [message for key, message in catalogue.items() if key and isinstance(message, str)]


def _trainable(data: Path) -> Iterator[tuple[str, str]]:
    for row in _rows(data / "rag/dialogue/qmsum.jsonl.gz")[::8]:
        text = "\n".join(turn["text"] for turn in row["turns"][:120])
        yield from (("en-qmsum", part) for part in _parts(text))
    for name in ("mtrag_clapnq", "mtrag_cloud"):
        for row in _rows(data / f"cache/multiturn/{name}.jsonl"):
            yield "en-mtrag", "\n".join(turn["text"] for turn in row["turns"])
    questions = [row["text"] for row in _rows(data / "cache/intents/banking77.jsonl.gz")]
    yield from (("en-banking77", "\n".join(questions[at : at + 40])) for at in range(0, len(questions), 40))
    for name in ("tau_airline.jsonl", "bfcl_functions.jsonl.gz", "zoom_api.jsonl.gz"):
        for row in _rows(data / "text/json" / name):
            yield from ((f"json-{name.split('.')[0]}", part) for part in _parts(row["text"]))
    for name in ("airline", "swe_demos", "terminal", "sql", "ctf"):
        for row in _rows(data / f"trajectories/{name}.jsonl.gz")[:20]:
            text = "\n".join(_said(message) for message in row["messages"])[:60_000]
            yield from ((f"run-{name}", part) for part in _parts(text))


def _only_measured(data: Path) -> Iterator[tuple[str, str]]:
    names = ("squadshifts_amazon_reviews", "squadshifts_reddit", "nq_proxy", "hotpot")
    for name in (*names, *(f"xquad_{language}" for language in ("en", "ru", "ar", "hi", "zh"))):
        for row in _rows(data / f"rag/passages/{name}.jsonl.gz")[:60]:
            yield f"only-{name}", "\n".join(passage["text"] for passage in row["passages"][:6])
    for path in sorted((data / "text/logs").iterdir()):
        lines = [row["line"] for row in _rows(path)]
        yield from (
            (f"only-log-{path.name.split('.')[0]}", "\n".join(lines[at : at + 50])) for at in range(0, len(lines), 50)
        )


def _said(message: dict[str, object]) -> str:
    calls = message.get("tool_calls") or []
    return str(message.get("content") or "") + "".join(call["function"]["arguments"] for call in calls)  # type: ignore[attr-defined]


def _parts(text: str) -> Iterator[str]:
    yield from (part for at in range(0, len(text), CHARS) if len(part := text[at : at + CHARS]) > CHARS // 10)


def _rows(path: Path) -> list[dict]:  # type: ignore[type-arg]
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), 16)


if __name__ == "__main__":
    sys.exit(main())
