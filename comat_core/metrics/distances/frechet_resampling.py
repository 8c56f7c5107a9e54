"""Frechet distances of hundreds of bootstrap resamples, without fitting each of them anew.

A resample counts each prompt so many times. What a distance needs of it are sums over items, and so the sums of its
prompts times the counts: one matrix product gives them for all resamples at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from comat_core.metrics.distances.frechet import GaussianSummary

MOST_NUMBERS: Final = 2**25
"""Float64 numbers held at a time, 256 MB."""


def resampled_distances(
    images: NDArray[np.floating],
    groups: Sequence[NDArray[np.int64]],
    counts: NDArray[np.float64],
    reference: GaussianSummary,
) -> NDArray[np.float64]:
    """Distances (R,) of R resamples to the reference.

    Args:
        images: (N, n, D) features, n items of each image.
        groups: the images of each of G prompts.
        counts: (R, G), how often each resample holds each prompt.
    """
    _, items, width = images.shape
    if items == 1 and len(groups) * width**2 > MOST_NUMBERS:  # a product of D x D numbers is no summary of one row
        return _one_by_one(images[:, 0], groups, counts, reference)
    block = max(1, MOST_NUMBERS // width**2)
    parts = [
        _from_sums(images, groups, counts[start : start + block], reference) for start in range(0, len(counts), block)
    ]
    return np.concatenate(parts)


def _from_sums(
    images: NDArray[np.floating],
    groups: Sequence[NDArray[np.int64]],
    counts: NDArray[np.float64],
    reference: GaussianSummary,
) -> NDArray[np.float64]:
    """With x the items less the reference's mean and y = x F: sums of x, |x|^2 and y y^T are all it takes.

    The singular values of F1^T F2 are the roots of the eigenvalues of the covariance of y. Those are less exact where
    they vanish, by about 1e-8 of the largest root.
    """
    resamples, width = len(counts), images.shape[2]
    sums, squares = np.zeros((resamples, width)), np.zeros(resamples)
    products = np.zeros((resamples, width**2))
    for chunk, of_items, of_squares, of_products in _sums_by_prompt(images, groups, reference):
        sums += counts[:, chunk] @ of_items
        squares += counts[:, chunk] @ of_squares
        products += counts[:, chunk] @ of_products
    number = counts @ np.array([len(group) for group in groups], dtype=np.float64) * images.shape[1]
    means = sums / number[:, None]
    projected = means @ reference.factor
    scatter = products.reshape(resamples, width, width)
    scatter -= number[:, None, None] * projected[:, :, None] * projected[:, None, :]
    with _one_thread():
        eigenvalues = torch.linalg.eigvalsh(torch.from_numpy(scatter)).numpy()
    roots = np.sqrt((eigenvalues / (number - 1)[:, None]).clip(min=0)).sum(axis=1)
    offset = (means**2).sum(axis=1)
    spread = (squares - number * offset) / (number - 1) + (reference.factor**2).sum() - 2 * roots
    return (offset + spread).clip(min=0)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within the context torch works in one thread.

    Several that share one small matrix wait for each other longer than they work: on two cores of a busy machine one of
    128 x 128 took 100 ms instead of 0.7.
    """
    found = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(found)


def _sums_by_prompt(
    images: NDArray[np.floating], groups: Sequence[NDArray[np.int64]], reference: GaussianSummary
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """Yield some prompts at a time: which ones, their sums of x (c, D), of |x|^2 (c,) and of y y^T (c, D * D)."""
    width = images.shape[2]
    size = max(1, MOST_NUMBERS // width**2)
    for start in range(0, len(groups), size):
        chosen = groups[start : start + size]
        firsts = np.cumsum([0, *(len(group) for group in chosen[:-1])])
        items = images[np.concatenate(chosen)] - reference.mean
        projected = items @ reference.factor
        products = np.matmul(projected.transpose(0, 2, 1), projected).reshape(len(items), width**2)
        yield (
            slice(start, start + len(chosen)),
            np.add.reduceat(items.sum(axis=1), firsts),
            np.add.reduceat((items**2).sum(axis=(1, 2)), firsts),
            np.add.reduceat(products, firsts),
        )


def _one_by_one(
    rows: NDArray[np.floating],
    groups: Sequence[NDArray[np.int64]],
    counts: NDArray[np.float64],
    reference: GaussianSummary,
) -> NDArray[np.float64]:
    """The same for rows (N, D) too wide for that, such as Inception's: each resample's covariance from its rows."""
    rows = rows.astype(np.float64)
    projected = rows @ reference.factor
    distances = np.empty(len(counts))
    for index, times in enumerate(counts.astype(np.int64)):
        drawn = np.concatenate([group for group, many in zip(groups, times, strict=True) for _ in range(many)])
        distances[index] = _distance_of_rows(rows[drawn], projected[drawn], reference)
    return distances


def _distance_of_rows(rows: NDArray[np.float64], projected: NDArray[np.float64], reference: GaussianSummary) -> float:
    """Distance of rows (N, D) that come with their products with the reference's factor."""
    mean = rows.mean(axis=0)
    centred = projected - projected.mean(axis=0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    roots = np.sqrt((np.linalg.eigvalsh(gram) / (len(rows) - 1)).clip(min=0))
    offset = mean - reference.mean
    spread = ((rows - mean) ** 2).sum() / (len(rows) - 1) + (reference.factor**2).sum() - 2 * roots.sum()
    return max(float(offset @ offset + spread), 0.0)
