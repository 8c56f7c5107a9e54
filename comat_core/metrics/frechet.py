"""Frechet distance between two sets of feature vectors, the "FD" of FID, on any feature extractor."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comat_core.metrics.bootstrap import Difference, Estimate, group_by_prompt, percentile_interval

RESAMPLES = 500


@dataclass(frozen=True)
class GaussianSummary:
    """Mean (D,) and a factor F (D, D) of the covariance, F F^T, of a set of features."""

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]


@dataclass(frozen=True)
class FidelityComparison:
    """Distances of both models to the real images, their difference and their ratio (tuned over base)."""

    base: Estimate
    tuned: Estimate
    difference: Difference
    ratio: Difference


def summarise(features: ArrayLike) -> GaussianSummary:
    """Fit a Gaussian to features (N, D), N at least 2, with the unbiased covariance."""
    rows = np.asarray(features, dtype=np.float64)
    assert rows.ndim == 2 and len(rows) >= 2, "a covariance needs two rows or more"
    mean = rows.mean(axis=0)
    centred = rows - mean
    covariance = centred.T @ centred / (len(rows) - 1)
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    # Rounding leaves tiny negative eigenvalues where features are fewer than dimensions, or depend on each other.
    return GaussianSummary(mean, eigenvectors * np.sqrt(eigenvalues.clip(min=0)))


def frechet_distance(first: GaussianSummary, second: GaussianSummary) -> float:
    """Squared Frechet distance |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)), at least 0.

    The trace of the root is the sum of the singular values of F1^T F2. Unlike a matrix square root of S1 S2 this is
    real for singular covariances too, and needs no added diagonal.
    """
    offset = first.mean - second.mean
    cross = np.linalg.svd(first.factor.T @ second.factor, compute_uv=False).sum()
    spread = (first.factor**2).sum() + (second.factor**2).sum() - 2 * cross
    return max(float(offset @ offset + spread), 0.0)


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
        real: (M, D) features of real images.
        base, tuned: (N, D) features of generated images in the same order.
        prompts: the prompt of each generated image.
        points: both models' distances where another implementation has worked them out; the intervals lie around them.
    """
    reference = summarise(real)
    base_rows, tuned_rows = np.asarray(base, dtype=np.float64), np.asarray(tuned, dtype=np.float64)
    assert len(base_rows) == len(tuned_rows) == len(prompts), "the same prompts and samples for both models"
    if points is None:
        points = [frechet_distance(summarise(rows), reference) for rows in (base_rows, tuned_rows)]
    projected = [rows @ reference.factor for rows in (base_rows, tuned_rows)]
    groups = group_by_prompt(prompts)
    resampled = np.empty((resamples, 2))
    for index in range(resamples):
        drawn = np.concatenate([groups[group] for group in generator.integers(0, len(groups), len(groups))])
        for column, rows in enumerate((base_rows, tuned_rows)):
            resampled[index, column] = _distance_of_resample(rows[drawn], projected[column][drawn], reference)
    estimates = [
        Estimate(point, *_shifted_interval(point, resampled[:, column]), len(groups))
        for column, point in enumerate(points)
    ]
    change = points[1] - points[0]
    difference = Difference(change, *_shifted_interval(change, resampled[:, 1] - resampled[:, 0]))
    return FidelityComparison(estimates[0], estimates[1], difference, _ratio(points, resampled))


def _distance_of_resample(
    rows: NDArray[np.float64], projected: NDArray[np.float64], reference: GaussianSummary
) -> float:
    """`frechet_distance` several times as fast, for the hundreds of resamples.

    The singular values of F1^T F2 are the roots of the eigenvalues of the covariance of x F2. Those are less exact
    where they vanish, by about 1e-8 of the largest root.

    Args:
        rows: (N, D), features.
        projected: (N, D), each of them times F2, the reference's factor.
    """
    mean = rows.mean(axis=0)
    centred = projected - projected.mean(axis=0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    roots = np.sqrt((np.linalg.eigvalsh(gram) / (len(rows) - 1)).clip(min=0))
    offset = mean - reference.mean
    spread = ((rows - mean) ** 2).sum() / (len(rows) - 1) + (reference.factor**2).sum() - 2 * roots.sum()
    return max(float(offset @ offset + spread), 0.0)


def _shifted_interval(point: float, resampled: NDArray[np.float64]) -> tuple[float, float]:
    return percentile_interval(resampled - resampled.mean() + point)


def _ratio(points: Sequence[float], resampled: NDArray[np.float64]) -> Difference:
    """Ratio tuned / base with its interval, worked out on logarithms so that it stays positive."""
    tiny = np.finfo(np.float64).tiny
    logs = np.log(resampled[:, 1].clip(min=tiny)) - np.log(resampled[:, 0].clip(min=tiny))
    point = float(np.log(max(points[1], tiny)) - np.log(max(points[0], tiny)))
    low, high = _shifted_interval(point, logs)
    return Difference(float(np.exp(point)), float(np.exp(low)), float(np.exp(high)))
