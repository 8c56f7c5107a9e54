"""One step of training on tiny models, and the gradients that it leaves."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from comat_core.backbones.adapters import active_adapter, lora_parameters
from comat_core.backbones.protocol import Backbone
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.training.step_settings import StepSettings
from comat_core.training.training_inputs import CoMatBatch, CoMatModels
from comat_core.training.training_step import StepOutput, training_step
from tests.comat_core.training.training_world import (
    SEED,
)

ModelOf = Callable[[str], Backbone]


def step_of(models: CoMatModels, batch: CoMatBatch, settings: StepSettings, step: int = 0) -> StepOutput:
    with active_adapter(models.online.denoiser, "online"):
        return training_step(models, batch, settings, seed=SEED, step=step)


def online_parameters(models: CoMatModels) -> list[nn.Parameter]:
    return lora_parameters(models.online.denoiser, "online")


def judge_of(models: CoMatModels) -> DenoiserDiscriminator:
    assert isinstance(models.discriminator, DenoiserDiscriminator)
    return models.discriminator


def judge_parameters(models: CoMatModels) -> list[nn.Parameter]:
    return list(judge_of(models).named_trainable_parameters().values())


def gradients(models: CoMatModels, *losses: Tensor) -> list[Tensor]:
    """Gradients of the online adapter, accumulated over the losses; zeros where none arrived."""
    for parameter in online_parameters(models):
        parameter.grad = None
    for loss in losses:
        loss.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in online_parameters(models)]


def assert_close(left: list[Tensor], right: list[Tensor]) -> None:
    scale = max(gradient.abs().max().item() for gradient in left)
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * scale)
