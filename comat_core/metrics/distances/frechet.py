"""Frechet distance between two sets of feature vectors, the "FD" of FID, on any feature extractor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class GaussianSummary:
    """Mean (D,) and a factor F (D, D) of the covariance, F F^T, of a set of features."""

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]


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
