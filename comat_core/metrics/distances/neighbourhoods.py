"""Density and coverage: are generated images like real ones, and are there generated ones like each of the real ones?

Naeem et al. 2020 (arXiv 2002.09797, section 3), who mend precision and recall (Kynkaanniemi et al. 2019, equations 1
and 2). There a single outlier among the real images makes a ball that lets everything pass, and two equal distributions
do not reach 1; density counts in how many balls an image lies, and both have a known value for equal distributions.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comat_core.metrics.bootstrap import Resampled, group_by_prompt, resampled_counts

NEIGHBOURS: Final = 5
"""k, as Naeem et al. choose it."""
_ROWS: Final = 1024
"""Real images whose distances are held at a time."""


def measure_neighbourhoods(
    real: ArrayLike,
    generated: ArrayLike,
    prompts: Sequence[str],
    generator: np.random.Generator,
    *,
    resamples: int,
    neighbours: int = NEIGHBOURS,
) -> dict[str, Resampled]:
    """ "density" and "coverage" of a model's images, over resampled prompts.

    With B(X_i, NND_k(X_i)) the ball around real image X_i of M, and Y_j the N generated ones:

    density = 1 / (k N) sum_j sum_i 1[Y_j in B(X_i, NND_k(X_i))], at least 0, about 1 for equal distributions;
    coverage = 1 / M sum_i 1[some Y_j in B(X_i, NND_k(X_i))], in [0, 1].

    Args:
        real: (M, D) features of real images, more than `neighbours`. As many as there are generated ones make the
            coverage of equal distributions 1 - 1 / 2^k, whatever the number.
        generated: (N, D) features of generated images.
        prompts: the prompt of each generated image.
    """
    groups = group_by_prompt(prompts)
    counts = resampled_counts(len(groups), generator, resamples)
    radii = nearest_neighbour_radii(real, neighbours)
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
    density, coverage = float(balls.sum() / len(images) / neighbours), covered / len(centres)
    densities = (counts @ balls) / (counts @ sizes) / neighbours
    return {
        "density": Resampled(density, densities, len(groups), is_inflated=False),
        "coverage": Resampled(coverage, covered_when_resampled / len(centres), len(groups), is_inflated=True),
    }


def neighbourhoods_of_halves(
    real: ArrayLike, generator: np.random.Generator, *, resamples: int, neighbours: int = NEIGHBOURS
) -> dict[str, Resampled]:
    """The same of every second real image among the others: what a perfect generator would reach."""
    rows = np.asarray(real)
    first, second = rows[::2], rows[1::2]
    names = [str(row) for row in range(len(first))]
    return measure_neighbourhoods(second, first, names, generator, resamples=resamples, neighbours=neighbours)


def nearest_neighbour_radii(real: ArrayLike, neighbours: int) -> NDArray[np.float64]:
    """NND_k: distance (M,) of each real image to its k-th nearest other."""
    rows = np.asarray(real, dtype=np.float64)
    assert len(rows) > neighbours, "an image needs k others"
    parts = [_distances(rows[start : start + _ROWS], rows) for start in range(0, len(rows), _ROWS)]
    # The nearest of all is the image itself.
    return np.concatenate([np.partition(part, neighbours, axis=1)[:, neighbours] for part in parts])


def _distances(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances (A, B) between rows (A, D) and (B, D)."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2 * first @ second.T
    return np.sqrt(squares.clip(min=0))
