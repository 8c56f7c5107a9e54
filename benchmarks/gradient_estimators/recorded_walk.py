"""A denoising walk made without a graph, of which any step can be repeated with one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchmarks.gradient_estimators.path_coefficients import path_coefficients
from comat_core.backbones.adapters import adapters_as_now
from comat_core.backbones.attention_maps import AttentionMaps, CaptureRequest
from comat_core.backbones.guided_denoiser import GuidedDenoiser
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.sampling.denoising import denoise
from comat_core.sampling.schedulers import Scheduler


@dataclass(frozen=True)
class RecordedWalk:
    """What steps began with, and how the denoiser was called; the graph of one step at a time is made of it."""

    denoiser: GuidedDenoiser
    scheduler: Scheduler
    num_inference_steps: int
    start_steps: Sequence[int]
    """B, the step at which each row joined."""
    inputs: Mapping[int, Tensor]
    """Step -> (B, C, h, w), for the recorded steps."""
    latents: Tensor
    """(B, C, h, w), the result."""
    attention_maps: list[AttentionMaps]
    """Of the captured steps, without a graph."""
    unconditional_graph: bool
    """Whether the unconditional half receives a gradient when a step is walked back."""
    adapters: Callable[[], AbstractContextManager[None]] = field(repr=False)
    """A context with the adapters of the walk; by the time of the backward pass others may be active."""

    def coefficients(self) -> Tensor:
        """(T, T + 1, B): see `path_coefficients`; rows that joined at different steps have different ones."""
        tables = {start: path_coefficients(self.scheduler, self.num_inference_steps, start) for start in self.starts}
        return torch.stack([tables[start] for start in self.start_steps], dim=-1)

    @property
    def starts(self) -> set[int]:
        """The steps at which rows join."""
        return set(self.start_steps)

    def step_gradient(
        self,
        step: int,
        of_prediction: Tensor,
        parameters: Sequence[Tensor],
        *,
        through_input: bool = False,
        of_maps: Mapping[str, Tensor] | None = None,
    ) -> tuple[list[Tensor], Tensor | None]:
        """Repeat one step's call with a graph and walk it back.

        Args:
            of_prediction: dL/dprediction (B, C, h, w), of the guided prediction.
            parameters: what gradients are asked of.
            through_input: ask for dL/dx too.
            of_maps: dL/dmap by layer, for a captured step.

        Returns:
            One gradient per parameter, and dL/dx (B, C, h, w) or None.
        """
        rows = self._rows_at(step)
        run = self.scheduler.run(self.num_inference_steps, min(self.starts))
        x = self.inputs[step].detach().requires_grad_(through_input)
        denoiser, scale = self._with_graph()
        if not of_maps:
            denoiser = replace(denoiser, capture=None)
        with torch.enable_grad(), self.adapters():
            timestep = run.timesteps[step]
            prediction, maps = denoiser.predict(run.scale_input(x[rows], timestep), rows, step, timestep)
        outputs, slopes = [prediction], [scale * of_prediction[rows]]
        for layer, slope in (of_maps or {}).items():
            outputs.append(maps[layer])
            slopes.append(slope)
        asked = [*parameters, x] if through_input else list(parameters)
        found = torch.autograd.grad(outputs, asked, slopes, allow_unused=True)
        gradients = _present(found, asked)
        return gradients[: len(parameters)], gradients[-1] if through_input else None

    def gradient_of_steps(self, of_predictions: Mapping[int, Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
        """Repeat several steps' calls with a graph, in one batch of the denoiser, and walk them back together.

        Args:
            of_predictions: step -> dL/dprediction (B, C, h, w), of the guided prediction. Their inputs are detached.
            parameters: what gradients are asked of.

        Returns:
            One gradient per parameter, added up over the steps.
        """
        run = self.scheduler.run(self.num_inference_steps, min(self.starts))
        denoiser, scale = self._with_graph()
        latents, timesteps, slopes, rows = [], [], [], []
        for step, of_prediction in of_predictions.items():
            own, timestep = self._rows_at(step), run.timesteps[step]
            latents.append(run.scale_input(self.inputs[step].detach()[own], timestep))
            timesteps.append(timestep.expand(len(own)))
            slopes.append(scale * of_prediction[own])
            rows += own
        halves = 1 if denoiser.negative_conditioning is None else 2
        with torch.enable_grad(), self.adapters():
            whole = replace(denoiser, capture=None)
            prediction, _ = whole.predict(torch.cat(latents), rows, 0, torch.cat(timesteps).repeat(halves))
        return _present(torch.autograd.grad(prediction, parameters, torch.cat(slopes), allow_unused=True), parameters)

    def _rows_at(self, step: int) -> list[int]:
        """The rows that have joined."""
        return [row for row, start in enumerate(self.start_steps) if start <= step]

    def _with_graph(self) -> tuple[GuidedDenoiser, float]:
        """What is called again, and how much its prediction's gradient weighs."""
        if self.denoiser.negative_conditioning is None or self.unconditional_graph:
            return self.denoiser, 1.0
        # guided = u + s (c - u), and u is a constant: its half of the batch need not be repeated.
        return replace(self.denoiser, negative_conditioning=None), self.denoiser.guidance_scale


def _present(found: Sequence[Tensor | None], asked: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(one) if part is None else part for one, part in zip(asked, found, strict=True)]


@torch.no_grad()
def record_walk(
    model: Backbone,
    latents: Tensor,
    conditioning: Conditioning,
    negative_conditioning: Conditioning | None,
    *,
    scheduler: Scheduler,
    num_inference_steps: int,
    guidance_scale: float,
    generators: Sequence[torch.Generator],
    steps: Collection[int],
    start_steps: Sequence[int] | None = None,
    capture: CaptureRequest | None = None,
    unconditional_graph: bool = True,
) -> RecordedWalk:
    """Denoise without a graph, and keep what the given steps begin with; the arguments are those of `denoise`.

    Args:
        steps: that may be walked back later.
        unconditional_graph: False leaves the unconditional half out of the gradient.
    """
    starts = [0] * len(latents) if start_steps is None else list(start_steps)
    scales = [scheduler.run(num_inference_steps).start_scale if start == 0 else 1.0 for start in starts]
    inputs = {0: latents * latents.new_tensor(scales).view(-1, 1, 1, 1)}

    def keep(step: int, timestep: int, following: Tensor) -> None:
        del timestep
        inputs[step + 1] = following

    first = min(starts)
    inputs[first] = inputs[0]
    result = denoise(
        model,
        latents,
        conditioning,
        negative_conditioning,
        scheduler=scheduler,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        generators=generators,
        start_steps=starts,
        capture=capture,
        callback=keep,
    )
    return RecordedWalk(
        GuidedDenoiser.of(model, conditioning, negative_conditioning, guidance_scale, capture),
        scheduler,
        num_inference_steps,
        starts,
        {step: inputs[step] for step in steps if step in inputs and step >= first},
        result.latents,
        result.attention_maps,
        unconditional_graph,
        adapters_as_now(model.denoiser),
    )
