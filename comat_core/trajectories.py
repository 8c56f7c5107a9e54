"""Where each denoising trajectory starts, and the stream of noise that it goes on with."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from comat_core.backbones.schedulers import noisy_start
from comat_core.backbones.text_to_image import TextToImageModel
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator, normal_noise


def start_from_noise(
    model: TextToImageModel, seeds: Sequence[int], resolution: int
) -> tuple[Tensor, list[torch.Generator]]:
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
    scheduler: Any,
    num_inference_steps: int,
    steps: Sequence[int],
) -> tuple[Tensor, list[int]]:
    """Draw tau for each real image, and noise its latents to that level: x_tau = add_noise(VAE(I_g), xi, tau).

    Args:
        latents: (G, C, h, w) of real images, in the UNet's scale.
        generators: G, each giving its row's tau, then its xi, then the sampler's noise.
        scheduler: a diffusers scheduler, copied.
        num_inference_steps: T.
        steps: the steps that tau is drawn from uniformly, see `pair_start_steps`.

    Returns:
        (G, C, h, w) noised latents, and the step at which each row joins the denoising.
    """
    own, rows, start_steps = deepcopy(scheduler), [], []
    for clean, generator in zip(latents.unsqueeze(1), generators, strict=True):
        start = steps[int(torch.randint(len(steps), (), generator=generator))]
        noise = normal_noise(clean.shape[1:], [generator], dtype=clean.dtype, device=clean.device)
        rows.append(noisy_start(own, clean, noise, start, num_inference_steps))
        start_steps.append(start)
    return torch.cat(rows) if rows else latents, start_steps


def pair_start_steps(scheduler: Any, num_inference_steps: int, tau_range: tuple[int, int]) -> list[int]:
    """Indices of the sampler's steps whose timestep lies in [T1, T2], both ends included.

    Raises:
        UserError: there is none.
    """
    own = deepcopy(scheduler)
    own.set_timesteps(num_inference_steps)
    first, last = tau_range
    steps = [index for index, timestep in enumerate(own.timesteps.tolist()) if first <= timestep <= last]
    if not steps:
        raise UserError(
            f"none of the {num_inference_steps} sampling steps has a timestep from {first} to {last}",
            "tau_range",
            f"widen the range; the timesteps run from {int(own.timesteps[-1])} to {int(own.timesteps[0])}",
        )
    return steps
