"""Projection of conflicting gradients against the algorithm as its paper prints it, one number at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comat_core.support.randomness import make_generator
from comat_core.training.gradient_projection import project_conflicts

entries = st.floats(-10, 10, allow_nan=False).map(lambda value: round(value, 3))
two_gradients = arrays(np.float64, (2, 5), elements=entries)
several_gradients = st.integers(2, 5).flatmap(lambda count: arrays(np.float64, (count, 4), elements=entries))


def slowly(gradients: np.ndarray, orders: list[list[int]]) -> list[np.ndarray]:
    """Algorithm 1 of arXiv 2001.06782, in loops."""
    found = []
    for i, order in enumerate(orders):
        part = [float(value) for value in gradients[i]]
        for j in order:
            if j == i:
                continue
            product = sum(a * b for a, b in zip(part, gradients[j], strict=True))
            if product < 0:
                length = sum(b * b for b in gradients[j])
                part = [a - product / length * b for a, b in zip(part, gradients[j], strict=True)]
        found.append(np.array(part))
    return found


@given(several_gradients, st.integers(0, 100))
def test_equals_the_paper_s_algorithm_in_loops(gradients: np.ndarray, seed: int) -> None:
    projected = project_conflicts([torch.tensor(row) for row in gradients], make_generator(seed, "orders"))
    generator = make_generator(seed, "orders")
    orders = [torch.randperm(len(gradients), generator=generator).tolist() for _ in gradients]
    expected = slowly(gradients, orders)
    for part, wanted in zip(projected.parts, expected, strict=True):
        np.testing.assert_allclose(part.numpy(), wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(projected.total.numpy(), np.sum(expected, axis=0), rtol=1e-9, atol=1e-9)


@given(two_gradients)
def test_of_two_neither_opposes_the_other_any_more(gradients: np.ndarray) -> None:
    one, two = (torch.tensor(row) for row in gradients)
    projected = project_conflicts([one, two], make_generator(0, "orders"))
    rounding = -1e-9 * (1 + float(one.norm() * two.norm()))
    assert projected.parts[0] @ two >= rounding
    assert projected.parts[1] @ one >= rounding
    assert projected.total @ one >= rounding and projected.total @ two >= rounding
    assert projected.conflicts == float(one @ two < 0)


@given(two_gradients, st.floats(0.01, 100))
def test_a_gradient_s_length_has_no_say_in_what_the_other_loses(gradients: np.ndarray, factor: float) -> None:
    one, two = (torch.tensor(row) for row in gradients)
    plain, scaled = (project_conflicts([one, size * two], make_generator(0, "orders")) for size in (1.0, factor))
    torch.testing.assert_close(plain.parts[0], scaled.parts[0], rtol=1e-6, atol=1e-6)


def test_gradients_that_agree_are_left_alone_to_the_bit() -> None:
    one, two = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0.5, 0.0, 3.0])
    projected = project_conflicts([one, two], make_generator(0, "orders"))
    assert torch.equal(projected.total, one + two) and projected.conflicts == 0


def test_what_is_no_number_stays_so_that_the_step_is_skipped() -> None:
    projected = project_conflicts([torch.tensor([1.0, float("nan")]), torch.ones(2)], make_generator(0, "orders"))
    assert projected.total.isnan().any()


def test_opposite_gradients_cancel() -> None:
    one = torch.tensor([3.0, -1.0])
    projected = project_conflicts([one, -2 * one], make_generator(0, "orders"))
    assert projected.total.abs().max().item() == pytest.approx(0, abs=1e-6)
