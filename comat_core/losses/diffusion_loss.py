"""The plain training loss of a diffusion model, for the warm-up at another resolution."""

import torch
from torch import Tensor

from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.sampling.schedulers import Scheduler


def diffusion_loss(
    model: Backbone,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    conditioning: Conditioning,
    scheduler: Scheduler,
) -> Tensor:
    """Mean squared error between what the denoiser predicts of noised latents and what it should.

    Args:
        latents: (B, C, h, w), clean, in the denoiser's scale.
        noise: (B, C, h, w), standard normal.
        timesteps: (B,) of the training schedule.
        conditioning: B rows.
        scheduler: gives noise levels and what is to be predicted of them.

    Returns:
        A scalar, 0 for a perfect prediction.
    """
    prediction = model.predict(scheduler.add_noise(latents, noise, timesteps), timesteps, conditioning)
    target = scheduler.prediction_target(latents, noise, timesteps)
    return torch.nn.functional.mse_loss(prediction.float(), target.float())
