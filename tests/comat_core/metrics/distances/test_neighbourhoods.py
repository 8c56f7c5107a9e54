"""Density and coverage on points whose neighbourhoods can be worked out by hand."""

import numpy as np
import pytest

from comat_core.metrics.bootstrap import make_numpy_generator
from comat_core.metrics.distances.neighbourhoods import (
    measure_neighbourhoods,
    nearest_neighbour_radii,
    neighbourhoods_of_halves,
)

REAL = [[0.0], [1.0], [3.0], [10.0]]


def measure(real, images, prompts=None, neighbours=1):
    names = prompts or [str(row) for row in range(len(images))]
    return measure_neighbourhoods(
        real, images, names, make_numpy_generator(1, "x"), resamples=200, neighbours=neighbours
    )


def test_a_radius_reaches_to_the_kth_nearest_other_image():
    assert nearest_neighbour_radii(REAL, 1).tolist() == [1.0, 1.0, 2.0, 7.0]
    assert nearest_neighbour_radii(REAL, 2).tolist() == [3.0, 2.0, 3.0, 9.0]


def test_density_counts_the_balls_around_an_image_and_coverage_the_balls_with_an_image():
    # With k = 1 the balls are [-1, 1], [0, 2], [1, 5] and [3, 17].
    near, far = [[0.5], [4.0]], [[20.0], [-3.0]]
    found = measure(REAL, near)
    assert found["density"].point == pytest.approx((2 + 2) / (1 * 2))  # each of the two lies in two balls
    assert found["coverage"].point == 1.0
    of_far = measure(REAL, far)
    assert (of_far["density"].point, of_far["coverage"].point) == (0.0, 0.0)
    assert of_far["density"].change_from(found["density"]).mean == pytest.approx(-2.0)
    assert of_far["coverage"].change_from(found["coverage"]).mean == -1.0
    # With k = 2 they are [-3, 3], [-1, 3], [0, 6] and [1, 19]; the density is divided by k.
    assert measure(REAL, near, neighbours=2)["density"].point == pytest.approx((3 + 2) / (2 * 2))
    assert measure(REAL, far, neighbours=2)["coverage"].point == 0.25  # -3 stands on the first ball's edge


def test_one_outlier_among_the_real_images_does_not_let_everything_pass():
    source = np.random.default_rng(0)
    real = np.concatenate([source.normal(size=(100, 2)), [[100.0, 0.0]]])
    far = source.normal(size=(100, 2)) + np.array([50.0, 0.0])
    found = measure(real, far, neighbours=5)
    assert found["density"].point < 0.25  # inside the outlier's ball, one of five; precision would say 1
    assert found["coverage"].point == pytest.approx(1 / 101)


def test_equal_distributions_score_about_1_and_half_to_the_kth_less_than_1():
    real = np.random.default_rng(1).normal(size=(1200, 8))
    halves = neighbourhoods_of_halves(real, make_numpy_generator(1, "x"), resamples=100, neighbours=5)
    assert halves["density"].point == pytest.approx(1.0, abs=0.1)
    assert halves["coverage"].point == pytest.approx(1 - 1 / 2**5, abs=0.02)
    assert halves["coverage"].n == 600
    for estimate in (one.estimate() for one in halves.values()):
        assert estimate.low < estimate.mean < estimate.high


def test_changes_are_paired_and_prompts_are_drawn_whole():
    source = np.random.default_rng(2)
    real, base = source.normal(size=(200, 4)), source.normal(size=(100, 4))
    prompts = [str(row // 2) for row in range(100)]
    of_base, of_worse = (measure(real, images, prompts, neighbours=5) for images in (base, base + 1.0))
    for name, resampled in of_base.items():
        same, worse = (other[name].change_from(resampled) for other in (of_base, of_worse))
        assert (same.low, same.high) == (0.0, 0.0)
        assert resampled.n == 50
        assert worse.low < worse.mean < worse.high < 0
