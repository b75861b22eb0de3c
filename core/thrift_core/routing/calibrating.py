"""`calibrate_router`: learns a policy from a golden set and certifies what it loses.

Every label trains and every label calibrates: the policy's gains are cross-fitted, each example judged by models that
never saw it. Operating points are then tested in a fixed order, from the one that escalates whenever any gain is
expected to ever cheaper ones ("Learn then Test", arXiv 2110.01052, fixed-sequence testing), each for the hypothesis
that its net loss against always asking the strongest tier is more than `max_loss`. Scores of 0 and 1 are tested exactly
(`net_loss_p_value`), others by betting. The last point before the first that is not rejected is the certified one.

Half of the error that is allowed is spent on these tests. The other half is kept back for what they do not cover: the
deployed models are trained on all labels and differ a little from the cross-fitted ones (for the better, in
expectation). Traffic that is unlike the golden set is not covered at all; `CascadeRouter.audit` watches for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thrift_core.calibration.bounds import betting_p_value, mean_at_most, net_loss_at_most, net_loss_p_value
from thrift_core.calibration.certificate import fingerprint
from thrift_core.errors import ConfigurationError
from thrift_core.routing.curve import Curve, curve
from thrift_core.routing.features import draft_signs, read_prompt
from thrift_core.routing.golden import GoldenRow, read_golden, tier_names
from thrift_core.routing.operating_point import Limits, Outcome, limits, run
from thrift_core.routing.stage import FOLDS, Stage, examples
from thrift_core.routing.tier import Tier, pricings
from thrift_core.routing.trained import RouterCertificate, TrainedPolicy

Array = NDArray[Any]
_LEAST_ROWS = 20
# Of the error allowed, the share that the tests may spend.
_TESTED = 0.5
# What the strongest tier's price is worth in quality, from nothing to everything.
PRICES = np.concatenate([np.arange(0.0, 0.5, 0.01), np.arange(0.5, 1.01, 0.05)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A trained policy with what it said of its own labels, cross-fitted.

    Attributes:
        policy: the policy, trained on all rows, without limits.
        gains: for each tier but the strongest, the cross-fitted gain of each row.
        scores: of each tier, the strongest last.
        costs: likewise, in shares of the strongest tier's mean cost.
    """

    policy: TrainedPolicy
    gains: tuple[Array, ...]
    scores: tuple[Array, ...]
    costs: tuple[Array, ...]

    def limits(self, price: float) -> tuple[Limits, ...]:
        """Return where decisions turn if the strongest tier is worth this price."""
        return limits(self.gains, [float(cost.mean()) for cost in self.costs], price)

    def outcome(self, price: float) -> Outcome:
        """Return what the cross-fitted policy led to at this price."""
        return run(self.gains, self.scores, self.costs, self.limits(price), drafts=self.drafts)

    @property
    def drafts(self) -> tuple[bool, ...]:
        """For each tier but the strongest, whether its answer is read before it is decided on."""
        return tuple(stage.reads_answers for stage in self.policy.stages)

    def curve(self) -> Curve:
        """Return the curve of routing between the cheapest and the strongest tier."""
        zeros = np.zeros(len(self.scores[0]))
        return curve(
            self.gains[0],
            self.scores[0],
            self.scores[-1],
            weak_cost=self.costs[0] if self.drafts[0] else zeros,
            strong_cost=self.costs[-1],
        )


def calibrate_router(
    golden: str | Path | Iterable[Mapping[str, Any]] | Sequence[GoldenRow],
    *,
    max_loss: float = 0.01,
    confidence: float = 0.95,
    tiers: Sequence[Tier] | None = None,
    seed: int = 0,
) -> RouterCertificate:
    """Return a policy learned from labelled examples, with a certificate of what it loses at most.

    Where nothing can be certified, the certificate says so, states the loss that the labels do support, and its policy
    sends everything to the strongest tier.

    Example:
        >>> rows = [{"prompt": f"{n}?", "answers": {"s": "yes" * (n % 2)}, "scores": {"s": n % 2, "l": 1}}
        ...         for n in range(400)]
        >>> certificate = calibrate_router(rows, max_loss=0.05)
        >>> certificate.is_certified, round(certificate.figures["strong_calls"], 1)
        (True, 0.5)

    Args:
        golden: a file or rows as `thrift_core.routing.golden` describes.
        max_loss: the mean score that may be lost against always asking the strongest tier, 0 to 1.
        confidence: how often the statement holds.
        tiers: the tiers by the names of the golden set, for dollars where rows have none, and to check the order.
        seed: of the folds.

    Raises:
        ConfigurationError: the golden set cannot be used; says why.
    """
    if not 0 < max_loss < 1:
        raise ConfigurationError(f"max_loss must lie between 0 and 1; got {max_loss!r}")
    rows = _rows(golden)
    learned = learn(rows, tiers=tiers, seed=seed)
    return certify(learned, rows, max_loss=max_loss, confidence=confidence)


def learn(rows: Sequence[GoldenRow], *, tiers: Sequence[Tier] | None = None, seed: int = 0) -> Learned:
    """Train a policy on all rows and return it with its cross-fitted gains.

    Raises:
        ConfigurationError: there are too few rows, or tiers of other names.
    """
    names = tier_names(rows)
    if tiers is not None and [tier.name for tier in tiers] != names:
        raise ConfigurationError(
            f"the golden set has scores of {', '.join(names)}, in this order, and the tiers are "
            f"{', '.join(tier.name for tier in tiers)}"
        )
    if len(rows) < _LEAST_ROWS:
        raise ConfigurationError(f"{len(rows)} labelled rows are too few to learn from; give {_LEAST_ROWS} or more")
    scores = tuple(np.array([row.scores[name] for row in rows]) for name in names)
    prompts = [read_prompt(row.prompt) for row in rows]
    folds = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
    stages: list[Stage] = []
    gains: list[Array] = []
    for place, name in enumerate(names[:-1]):
        reads = all(name in row.answers for row in rows)
        signs = [
            draft_signs(prompt, row.answers[name], [row.answers.get(other) for other in names[:place]])
            if reads
            else prompt.signs
            for prompt, row in zip(prompts, rows, strict=True)
        ]
        found, sign_names = examples(prompts, signs, scores[place], scores[-1])
        stage, out_of_fold = Stage.fit(found, sign_names, reads_answers=reads, folds=folds)
        stages.append(stage)
        gains.append(out_of_fold)
    policy = TrainedPolicy(tiers=tuple(names), stages=tuple(stages))
    return Learned(policy=policy, gains=tuple(gains), scores=scores, costs=row_costs(rows, names, tiers))


def row_costs(rows: Sequence[GoldenRow], names: Sequence[str], tiers: Sequence[Tier] | None) -> tuple[Array, ...]:
    """Return each tier's costs in shares of the strongest's mean: as stated, else by the tokens, else 0 but for it."""
    if all(name in row.cost for row in rows for name in names):
        raw = [np.array([row.cost[name] for row in rows]) for name in names]
    elif None not in (priced := _pricings(tiers or ())) and tiers:
        raw = [
            np.array([_token_cost(row, name, pricing) for row in rows])
            for name, pricing in zip(names, priced, strict=True)
        ]
    else:
        raw = [np.full(len(rows), float(name == names[-1])) for name in names]
    top = float(raw[-1].mean())
    if top <= 0:
        raise ConfigurationError("the strongest tier costs nothing: there is nothing to save")
    return tuple(cost / top for cost in raw)


def _pricings(tiers: Sequence[Tier]) -> list[tuple[float, float] | None]:
    from thrift_core.prices import PriceBook  # noqa: PLC0415 - loads the price list

    found = pricings(tiers, PriceBook())
    return [None if pricing is None else (float(pricing.input), float(pricing.output)) for pricing in found]


def _token_cost(row: GoldenRow, name: str, pricing: tuple[float, float] | None) -> float:
    """Return dollars per million of a row by its characters, four to a token; an answer unseen is as long as others."""
    known = [len(text) for text in row.answers.values()] or [800]
    answer = row.answers.get(name)
    output = len(answer) if answer is not None else sum(known) / len(known)
    price_in, price_out = pricing or (0.0, 0.0)
    return (len(row.prompt) * price_in + output * price_out) / 4


def certify(
    learned: Learned, rows: Sequence[GoldenRow], *, max_loss: float = 0.01, confidence: float = 0.95
) -> RouterCertificate:
    """Test operating points in order and return the certificate of the cheapest one that holds."""
    best = cheapest_that_holds(
        lambda price: learned.scores[-1] - learned.outcome(price).quality, max_loss=max_loss, confidence=confidence
    )
    outcome = learned.outcome(best or 0.0)
    losses = learned.scores[-1] - outcome.quality
    bound = loss_at_most(losses, 1 - _TESTED * (1 - confidence))
    policy = learned.policy
    if best is not None:
        policy = replace(policy, limits=learned.limits(best))
    return RouterCertificate(
        kind="router",
        version=learned.policy.version,
        max_loss=max_loss,
        confidence=confidence,
        n=len(rows),
        threshold=best,
        bound=round(bound, 6),
        data=fingerprint(f"{row.prompt}\0{sorted(row.scores.items())}" for row in rows),
        figures=_figures(learned, outcome),
        note=_note(best, bound, max_loss, confidence, len(rows)),
        policy=policy,
    )


def cheapest_that_holds(
    losses_at: Callable[[float], Array], *, max_loss: float, confidence: float = 0.95
) -> float | None:
    """Return the last price, in the order of `PRICES`, before the first at which a larger loss cannot be ruled out.

    Args:
        losses_at: gives each labelled row's loss against the strongest tier at a price of quality.
        max_loss: the mean loss that is allowed.
        confidence: how often the statement holds.
    """
    best: float | None = None
    for price in PRICES:
        if loss_p_value(losses_at(float(price)), max_loss) > _TESTED * (1 - confidence):
            break
        best = float(price)
    return best


def loss_p_value(losses: Array, max_loss: float) -> float:
    """Return the p-value of the hypothesis that the mean loss is `max_loss` or more."""
    if _is_whole(losses):
        lost, gained = int((losses > 0).sum()), int((losses < 0).sum())
        return net_loss_p_value(lost, gained, len(losses), max_loss=max_loss)
    return betting_p_value(losses, mean=max_loss, low=-1.0, high=1.0)


def loss_at_most(losses: Array, confidence: float) -> float:
    """Return the upper bound on the mean loss."""
    if _is_whole(losses):
        lost, gained = int((losses > 0).sum()), int((losses < 0).sum())
        return net_loss_at_most(lost, gained, len(losses), confidence=confidence)
    return mean_at_most(losses, confidence=confidence, low=-1.0, high=1.0)


def _is_whole(losses: Array) -> bool:
    return bool(np.isin(losses, (-1.0, 0.0, 1.0)).all())


def _figures(learned: Learned, outcome: Outcome) -> dict[str, float]:
    found = learned.curve()
    top = len(learned.scores) - 1
    figures = {
        "strong_calls": float((outcome.answered == top).mean()),
        "escalated": float((outcome.answered > 0).mean()),
        "cost_share": float(outcome.cost.mean()),
        "quality": float(outcome.quality.mean()),
        "strong_quality": float(learned.scores[-1].mean()),
        "cheap_quality": float(learned.scores[0].mean()),
        "apgr": found.apgr,
        "cpt50": found.cpt(0.5),
        "cpt80": found.cpt(0.8),
        "parity_cost": found.parity_cost,
    }
    return {name: round(value, 6) for name, value in figures.items() if value is not None}


def _note(best: float | None, bound: float, max_loss: float, confidence: float, n: int) -> str:
    if best is not None:
        return f"at most {max_loss:.1%} lost against always asking the strongest tier, at {confidence:.0%} confidence"
    return (
        f"{n} labels cannot certify a loss of {max_loss:.1%}: {max(bound, 0):.1%} is what they support; until then the "
        "strongest tier answers everything"
    )


def _rows(golden: str | Path | Iterable[Mapping[str, Any]] | Sequence[GoldenRow]) -> list[GoldenRow]:
    if isinstance(golden, str | Path):
        return read_golden(golden)
    given = list(golden)
    read = [row for row in given if isinstance(row, GoldenRow)]
    return read if len(read) == len(given) and read else read_golden([row for row in given if isinstance(row, Mapping)])
