"""Estimators whose loss reads something else than the walk's end; for comparison, not part of the product."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.gradient_estimators.problem import ONLINE, WalkOfProblem
from comat_core.backbones.adapters import active_adapter
from comat_core.sampling.schedulers import Scheduler
from comat_core.support.randomness import normal_noise

LATE_SHARE = 4
"""ReFL draws its step from the last T / 4, as its authors do (30 to 39 of 40)."""
LAST_NOISES = 2
"""n of DRaFT-LV, its authors' choice."""


def refl(walked: WalkOfProblem, generator: torch.Generator) -> Tensor:
    """ReFL (Xu et al. 2023): one random late step; the loss reads the posterior mean there."""
    count = walked.walk.num_inference_steps
    late = max(1, count // LATE_SHARE)
    step = count - 1 - int(torch.randint(late, (), generator=generator))
    prediction = _predict(walked, walked.walk.inputs[step], step)
    timestep = walked.walk.scheduler.timesteps(count)[step]
    clean = clean_estimate(walked.walk.scheduler, walked.walk.inputs[step], prediction, timestep)
    return _gradient(walked, walked.problem.loss(clean))


def draft_lv(walked: WalkOfProblem, generator: torch.Generator) -> Tensor:
    """DRaFT-LV (Clark et al. 2023, arXiv 2309.17400): the last step alone, from several noisings of the result."""
    walk = walked.walk
    last = walk.num_inference_steps - 1
    total = None
    for _ in range(LAST_NOISES):
        row_generators = [generator] * len(walk.latents)
        noise = normal_noise(walk.latents.shape[1:], row_generators)
        start = walk.scheduler.noisy_start(walk.latents, noise, last, walk.num_inference_steps)
        run = walk.scheduler.run(walk.num_inference_steps, last)
        result = run.step(_predict(walked, start, last), run.timesteps[last], start, row_generators)
        part = _gradient(walked, walked.problem.loss(result)) / LAST_NOISES
        total = part if total is None else total + part
    assert total is not None
    return total


def clean_estimate(scheduler: Scheduler, noisy: Tensor, prediction: Tensor, timestep: Tensor) -> Tensor:
    """E[x_0 | x_t] (B, C, h, w) from what the network predicts of x_t = a x_0 + s noise."""
    one, none, times = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), timestep.expand(1)
    signal, level = scheduler.add_noise(one, none, times), scheduler.add_noise(none, one, times)
    return {
        "epsilon": lambda: (noisy - level * prediction) / signal,
        "v_prediction": lambda: signal * noisy - level * prediction,
        "sample": lambda: prediction,
        "flow": lambda: noisy - level * prediction,
    }[scheduler.prediction_type]()


def _predict(walked: WalkOfProblem, latents: Tensor, step: int) -> Tensor:
    walk = replace(walked.walk.denoiser, capture=None)
    timestep = walked.walk.scheduler.timesteps(walked.walk.num_inference_steps)[step]
    with active_adapter(walked.problem.online.denoiser, ONLINE):
        return walk.predict(latents, range(len(latents)), step, timestep)[0]


def _gradient(walked: WalkOfProblem, loss: Tensor) -> Tensor:
    parameters = walked.problem.parameters
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return walked.problem.flat(
        [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    )
