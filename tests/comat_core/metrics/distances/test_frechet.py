import numpy as np
import pytest
from scipy.linalg import sqrtm

from comat_core.metrics.distances.frechet import GaussianSummary, frechet_distance, summarise


def gaussian(mean, standard_deviations):
    return GaussianSummary(np.asarray(mean, dtype=float), np.diag(np.asarray(standard_deviations, dtype=float)))


def distance_by_matrix_square_root(first, second):
    covariances = [np.cov(rows, rowvar=False) for rows in (first, second)]
    offset = first.mean(axis=0) - second.mean(axis=0)
    root = np.real(np.asarray(sqrtm(covariances[0] @ covariances[1])))
    return offset @ offset + np.trace(covariances[0] + covariances[1] - 2 * root)


def test_in_one_dimension_it_is_the_squared_differences_of_mean_and_deviation():
    # (m1 - m2)^2 + (s1 - s2)^2 = 3^2 + 2^2
    assert frechet_distance(gaussian([1.0], [5.0]), gaussian([4.0], [3.0])) == pytest.approx(13.0)


def test_diagonal_covariances_add_up():
    # (0 - 1)^2 + (2 - 2)^2 + (1 - 4)^2 + (2 - 1)^2
    assert frechet_distance(gaussian([0, 2], [1, 2]), gaussian([1, 2], [4, 1])) == pytest.approx(1 + 9 + 1)


def test_rotated_gaussians_keep_their_distance():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    first, second = gaussian([0, 0, 0], [1, 2, 3]), gaussian([1, 0, 2], [2, 2, 1])
    turned = [GaussianSummary(rotation @ one.mean, rotation @ one.factor) for one in (first, second)]
    assert frechet_distance(*turned) == pytest.approx(frechet_distance(first, second))


def test_covariances_that_do_not_commute_agree_with_scipys_matrix_square_root():
    source = np.random.default_rng(3)
    first = source.normal(size=(300, 12)) @ source.normal(size=(12, 12)) + 1.0
    second = source.normal(size=(200, 12)) @ source.normal(size=(12, 12))
    expected = distance_by_matrix_square_root(first, second)
    assert frechet_distance(summarise(first), summarise(second)) == pytest.approx(expected, rel=1e-9)


def test_covariance_is_the_unbiased_one():
    summary = summarise([[0.0], [2.0]])
    assert summary.mean.tolist() == [1.0]
    assert (summary.factor**2).item() == pytest.approx(2.0)  # ((0 - 1)^2 + (2 - 1)^2) / (2 - 1)


def test_a_set_is_at_distance_0_from_itself_even_when_its_covariance_is_singular():
    rows = np.random.default_rng(4).normal(size=(5, 40)) * 1000  # 5 rows span 4 of 40 dimensions
    assert frechet_distance(summarise(rows), summarise(rows)) == pytest.approx(0.0, abs=1e-3)
    assert np.isfinite(frechet_distance(summarise(rows), summarise(rows + 1)))


def test_constant_features_differ_by_their_means_alone():
    first, second = np.zeros((4, 2)), np.tile([3.0, 4.0], (4, 1))
    assert frechet_distance(summarise(first), summarise(second)) == pytest.approx(25.0)
