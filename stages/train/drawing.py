"""Images of given prompts along given trajectories, drawn as training samples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from comat_core.sampling.denoising import denoise
from comat_core.sampling.trajectories import start_from_noise
from comat_core.training.training_inputs import CoMatModels
from stages.train.config import TrainConfig


@torch.no_grad()
def draw_images(models: CoMatModels, config: TrainConfig, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
    """Draw one image per prompt with the online model as it is.

    Args:
        seeds: of the trajectories, one per prompt.

    Returns:
        (len(prompts), 3, H, W) in [0, 1] with tails.
    """
    noise, generators = start_from_noise(models.online, seeds, config.resolution)
    result = denoise(
        models.online,
        noise,
        models.online.encode_prompts(prompts, config.resolution),
        models.unconditional.repeat(len(prompts)),
        scheduler=models.scheduler,
        num_inference_steps=config.sampling.num_inference_steps,
        guidance_scale=config.sampling.guidance_scale,
        guidance_interval=config.sampling.guidance_interval,
        generators=generators,
    )
    return models.online.decode(result.latents)
