"""Frechet distances of a model's images to real ones, with resamples, and of real images to each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comat_core.metrics.bootstrap import Resampled, group_by_prompt, resampled_counts
from comat_core.metrics.distances.frechet import frechet_distance, summarise
from comat_core.metrics.distances.frechet_resampling import resampled_distances

RESAMPLES = 500


def measure_distance(
    real: ArrayLike,
    images: ArrayLike,
    prompts: Sequence[str],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    point: float | None = None,
) -> Resampled:
    """Distance of images to the real ones, over resampled prompts.

    The real images stay as they are, being the standard that every model is held against. A resample repeats rows,
    which narrows its covariance and makes every distance a little larger. That inflation is taken out of the interval:
    the percentiles are moved by the resamples' mean excess (for a ratio of two models, by its factor).

    Args:
        real: (M, D) features of real images, or (M, n, D) where an image has n items, such as its patches.
        images: (N, D) or (N, n, D) features of generated images.
        prompts: the prompt of each generated image; its items are drawn together.
        point: the distance where another implementation has worked it out; the resamples lie around it.
    """
    reference = summarise(_items_of(real))
    rows = _by_image(images)
    assert len(rows) == len(prompts), "each image has a prompt"
    groups = group_by_prompt(prompts)
    counts = resampled_counts(len(groups), generator, resamples)
    if point is None:
        point = frechet_distance(summarise(_items_of(rows)), reference)
    return Resampled(point, resampled_distances(rows, groups, counts, reference), len(groups), is_inflated=True)


def distance_between_halves(
    real: ArrayLike, generator: np.random.Generator, *, resamples: int = RESAMPLES
) -> Resampled:
    """Distance of every second real image to the others: what a perfect generator would reach with as many images.

    Args:
        real: (M, D) or (M, n, D) features, M at least 4.

    Returns:
        The distance over resampled images of the first half; n is their number.
    """
    images = _by_image(real)
    first, second = images[::2], images[1::2]
    return measure_distance(second, first, [str(row) for row in range(len(first))], generator, resamples=resamples)


def _by_image(features: ArrayLike) -> NDArray[np.floating]:
    """Features as (N, n, D), whether images have one item or several."""
    rows = np.asarray(features)
    return rows[:, None] if rows.ndim == 2 else rows


def _items_of(features: ArrayLike) -> NDArray[np.floating]:
    """The items of all images, (N * n, D)."""
    rows = np.asarray(features)
    return rows.reshape(-1, rows.shape[-1])
