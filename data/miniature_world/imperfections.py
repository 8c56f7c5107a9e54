"""Images as a generator makes them: decoded from latents that are a little off."""

from collections.abc import Callable
from typing import Any

import torch

from comat_core.support.randomness import make_generator


def disturb(latents: torch.Tensor, seed: int, step: int, strength: float) -> torch.Tensor:
    """Add noise to scaled latents (B, 4, h, w), per image with a standard deviation drawn from [0, strength]."""
    generator = make_generator(seed, "latent noise", step)
    deviations = strength * torch.rand(len(latents), 1, 1, 1, generator=generator)
    return latents + deviations * torch.randn(latents.shape, generator=generator)


def decode(autoencoder: Any, latents: torch.Tensor) -> torch.Tensor:
    """Decode scaled latents (B, 4, h, w) to images (B, 3, H, W), nominally in [0, 1]."""
    return autoencoder.decode(latents / autoencoder.config.scaling_factor).sample.float() / 2 + 0.5


def lead_astray(
    latents: torch.Tensor,
    loss_of_latents: Callable[[torch.Tensor], torch.Tensor],
    *,
    seed: int,
    step: int,
    strength: float,
) -> torch.Tensor:
    """Move latents (B, 4, h, w) along the gradient of a loss, each by a root mean square drawn from [0, strength].

    A model trained on such latents keeps its answer under changes that do not change what is seen, and its gradient
    then points to changes that do (adversarial training, Goodfellow et al. 2015). A captioner of a hundred million
    images is that robust by itself; a miniature one has to be taught.
    """
    start = latents.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss_of_latents(start), start)
    scale = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
    length = strength * torch.rand(len(latents), 1, 1, 1, generator=make_generator(seed, "way astray", step))
    return (latents + length * gradient / scale).detach()
