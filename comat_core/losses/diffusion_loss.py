"""The plain training loss of a diffusion model, for the warm-up at another resolution."""

from typing import Any

import torch
from torch import Tensor

from comat_core.backbones.prompt_conditioning import PromptConditioning
from comat_core.backbones.text_to_image import TextToImageModel


def diffusion_loss(
    model: TextToImageModel,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    conditioning: PromptConditioning,
    scheduler: Any,
) -> Tensor:
    """Mean squared error between what the UNet predicts of noised latents and what it should.

    Args:
        latents: (B, C, h, w), clean, in the UNet's scale.
        noise: (B, C, h, w), standard normal.
        timesteps: (B,) integers of the training schedule.
        conditioning: B rows.
        scheduler: gives noise levels and prediction type ("epsilon", "v_prediction" or "sample").

    Returns:
        A scalar, 0 for a perfect prediction.
    """
    prediction = model.predict(scheduler.add_noise(latents, noise, timesteps), timesteps, conditioning)
    target = prediction_target(scheduler, latents, noise, timesteps)
    return torch.nn.functional.mse_loss(prediction.float(), target.float())


def prediction_target(scheduler: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What a perfect UNet would predict: the noise, the velocity (Salimans and Ho 2022) or the clean latents.

    Args:
        scheduler: gives noise levels and prediction type ("epsilon", "v_prediction" or "sample").
        latents, noise: (B, C, h, w).
        timesteps: (B,) integers of the training schedule.

    Returns:
        (B, C, h, w).
    """
    targets = {
        "epsilon": lambda: noise,
        "v_prediction": lambda: scheduler.get_velocity(latents, noise, timesteps),
        "sample": lambda: latents,
    }
    return targets[scheduler.config.prediction_type]()
