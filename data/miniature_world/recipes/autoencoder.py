"""The miniature AutoencoderKL: 64x64 px images to 16x16 latents of 4 channels."""

from typing import Any

import torch
import torch.nn.functional as functional
from diffusers import AutoencoderKL

from comat_core.support.randomness import make_generator
from data.miniature_world.datasets import make_scenes
from data.miniature_world.recipes.fitting import draw_rows, fit, initialise, pixels_to_unit_range
from data.miniature_world.vocabulary import IMAGE_SIZE

SCENES = 30_000
STEPS = 1_400
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
KL_WEIGHT = 1e-6


def build_autoencoder(seed: int) -> Any:
    """Make the untrained AutoencoderKL."""
    kind: Any = AutoencoderKL  # diffusers annotates its tuples as of one element
    autoencoder = kind(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE,
    )
    initialise(autoencoder, seed, "autoencoder")
    return autoencoder


def train_autoencoder(seed: int) -> Any:
    """Train on balanced scenes, so that no colour is blurred into its neighbour, and set the latents' scale."""
    _, pixels = make_scenes("balanced", seed, SCENES)
    images = torch.from_numpy(pixels)
    autoencoder = build_autoencoder(seed).to(memory_format=torch.channels_last)

    def loss_of_step(step: int) -> torch.Tensor:
        batch = pixels_to_unit_range(images[draw_rows(seed, "autoencoder", step, SCENES, BATCH_SIZE)]) * 2 - 1
        posterior = autoencoder.encode(batch.contiguous(memory_format=torch.channels_last)).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=make_generator(seed, "autoencoder noise", step))
        reconstruction = autoencoder.decode(posterior.mean + posterior.std * noise).sample.float()
        difference = reconstruction - batch
        return difference.abs().mean() + difference.square().mean() + KL_WEIGHT * posterior.kl().float().mean()

    fit(autoencoder, loss_of_step, steps=STEPS, learning_rate=LEARNING_RATE, name="autoencoder", average_decay=0.99)
    autoencoder.to(memory_format=torch.contiguous_format)
    _set_scaling_factor(autoencoder, images[:512])
    return autoencoder


@torch.no_grad()
def _set_scaling_factor(autoencoder: Any, pixels: torch.Tensor) -> None:
    """Make the scaled latents' standard deviation one, as diffusion schedules expect."""
    latents = autoencoder.encode(pixels_to_unit_range(pixels) * 2 - 1).latent_dist.mean
    autoencoder.register_to_config(scaling_factor=round(1.0 / latents.std().item(), 5))


@torch.no_grad()
def reconstruction_error(autoencoder: Any, images: torch.Tensor) -> float:
    """Root mean squared error of reconstructing images (B, 3, H, W) in [0, 1]."""
    latents = autoencoder.encode(images * 2 - 1).latent_dist.mode()
    decoded = autoencoder.decode(latents).sample / 2 + 0.5
    return functional.mse_loss(decoded, images).sqrt().item()
