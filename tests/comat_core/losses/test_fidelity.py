import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comat_core.losses.fidelity import discriminator_accuracy, discriminator_loss, generator_adversarial_loss
from comat_core.support.randomness import make_generator

LOGITS = st.lists(st.floats(min_value=-25.0, max_value=25.0), min_size=1, max_size=12)


def belief(logit: float) -> float:
    """D = sigmoid(logit), the discriminator's probability that its input is the reference model's."""
    return 1 / (1 + math.exp(-logit))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@given(LOGITS, LOGITS)
def test_discriminator_loss_is_binary_cross_entropy(real: list[float], fake: list[float]) -> None:
    expected = (
        mean([-math.log(belief(logit)) for logit in real]) + mean([-math.log(belief(-logit)) for logit in fake])
    ) / 2
    loss = discriminator_loss(torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64))
    assert loss.item() == pytest.approx(expected, abs=1e-8)


@given(LOGITS)
def test_generator_loss_is_cross_entropy_against_label_one_or_equation_3(fake: list[float]) -> None:
    logits = torch.tensor(fake, dtype=torch.float64)
    non_saturating = mean([-math.log(belief(logit)) for logit in fake])
    equation_3 = mean([math.log(belief(-logit)) for logit in fake])
    assert generator_adversarial_loss(logits).item() == pytest.approx(non_saturating, abs=1e-8)
    assert generator_adversarial_loss(logits, saturating=True).item() == pytest.approx(equation_3, abs=1e-8)


def test_gradients_match_finite_differences() -> None:
    generator = make_generator(0, "test")
    real, fake = (torch.randn(2, 3, 3, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(discriminator_loss, (real, fake))
    assert torch.autograd.gradcheck(generator_adversarial_loss, (fake,))
    assert torch.autograd.gradcheck(lambda x: generator_adversarial_loss(x, saturating=True), (fake,))


def test_an_ignorant_discriminator_loses_log_two() -> None:
    assert discriminator_loss(torch.zeros(2, 4, 4), torch.zeros(3, 4, 4)).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("saturating", [False, True])
def test_generator_gains_by_looking_more_like_the_reference(saturating: bool) -> None:
    logits = torch.zeros(2, 4, 4, requires_grad=True)
    generator_adversarial_loss(logits, saturating=saturating).backward()
    assert logits.grad is not None
    assert (logits.grad < 0).all()


def test_only_the_equations_own_form_stops_teaching_when_the_discriminator_is_sure() -> None:
    gradients = {}
    for saturating in (False, True):
        logits = torch.full((1, 4), -20.0, requires_grad=True)
        generator_adversarial_loss(logits, saturating=saturating).backward()
        assert logits.grad is not None
        gradients[saturating] = logits.grad.abs().sum().item()
    assert gradients[False] == pytest.approx(1.0)
    assert gradients[True] < 1e-6


@pytest.mark.parametrize("extreme", [-6e4, 6e4])
def test_extreme_half_precision_logits_give_finite_losses_and_gradients(extreme: float) -> None:
    logits = torch.full((2, 3), extreme, dtype=torch.float16, requires_grad=True)
    for loss in (
        generator_adversarial_loss(logits),
        generator_adversarial_loss(logits, saturating=True),
        discriminator_loss(logits, -logits),
    ):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_accuracy_counts_each_side_equally() -> None:
    assert discriminator_accuracy(torch.tensor([1.0, 1.0, 1.0, -1.0]), torch.tensor([1.0])).item() == 0.375
