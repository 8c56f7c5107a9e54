import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comat_core.support.numerics import (
    LOG_EPSILON,
    at_least_float32,
    full_precision,
    nonfinite_gradients,
    safe_log,
)


@given(st.floats(min_value=LOG_EPSILON * 1.001, max_value=1.0))
def test_safe_log_is_the_logarithm_of_every_ordinary_probability(probability: float) -> None:
    value = safe_log(torch.tensor(probability, dtype=torch.float64))
    assert value.item() == pytest.approx(math.log(probability), abs=1e-12)


@given(st.floats(min_value=-0.01, max_value=0.0))
def test_safe_log_stays_finite_and_keeps_pushing_at_zero_and_below(value: float) -> None:
    probability = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    result = safe_log(probability)
    result.backward()
    assert torch.isfinite(result)
    assert probability.grad is not None
    assert probability.grad.item() == pytest.approx(1 / LOG_EPSILON)


def test_safe_log_is_increasing_and_its_gradient_is_right_around_epsilon() -> None:
    around = torch.linspace(-LOG_EPSILON, 3 * LOG_EPSILON, 50, dtype=torch.float64)
    assert (safe_log(around).diff() > 0).all()
    away_from_the_joint = torch.tensor([0.2, 0.7, -0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(safe_log, (away_from_the_joint,), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_and_higher_precision_left_alone(dtype: torch.dtype) -> None:
    assert at_least_float32(torch.ones(1, dtype=dtype)).dtype == torch.float32
    assert at_least_float32(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


def test_gradient_too_large_for_half_precision_is_saturated() -> None:
    half = torch.ones(2, dtype=torch.float16, requires_grad=True)
    (1e6 * at_least_float32(half)).sum().backward()
    assert half.grad is not None
    assert half.grad.tolist() == [65504.0, 65504.0]


def test_full_precision_turns_autocast_off_inside() -> None:
    left, right = torch.rand(4, 4), torch.rand(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (left @ right).dtype == torch.bfloat16
        with full_precision(left.device):
            assert (left @ right).dtype == torch.float32


def test_nonfinite_gradients_are_named_and_missing_ones_passed_over() -> None:
    layer = torch.nn.Linear(2, 1)
    assert nonfinite_gradients(layer.named_parameters()) == ()
    layer.weight.grad = torch.tensor([[0.0, float("inf")]])
    layer.bias.grad = torch.zeros(1)
    assert nonfinite_gradients(layer.named_parameters()) == ("weight",)
