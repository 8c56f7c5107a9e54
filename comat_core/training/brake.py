"""The brake against reward hacking: which evaluated weights are the best, when training has ended, what lambda becomes.

Judges that no loss looks at score images of the same prompts from the same noise again and again. All of this is
arithmetic on their numbers: every process of a training, and a training that was resumed, decides alike.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

LARGEST_CHANGE = 2.0
"""Factor by which one evaluation moves lambda at most."""


class Measurement(BaseModel):
    """What judges and distances say of one set of images; of the base model's it is the yardstick for all others."""

    model_config = ConfigDict(frozen=True)

    scores: dict[str, float]
    """Judge -> mean score over the prompts."""
    deviations: dict[str, float]
    """Judge -> standard deviation over the prompts: of the base's, its unit."""
    counts: dict[str, int]
    """Judge -> how many of the prompts it can say something of."""
    distances: dict[str, float]
    """Distance's name -> to the reference images."""


class Evaluation(BaseModel):
    """What the judges say of the weights after a step."""

    model_config = ConfigDict(frozen=True)

    step: int
    averaged: bool
    """Of the moving average of the weights instead of the weights themselves."""
    scores: dict[str, float]
    distances: dict[str, float]
    gain: float
    """`judges_gain`."""
    ratio: float
    """`largest_ratio`."""

    @property
    def is_finite(self) -> bool:
        """Whether it can be compared: weights that draw no images have numbers that are none."""
        return math.isfinite(self.gain) and math.isfinite(self.ratio)


def judges_gain(scores: Mapping[str, float], base: Measurement, weights: Mapping[str, float]) -> float:
    """Weighted mean of what the judges' scores have gained, each in standard deviations of the base's own scores.

    Args:
        scores: judge -> mean score.
        weights: judge -> at least 0, not all 0. A judge of weight 0 has no say.
    """
    gains = {
        name: (scores[name] - base.scores[name]) / (base.deviations[name] or 1.0)
        for name, weight in weights.items()
        if weight
    }
    return sum(weights[name] * gain for name, gain in gains.items()) / sum(weights[name] for name in gains)


def largest_ratio(distances: Mapping[str, float], base: Measurement) -> float:
    """The distance that has grown most over the base's own; 0 where none is measured, which every budget allows."""
    ratios = [_ratio(distance, base.distances[name]) for name, distance in distances.items()]
    return math.nan if any(map(math.isnan, ratios)) else max(ratios, default=0.0)


def is_within(evaluation: Evaluation, budget: float) -> bool:
    """Whether the weights keep to the fidelity budget, the largest ratio that is allowed."""
    return evaluation.is_finite and evaluation.ratio <= budget


def best_of(evaluations: Iterable[Evaluation], budget: float) -> Evaluation | None:
    """The rule of what is delivered: the highest gain among those within the budget; where none is, the smallest ratio.

    Of equals the first one stays. None of nothing.
    """
    return max(evaluations, key=lambda one: _rank(one, budget), default=None)


def evaluations_since_best(evaluations: Sequence[Evaluation], budget: float) -> int:
    """How many steps were evaluated after the one that is the best so far."""
    best = best_of(evaluations, budget)
    return 0 if best is None else len({one.step for one in evaluations if one.step > best.step})


def steered(weight: float, ratio: float, *, budget: float, gain: float, lowest: float, highest: float) -> float:
    """The next weight of fidelity: lambda' = lambda (ratio / budget)^gain, at most doubled or halved, within bounds.

    Args:
        weight: lambda, above 0.
        ratio: the largest ratio now; one that is not finite changes nothing.
        gain: exponent, above 0.
    """
    if not math.isfinite(ratio):
        return weight
    change = (ratio / budget) ** gain
    return min(max(weight * min(max(change, 1 / LARGEST_CHANGE), LARGEST_CHANGE), lowest), highest)


def _rank(evaluation: Evaluation, budget: float) -> tuple[int, float]:
    if not evaluation.is_finite:
        return 0, 0.0
    return (2, evaluation.gain) if evaluation.ratio <= budget else (1, -evaluation.ratio)


def _ratio(distance: float, of_base: float) -> float:
    if of_base:
        return distance / of_base
    return math.inf if distance else 1.0
