"""Density and coverage: are generated images like real ones, and are there generated ones like each of the real ones?

Naeem et al. 2020 (arXiv 2002.09797, section 3), who mend precision and recall (Kynkaanniemi et al. 2019, equations 1
and 2). There a single outlier among the real images makes a ball that lets everything pass, and two equal distributions
do not reach 1; density counts in how many balls an image lies, and both have a known value for equal distributions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comat_core.metrics.bootstrap import (
    Difference,
    Estimate,
    group_by_prompt,
    percentile_interval,
    recentred_interval,
    resampled_counts,
)

NEIGHBOURS: Final = 5
"""k, as Naeem et al. choose it."""
_ROWS: Final = 1024
"""Real images whose distances are held at a time."""


@dataclass(frozen=True)
class PairedEstimates:
    """A statistic of both models and its change from base to tuned."""

    base: Estimate
    tuned: Estimate
    difference: Difference


def compare_neighbourhoods(
    real: ArrayLike,
    base: ArrayLike,
    tuned: ArrayLike,
    prompts: Sequence[str],
    generator: np.random.Generator,
    *,
    resamples: int,
    neighbours: int = NEIGHBOURS,
) -> dict[str, PairedEstimates]:
    """ "density" and "coverage" of both models' images, with 95 % intervals over resampled prompts.

    Args:
        real: (M, D) features of real images, more than `neighbours`. As many as there are generated ones make the
            coverage of equal distributions 1 - 1 / 2^k, whatever the number.
        base, tuned: (N, D) features of generated images in the same order.
        prompts: the prompt of each generated image.
    """
    groups = group_by_prompt(prompts)
    counts = resampled_counts(len(groups), generator, resamples)
    radii = nearest_neighbour_radii(real, neighbours)
    found = [_measure(real, radii, images, groups, counts, neighbours) for images in (base, tuned)]
    return {
        name: PairedEstimates(
            *(Estimate(one[name].point, *one[name].interval(), len(groups)) for one in found),
            difference=_difference(*(one[name] for one in found)),
        )
        for name in found[0]
    }


def neighbourhoods_of_halves(
    real: ArrayLike, generator: np.random.Generator, *, resamples: int, neighbours: int = NEIGHBOURS
) -> dict[str, Estimate]:
    """The same of every second real image among the others: what a perfect generator would reach."""
    rows = np.asarray(real)
    names = [str(index) for index in range(len(rows[::2]))]
    halves = compare_neighbourhoods(
        rows[1::2], rows[::2], rows[::2], names, generator, resamples=resamples, neighbours=neighbours
    )
    return {name: estimates.base for name, estimates in halves.items()}


def nearest_neighbour_radii(real: ArrayLike, neighbours: int) -> NDArray[np.float64]:
    """NND_k: distance (M,) of each real image to its k-th nearest other."""
    rows = np.asarray(real, dtype=np.float64)
    assert len(rows) > neighbours, "an image needs k others"
    parts = [_distances(rows[start : start + _ROWS], rows) for start in range(0, len(rows), _ROWS)]
    # The nearest of all is the image itself.
    return np.concatenate([np.partition(part, neighbours, axis=1)[:, neighbours] for part in parts])


@dataclass(frozen=True)
class _Resampled:
    """A statistic of all images and of each resample (R,)."""

    point: float
    values: NDArray[np.float64]
    inflated: bool  # resamples, having fewer distinct images, miss the point on one side

    def interval(self) -> tuple[float, float]:
        return recentred_interval(self.point, self.values) if self.inflated else percentile_interval(self.values)


def _measure(
    real: ArrayLike,
    radii: NDArray[np.float64],
    generated: ArrayLike,
    groups: Sequence[NDArray[np.int64]],
    counts: NDArray[np.float64],
    neighbours: int,
) -> dict[str, _Resampled]:
    """Both statistics, with B(X_i, NND_k(X_i)) the ball around real image X_i of M, and Y_j the N generated ones:

    density = 1 / (k N) sum_j sum_i 1[Y_j in B(X_i, NND_k(X_i))], at least 0, about 1 for equal distributions;
    coverage = 1 / M sum_i 1[some Y_j in B(X_i, NND_k(X_i))], in [0, 1].
    """
    centres, images = np.asarray(real, dtype=np.float64), np.asarray(generated, dtype=np.float64)
    order, firsts = np.concatenate(groups), np.cumsum([0, *(len(group) for group in groups[:-1])])
    balls, covered, covered_when_resampled = np.zeros(len(groups)), 0, np.zeros(len(counts))
    for start in range(0, len(centres), _ROWS):
        chunk = slice(start, start + _ROWS)
        inside = _distances(centres[chunk], images) <= radii[chunk, None]
        by_prompt = np.add.reduceat(inside[:, order].astype(np.float64), firsts, axis=1)
        balls += by_prompt.sum(axis=0)
        covered += int(by_prompt.any(axis=1).sum())
        covered_when_resampled += (counts @ by_prompt.T > 0).sum(axis=1)
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    return {
        "density": _Resampled(
            float(balls.sum() / len(images) / neighbours), (counts @ balls) / (counts @ sizes) / neighbours, False
        ),
        "coverage": _Resampled(covered / len(centres), covered_when_resampled / len(centres), True),
    }


def _difference(base: _Resampled, tuned: _Resampled) -> Difference:
    change = _Resampled(tuned.point - base.point, tuned.values - base.values, base.inflated)
    return Difference(change.point, *change.interval())


def _distances(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances (A, B) between rows (A, D) and (B, D)."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2 * first @ second.T
    return np.sqrt(squares.clip(min=0))
