"""Fits the weights of `thrift_core.retrieval` on questions made from documents that every Python carries.

    python core/training/fit_trimmer.py [--questions N] [--seed N] [--write]

Needs numpy, and tiktoken with the ranks of `o200k_base` on disk. No data set of questions is used: from CPython's
manual (`pydoc_data`) and the docstrings of its standard library, a sentence and a few words in it (the answer) are
drawn; the question is what a forgetful reader would still know of the rest: some of the sentence's words, some of the
passage's and of its title's, endings changed, order changed, and words that are not in the passage at all. Besides,
`questions.jsonl` holds questions that were written by hand about some of the same passages, with the words that only
people use. The 19 passages that share most with the question are its hard negatives. The weights make the chances of a
softmax over all sentences as right as they can be (maximum likelihood, with a Gaussian prior).

Where passages have titles, sentences seldom repeat what the title names, and questions name that; without titles a
question must name something of the sentence. Two sets of weights, therefore, from two kinds of questions. A fifth of
the questions, of other passages than the rest, is held out and reported.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import pydoc_data.topics
import random
import sys
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from thrift_core.relevance import weights as module
from thrift_core.relevance.evidence import FEATURES, features, gather, importance
from thrift_core.relevance.matching import Floats
from thrift_core.relevance.rarity import tokenizer_rarity
from thrift_core.relevance.segmentation import Segments, segment, words
from thrift_core.relevance.word_vectors import shipped_vectors

MODULE = Path(module.__file__)
PASSAGES = 20
# The share of questions whose other passages are drawn at random.
EASY = 0.3
QUESTION_WORDS = 14
STEPS = 600
RATE = 0.03
PENALTY = 0.02
QUESTIONS = Path(__file__).parent / "questions.jsonl"
# A question written by hand counts as much as so many that were generated.
WRITTEN = 6.0


@dataclass(frozen=True, slots=True)
class Kind:
    """How a question is made.

    Attributes:
        has_title: whether passages show their titles.
        kept: the range of the share of the answer sentence's words that the question still has.
        other: how many words of the rest of the passage it has, at most, on average.
        hard: whether the other passages are always those that share most with the question.
    """

    has_title: bool
    kept: tuple[float, float]
    other: tuple[float, float]
    hard: bool = False


KINDS = {
    "UNTITLED": Kind(has_title=False, kept=(0.1, 0.5), other=(0.0, 0.5)),
    "TITLED": Kind(has_title=True, kept=(0.0, 0.4), other=(0.0, 1.5)),
}


@dataclass(frozen=True, slots=True)
class Text:
    """A passage to ask about."""

    title: str
    text: str
    parts: Segments


@dataclass(frozen=True, slots=True)
class Example:
    """One question: a row of features for each sentence, and which of them hold the answer."""

    features: Floats
    is_answer: Floats
    weight: float = 1.0


def main() -> None:
    """Fit, report, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=800, help="of each kind (default 800)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write the weights into the package")
    chosen = parser.parse_args()
    library = Library(list(passages()))
    say(f"{len(library.texts)} passages")
    fitted: dict[str, Floats] = {}
    for name, kind in KINDS.items():
        made = [library.example(kind, seeded(f"{chosen.seed} {name} {n}"), n) for n in range(chosen.questions)]
        written = library.written(kind, seeded(f"{chosen.seed} {name} written"))
        weights = fit([example for n, example in enumerate(made) if n % 5] + written[1::2])
        for what, held_out in (("generated", made[::5]), ("written", written[::2])):
            found = found_within(held_out, weights)
            say(name, what, *(f"{rank}: {share:.1%}" for rank, share in found.items()))
        fitted[name] = fit([example for n, example in enumerate(made) if n % 5] + written)
        for feature, weight in zip(FEATURES, fitted[name], strict=True):
            say(f"    {feature:20} {weight:8.2f}")
    if chosen.write:
        write(fitted)


def say(*words: str) -> None:
    """Write a line to the terminal."""
    sys.stdout.write(" ".join(words) + "\n")


def seeded(seed: str) -> random.Random:
    """Return the source of all that is drawn for one question, so that each can be made again by itself."""
    return random.Random(seed)  # noqa: S311 - nothing here is secret


def passages() -> Iterator[Text]:
    """Yield the distinct passages of the manual and the standard library's docstrings."""
    seen: set[str] = set()
    for title, document in _documents():
        for text in _chunks(document):
            parts = segment(text)
            if text not in seen and len(parts.spans) >= 2 and sum(map(len, parts.words)) >= 30:
                seen.add(text)
                yield Text(title, text, parts)


def _documents() -> Iterator[tuple[str, str]]:
    for topic in pydoc_data.topics.topics.values():
        yield topic.strip().partition("\n")[0], topic
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield f"{getattr(node, 'name', '')} {file.stem}".strip(), ast.get_docstring(node) or ""


def _chunks(document: str) -> Iterator[str]:
    """Yield runs of paragraphs of prose, of lengths between 250 and 1,600 characters."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in document.split("\n\n"))
    prose = [
        text for text in paragraphs if len(text) > 60 and sum(c.isalpha() or c == " " for c in text) > 0.85 * len(text)
    ]
    current, enough = "", 450
    for paragraph in prose:
        current = f"{current} {paragraph}".strip()
        if len(current) > enough:
            yield current[:1600]
            current, enough = "", 250 + len(paragraph) * 37 % 700
    if len(current) > 200:
        yield current


class Library:
    """Passages with an index, to make questions from."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts
        bags = [{word for sentence in text.parts.words for word in sentence} for text in texts]
        self._frequency = Counter(word for bag in bags for word in bag)
        self._holding: defaultdict[str, list[int]] = defaultdict(list)
        for index, (bag, text) in enumerate(zip(bags, texts, strict=True)):
            for word in sorted(bag | set(words(text.title))):
                self._holding[word].append(index)
        self._common = [word for word, _ in self._frequency.most_common(120)]
        self._middling = sorted(word for word, n in self._frequency.items() if 3 <= n <= 40 and word.isalpha())

    def example(self, kind: Kind, rng: random.Random, number: int) -> Example:
        """Make a question. Every fifth is about one of every fifth passage, and no other is."""
        while True:
            index = rng.randrange(len(self.texts))
            if (index % 5 == 0) == (number % 5 == 0):
                break
        text = self.texts[index]
        sentence = rng.choices(text.parts.words, [self._draw(at, len(s)) for at, s in enumerate(text.parts.words)])[0]
        answer = self._answer(sentence, rng)
        question = self._question(text, sentence, answer, kind, rng)
        return self._shown(" ".join(question), index, answer, kind, rng)

    def written(self, kind: Kind, rng: random.Random) -> list[Example]:
        """Return the questions written by hand whose passages this Python's documents have."""
        found: list[Example] = []
        for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            held = [
                n for n, text in enumerate(self.texts) if row["passage"] in text.text and row["answer"] in text.text
            ]
            if held:
                asked = replace(kind, hard=True)
                made = self._shown(row["question"], held[0], tuple(words(row["answer"])), asked, rng)
                found.append(replace(made, weight=WRITTEN))
        return found

    def _shown(self, question: str, index: int, answer: Sequence[str], kind: Kind, rng: random.Random) -> Example:
        shown = [index, *self._negatives(words(question), index, rng, is_hard=kind.hard)]
        rng.shuffle(shown)
        titles = [self.texts[place].title if kind.has_title else "" for place in shown]
        evidence = gather(question, titles, [self.texts[place].parts for place in shown], shipped_vectors())
        owned = [(place, said) for place in shown for said in self.texts[place].parts.words]
        is_answer = np.array([place == index and set(answer) <= set(said) for place, said in owned], dtype=np.float64)
        return Example(features(evidence, importance(evidence, tokenizer_rarity)), is_answer)

    def _rarity(self, word: str) -> float:
        return math.log(len(self.texts) / self._frequency[word])

    @staticmethod
    def _draw(place: int, length: int) -> float:
        """Return how often a sentence is asked about: writers put first what matters, and long ones hold more."""
        return (2 / (1 + place) + 1) * length**0.5 if length >= 6 else 1e-9

    def _answer(self, sentence: Sequence[str], rng: random.Random) -> tuple[str, ...]:
        """Draw one to three neighbouring words, rare ones and numbers rather than others."""
        size = min(rng.randint(1, 3), len(sentence))
        runs = [tuple(sentence[at : at + size]) for at in range(len(sentence) - size + 1)]
        return rng.choices(
            runs, [sum(self._rarity(w) * (3 if w.isdigit() else 1) for w in run) ** 3 + 0.01 for run in runs]
        )[0]

    def _question(
        self, text: Text, sentence: Sequence[str], answer: Sequence[str], kind: Kind, rng: random.Random
    ) -> list[str]:
        share, reach = rng.uniform(*kind.kept), rng.uniform(*kind.other)
        asked = [w for w in sentence if w not in answer and rng.random() < share * (1 if self._rarity(w) > 1 else 0.5)]
        if kind.has_title and rng.random() < 0.8:
            asked = [word for word in words(text.title) if rng.random() < 0.7] + asked
        others = [
            w
            for said in text.parts.words
            if said is not sentence
            for w in said
            if w not in answer and self._rarity(w) > 1.5
        ]
        asked += [word for word in others if rng.random() < reach / len(text.parts.words)]
        asked = [self._inflected(word, rng) for word in asked[:QUESTION_WORDS]]
        asked += rng.sample(self._common, rng.randint(2, 5)) + rng.sample(self._middling, rng.choice([0, 1, 1, 2]))
        if rng.random() < 0.6:
            rng.shuffle(asked)
        return asked

    @staticmethod
    def _inflected(word: str, rng: random.Random) -> str:
        """Change the end of a long word now and then; which letters is beside the point."""
        if len(word) <= 5 or rng.random() >= 0.2:
            return word
        return word[: -rng.randint(1, 2)] + "".join(rng.choices("aeioustnrd", k=rng.randint(0, 3)))

    def _negatives(self, question: Sequence[str], own: int, rng: random.Random, *, is_hard: bool = False) -> list[int]:
        found: Counter[int] = Counter()
        for word in sorted(set(question)):
            if 0 < self._frequency[word] < 0.3 * len(self.texts):
                for index in self._holding[word]:
                    found[index] += self._rarity(word) / (1 + 0.06 * len(self.texts[index].parts.spans))
        hard = [index for index, _ in sorted(found.items(), key=lambda item: (-item[1], item[0])) if index != own]
        hard = hard[: PASSAGES - 1] if is_hard or rng.random() > EASY else []
        return hard + rng.sample(range(len(self.texts)), PASSAGES - 1 - len(hard))


def fit(examples: Sequence[Example]) -> Floats:
    """Return the weights that make the chance of the answers' sentences largest, by Adam on standardised features."""
    usable = [example for example in examples if example.is_answer.sum()]
    values = np.concatenate([example.features for example in usable])
    spread = values.std(axis=0)
    scaled = np.divide(values, spread, out=np.zeros_like(values), where=spread > 1e-9)
    is_answer = np.concatenate([example.is_answer for example in usable])
    sizes = np.array([len(example.is_answer) for example in usable])
    starts, group = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
    counted = np.array([example.weight for example in usable])
    counted = (counted / counted.sum())[group]
    weights = np.zeros(values.shape[1])
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        logits = scaled @ weights
        exponentials = np.exp(logits - np.maximum.reduceat(logits, starts)[group])
        chances = exponentials / np.add.reduceat(exponentials, starts)[group]
        right = exponentials * is_answer
        right /= np.add.reduceat(right, starts)[group]
        slope = scaled.T @ ((chances - right) * counted) + PENALTY * weights
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope * slope
        weights -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
    return np.divide(weights, spread, out=np.zeros_like(weights), where=spread > 1e-9)


def found_within(examples: Sequence[Example], weights: Floats) -> dict[str, float]:
    """Return how often an answer's sentence is among the first one, three and ten."""
    usable = [example for example in examples if example.is_answer.sum()]
    ranks = [int(np.nonzero(e.is_answer[np.argsort(-(e.features @ weights), kind="stable")])[0][0]) for e in usable]
    return {f"first {most}": sum(rank < most for rank in ranks) / len(ranks) for most in (1, 3, 10)}


def write(fitted: dict[str, Floats]) -> None:
    """Write the weights into the package."""
    lines = [
        '"""Learned weights of the trimmer\'s features; written by `core/training/fit_trimmer.py`, not by hand."""'
    ]
    lines += ["", "# In the order of `evidence.FEATURES`."]
    for name, weights in fitted.items():
        lines += [f"{name} = (", *(f"    {weight:.3f}," for weight in weights), ")"]
    MODULE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
