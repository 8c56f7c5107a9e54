"""Denoising with gradients through a few steps (DRTune), for rows that start from noise and rows that join later."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from comat_core.backbones.attention_maps import AttentionMaps, CaptureRequest
from comat_core.backbones.guided_denoiser import GuidedDenoiser
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.sampling.schedulers import DenoisingRun, Scheduler
from comat_core.training.gradient_steps import gradient_steps_strided, gradient_steps_uniform

__all__ = ["DenoisingResult", "denoise", "gradient_steps_strided", "gradient_steps_uniform"]

StepCallback = Callable[[int, int, Tensor], None]
"""Called after every step with its index, its timestep and the latents (B, C, h, w), without gradient."""


@dataclass(frozen=True)
class DenoisingResult:
    """What a denoising loop returns."""

    latents: Tensor
    """(B, C, h, w), rows in the order they were given."""
    attention_maps: list[AttentionMaps]
    """One per captured step, noisiest first."""


def denoise(
    model: Backbone,
    latents: Tensor,
    conditioning: Conditioning,
    negative_conditioning: Conditioning | None,
    *,
    scheduler: Scheduler,
    num_inference_steps: int,
    guidance_scale: float,
    guidance_interval: tuple[float, float] | None = None,
    generators: Sequence[torch.Generator],
    start_steps: Sequence[int] | None = None,
    gradient_steps: Collection[int] = (),
    detach_denoiser_input: bool = True,
    checkpoint_denoiser: bool = False,
    capture: CaptureRequest | None = None,
    callback: StepCallback | None = None,
) -> DenoisingResult:
    """Denoise a batch, all rows of a step in one call of the denoiser, with gradient through the chosen steps only.

    In a gradient step the denoiser keeps its graph and, by default, its input is detached: the gradient of the result
    reaches each step's prediction through the scheduler's linear path alone. In every other step it keeps no graph, so
    that memory does not grow with the number of steps.

    Args:
        latents: (B, C, h, w): standard normal noise for rows that start at step 0, for the others latents noised to
            the level of their step (`Scheduler.noisy_start`).
        conditioning: B rows.
        negative_conditioning: B rows; may be None without guidance.
        scheduler: makes a run for each group of rows that join together.
        num_inference_steps: T.
        guidance_scale: 1 or less turns guidance, and with it an unconditional half of the batch, off.
        guidance_interval: timesteps, both ends included, outside of which it is off too; None for none.
        generators: B, for the noise that the scheduler adds.
        start_steps: B indices of the step at which each row joins, in [0, T); all 0 by default.
        gradient_steps: indices of the steps whose call keeps a graph.
        detach_denoiser_input: False lets the gradient flow through the denoiser to earlier steps too.
        checkpoint_denoiser: recompute gradient steps in the backward pass instead of keeping activations.
        capture: the attention maps to return.
    """
    denoiser = GuidedDenoiser.of(model, conditioning, negative_conditioning, guidance_scale, capture, guidance_interval)
    groups = _rows_by_start(latents, scheduler, num_inference_steps, generators, start_steps)
    attention_maps: list[AttentionMaps] = []

    for step, timestep in enumerate(groups[0].run.timesteps):
        active = [group for group in groups if group.start <= step]
        if not active:
            continue

        # One prediction for the rows of all active groups, with or without a graph.
        network_input = torch.cat([group.run.scale_input(group.latents, timestep) for group in active])
        rows = [row for group in active for row in group.rows]
        if step in gradient_steps:
            predict = denoiser.predict_recomputed if checkpoint_denoiser else denoiser.predict
            network_input = network_input.detach() if detach_denoiser_input else network_input
            prediction, maps = predict(network_input, rows, step, timestep)
        else:
            with torch.no_grad():
                prediction, maps = denoiser.predict(network_input, rows, step, timestep)
        if maps:
            attention_maps.append(AttentionMaps(step, maps))

        # Each group takes the step of its own run.
        for group, group_prediction in zip(active, prediction.split([len(g.rows) for g in active]), strict=True):
            group.advance(group_prediction, timestep)
        if callback is not None:
            callback(step, int(timestep), _in_given_order(groups).detach())

    return DenoisingResult(_in_given_order(groups), attention_maps)


@dataclass
class _RowGroup:
    """Rows that join at the same step. Multistep solvers keep a history, so each group has a run of its own."""

    start: int
    rows: list[int]
    latents: Tensor
    run: DenoisingRun
    generators: list[torch.Generator]

    def advance(self, prediction: Tensor, timestep: Tensor) -> None:
        self.latents = self.run.step(prediction, timestep, self.latents, self.generators)


def _rows_by_start(
    latents: Tensor,
    scheduler: Scheduler,
    num_inference_steps: int,
    generators: Sequence[torch.Generator],
    start_steps: Sequence[int] | None,
) -> list[_RowGroup]:
    starts = [0] * len(latents) if start_steps is None else list(start_steps)
    assert len(starts) == len(latents) == len(generators), "one start step and one generator per row"
    assert all(0 <= start < num_inference_steps for start in starts), "a row joins after the last step"
    groups = []
    for start in sorted(set(starts)):
        rows = [row for row, row_start in enumerate(starts) if row_start == start]
        run = scheduler.run(num_inference_steps, start)
        scale = run.start_scale if start == 0 else 1.0
        groups.append(_RowGroup(start, rows, latents[rows] * scale, run, [generators[row] for row in rows]))
    return groups


def _in_given_order(groups: Sequence[_RowGroup]) -> Tensor:
    rows = torch.tensor([row for group in groups for row in group.rows])
    return torch.cat([group.latents for group in groups])[rows.argsort()]
