"""Distances of two models to the real images, their intervals, and the scale that real images give."""

import numpy as np
import pytest

import comat_core.metrics.distances.frechet_resampling as resampling
from comat_core.metrics.bootstrap import make_numpy_generator, resampled_counts
from comat_core.metrics.distances.frechet import frechet_distance, summarise
from comat_core.metrics.distances.frechet_comparison import distance_between_halves, measure_distance
from comat_core.metrics.distances.frechet_resampling import resampled_distances
from tests.comat_core.metrics.distances.test_frechet import distance_by_matrix_square_root


def measure(real, images, prompts):
    return measure_distance(real, images, prompts, make_numpy_generator(1, "x"), resamples=200)


def test_comparison_gives_distances_of_the_whole_sets_and_a_paired_ratio():
    source = np.random.default_rng(5)
    real = source.normal(size=(400, 4))
    base = source.normal(size=(200, 4)) + 1.0
    tuned = base + 1.0  # further from the real ones in every resample
    prompts = [str(row // 2) for row in range(200)]
    of_base, of_tuned = (measure(real, images, prompts) for images in (base, tuned))
    estimates, ratio = [of_base.estimate(), of_tuned.estimate()], of_tuned.ratio_to(of_base)
    difference = of_tuned.change_from(of_base)
    for estimate, images in zip(estimates, (base, tuned), strict=True):
        assert estimate.mean == pytest.approx(distance_by_matrix_square_root(images, real), rel=1e-9)
        assert estimate.n == 100
    assert ratio.mean == pytest.approx(estimates[1].mean / estimates[0].mean)
    assert difference.mean == pytest.approx(estimates[1].mean - estimates[0].mean)
    for one in (*estimates, difference, ratio):
        assert one.low < one.mean < one.high
    # Pairing: the ratio is known far better than two independent distances would let it be.
    relative_widths = [(one.high - one.low) / one.mean for one in (*estimates, ratio)]
    assert relative_widths[2] < np.hypot(relative_widths[0], relative_widths[1])


def test_interval_is_not_moved_by_the_inflation_that_resampling_brings():
    # Few prompts for many dimensions: every resampled distance lies above that of the whole set.
    source = np.random.default_rng(6)
    real, base = source.normal(size=(500, 20)), source.normal(size=(40, 20))
    prompts = [str(row) for row in range(40)]
    found = measure(real, base, prompts)
    estimate, ratio = found.estimate(), found.ratio_to(found)
    assert estimate.low < estimate.mean < estimate.high
    assert (ratio.low, ratio.mean, ratio.high) == pytest.approx((1.0, 1.0, 1.0))


def test_resampled_distances_are_those_of_the_resampled_rows(monkeypatch: pytest.MonkeyPatch):
    """By sums, whole or in small pieces, and one by one: always what fitting the drawn items anew gives."""
    source = np.random.default_rng(7)
    real = source.normal(size=(300, 6)) @ source.normal(size=(6, 6)) + 3.0
    images = source.normal(size=(40, 5, 6)) + 2.0  # 5 items of each image, 2 images of each prompt
    groups = [np.array([row, row + 20]) for row in range(20)]
    counts = resampled_counts(20, make_numpy_generator(1, "x"), 7)
    reference = summarise(real)

    def anew(sets, times):
        rows = [sets[group].reshape(-1, 6) for group, many in zip(groups, times, strict=True) for _ in range(int(many))]
        return frechet_distance(summarise(np.concatenate(rows)), reference)

    expected = [anew(images, times) for times in counts]
    assert resampled_distances(images, groups, counts, reference) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(resampling, "MOST_NUMBERS", 3 * 6**2)  # three prompts and three resamples at a time
    assert resampled_distances(images, groups, counts, reference) == pytest.approx(expected, rel=1e-9)
    single = images[:, :1]  # too many products of D x D for so few numbers: the rows are drawn
    assert resampled_distances(single, groups, counts, reference) == pytest.approx(
        [anew(single, times) for times in counts], rel=1e-9
    )


def test_an_images_items_are_compared_one_by_one_and_drawn_together():
    source = np.random.default_rng(8)
    real, base = source.normal(size=(50, 9, 3)), source.normal(size=(30, 9, 3)) + 1.0
    prompts = [str(row) for row in range(30)]
    found = measure(real, base, prompts)
    expected = distance_by_matrix_square_root(base.reshape(-1, 3), real.reshape(-1, 3))
    assert found.point == pytest.approx(expected, rel=1e-9)
    assert found.n == 30
    # Items that stand for their image alone say no more than the image does: the interval is as wide as that of images.
    repeated = np.repeat(base[:, :1], 9, axis=1)
    single, several = (measure(real, images, prompts).estimate() for images in (base[:, :1], repeated))
    widths = [one.high - one.low for one in (single, several)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_real_images_give_the_scale():
    real = np.random.default_rng(9).normal(size=(400, 4))
    halves = distance_between_halves(real, make_numpy_generator(1, "x"), resamples=100).estimate()
    assert halves.mean == pytest.approx(distance_by_matrix_square_root(real[::2], real[1::2]), rel=1e-9)
    assert halves.n == 200
    assert halves.low < halves.mean < halves.high
    far = distance_between_halves(np.concatenate([real, real + 5]), make_numpy_generator(1, "x"), resamples=100)
    assert far.point < 0.2  # every second image: an order of the files splits no kind from another
