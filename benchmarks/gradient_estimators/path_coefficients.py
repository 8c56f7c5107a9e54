"""How much of each prediction stands in the latents of every later step, by the scheduler's steps alone."""

import torch
from torch import Tensor

from comat_core.sampling.schedulers import Scheduler


def path_coefficients(scheduler: Scheduler, num_inference_steps: int, start_step: int = 0) -> Tensor:
    """Walk with unit predictions: every step is linear in its prediction, for multistep solvers in former ones too.

    Args:
        num_inference_steps: T.
        start_step: at which a walk joins; earlier steps have no coefficients.

    Returns:
        (T, T + 1) float64: entry (i, j) is d x_j / d prediction_i, x_j being what step j begins with, x_T the result.
    """
    run, count = scheduler.run(num_inference_steps, start_step), num_inference_steps
    # One row per prediction, and one without any, whose noise is the others'.
    latents = torch.zeros(count + 1, 1, 1, 1, dtype=torch.float64)
    generators = [torch.Generator().manual_seed(0) for _ in range(count + 1)]
    coefficients = torch.zeros(count, count + 1, dtype=torch.float64)
    for step in range(start_step, count):
        prediction = torch.zeros_like(latents)
        prediction[step] = 1
        latents = run.step(prediction, run.timesteps[step], latents, generators)
        coefficients[:, step + 1] = (latents[:count] - latents[count]).flatten()
    return coefficients


def reach(scheduler: Scheduler, num_inference_steps: int) -> Tensor:
    """(T,): |d z_0 / d prediction| of every step; see `path_coefficients`."""
    return path_coefficients(scheduler, num_inference_steps)[:, -1].abs()
