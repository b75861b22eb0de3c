"""What the heads see of a prompt and its answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from thrift_core.embedding.static_embedder import shipped_embedder
from thrift_core.routing.answer_signs import answer_signs
from thrift_core.routing.final_answer import Question, agreement, read_question
from thrift_core.routing.prompt_signs import prompt_signs

Array = NDArray[Any]
# Names the features; a policy trained on others is refused.
VERSION = "signs-2"
BUCKETS = 4096
_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 400
_MOST_EMBEDDED = 4_000


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with what was computed of it once.

    Attributes:
        question: the prompt as answers are compared with it.
        signs: of its difficulty.
        words: its hashed words.
        point: its embedding.
    """

    question: Question
    signs: dict[str, float]
    words: Array
    point: Array


def read_prompt(text: str) -> Prompt:
    """Return a prompt with its signs, hashed words and embedding."""
    question = read_question(text)
    return Prompt(
        question=question,
        signs=prompt_signs(question),
        words=hashed_words(text),
        point=shipped_embedder().embed([text[:_MOST_EMBEDDED]])[0],
    )


def draft_signs(
    prompt: Prompt, answer: str, earlier: Sequence[str | None], logprobs: Sequence[float] | None = None
) -> dict[str, float]:
    """Return the signs of an answer: its own, and its agreement with each earlier one; nan where that is missing."""
    signs = {**prompt.signs, **answer_signs(prompt.question, answer)}
    chances = np.asarray(logprobs, np.float64) if logprobs is not None and len(logprobs) else None
    signs["mean_logprob"] = float(chances.mean()) if chances is not None else float("nan")
    signs["least_logprob"] = float(chances.min()) if chances is not None else float("nan")
    for place, other in enumerate(earlier):
        same, common = (float("nan"),) * 2 if other is None else agreement(prompt.question, answer, other)
        signs[f"agrees_{place}"], signs[f"common_{place}"] = same, common
    return signs


def hashed_words(text: str) -> Array:
    """Return which words and pairs of words a text has, hashed into buckets.

    Example:
        >>> int(hashed_words("to be or not to be").sum())
        8
    """
    words = _WORD.findall(text.lower())[:_MOST_WORDS]
    row = np.zeros(BUCKETS, np.float32)
    for word in {*words, *(f"{one}_{two}" for one, two in pairwise(words))}:
        row[crc32(word.encode()) % BUCKETS] += 1.0
    return row
