"""Resizing as two products with matrices, one per axis: any filter, any device, several steps at the price of one."""

from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Weights = NDArray[np.float64]


def _cubic(x: Weights) -> Weights:
    """Keys' kernel with a = -1/2, as PIL has it."""
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: Weights) -> Weights:
    """The sinc function, windowed by its first hump stretched to three."""
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


FILTERS: Final[dict[int, Any]] = {1: (_lanczos, 3.0), 3: (_cubic, 2.0)}
"""PIL's number -> the filter, a function of the distance in pixels, and the distance from which on it is 0."""


@cache
def resizing_matrix(resample: int, sides: tuple[int, ...]) -> Weights:
    """One axis's resizing, sides[0] pixels to sides[1] and so on, as (sides[-1], sides[0]) weights.

    Every step is that of PIL with antialiasing: the filter is stretched by what a side shrinks by, and at the borders
    the weights of the pixels that are there sum to 1. Nothing is rounded or clamped between the steps.

    Args:
        resample: PIL's number of a filter of `FILTERS`.
    """
    whole = np.eye(sides[0])
    for before, after in pairwise(sides):
        if before != after:
            whole = _step(resample, before, after) @ whole
    return whole


def resize_separably(images: Tensor, rows: Weights, columns: Weights) -> Tensor:
    """Resize (B, C, H, W) images by the matrices of their rows (H', H) and columns (W', W), differentiably."""
    over_rows, over_columns = (torch.as_tensor(matrix).to(images) for matrix in (rows, columns))
    return over_rows @ images @ over_columns.T


def _step(resample: int, before: int, after: int) -> Weights:
    weigh, support = FILTERS[resample]
    scale = before / after
    stretch = max(scale, 1.0)
    centres = (np.arange(after) + 0.5)[:, None] * scale
    first = np.floor(centres - support * stretch + 0.5).clip(0)
    last = np.floor(centres + support * stretch + 0.5).clip(max=before)
    pixels = np.arange(before)[None]
    weights = weigh(np.abs(pixels + 0.5 - centres) / stretch) * ((pixels >= first) & (pixels < last))
    return weights / weights.sum(axis=1, keepdims=True)
