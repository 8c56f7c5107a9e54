"""Frechet distances of two models' images to real ones, with intervals, and of real images to each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comat_core.metrics.bootstrap import (
    Difference,
    Estimate,
    group_by_prompt,
    recentred_interval,
    resampled_counts,
)
from comat_core.metrics.frechet import frechet_distance, summarise
from comat_core.metrics.frechet_resampling import resampled_distances

RESAMPLES = 500


@dataclass(frozen=True)
class FidelityComparison:
    """Distances of both models to the real images, their difference and their ratio (tuned over base)."""

    base: Estimate
    tuned: Estimate
    difference: Difference
    ratio: Difference


def compare_fidelity(
    real: ArrayLike,
    base: ArrayLike,
    tuned: ArrayLike,
    prompts: Sequence[str],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    points: Sequence[float] | None = None,
) -> FidelityComparison:
    """Distance of base and tuned images to the real ones, with 95 % intervals over resampled prompts.

    Both models are resampled together; the real images stay as they are, being the standard that both are held against.
    A resample repeats rows, which narrows its covariance and makes every distance a little larger. That inflation is
    taken out of the interval: the percentiles are moved by the resamples' mean excess (for the ratio, by its factor).

    Args:
        real: (M, D) features of real images, or (M, n, D) where an image has n items, such as its patches.
        base, tuned: (N, D) or (N, n, D) features of generated images in the same order.
        prompts: the prompt of each generated image; its items are drawn together.
        points: both models' distances where another implementation has worked them out; the intervals lie around them.
    """
    reference = summarise(_items_of(real))
    sets = [_by_image(base), _by_image(tuned)]
    assert len(sets[0]) == len(sets[1]) == len(prompts), "the same prompts and samples for both models"
    groups = group_by_prompt(prompts)
    counts = resampled_counts(len(groups), generator, resamples)
    if points is None:
        points = [frechet_distance(summarise(_items_of(images)), reference) for images in sets]
    resampled = np.stack([resampled_distances(images, groups, counts, reference) for images in sets], axis=1)
    estimates = [
        Estimate(point, *recentred_interval(point, resampled[:, column]), len(groups))
        for column, point in enumerate(points)
    ]
    change = points[1] - points[0]
    difference = Difference(change, *recentred_interval(change, resampled[:, 1] - resampled[:, 0]))
    return FidelityComparison(estimates[0], estimates[1], difference, _ratio(points, resampled))


def distance_between_halves(real: ArrayLike, generator: np.random.Generator, *, resamples: int = RESAMPLES) -> Estimate:
    """Distance of every second real image to the others: what a perfect generator would reach with as many images.

    Args:
        real: (M, D) or (M, n, D) features, M at least 4.

    Returns:
        The distance with its interval over resampled images of the first half; n is their number.
    """
    images = _by_image(real)
    first, second = images[::2], images[1::2]
    reference = summarise(_items_of(second))
    point = frechet_distance(summarise(_items_of(first)), reference)
    groups = list(np.arange(len(first))[:, None])
    counts = resampled_counts(len(first), generator, resamples)
    resampled = resampled_distances(first, groups, counts, reference)
    return Estimate(point, *recentred_interval(point, resampled), len(first))


def _by_image(features: ArrayLike) -> NDArray[np.floating]:
    """Features as (N, n, D), whether images have one item or several."""
    rows = np.asarray(features)
    return rows[:, None] if rows.ndim == 2 else rows


def _items_of(features: ArrayLike) -> NDArray[np.floating]:
    """The items of all images, (N * n, D)."""
    rows = np.asarray(features)
    return rows.reshape(-1, rows.shape[-1])


def _ratio(points: Sequence[float], resampled: NDArray[np.float64]) -> Difference:
    """Ratio tuned / base with its interval, worked out on logarithms so that it stays positive."""
    tiny = np.finfo(np.float64).tiny
    logs = np.log(resampled[:, 1].clip(min=tiny)) - np.log(resampled[:, 0].clip(min=tiny))
    point = float(np.log(max(points[1], tiny)) - np.log(max(points[0], tiny)))
    low, high = recentred_interval(point, logs)
    return Difference(float(np.exp(point)), float(np.exp(low)), float(np.exp(high)))
