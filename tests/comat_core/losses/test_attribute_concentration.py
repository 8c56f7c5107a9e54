import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from comat_core.losses.attribute_concentration import (
    ConcentrationLoss,
    ConcentrationVariant,
    EntityTokens,
    attribute_concentration_loss,
    resize_masks,
)
from comat_core.support.randomness import make_generator

ALPHA, BETA = 0.3, 0.7
TOKENS = 6
DOG = EntityTokens("dog", (2,), (1,))
HAT = EntityTokens("hat", (4, 5))
VARIANTS: tuple[ConcentrationVariant, ...] = ("paper", "release")


def random_map(rows: int, height: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    logits = torch.randn(rows, height, width, TOKENS, generator=make_generator(seed, "map"), dtype=torch.float64)
    return logits.softmax(dim=-1).to(dtype)


def random_masks(entities: int, size: int, seed: int = 0) -> Tensor:
    return torch.rand(entities, size, size, generator=make_generator(seed, "masks")) > 0.5


def naive_paper_map(attention: Tensor, entities: Sequence[EntityTokens], masks: Tensor) -> tuple[float, float]:
    """Equations 4 and 5 for one map (h, w, L) whose resolution the masks have, sum by sum."""
    height, width, _ = attention.shape
    pixels = [(u, v) for u in range(height) for v in range(width)]
    positive = negative = 0.0
    for entity, mask in zip(entities, masks, strict=True):
        tokens = sorted(set(entity.noun_tokens) | set(entity.attribute_tokens))
        totals = {k: sum(attention[u, v, k].item() for u, v in pixels) for k in tokens}
        for u, v in pixels:
            token_sum = sum(attention[u, v, k].item() for k in tokens)
            if mask[u, v]:
                region = sum(attention[u, v, k].item() / totals[k] for k in tokens)
                positive += ALPHA * region + BETA * math.log(token_sum) / len(pixels)
            else:
                region = sum(-attention[u, v, k].item() / totals[k] for k in tokens)
                negative += ALPHA * region + BETA * math.log(1 - token_sum) / len(pixels)
    return -positive / len(entities), -negative / len(entities)


def naive_release_map(attention: Tensor, entities: Sequence[EntityTokens], masks: Tensor) -> tuple[float, float]:
    """The authors' region term and cross entropy for one map whose resolution the masks have."""
    height, width, _ = attention.shape
    pixels = [(u, v) for u in range(height) for v in range(width)]
    positive = negative = 0.0
    for entity, mask in zip(entities, masks, strict=True):
        squares = []
        for k in entity.tokens:
            inside = sum(attention[u, v, k].item() for u, v in pixels if mask[u, v])
            squares.append((1 - inside / sum(attention[u, v, k].item() for u, v in pixels)) ** 2)
        positive += ALPHA * sum(squares) / len(squares)
        for u, v in pixels:
            token_sum = sum(attention[u, v, k].item() for k in entity.tokens)
            if mask[u, v]:
                positive -= BETA * math.log(token_sum) / len(pixels)
            else:
                negative -= BETA * math.log(1 - token_sum) / len(pixels)
    return positive / len(entities), negative / len(entities)


NAIVE = {"paper": naive_paper_map, "release": naive_release_map}


def loss_of(
    maps: Mapping[str, Tensor],
    entities: Sequence[EntityTokens],
    masks: Tensor,
    variant: ConcentrationVariant = "paper",
) -> ConcentrationLoss:
    return attribute_concentration_loss([maps], [entities], [masks], alpha=ALPHA, beta=BETA, variant=variant)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 5), seed=st.integers(0, 1000))
def test_equals_the_loop_over_entities_pixels_and_tokens(size: int, seed: int, variant: ConcentrationVariant) -> None:
    attention, masks = random_map(1, size, size, seed), random_masks(2, size, seed)
    loss = loss_of({"mid": attention}, [DOG, HAT], masks, variant)
    positive, negative = NAIVE[variant](attention[0], [DOG, HAT], masks)
    assert loss.positive.item() == pytest.approx(positive, abs=1e-9)
    assert loss.negative.item() == pytest.approx(negative, abs=1e-9)


def test_paper_terms_are_averaged_over_layers_steps_and_prompts_with_their_own_entities() -> None:
    steps = [{"mid": random_map(2, 2, 2, seed), "up": random_map(2, 4, 4, seed + 10)} for seed in (0, 1)]
    entities = [[DOG], [DOG, HAT]]
    masks = [random_masks(1, 8, 3), random_masks(2, 8, 4)]
    expected = torch.zeros(2, dtype=torch.float64)
    for step in steps:
        for layer in step.values():
            for row in range(2):
                resized = resize_masks(masks[row][None], layer.shape[1], layer.shape[2])[0]
                expected += torch.tensor(naive_paper_map(layer[row], entities[row], resized)) / 8
    loss = attribute_concentration_loss(steps, entities, masks, alpha=ALPHA, beta=BETA)
    assert torch.allclose(torch.stack(loss), expected)


def test_release_pixel_part_averages_the_maps_of_one_resolution_before_the_cross_entropy() -> None:
    first, second, masks = random_map(1, 4, 4, 0), random_map(1, 4, 4, 1), random_masks(1, 4)
    both = loss_of({"up.0": first, "up.1": second}, [DOG], masks, "release")
    merged = loss_of({"up": (first + second) / 2}, [DOG], masks, "release")
    assert both.negative.item() == pytest.approx(merged.negative.item())
    apart = [loss_of({"up": attention}, [DOG], masks, "release").negative.item() for attention in (first, second)]
    assert both.negative.item() != pytest.approx(sum(apart) / 2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_matches_finite_differences(variant: ConcentrationVariant) -> None:
    logits = torch.randn(2, 2, 3, TOKENS, dtype=torch.float64, generator=make_generator(0, "logits"))
    masks = [random_masks(1, 4, 1), random_masks(2, 4, 2)]

    def losses(logits: Tensor) -> tuple[Tensor, ...]:
        maps = [{"mid": logits.softmax(dim=-1), "up": (2 * logits).softmax(dim=-1)}]
        return attribute_concentration_loss(maps, [[DOG], [DOG, HAT]], masks, alpha=ALPHA, beta=BETA, variant=variant)

    assert torch.autograd.gradcheck(losses, (logits.requires_grad_(),))


@pytest.mark.parametrize("variant", VARIANTS)
def test_descent_moves_attention_onto_the_object(variant: ConcentrationVariant) -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :, :2] = True
    logits = torch.zeros(1, 4, 4, TOKENS, requires_grad=True)
    loss = loss_of({"up": logits.softmax(dim=-1)}, [DOG], mask, variant)
    (gradient,) = torch.autograd.grad(torch.stack(loss).sum(), logits)
    entity_gradient = gradient[0, :, :, list(DOG.tokens)]
    assert (entity_gradient[:, :2] < 0).all()
    assert (entity_gradient[:, 2:] > 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_missing_entity_is_pushed_away_everywhere(variant: ConcentrationVariant) -> None:
    logits = torch.randn(1, 4, 4, TOKENS, generator=make_generator(0, "logits")).requires_grad_()
    loss = loss_of({"up": logits.softmax(dim=-1)}, [DOG], torch.zeros(1, 8, 8, dtype=torch.bool), variant)
    (gradient,) = torch.autograd.grad(torch.stack(loss).sum(), logits)
    assert (gradient[0, :, :, list(DOG.tokens)] > 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_entity_without_noun_tokens_is_left_out(variant: ConcentrationVariant) -> None:
    cut_off = EntityTokens("umbrella", (), (3,))
    attention, masks = random_map(1, 4, 4), random_masks(2, 4)
    with_it = loss_of({"up": attention}, [cut_off, HAT], masks, variant)
    without = loss_of({"up": attention}, [HAT], masks[1:], variant)
    assert torch.equal(torch.stack(with_it), torch.stack(without))


def edge_cases() -> dict[str, tuple[Tensor, list[EntityTokens], Tensor]]:
    """Name -> (logits of one map, entities, masks)."""
    flat = torch.zeros(1, 4, 4, TOKENS)
    certain = flat.clone()
    certain[..., 1] = certain[..., 2] = 200.0  # the dog's tokens take everything, rounding may take more
    never = flat.clone()
    never[..., 4] = never[..., 5] = -200.0  # the hat's tokens underflow to zero
    empty, full = torch.zeros(1, 8, 8, dtype=torch.bool), torch.ones(1, 8, 8, dtype=torch.bool)
    return {
        "no entity": (flat, [], torch.zeros(0, 8, 8, dtype=torch.bool)),
        "entity cut off by truncation": (flat, [EntityTokens("hat", ())], full),
        "empty mask": (flat, [DOG], empty),
        "full mask": (flat, [DOG], full),
        "one-pixel map, inside": (torch.zeros(1, 1, 1, TOKENS), [DOG], full),
        "one-pixel map, outside": (torch.zeros(1, 1, 1, TOKENS), [DOG], empty),
        "token sum of 1 outside": (certain, [DOG], empty),
        "token sum of 1 inside": (certain, [DOG], full),
        "token sum of 0 inside": (never, [HAT], full),
        "token sum of 0 outside": (never, [HAT], empty),
    }


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("case", edge_cases())
def test_loss_and_gradient_are_finite_at_every_edge(
    case: str, dtype: torch.dtype, variant: ConcentrationVariant
) -> None:
    logits, entities, masks = edge_cases()[case]
    logits = logits.to(dtype).requires_grad_()
    loss = loss_of({"up": logits.softmax(dim=-1)}, entities, masks, variant)
    (gradient,) = torch.autograd.grad(torch.stack(loss).sum(), logits)
    assert torch.isfinite(torch.stack(loss)).all()
    assert torch.stack(loss).dtype == torch.float32
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=50, deadline=None)
@given(excess=st.floats(0, 1e-2), filled=st.sampled_from(["empty", "full", "random"]))
def test_token_sums_rounded_above_one_give_finite_loss_and_gradient(
    excess: float, filled: str, variant: ConcentrationVariant
) -> None:
    attention = torch.zeros(1, 2, 2, TOKENS)
    attention[..., 1] = attention[..., 2] = 0.5 * (1 + excess)
    attention.requires_grad_()
    masks = {
        "empty": torch.zeros(1, 4, 4, dtype=torch.bool),
        "full": torch.ones(1, 4, 4, dtype=torch.bool),
        "random": random_masks(1, 4),
    }[filled]
    loss = loss_of({"up": attention}, [DOG], masks, variant)
    (gradient,) = torch.autograd.grad(torch.stack(loss).sum(), attention)
    assert torch.isfinite(torch.stack(loss)).all()
    assert torch.isfinite(gradient).all()


def test_no_entity_at_all_gives_zero_loss_and_zero_gradient() -> None:
    attention = random_map(1, 4, 4).requires_grad_()
    loss = loss_of({"up": attention}, [], torch.zeros(0, 8, 8, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(torch.stack(loss).sum(), attention)
    assert torch.stack(loss).tolist() == [0.0, 0.0]
    assert gradient.abs().max().item() == 0


def test_autocast_does_not_lower_the_precision() -> None:
    attention, masks = random_map(1, 8, 8, dtype=torch.float32), random_masks(1, 8)
    outside = loss_of({"up": attention}, [DOG], masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of({"up": attention}, [DOG], masks)
    assert torch.equal(torch.stack(outside), torch.stack(inside))


def test_weights_scale_their_own_part_only() -> None:
    attention, masks = random_map(1, 4, 4), random_masks(1, 4)

    def total(alpha: float, beta: float) -> float:
        loss = attribute_concentration_loss([{"up": attention}], [[DOG]], [masks], alpha=alpha, beta=beta)
        return torch.stack(loss).sum().item()

    assert total(0, 0) == 0
    assert total(2, 3) == pytest.approx(2 * total(1, 0) + 3 * total(0, 1))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 40), target=st.integers(1, 20), seed=st.integers(0, 100), density=st.floats(0.0, 1.0))
def test_resized_mask_is_empty_only_if_the_mask_was_and_full_if_it_was(
    size: int, target: int, seed: int, density: float
) -> None:
    mask = torch.rand(1, 1, size, size, generator=make_generator(seed, "mask")) < density
    resized = resize_masks(mask, target, target)
    assert resized.any() == mask.any()
    if mask.all():
        assert resized.all()


def test_one_pixel_of_a_large_image_keeps_exactly_its_cell() -> None:
    mask = torch.zeros(1, 1, 512, 512, dtype=torch.bool)
    mask[0, 0, 100, 300] = True
    resized = resize_masks(mask, 8, 8)
    assert resized.nonzero().tolist() == [[0, 0, 1, 4]]


def test_large_object_keeps_the_cells_it_covers_by_half_or_more() -> None:
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[0, 0, :, :5] = True  # columns 0-3 fill two cells of width 2 and column 4 half of the third
    assert resize_masks(mask, 4, 4)[0, 0].tolist() == [[True, True, True, False]] * 4
    mask[0, 0, ::2, 4] = False  # a quarter of the third is left
    assert resize_masks(mask, 4, 4)[0, 0].tolist() == [[True, True, False, False]] * 4
