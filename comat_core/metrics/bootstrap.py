"""Means with 95 % bootstrap intervals, resampled by prompt.

Images of one prompt are not independent of each other, and the base and the tuned model draw the same prompts from the
same noise. So whole prompts are resampled, and both models with the same resampling: that is what makes a difference
between them paired.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comat_core.support.randomness import derive_seed

CONFIDENCE = 0.95
RESAMPLES = 2000
_CHUNK = 256  # resamples held in memory at once


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its interval; `n` is the number of prompts, the units that were resampled."""

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """A change from base to tuned with its interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Resampled:
    """A statistic of one model's images, and what it is in each of R resamples.

    What a bootstrap draws depends on the prompts and not on the model: so two models' values of one generator are
    paired, though each was worked out without the other.

    Attributes:
        point: of all images.
        values: (R,), of the resamples.
        n: the number of units that were resampled.
        is_inflated: resamples, having fewer distinct images, miss the point on one side.
    """

    point: float
    values: NDArray[np.float64]
    n: int
    is_inflated: bool

    def estimate(self) -> Estimate:
        return Estimate(self.point, *self._interval(), self.n)

    def change_from(self, base: "Resampled") -> Difference:
        change = replace(self, point=self.point - base.point, values=self.values - base.values)
        return Difference(change.point, *change._interval())

    def ratio_to(self, base: "Resampled") -> Difference:
        """self / base, worked out on logarithms so that it stays positive."""
        logarithms = replace(self, point=_log(self.point), values=_log(self.values))
        change = logarithms.change_from(replace(base, point=_log(base.point), values=_log(base.values)))
        return Difference(float(np.exp(change.mean)), float(np.exp(change.low)), float(np.exp(change.high)))

    def _interval(self) -> tuple[float, float]:
        """The percentiles of the values; moved by their mean excess over the point where that is no chance."""
        values = self.values
        return percentile_interval(values - values.mean() + self.point if self.is_inflated else values)


def make_numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """Make the generator of one bootstrap from the run's seed."""
    return np.random.default_rng(derive_seed(seed, f"bootstrap of {purpose}"))


def bootstrap_mean(
    values: ArrayLike, prompts: Sequence[str], generator: np.random.Generator, *, resamples: int = RESAMPLES
) -> Estimate:
    """Mean of `values` (N,) with a percentile interval over resampled prompts.

    Args:
        values: one score per image.
        prompts: the prompt of each image; all images of a prompt are drawn together.
    """
    sums, counts = _sums_by_prompt(values, prompts)
    means = _resampled_means(sums, counts, generator, resamples)
    low, high = percentile_interval(means)
    return Estimate(float(sums.sum() / counts.sum()), low, high, len(counts))


def bootstrap_mean_of_groups(
    values: ArrayLike,
    prompts: Sequence[str],
    groups: Sequence[str],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean of the groups' means of `values` (N,), each group weighing alike, however many prompts it has.

    Prompts are resampled within their group.

    Args:
        values: one score per image.
        prompts, groups: the prompt of each image, and the group of that prompt.
    """
    array = np.asarray(values, dtype=np.float64)
    assert array.shape == (len(prompts),) == (len(groups),), "one prompt and one group for each score"
    means, resampled, number = [], [], 0
    for rows in group_by_prompt(groups):
        sums, counts = _sums_by_prompt(array[rows], [prompts[int(row)] for row in rows])
        means.append(sums.sum() / counts.sum())
        resampled.append(_resampled_means(sums, counts, generator, resamples))
        number += len(counts)
    low, high = percentile_interval(np.mean(resampled, axis=0))
    return Estimate(float(np.mean(means)), low, high, number)


def bootstrap_difference(
    base: ArrayLike,
    tuned: ArrayLike,
    prompts: Sequence[str],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> Difference:
    """Mean of tuned - base, paired by image, with a percentile interval over resampled prompts.

    Args:
        base, tuned: (N,) scores of the two models' images, in the same order.
        prompts: the prompt of each image.
    """
    differences = np.asarray(tuned, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    estimate = bootstrap_mean(differences, prompts, generator, resamples=resamples)
    return Difference(estimate.mean, estimate.low, estimate.high)


def percentile_interval(statistics: NDArray[np.float64]) -> tuple[float, float]:
    """The central 95 % of a statistic's resampled values (R,)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(statistics, (tail, 1 - tail))
    return float(low), float(high)


def resampled_counts(groups: int, generator: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """How often each of G groups is drawn in each of R resamples of G draws: (R, G)."""
    drawn = generator.integers(0, groups, (resamples, groups))
    return np.stack([np.bincount(row, minlength=groups) for row in drawn]).astype(np.float64)


def group_by_prompt(prompts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Rows of each prompt, prompts in the order of their first row."""
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows.setdefault(prompt, []).append(row)
    return [np.asarray(group, dtype=np.int64) for group in rows.values()]


def _log(value: Any) -> Any:
    """The natural logarithm of a number or an array; that of the smallest positive number where there is none."""
    return np.log(np.maximum(value, np.finfo(np.float64).tiny))


def _sums_by_prompt(values: ArrayLike, prompts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    assert array.shape == (len(prompts),), "one score for each image"
    assert len(prompts) > 0, "nothing to average"
    groups = group_by_prompt(prompts)
    sums = np.array([array[group].sum() for group in groups])
    return sums, np.array([len(group) for group in groups], dtype=np.float64)


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Means (R,) over R draws of P prompts, from the sum (P,) and the number (P,) of each prompt's scores."""
    prompts = len(counts)
    parts = []
    for start in range(0, resamples, _CHUNK):
        drawn = generator.integers(0, prompts, (min(_CHUNK, resamples - start), prompts))
        parts.append(sums[drawn].sum(axis=-1) / counts[drawn].sum(axis=-1))
    return np.concatenate(parts)
