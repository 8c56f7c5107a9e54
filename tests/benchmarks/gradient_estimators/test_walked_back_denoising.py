"""A walk whose backward pass is the walk gone back: the numbers of a graph, and no more memory for more steps."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.gradient_estimators import GradientPlan
from benchmarks.gradient_estimators.recorded_walk import record_walk
from benchmarks.gradient_estimators.walked_back_denoising import with_gradient
from benchmarks.peak_memory import peak_bytes
from comat_core.backbones.adapters import active_adapter
from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.denoising import DenoisingResult, denoise
from tests.benchmarks.gradient_estimators.walks import distance, score, trained_model, walk


@pytest.fixture
def trained(tiny_sd_folder: Path) -> tuple[Backbone, list[nn.Parameter]]:
    model = load_backbone(tiny_sd_folder)
    return model, trained_model(model)


def gradients(result: DenoisingResult, model: Backbone, parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    """Of every parameter, zeros where none arrived."""
    maps = [layer.square().sum() for captured in result.attention_maps for layer in captured.values()]
    for parameter in parameters:
        parameter.grad = None
    # By the time of the backward pass the discriminator's adapter may be active.
    with active_adapter(model.denoiser, None):
        torch.stack([score(result.latents), *maps]).sum().backward()
    return [torch.zeros_like(value) if value.grad is None else value.grad for value in parameters]


def test_the_backward_pass_gives_latents_and_maps_their_gradients(
    trained: tuple[Backbone, list[nn.Parameter]],
) -> None:
    model, parameters = trained
    capture = CaptureRequest(steps=(3,), rows=[1])
    with_graph = walk(denoise, model, "ddpm", gradient_steps=(1, 3), capture=capture)
    expected = gradients(with_graph, model, parameters)
    recorded = walk(record_walk, model, "ddpm", steps=(1, 3), capture=capture)
    mine = with_gradient(recorded, GradientPlan((1, 3)), parameters)
    torch.testing.assert_close(mine.latents.detach(), with_graph.latents.detach())
    assert distance(gradients(mine, model, parameters), expected) < 1e-6


def test_memory_does_not_grow_with_the_number_of_steps(trained: tuple[Backbone, list[nn.Parameter]]) -> None:
    model, parameters = trained

    def kept(count: int) -> None:
        gradients(walk(denoise, model, "ddim", gradient_steps=range(count)), model, parameters)

    def walked_back(count: int) -> None:
        steps = tuple(range(count))
        recorded = walk(record_walk, model, "ddim", steps=steps)
        gradients(with_gradient(recorded, GradientPlan(steps), parameters), model, parameters)

    walked_back(1)
    one, four = (peak_bytes(lambda count=count: walked_back(count)) for count in (1, 4))
    one_kept, four_kept = (peak_bytes(lambda count=count: kept(count)) for count in (1, 4))
    assert four < 1.1 * one
    assert four_kept > 2 * one_kept
