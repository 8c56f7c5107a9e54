"""Where each denoising trajectory starts, and the stream of noise that it goes on with."""

from collections.abc import Sequence

import torch
from torch import Tensor

from comat_core.backbones.protocol import Backbone
from comat_core.sampling.schedulers import Scheduler
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator, normal_noise


def start_from_noise(model: Backbone, seeds: Sequence[int], resolution: int) -> tuple[Tensor, list[torch.Generator]]:
    """Draw x_T ~ N(0, I) for each seed, with the generator that feeds the sampler from there on.

    One seed is one trajectory, whoever walks it: the reference model when its latents are stored, and the online
    model when it is trained against them, begin with the same x_T and meet the same noise on the way.

    Args:
        seeds: one per row.
        resolution: side of the images in pixels.

    Returns:
        (B, C, h, w) float32 on the model's device, and B generators.
    """
    side = model.latent_size(resolution)
    generators = [make_generator(seed, "trajectory") for seed in seeds]
    return normal_noise((model.latent_channels, side, side), generators, device=model.device), generators


def start_from_images(
    latents: Tensor,
    generators: Sequence[torch.Generator],
    *,
    scheduler: Scheduler,
    num_inference_steps: int,
    steps: Sequence[int],
) -> tuple[Tensor, list[int]]:
    """Draw tau for each real image, and noise its latents to that level: x_tau = add_noise(VAE(I_g), xi, tau).

    Args:
        latents: (G, C, h, w) of real images, in the denoiser's scale.
        generators: G, each giving its row's tau, then its xi, then the sampler's noise.
        scheduler: gives the noise levels.
        num_inference_steps: T.
        steps: the steps that tau is drawn from uniformly, see `pair_start_steps`.

    Returns:
        (G, C, h, w) noised latents, and the step at which each row joins the denoising.
    """
    rows, start_steps = [], []
    for clean, generator in zip(latents.unsqueeze(1), generators, strict=True):
        start = steps[int(torch.randint(len(steps), (), generator=generator))]
        noise = normal_noise(clean.shape[1:], [generator], dtype=clean.dtype, device=clean.device)
        rows.append(scheduler.noisy_start(clean, noise, start, num_inference_steps))
        start_steps.append(start)
    return torch.cat(rows) if rows else latents, start_steps


def pair_start_steps(scheduler: Scheduler, num_inference_steps: int, tau_range: tuple[int, int]) -> list[int]:
    """Indices of the sampler's steps whose timestep lies in [T1, T2], both ends included.

    Raises:
        UserError: there is none.
    """
    timesteps = scheduler.timesteps(num_inference_steps).tolist()
    first, last = tau_range
    steps = [index for index, timestep in enumerate(timesteps) if first <= timestep <= last]
    if not steps:
        raise UserError(
            f"none of the {num_inference_steps} sampling steps has a timestep from {first} to {last}",
            "tau_range",
            f"widen the range; the timesteps run from {int(timesteps[-1])} to {int(timesteps[0])}",
        )
    return steps
