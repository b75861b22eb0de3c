"""Reads files of routed models into one shape: a cheap tier, a strong one, and where there is one a helper between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
# Dollars per million tokens, input and output, as genai-prices 0.2.3 lists them: closed models at their maker's, open
# ones at the cheapest provider that it has. A file that is not named here is priced like the Gemini pair.
_PAIRS = {
    "gsm8k": ((0.08, 0.24), (10.0, 30.0)),
    "mmlu": ((0.08, 0.24), (10.0, 30.0)),
    "mmlu_pro_gemini_flash_pro": ((0.075, 0.30), (1.25, 5.0)),
    "mmlu_pro_llama_8b_70b": ((0.02, 0.05), (0.34, 0.39)),
    "alpaca_eval": ((1.0, 2.0), (10.0, 30.0)),
}
_HELPERS = {
    "Meta-Llama-3_1-70B-Instruct": (0.34, 0.39),
    "Meta-Llama-3_1-8B-Instruct": (0.02, 0.05),
    "Mixtral-8x7B-Instruct-v0.1": (0.08, 0.24),
    "Mistral-7B-Instruct-v0.2": (0.20, 0.20),
    "Phi-3-mini-4k-instruct": (0.10, 0.10),
}
_DEFAULT = ((0.075, 0.30), (1.25, 5.0))
_CHARACTERS = 4
_UNSEEN_ANSWER = 400


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with the answers that can be read."""

    prompt: str
    answer: str | None
    strong_answer: str | None
    helper: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A file: scores from 0 to 1 and dollars of each tier, row by row."""

    name: str
    rows: Sequence[Row]
    weak: Array
    strong: Array
    weak_usd: Array
    strong_usd: Array
    helper: Array | None = None
    helper_usd: Array | None = None
    helper_name: str = ""

    def scores(self) -> list[Array]:
        """Return the scores of all tiers, cheapest first."""
        return [self.weak, *([] if self.helper is None else [self.helper]), self.strong]

    def costs(self) -> list[Array]:
        """Return the dollars of all tiers, cheapest first."""
        return [self.weak_usd, *([] if self.helper_usd is None else [self.helper_usd]), self.strong_usd]


def read_pair(name: str, rows: Sequence[Mapping[str, Any]]) -> Pair:
    """Return the file's cheap and strong tier; of many tiers, the cheapest and the one of the best mean score."""
    if "scores" in rows[0]:
        rows = _two_of_many(rows)
    read = [Row(row["prompt"], row.get("weak_answer"), row.get("strong_answer")) for row in rows]
    weak = np.array([float(row["weak"]) for row in rows])
    strong = np.array([float(row["strong"]) for row in rows])
    cheap, dear = _PAIRS.get(name, _DEFAULT)
    weak_usd = _usd(rows, "weak_cost", [(row.prompt, row.answer) for row in read], cheap)
    strong_usd = _usd(rows, "strong_cost", [(row.prompt, row.strong_answer) for row in read], dear)
    pair = Pair(name, read, weak, strong, weak_usd, strong_usd)
    return _with_helper(pair, rows)


def _usd(
    rows: Sequence[Mapping[str, Any]], key: str, texts: Sequence[tuple[str, str | None]], price: tuple[float, float]
) -> Array:
    """Return the stated dollars, or what the characters come to, four to a token."""
    if all(row.get(key) is not None for row in rows):
        return np.array([float(row[key]) for row in rows])
    seen = all(answer is not None for _, answer in texts)
    return np.array(
        [
            (len(prompt) * price[0] + (len(answer or "") if seen else _UNSEEN_ANSWER) * price[1]) / _CHARACTERS / 1e6
            for prompt, answer in texts
        ]
    )


def _with_helper(pair: Pair, rows: Sequence[Mapping[str, Any]]) -> Pair:
    """Add the helper model of the best accuracy on the first hundred rows, if any is dearer than drafts."""
    names = [name for name in rows[0].get("aux") or {} if name in _HELPERS]
    cheap, dear = _PAIRS.get(pair.name, _DEFAULT)
    fitting = [name for name in names if cheap[0] < _HELPERS[name][0] < dear[0]]
    if not fitting or pair.rows[0].answer is None:
        return pair
    best = max(fitting, key=lambda name: sum(bool(row["aux"][name]["correct"]) for row in rows[:100]))
    letters = [row["aux"][best]["answer_letter"] for row in rows]
    texts = ["" if letter is None else f"The answer is ({letter})." for letter in letters]
    read = [Row(r.prompt, r.answer, r.strong_answer, text) for r, text in zip(pair.rows, texts, strict=True)]
    # Its reasoning was not kept, so it is billed for as many tokens as the draft.
    usd = _usd([{}], "", [(row.prompt, row.answer) for row in pair.rows], _HELPERS[best])
    return Pair(
        pair.name,
        read,
        pair.weak,
        pair.strong,
        pair.weak_usd,
        pair.strong_usd,
        np.array([float(bool(row["aux"][best]["correct"])) for row in rows]),
        usd,
        best,
    )


def _two_of_many(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = [name for name in rows[0]["scores"] if all(name in row["scores"] for row in rows)]
    mean = {name: sum(float(row["scores"][name]) for row in rows) / len(rows) for name in names}
    has_cost = all(name in (row.get("cost") or {}) for row in rows for name in names)
    usd = {name: sum(float(row["cost"][name]) for row in rows) if has_cost else mean[name] for name in names}
    strong = max(names, key=lambda name: mean[name])
    weak = min((name for name in names if name != strong), key=lambda name: usd[name])

    def of(row: Mapping[str, Any], kind: str, name: str) -> Any:
        return (row.get(kind) or {}).get(name)

    return [
        {
            "prompt": row["prompt"],
            "weak": row["scores"][weak],
            "strong": row["scores"][strong],
            "weak_answer": of(row, "answers", weak),
            "strong_answer": of(row, "answers", strong),
            "weak_cost": of(row, "cost", weak),
            "strong_cost": of(row, "cost", strong),
        }
        for row in rows
    ]
