"""Denoising whose backward pass goes back through one step at a time, whatever stands after it in the graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gradient_estimators.plan import GradientPlan
from benchmarks.gradient_estimators.recorded_walk import RecordedWalk
from benchmarks.gradient_estimators.walk_back import walk_back
from comat_core.backbones.attention_maps import AttentionMaps
from comat_core.denoising import DenoisingResult


def with_gradient(walk: RecordedWalk, plan: GradientPlan, parameters: Sequence[Tensor]) -> DenoisingResult:
    """Give a recorded walk's result a graph: its backward pass walks the plan's steps back, the latest first.

    Memory is that of one step's graph, as when the denoiser is recomputed, and nothing is kept until then but the
    latents that steps begin with.

    Args:
        parameters: what receives gradients.
    """
    wanted = [maps for maps in walk.attention_maps if maps.step in plan.steps]
    values = [layer for maps in wanted for layer in maps.values()]
    latents, *layers = _WalkBack.apply(_Backward(walk, plan, parameters, wanted), walk.latents, *values, *parameters)  # pyright: ignore[reportGeneralTypeIssues]
    remaining = iter(layers)
    with_graph = {maps.step: {name: next(remaining) for name in maps} for maps in wanted}
    maps = [AttentionMaps(maps.step, with_graph.get(maps.step, maps.layers)) for maps in walk.attention_maps]
    return DenoisingResult(latents, maps)


class _Backward:
    """What the backward pass goes by."""

    def __init__(
        self, walk: RecordedWalk, plan: GradientPlan, parameters: Sequence[Tensor], captured: Sequence[AttentionMaps]
    ) -> None:
        self.walk, self.plan, self.parameters, self.captured = walk, plan, parameters, captured
        device = walk.latents.device.type
        self.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))

    def gradients(self, of_result: Tensor, of_layers: Sequence[Tensor]) -> list[Tensor]:
        """dL/dparameter of each, from dL/dz_0 and dL/dmap in the order in which the maps were given."""
        remaining = iter(of_layers)
        of_maps = {maps.step: {name: next(remaining) for name in maps} for maps in self.captured}

        def step_gradient(step: int, of_prediction: Tensor) -> tuple[list[Tensor], Tensor | None]:
            return self.walk.step_gradient(
                step,
                of_prediction,
                self.parameters,
                through_input=step in self.plan.through_input,
                of_maps=of_maps.get(step),
            )

        device, dtype, enabled = self.autocast
        with torch.autocast(device, dtype, enabled=enabled):
            return walk_back(self.plan, self.walk.coefficients(), of_result, step_gradient)


class _WalkBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, backward: _Backward, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.walk_back = backward
        ctx.untouched = len(values) - len(backward.parameters)
        return tuple(value.view_as(value) for value in values[: ctx.untouched])

    @staticmethod
    def backward(ctx: Any, *of_values: Tensor) -> tuple[Tensor | None, ...]:
        of_result, *of_layers = of_values
        return (None, *[None] * ctx.untouched, *ctx.walk_back.gradients(of_result, of_layers))
