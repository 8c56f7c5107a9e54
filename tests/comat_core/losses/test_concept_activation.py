from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comat_core.losses.concept_activation import TokenReduction, concept_activation_loss, random_crop
from comat_core.support.randomness import make_generator

LOG_PROBABILITY = st.floats(min_value=-30.0, max_value=0.0)
CAPTIONS = st.lists(st.lists(st.tuples(LOG_PROBABILITY, st.booleans()), min_size=5, max_size=5), min_size=1, max_size=4)


def naive_loss(captions: Sequence[Sequence[tuple[float, bool]]], reduction: TokenReduction) -> float:
    """Equation 2, word by word."""
    total = 0.0
    for caption in captions:
        surprise = [-log_probability for log_probability, counted in caption if counted]
        if surprise:
            total += sum(surprise) / (len(surprise) if reduction == "mean" else 1)
    return total / len(captions)


def as_tensors(captions: Sequence[Sequence[tuple[float, bool]]]) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.tensor([[value for value, _ in row] for row in captions], dtype=torch.float64)
    return values, torch.tensor([[counted for _, counted in row] for row in captions])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@given(captions=CAPTIONS)
def test_equals_the_word_by_word_sum(captions: list[list[tuple[float, bool]]], reduction: TokenReduction) -> None:
    loss = concept_activation_loss(*as_tensors(captions), reduction)
    assert loss.item() == pytest.approx(naive_loss(captions, reduction), abs=1e-9)
    assert loss.item() >= 0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_matches_finite_differences(reduction: TokenReduction) -> None:
    values = -torch.rand(3, 4, dtype=torch.float64, generator=make_generator(0, "test"))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    assert torch.autograd.gradcheck(lambda x: concept_activation_loss(x, mask, reduction), (values.requires_grad_(),))


def test_what_stands_outside_the_mask_changes_neither_loss_nor_gradient() -> None:
    values = torch.tensor([[-1.0, float("-inf"), float("nan")]], requires_grad=True)
    loss = concept_activation_loss(values, torch.tensor([[True, False, False]]))
    loss.backward()
    assert loss.item() == 1.0
    assert values.grad is not None
    assert values.grad.tolist() == [[-1.0, 0.0, 0.0]]


def test_caption_without_a_counted_token_contributes_zero() -> None:
    values = torch.full((1, 3), -2.0, requires_grad=True)
    loss = concept_activation_loss(values, torch.zeros(1, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_mean_over_a_batch_equals_the_mean_of_its_captions_alone() -> None:
    values = torch.tensor([[-1.0, -3.0, -5.0], [-4.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    alone = [concept_activation_loss(values[i : i + 1], mask[i : i + 1]) for i in range(2)]
    assert concept_activation_loss(values, mask).item() == pytest.approx(torch.stack(alone).mean().item())


def test_half_precision_is_summed_in_float32() -> None:
    values = torch.full((1, 4096), -20.0, dtype=torch.float16)
    loss = concept_activation_loss(values, torch.ones(1, 4096), "sum")
    assert loss.dtype == torch.float32
    assert loss.item() == 20.0 * 4096


def test_the_crop_shifts_over_its_whole_margin() -> None:
    image = torch.arange(448 * 448).view(1, 1, 448, 448)
    corners = set()
    for step in range(80):
        crop = random_crop(image, make_generator(0, "caption crop", step))
        assert crop.shape == (1, 1, 446, 446)
        corners.add(divmod(int(crop[0, 0, 0, 0]), 448))
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_a_small_image_is_not_cropped() -> None:
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(random_crop(image, make_generator(0, "caption crop")), image)
