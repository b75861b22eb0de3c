"""What routes without labels: chance, length, and the gates of other packages where they are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.routing_data import Pair

Array = np.ndarray[Any, np.dtype[Any]]
# Takes a seed and gives, for each row, how much the strong model is wanted.
Gain = Callable[[int], Array]


def peers(pair: Pair) -> Iterator[tuple[str, Gain]]:
    """Yield each peer that is there."""
    yield "random", lambda seed: np.random.default_rng(seed).random(len(pair.rows))
    lengths = np.array([float(len(row.prompt)) for row in pair.rows])
    yield "length of the prompt", lambda _: lengths
    for name, find in (("litellm complexity router", _litellm), ("cascadeflow gate", _cascadeflow)):
        try:
            gain = find(pair)
        except ImportError:
            continue
        if gain is not None:
            yield name, lambda _, gain=gain: gain


def _litellm(pair: Pair) -> Array | None:
    from litellm.router_strategy.complexity_router.complexity_router import (  # noqa: PLC0415
        ComplexityRouter,
    )

    router = ComplexityRouter(model_name="bench", litellm_router_instance=None, complexity_router_config=None)
    return np.array([float(router.classify(row.prompt, None)[1]) for row in pair.rows])


def _cascadeflow(pair: Pair) -> Array | None:
    from cascadeflow.quality.confidence import ProductionConfidenceEstimator  # noqa: PLC0415

    if pair.rows[0].answer is None:
        return None
    estimator = ProductionConfidenceEstimator()
    return np.array([-float(_confidence(estimator, row.prompt, row.answer or "")) for row in pair.rows])


def _confidence(estimator: Any, prompt: str, answer: str) -> float:
    found = estimator.estimate(answer, query=prompt)
    return float(getattr(found, "final_confidence", found))
