"""Every family: the gradient of the K chosen steps is what autograd finds, in float64."""

from collections.abc import Collection
from typing import Any

import pytest
import torch
from torch import Tensor

from comat_core.backbones.adapters import active_adapter, add_lora
from tests.comat_core.backbones.conformance.family_case import STEPS, FamilyCase, randomise

CHOSEN = (1, 3)


def score(latents: Tensor) -> Tensor:
    """Something that depends on every latent."""
    return (latents.double() * torch.linspace(-1, 1, latents.numel(), dtype=torch.float64).view_as(latents)).sum()


def gradients(case: FamilyCase, parameters: list, gradient_steps: Collection[int], **options: Any) -> list[Tensor]:
    """Of the score of the final latents, on the adapter."""
    with active_adapter(case.model.denoiser, "online"):
        result = case.sample(gradient_steps=gradient_steps, **options)
        found = torch.autograd.grad(score(result.latents), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@pytest.fixture
def parameters(case: FamilyCase) -> list:
    """A trained adapter's, everything in float64."""
    adapter = add_lora(case.model, "online", rank=2, seed=1)
    randomise(adapter)
    case.model.denoiser.double()
    return adapter


def test_the_gradient_of_chosen_steps_is_the_brute_forces(case: FamilyCase, parameters: list) -> None:
    """Without detached inputs, the gradient of all steps is the exact one: check it by finite differences."""
    exact = gradients(case, parameters, range(STEPS), detach_denoiser_input=False)
    generator, step = torch.Generator().manual_seed(3), 1e-4
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    scores = []
    for sign in (1, -1):
        with torch.no_grad(), active_adapter(case.model.denoiser, "online"):
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * step * direction
            scores.append(float(score(case.sample().latents)))
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter -= sign * step * direction
    expected = (scores[0] - scores[1]) / (2 * step)
    along = sum(float((g * d).sum()) for g, d in zip(exact, directions, strict=True))
    assert along == pytest.approx(expected, rel=1e-3)


def test_recomputation_changes_no_gradient(case: FamilyCase, parameters: list) -> None:
    kept = gradients(case, parameters, CHOSEN)
    recomputed = gradients(case, parameters, CHOSEN, checkpoint_denoiser=True)
    assert any(gradient.abs().max() > 0 for gradient in kept)
    for one, other in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_steps_add_up(case: FamilyCase, parameters: list) -> None:
    """With detached inputs a step's part of the gradient does not depend on which others are chosen."""
    together = gradients(case, parameters, CHOSEN)
    apart = [gradients(case, parameters, (step,)) for step in CHOSEN]
    for whole, *parts in zip(together, *apart, strict=True):
        torch.testing.assert_close(whole, sum(parts), rtol=1e-5, atol=1e-8)
