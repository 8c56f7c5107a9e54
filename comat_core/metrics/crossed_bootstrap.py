"""Means of answers that several raters gave on the same prompts, with intervals over both.

Answers of one rater are not independent of each other, nor are those on one prompt. So raters and prompts are resampled
as wholes, each by themselves, and an answer counts as often as its rater and its prompt were drawn together: the
product of both numbers. Such intervals are, if anything, too wide.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comat_core.metrics.bootstrap import RESAMPLES, Estimate, percentile_interval, resampled_counts


def crossed_bootstrap_mean(
    values: ArrayLike,
    raters: Sequence[Hashable],
    prompts: Sequence[Hashable],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean of `values` (N,) with a percentile interval over resampled raters and prompts.

    Resamples that hold no answer, as there may be where many are missing, say nothing and are left out. The answers of
    a single rater give an interval over prompts alone.

    Args:
        values: one number per answer.
        raters, prompts: who gave each answer, and on what; a pair of them may be missing.
    """
    array = np.asarray(values, dtype=np.float64)
    assert array.shape == (len(raters),) == (len(prompts),), "one rater and one prompt for each answer"
    assert len(array) > 0, "nothing to average"
    rows, columns = _numbered(raters), _numbered(prompts)
    sums, counts = np.zeros((2, rows.max() + 1, columns.max() + 1))
    np.add.at(sums, (rows, columns), array)
    np.add.at(counts, (rows, columns), 1.0)
    drawn_raters = resampled_counts(len(sums), generator, resamples)
    drawn_prompts = resampled_counts(sums.shape[1], generator, resamples)
    totals = (drawn_raters @ sums * drawn_prompts).sum(axis=1)
    numbers = (drawn_raters @ counts * drawn_prompts).sum(axis=1)
    held = numbers > 0
    low, high = percentile_interval(totals[held] / numbers[held])
    return Estimate(float(array.mean()), low, high, sums.shape[1])


def _numbered(names: Sequence[Hashable]) -> NDArray[np.int64]:
    """The place of each name among the distinct ones, in the order of their first appearance."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], dtype=np.int64)
